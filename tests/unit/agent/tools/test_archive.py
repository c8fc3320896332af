"""Archives: unpacked as one change, and what hostile ones achieve."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from stead.agent.files import packed
from tests.unit.agent.files.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (desk.work / "docs" / "deep").mkdir(parents=True)
    (desk.work / "docs" / "a.txt").write_text("a\n")
    (desk.work / "docs" / "deep" / "é.bin").write_bytes(bytes(range(256)) * 99)
    (desk.work / "docs" / "run.sh").write_text("#!/bin/sh\n")
    (desk.work / "docs" / "run.sh").chmod(0o755)
    (desk.work / "docs" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("the secret\n")
    return desk


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz", "tgz", "tar.xz"])
def test_there_and_back(desk: Desk, ending: str) -> None:
    """What is packed comes out the same, links apart; unpacking is one change."""
    name = f"out/p.{ending}"
    told = desk.use("archive", action="create", path=name, files=["docs"])
    assert "3 files" in told
    listed = desk.use("archive", action="list", path=name)
    assert "docs/deep/é.bin 25.3 KB" in listed
    before = desk.picture()
    desk.use("archive", action="extract", path=name)
    top = desk.work / "out" / "p" / "docs"
    assert (top / "deep" / "é.bin").read_bytes() == bytes(range(256)) * 99
    assert (top / "run.sh").stat().st_mode & 0o777 == 0o755
    assert not (top / "link").exists()
    assert "already" in desk.refused("archive", action="extract", path=name)
    (top / "a.txt").write_text("mine\n")
    desk.use("archive", action="extract", path=name, overwrite=True)
    desk.undo()
    assert (top / "a.txt").read_text() == "mine\n"
    desk.undo(desk.changes()[2], force=True)
    assert desk.picture() == before
    assert not [name for name in os.listdir(desk.keep / "undo") if name.startswith("packed")]


def zipped(path: Path, *names: str, mode: int = 0) -> None:
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            made.writestr(entry, "/etc/passwd")


def tarred(path: Path, *infos: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w:gz") as made:
        for info in infos:
            made.addfile(info, io.BytesIO(b"x" * info.size) if info.isreg() else None)


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0
) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/tmp/evil",
        "a/../../evil",
        "..\\evil",
        "C:\\evil",
        "c:evil",
        "a/..",
        "\\\\h\\evil",
    ],
)
def test_nothing_lands_outside(desk: Desk, name: str) -> None:
    """A name that leads outside, in whatever writing: nothing at all is unpacked."""
    zipped(desk.work / "z.zip", "good.txt", name)
    tarred(desk.work / "t.tgz", entry("good.txt"), entry(name))
    before = desk.picture()
    for path in ("z.zip", "t.tgz"):
        assert "leads outside" in desk.refused("archive", action="extract", path=path)
    assert desk.picture() == before
    assert not (desk.top / "evil").exists()
    assert not Path("/tmp/evil").exists()


def test_links_and_devices_are_left_out(desk: Desk) -> None:
    """A link and what would be written through it; a device, a pipe; git's own hooks."""
    tarred(
        desk.work / "t.tgz",
        entry("up", tarfile.SYMTYPE, "../.."),
        entry("hard", tarfile.LNKTYPE, "/etc/passwd"),
        entry("pipe", tarfile.FIFOTYPE),
        entry("null", tarfile.CHRTYPE),
        entry(".git/hooks/post-checkout", size=3),
        entry("fine.txt", size=3),
    )
    told = desk.use("archive", action="extract", path="t.tgz", to="o")
    assert "left out 5" in told
    assert os.listdir(desk.work / "o") == ["fine.txt"]
    tarred(desk.work / "u.tgz", entry("up", tarfile.SYMTYPE, "../.."), entry("up/evil", size=3))
    desk.use("archive", action="extract", path="u.tgz", to="p")
    assert (desk.work / "p" / "up" / "evil").is_file()
    assert not (desk.top / "evil").exists()
    zipped(desk.work / "l.zip", "l", mode=stat.S_IFLNK | 0o777)
    assert "left out 1" in desk.use("archive", action="extract", path="l.zip", to="q")


def test_a_link_in_the_way_is_not_followed(desk: Desk) -> None:
    """What lies in the workspace already leads an archive nowhere."""
    (desk.work / "o").mkdir()
    (desk.work / "o" / "d").symlink_to(desk.top)
    zipped(desk.work / "z.zip", "d/evil")
    desk.refused("archive", action="extract", path="z.zip", to="o", overwrite=True)
    desk.refused("archive", action="extract", path="z.zip", to="o/d", overwrite=True)
    assert not (desk.top / "evil").exists()


def test_bombs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would unpack to far more than it is, is refused before it is unpacked. (The limits are
    lower here: a bomb of a true one's size takes long to make.)"""
    monkeypatch.setattr(packed, "_BOMB_BYTES", 1_000_000)
    monkeypatch.setattr(packed, "MOST_MEMBERS", 50)
    with zipfile.ZipFile(desk.work / "b.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("zeros", bytes(2_000_000))
    tarred(desk.work / "b.tgz", entry("zeros", size=2_000_000))
    for path in ("b.zip", "b.tgz"):
        assert "times its size" in desk.refused("archive", action="extract", path=path)
    monkeypatch.setattr(packed, "MOST_BYTES", 1_500_000)
    assert "MB" in desk.refused("archive", action="extract", path="b.zip")
    with tarfile.open(desk.work / "many.tar", "w") as many:
        for number in range(51):
            many.addfile(entry(f"f{number}"))
    assert "entries" in desk.refused("archive", action="extract", path="many.tar")


def test_sizes_that_lie(desk: Desk) -> None:
    """An entry that holds more than it says is not unpacked to what it really is."""
    path = desk.work / "l.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("f", bytes(500_000))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 500_000), struct.pack("<I", 10)))
    desk.refused("archive", action="extract", path="l.zip")
    assert not (desk.work / "l").exists()


def test_damaged_archives(desk: Desk) -> None:
    """Cut off anywhere or with bytes changed, an archive is unpacked whole or not at all."""
    desk.use("archive", action="create", path="p.zip", files=["docs"])
    desk.use("archive", action="create", path="p.tar.gz", files=["docs"])
    for name in ("p.zip", "p.tar.gz"):
        data = (desk.work / name).read_bytes()
        for at in range(0, len(data), max(1, len(data) // 12)):
            (desk.work / "cut").write_bytes(data[:at])
            desk.refused("archive", action="extract", path="cut", to="c")
            (desk.work / "bent").write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
            desk.call("archive", action="extract", path="bent", to="b", overwrite=True)
    assert not (desk.work / "c").exists()
    for path in ("docs", "docs/a.txt", "no", "docs/link"):
        desk.refused("archive", action="extract", path=path)
    assert "no name for an archive" in desk.refused(
        "archive", action="create", path="x.rar", files=["docs"]
    )
    desk.refused("archive", action="create", path="../x.zip", files=["docs"])
    desk.refused("archive", action="create", path="x.zip", files=["../secret"])
