"""Moving, copying, deleting: all of it undoable, nothing outside reached."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stead.agent.files.back import Conflict
from stead.agent.files.book import Limits, set_limits
from tests.unit.agent.files.desk import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    (tmp_path / "secret.txt").write_text("the secret\n")
    (desk.work / "tree" / "deep").mkdir(parents=True)
    (desk.work / "tree" / "deep" / "a.bin").write_bytes(bytes(range(256)))
    (desk.work / "tree" / "run.sh").write_text("#!/bin/sh\n")
    (desk.work / "tree" / "run.sh").chmod(0o755)
    (desk.work / "tree" / "out").symlink_to(tmp_path / "secret.txt")
    (desk.work / "tree" / "deep").chmod(0o750)
    (desk.work / "f.txt").write_text("f\n")
    return desk


def do(desk: Desk, action: str, path: str, **args: Any) -> str:
    return desk.use("manage_files", action=action, path=path, **args)


def test_delete_a_tree_and_back(desk: Desk) -> None:
    """A folder goes with all in it when that is said, and comes back with modes and links; what
    a link led to outside is not touched."""
    before = desk.picture()
    assert "recursive=true" in desk.refused("manage_files", action="delete", path="tree")
    do(desk, "delete", "tree", recursive=True)
    assert sorted(desk.picture()) == ["f.txt"]
    assert (desk.top / "secret.txt").exists()
    desk.undo()
    assert desk.picture() == before
    desk.undo()
    assert sorted(desk.picture()) == ["f.txt"]
    desk.undo()
    assert desk.picture() == before


def test_delete_a_link(desk: Desk) -> None:
    """A link is deleted, not what it leads to."""
    (desk.work / "link").symlink_to("f.txt")
    do(desk, "delete", "link")
    assert sorted(desk.picture()) == ["f.txt", *(n for n in desk.picture() if "tree" in n)]
    desk.undo()
    assert (desk.work / "link").readlink() == Path("f.txt")


def test_move(desk: Desk) -> None:
    """A move keeps what is moved as it is, into folders that are made; and back."""
    before = desk.picture()
    inode = (desk.work / "tree").stat().st_ino
    do(desk, "move", "tree", to="new/place")
    assert (desk.work / "new" / "place").stat().st_ino == inode
    desk.undo()
    assert desk.picture() == before
    do(desk, "move", "f.txt", to="tree")
    assert (desk.work / "tree" / "f.txt").read_text() == "f\n"
    desk.undo()
    assert "within" in desk.refused("manage_files", action="move", path="tree", to="tree/deep/x")
    assert "already" in desk.refused("manage_files", action="move", path="f.txt", to="tree/run.sh")
    do(desk, "move", "f.txt", to="tree/run.sh", overwrite=True)
    desk.undo()
    assert desk.picture() == before
    do(desk, "move", "f.txt", to="F.txt")
    assert "F.txt" in desk.picture()


def test_a_move_back_replaces_nothing(desk: Desk) -> None:
    """Where something new stands in the way, a move is not taken back."""
    do(desk, "move", "f.txt", to="g.txt")
    (desk.work / "f.txt").write_text("new\n")
    with pytest.raises(Conflict, match="something new at"):
        desk.undo()
    (desk.work / "f.txt").unlink()
    (desk.work / "g.txt").write_text("edited since\n")
    desk.undo()
    assert (desk.work / "f.txt").read_text() == "edited since\n"


def test_copy(desk: Desk) -> None:
    """A copy has the content and the mode; a folder that holds a link is not copied."""
    do(desk, "copy", "tree/run.sh", to="copies/")
    assert (desk.work / "copies" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert "link" in desk.refused("manage_files", action="copy", path="tree", to="second")
    (desk.work / "tree" / "out").unlink()
    do(desk, "copy", "tree", to="second")
    assert (desk.work / "second" / "deep" / "a.bin").read_bytes() == bytes(range(256))
    desk.undo()
    assert not (desk.work / "second").exists()


def test_made_folders_stay_when_they_are_used(desk: Desk) -> None:
    """A folder that holds other files by now is left when what made it is taken back."""
    desk.use("write_file", path="new/a.txt", content="a")
    (desk.work / "new" / "mine.txt").write_text("mine")
    told = desk.undo()
    assert os.listdir(desk.work / "new") == ["mine.txt"]
    assert "other files" in told.notes[0]


def test_nothing_outside_is_touched(desk: Desk) -> None:
    """Neither source nor target of anything is outside, nor the workspace itself."""
    (desk.work / "away").symlink_to(desk.top)
    before = desk.picture()
    for action, path, to in (
        ("delete", "../secret.txt", ""),
        ("delete", "away/secret.txt", ""),
        ("move", "../secret.txt", "x"),
        ("copy", "tree/out", "x"),
        ("copy", "away/secret.txt", "x"),
        ("move", "f.txt", "../x"),
        ("move", "f.txt", "away/x"),
        ("copy", "f.txt", "away"),
        ("make_folder", "away/x", ""),
        ("delete", "", ""),
        ("delete", ".", ""),
        ("move", "f.txt", ".git/hooks/x"),
        ("move", "", "x"),
    ):
        desk.refused(
            "manage_files", action=action, path=path, to=to, recursive=True, overwrite=True
        )
    assert desk.picture() == before
    assert (desk.top / "secret.txt").read_text() == "the secret\n"


def test_what_cannot_be_kept_is_not_deleted(desk: Desk) -> None:
    """A file over the limit, and a pipe, keep their folder from being deleted."""
    set_limits(desk.keep / "undo", Limits(max_file_mb=0.0001))
    before = desk.picture()
    desk.refused("manage_files", action="delete", path="tree", recursive=True)
    assert desk.picture() == before
    os.mkfifo(desk.work / "pipe")
    assert "not an ordinary file" in desk.refused("manage_files", action="delete", path="pipe")
