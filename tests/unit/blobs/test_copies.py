"""Copies in a workspace, where programs of the agent write as they like."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead.blobs import copies
from stead.blobs.copies import NotCopied, place_of
from stead.core.attached import Attached
from stead.core.ids import uuid7


def made(data: bytes = b"abc", name: str = "a.txt") -> Attached:
    sha = hashlib.sha256(data).hexdigest()
    return Attached(uuid7(), name, "text/plain", "text", len(data), sha, at=1_790_000_000_123)


async def of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def names(folder: Path) -> list[str]:
    return [one.name for one in folder.rglob("*") if one.is_file()]


async def test_a_copy_is_whole_and_cannot_be_written_to(tmp_path: Path) -> None:
    """A copy has the bytes, the name and the time of the file, and is there only when whole."""
    file = made()
    assert not copies.is_there(tmp_path, file)
    await copies.put(tmp_path, file, of(b"a", b"bc"))
    path = tmp_path / place_of(file)
    assert path.read_bytes() == copies.read(tmp_path, file, 10) == b"abc"
    assert path.stat().st_mode & 0o777 == 0o400
    assert int(path.stat().st_mtime * 1000) == file.at
    assert copies.is_there(tmp_path, file)
    other = made(b"other")
    with pytest.raises(NotCopied):
        await copies.put(tmp_path, other, of(b"cut of"))
    assert not copies.is_there(tmp_path, other)
    assert names(tmp_path) == ["a.txt"]


async def test_no_link_leads_out(tmp_path: Path) -> None:
    """Where the agent has put links in place of the folders or the file, nothing is written, read
    or removed behind them."""
    outside, workspace = tmp_path / "outside", tmp_path / "workspace"
    outside.mkdir()
    workspace.mkdir()
    file = made()
    (outside / "a.txt").write_text("mine")
    (workspace / "attachments").symlink_to(outside)
    with pytest.raises(NotCopied):
        await copies.put(workspace, file, of(b"abc"))
    copies.keep_only(workspace, [])
    (workspace / "attachments").unlink()
    (workspace / "attachments").mkdir()
    (workspace / place_of(file)).parent.symlink_to(outside)
    with pytest.raises(NotCopied):
        await copies.put(workspace, file, of(b"abc"))
    with pytest.raises(NotADirectoryError):
        copies.read(workspace, file, 10)
    copies.keep_only(workspace, [])
    copies.remove_old(workspace, -1)
    assert [one.read_text() for one in outside.iterdir()] == ["mine"]


async def test_what_somebody_changed_is_his(tmp_path: Path) -> None:
    """A copy that was changed, and what was put beside it, is neither removed nor written over."""
    file, plain = made(), made(b"plain", "b.txt")
    for one, data in ((file, b"abc"), (plain, b"plain")):
        await copies.put(tmp_path, one, of(data))
    path = tmp_path / place_of(file)
    path.chmod(0o600)
    path.write_text("better")
    beside = (tmp_path / place_of(plain)).with_name("mine.txt")
    beside.write_text("mine")
    assert copies.is_there(tmp_path, file)
    with pytest.raises(NotCopied, match="changed"):
        await copies.put(tmp_path, file, of(b"abc"))
    copies.keep_only(tmp_path, [])
    assert path.read_text() == "better"
    assert beside.read_text() == "mine"
    assert not (tmp_path / place_of(plain)).exists()


async def test_only_what_is_left_stays(tmp_path: Path) -> None:
    """Copies of files that are known no more go, the others stay; those that no job has asked for
    in a long time go too, and asking keeps them."""
    one, two = made(), made(b"two", "b.txt")
    for file, data in ((one, b"abc"), (two, b"two")):
        await copies.put(tmp_path, file, of(data))
    copies.keep_only(tmp_path, [one.id])
    assert (copies.is_there(tmp_path, one), copies.is_there(tmp_path, two)) == (True, False)
    folder = (tmp_path / place_of(one)).parent
    os.utime(folder, (1, 1))
    assert copies.is_there(tmp_path, one)
    copies.remove_old(tmp_path)
    assert copies.is_there(tmp_path, one)
    os.utime(folder, (1, 1))
    copies.remove_old(tmp_path)
    assert not folder.exists()


async def test_a_long_text_is_there_for_its_job(tmp_path: Path) -> None:
    """What was made for the time of a job is not swept while it runs, and removed by it."""
    file = copies.text_file(uuid7(), b"long text")
    await copies.put(tmp_path, file, of(b"long text"))
    copies.keep_only(tmp_path, [])
    assert copies.read(tmp_path, file, 100) == b"long text"
    copies.remove(tmp_path, [file])
    assert list((tmp_path / "attachments").iterdir()) == []
