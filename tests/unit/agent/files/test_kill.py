"""A process that changes files is killed at every point: what is left is the old or the new."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stead.agent.files import kernel
from stead.agent.files.book import DONE
from tests.unit.agent.files.desk import Desk, quick_folder

#: The calls of the system that change something, or make it durable.
CALLS = ("write", "fsync", "rename", "replace", "unlink", "mkdir", "rmdir", "link", "symlink")


@pytest.fixture
def top() -> Iterator[Path]:
    with quick_folder() as folder:
        yield folder


def run_and_die(at: int, work: Callable[[], object], *, half: bool) -> bool:
    """Do the work in a process that is killed at the ``at``-th of these calls, before it or, if
    ``half``, after it (of a write: when half of it is written). Whether it lived to the end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            _deadly(at, half)
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert status == 0
    return True


def _deadly(at: int, half: bool) -> None:
    count = 0

    def wrap(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count != at:
                return real(*args, **more)
            if half and name == "write":
                args = (args[0], bytes(args[1])[: max(1, len(args[1]) // 2)])
            try:
                if half:
                    real(*args, **more)
            finally:
                os.kill(os.getpid(), signal.SIGKILL)

        return call

    for name in CALLS:
        setattr(os, name, wrap(getattr(os, name), name))
    kernel._renamed = wrap(kernel._renamed, "rename")


def prepared(top: Path) -> Desk:
    top.mkdir()
    desk = Desk(top)
    (desk.work / "a.txt").write_text("the old text of a, long enough to be cut in half\n")
    (desk.work / "b.txt").write_text("the old text of b\n")
    (desk.work / "tree" / "deep").mkdir(parents=True)
    (desk.work / "tree" / "deep" / "c.txt").write_text("c\n" * 4)
    (desk.work / "tree" / "link").symlink_to("deep/c.txt")
    (desk.work / "a.txt").chmod(0o640)
    return desk


WORKS: dict[str, Callable[[Desk], object]] = {
    "write a new file": lambda desk: desk.use(
        "write_file", path="new/deep/n.txt", content="something new\n", job="j", step=1
    ),
    "write over a file": lambda desk: desk.use(
        "write_file", path="a.txt", content="quite another text\n", job="j", step=1
    ),
    "patch several": lambda desk: desk.use("patch", patch=DIFF, job="j", step=1),
    "delete a tree": lambda desk: desk.use(
        "manage_files", action="delete", path="tree", recursive=True, job="j", step=1
    ),
    "move over a file": lambda desk: desk.use(
        "manage_files", action="move", path="a.txt", to="b.txt", overwrite=True, job="j", step=1
    ),
}
DIFF = """\
--- a/a.txt
+++ b/a.txt
@@ -1 +1 @@
-the old text of a, long enough to be cut in half
+new a
--- a/b.txt
+++ /dev/null
@@ -1 +0,0 @@
-the old text of b
--- /dev/null
+++ b/new/c.txt
@@ -0,0 +1 @@
+new c
"""


@pytest.mark.parametrize(
    ("name", "half"), [*((name, False) for name in WORKS), ("patch several", True)]
)
def test_killed_anywhere(top: Path, name: str, half: bool) -> None:
    """Killed before or after (or in the midst of) each write, sync and rename, a change has
    happened as a whole or not at all, the journal says which, made again it happens once, and
    it can be taken back."""
    work = WORKS[name]
    whole = prepared(top / "whole")
    old = whole.picture()
    work(whole)
    new = whole.picture()
    ends = set()
    at = 0
    while True:
        at += 1
        desk = prepared(top / str(at))
        lived = run_and_die(at, lambda desk=desk: work(desk), half=half)  # type: ignore[misc]
        ids = desk.changes()  # settles what was begun
        now = desk.picture()
        assert now in (old, new), f"killed at {at}: {now}"
        assert (now == new) is bool(ids), f"killed at {at}: the journal says {ids}"
        assert all(line.state != "begun" for line in desk.book.lines())
        ends.add(now == new)
        work(desk)  # the same call again, as a job that is resumed makes it
        assert desk.picture() == new, f"killed at {at} and made again"
        assert sum(line.state == DONE for line in desk.book.lines()) == 1
        desk.undo()
        assert desk.picture() == old, f"killed at {at} and undone"
        if lived:
            break
    assert ends == {True, False}
    assert at > 10


def test_undo_killed_anywhere(top: Path) -> None:
    """The same of taking a change back, and of taking that back."""
    desk = prepared(top / "desk")
    old = desk.picture()
    WORKS["patch several"](desk)
    new = desk.picture()
    for before, after in ((new, old), (old, new)):  # undo and redo
        at = 0
        lived = False
        while not lived:
            at += 1
            ident = desk.changes()[0]
            lived = run_and_die(at, lambda ident=ident: desk.undo(ident), half=True)  # type: ignore[misc]
            now = desk.picture() if desk.changes() else {}
            assert now in (before, after), f"killed at {at}"
            if now == after and not lived:
                desk.undo()  # back, to be killed a little later
                assert desk.picture() == before
        assert desk.picture() == after
