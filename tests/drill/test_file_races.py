"""A second process swaps folders and files for links, again and again, while tools work on them.

What the tools do runs here with all rights of this process, without a sandbox: the walls of the
file functions alone have to hold.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.agent.files.desk import Desk, quick_folder

#: Swaps ``work/dir`` and ``work/file`` between what they are and links to outside.
SWAPPER = """
import ctypes, os, sys
top = sys.argv[1]
os.chdir(top + "/work")
os.symlink(top + "/outside", ".swap-dir")
os.symlink(top + "/outside/secret.txt", ".swap-file")
libc = ctypes.CDLL(None)
print("ready", flush=True)
while os.getppid() == int(sys.argv[2]):
    libc.renameat2(-100, b"dir", -100, b".swap-dir", 2)
    libc.renameat2(-100, b"file", -100, b".swap-file", 2)
"""
_LONG_S = 0.7

WORKS: dict[str, Callable[[Desk], object]] = {
    "write": lambda d: d.call("write_file", path="dir/a.txt", content="mine", overwrite=True),
    "write new": lambda d: d.call("write_file", path=f"dir/{os.urandom(4).hex()}", content="mine"),
    "edit": lambda d: d.call("edit_file", path="dir/a.txt", old="a", new="b", all=True),
    "edit a file": lambda d: d.call("edit_file", path="file", old="secret", new="b", all=True),
    "write a file": lambda d: d.call("write_file", path="file", content="mine", overwrite=True),
    "delete": lambda d: d.call("manage_files", action="delete", path="dir/secret.txt"),
    "delete all": lambda d: d.call("manage_files", action="delete", path="dir/sub", recursive=True),
    "move out": lambda d: d.call("manage_files", action="move", path="dir/a.txt", to="x/y"),
    "move in": lambda d: d.call(
        "manage_files", action="move", path="other.txt", to="dir/other.txt", overwrite=True
    ),
    "copy": lambda d: d.call(
        "manage_files", action="copy", path="file", to="copied", overwrite=True
    ),
    "patch": lambda d: d.call(
        "patch", patch="--- a/dir/a.txt\n+++ b/dir/a.txt\n@@ -1 +1 @@\n-a\n+b\n"
    ),
    "read": lambda d: d.call("read_file", path="file"),
    "read below": lambda d: d.call("read_file", path="dir/secret.txt"),
    "search": lambda d: d.call("search_files", text="secret", path=""),
    "list": lambda d: d.call("list_files", path="dir"),
    "pack": lambda d: d.call(
        "archive", action="create", path="p.tar", files=["dir", "file"], overwrite=True
    ),
}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with quick_folder() as top:
        made = Desk(top)
        outside = top / "outside"
        (outside / "sub").mkdir(parents=True)
        (outside / "sub" / "kept.txt").write_text("kept")
        (outside / "secret.txt").write_text("the SECRET word")
        (outside / "a.txt").write_text("aaa")
        yield made


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="renameat2 is Linux's")
@pytest.mark.parametrize("name", WORKS)
def test_no_race_leads_outside(desk: Desk, name: str) -> None:
    """Whatever the moment at which a name becomes a link, nothing outside is read or changed."""
    (desk.work / "dir" / "sub").mkdir(parents=True)
    (desk.work / "dir" / "a.txt").write_text("a\n")
    (desk.work / "file").write_text("plain\n")
    before = {path: path.read_bytes() for path in (desk.top / "outside").rglob("*.txt")}
    swapper = subprocess.Popen(
        [sys.executable, "-c", SWAPPER, str(desk.top), str(os.getpid())], stdout=subprocess.PIPE
    )
    try:
        assert swapper.stdout is not None
        assert swapper.stdout.readline() == b"ready\n"
        until = time.monotonic() + _LONG_S
        tries = good = 0
        while time.monotonic() < until or tries < 5:
            tries += 1
            done = WORKS[name](desk)
            good += bool(getattr(done, "ok", False))
            assert "SECRET" not in str(getattr(done, "text", ""))
            if tries % 5 == 0 and name not in ("read", "search", "list"):
                restock(desk)
    finally:
        swapper.kill()
        swapper.wait(10)
    outside = desk.top / "outside"
    assert {path: path.read_bytes() for path in outside.rglob("*.txt")} == before
    assert sorted(os.listdir(outside)) == ["a.txt", "secret.txt", "sub"]
    for path in desk.work.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"SECRET" not in path.read_bytes(), path
    blobs = desk.keep / "undo" / "blobs"
    kept: list[Path] = list(blobs.iterdir()) if blobs.is_dir() else []
    assert not any(b"SECRET" in path.read_bytes() for path in kept)


def restock(desk: Desk) -> None:
    """Make again what was moved or deleted; in the folder that is real, never through a link."""
    for name in ("dir", ".swap-dir"):
        try:
            fd = os.open(desk.work / name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            file = os.open("a.txt", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644, dir_fd=fd)
            os.write(file, b"a\n")
            os.close(file)
        finally:
            os.close(fd)
    other = os.open(desk.work / "other.txt", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    os.close(other)
