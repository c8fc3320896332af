"""Bytes of files on disk: whole or not at all, within their bounds, and gone when nothing names
them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead.blobs.blobs import Blobs, Bounds
from stead.core.errors import FileTooLarge, NoRoom, NotFound


async def of(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def taken(blobs: Blobs, *pieces: bytes, size: int = 0) -> str:
    async with blobs.take(of(*pieces), size) as one:
        return one.sha256


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_bytes_lie_under_their_hash(tmp_path: Path) -> None:
    """What was taken is found by the hash of its bytes, once however often it comes; nobody else
    on the machine may read it, and no one write to it. An empty file is a file."""
    blobs = Blobs(tmp_path / "files")
    data = os.urandom(3_000_000)
    sha = await taken(blobs, data[:10], data[10:], size=len(data))
    assert sha == hashlib.sha256(data).hexdigest() == await taken(blobs, data)
    path = blobs.path(sha)
    assert path.read_bytes() == data
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o400, 0o700)
    assert blobs.used() == len(data)
    empty = await taken(blobs)
    assert blobs.path(empty).read_bytes() == b""
    assert there(blobs.folder) == sorted([sha, empty])
    with pytest.raises(NotFound):
        blobs.path("0" * 64)


async def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    """Whether its source fails, is cancelled, or what was to name it fails: no byte stays."""
    blobs = Blobs(tmp_path / "files")

    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        raise ConnectionError

    async def stuck() -> AsyncIterator[bytes]:
        yield b"x" * 2_000_000
        began.set()
        await asyncio.Event().wait()

    began = asyncio.Event()
    with pytest.raises(ConnectionError):
        async with blobs.take(broken()):
            raise AssertionError
    task = asyncio.create_task(blobs.take(stuck()).__aenter__())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert there(blobs.folder) == []
    with pytest.raises(KeyError):
        async with blobs.take(of(b"abc")):
            raise KeyError
    await blobs.sweep(nothing)
    assert there(blobs.folder) == []


async def nothing() -> list[str]:
    return []


async def test_bounds(tmp_path: Path) -> None:
    """A file over its bound is refused, at its announcement or in its midst; one that all together
    have no room for too, and one that the disk has none for. Nothing of them stays."""
    blobs = Blobs(tmp_path / "files", lambda: bounds)
    bounds = Bounds(most=1_500_000, quota=3_000_000, spare=0)
    with pytest.raises(FileTooLarge):
        await taken(blobs, b"", size=1_500_001)
    with pytest.raises(FileTooLarge):
        await taken(blobs, *[b"x" * 100_000] * 16)
    for letter in (b"a", b"b"):
        await taken(blobs, letter * 1_500_000)
    with pytest.raises(NoRoom, match="quota_mb"):
        await taken(blobs, b"c" * 1_200_000)
    bounds = Bounds(spare=1 << 60)
    with pytest.raises(NoRoom, match="spare_mb"):
        await taken(blobs, b"d")
    assert len(there(blobs.folder)) == 2


async def test_many_at_once_share_the_room(tmp_path: Path) -> None:
    """Files that come at the same time are counted together while they come: their sum never passes
    what may be kept."""
    blobs = Blobs(tmp_path / "files", lambda: Bounds(quota=8_000_000, spare=0))

    async def one(n: int) -> bool:
        try:
            await taken(blobs, *[bytes([n]) * 500_000] * 4)
        except NoRoom:
            return False
        return True

    done = await asyncio.gather(*map(one, range(10)))
    assert sum(done) <= 4  # it may be none, where all of them were half there
    assert sum(path.stat().st_size for path in blobs.folder.rglob("*") if path.is_file()) <= 8e6
    assert await one(10) is (sum(done) < 4)  # and none of them holds room that it does not have


async def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """Where the disk is full in the middle of a file: in words, and nothing stays."""
    blobs = Blobs(tmp_path / "files")
    folder = tmp_path / "files"
    folder.mkdir()

    known = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, known[1]))  # as full as a disk can be
    try:
        with pytest.raises(NoRoom, match="disk is full"):
            await taken(blobs, b"x" * 1_100_000, b"x" * 1_100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, known)
    assert there(folder) == []


async def test_sweeping_spares_what_is_named_or_about_to_be(tmp_path: Path) -> None:
    """A sweep removes what nothing names and parts of earlier processes; never what is taken at the
    same time, however the two meet."""
    blobs = Blobs(tmp_path / "files")
    named: set[str] = set()

    async def names() -> list[str]:
        await asyncio.sleep(0)
        return [*named]

    async def hand_in(n: int) -> None:
        async with blobs.take(of(b"%d" % n)) as one:
            await asyncio.sleep(0)
            named.add(one.sha256)

    await taken(blobs, b"nobody's")
    (blobs.folder / ".part-old").write_bytes(b"half")
    for start in range(0, 60, 6):
        await asyncio.gather(
            *(hand_in(start + n) for n in range(3)), blobs.sweep(names),
            *(hand_in(start + 3 + n) for n in range(3)), blobs.sweep(names),
        )  # fmt: skip
    assert await blobs.sweep(names) == 0
    assert {*there(blobs.folder)} == named
    assert len(named) == 60
    named.clear()
    assert await blobs.sweep(names) == 60
    assert (there(blobs.folder), blobs.used()) == ([], 0)
