"""`stead undo`: what tools changed is listed, shown and taken back, with nothing running."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stead.core.ids import uuid7
from tests.unit.agent.files.desk import Desk
from tests.unit.cli.conftest import Run


@pytest.fixture
def desk(home: Path) -> Desk:
    """Tools at work in this home."""
    return Desk(home, home / "workspace")


def test_the_last_change(desk: Desk, run: Run) -> None:
    """Without a word the last change is taken back; --redo brings it back."""
    desk.use("write_file", path="a.txt", content="one\n")
    desk.use("write_file", path="a.txt", content="two\n")
    place = desk.work / "a.txt"
    assert "write_file a.txt" in run("undo").out
    assert place.read_text() == "one\n"
    run("undo", "--redo")
    assert place.read_text() == "two\n"
    assert json.loads(run("undo", "--json").out)[0]["paths"] == ["a.txt"]
    run("undo")
    assert not place.exists()
    done = run("undo")
    assert (done.code, "nothing to undo" in done.err) == (1, True)
    run("undo", "--redo")
    assert place.read_text() == "one\n"


def test_list_and_show(desk: Desk, run: Run) -> None:
    """Every change has a line, and its diff."""
    assert "yet" in run("undo", "list").out
    job = uuid7()
    desk.use("write_file", path="a\tb.txt", content="one\n", job=job, step=2)
    desk.use("edit_file", path='"a\\tb.txt"', old="one", new="two")
    listed = json.loads(run("undo", "list", "--json").out)["changes"]
    assert [change["tool"] for change in listed] == ["edit_file", "write_file"]
    assert listed[1]["job"] == job
    assert '"a\\tb.txt"' in run("undo", "list").out
    assert "edit_file" not in run("undo", "list", "--job", job[-8:]).out
    told = run("undo", "show", listed[0]["id"][-8:]).out
    assert "-one" in told
    assert "+two" in told
    assert json.loads(run("undo", "show", listed[0]["id"], "--json").out)["diff"]
    assert run("undo", "show", "nonsense").code == 1
    assert run("undo", "show").code == 2
    assert run("undo", "a", "b").code == 2


def test_a_whole_job(desk: Desk, run: Run) -> None:
    """All that a job changed is taken back or, where one thing cannot be, none of it."""
    job, other = uuid7(), uuid7()
    for number, of in enumerate((job, job, other)):
        desk.use("write_file", path=f"{number}.txt", content="new\n", job=of, step=number)
    assert len(run("undo", "--job", job, "--dry-run").out.split("\n")) == 3
    (desk.work / "0.txt").write_text("mine\n")
    done = run("undo", "--job", job)
    assert done.code == 1
    assert "0.txt has changed since" in done.err
    assert "+mine" in done.err
    assert sorted(desk.picture()) == ["0.txt", "1.txt", "2.txt"]
    run("undo", "--job", job, "--force")
    assert sorted(desk.picture()) == ["2.txt"]
    run("undo", "--job", job, "--redo")
    assert (desk.work / "0.txt").read_text() == "mine\n"
    run("undo", "--since", "1h")
    assert "1.txt" not in desk.picture()


def test_an_id_and_its_undo(desk: Desk, run: Run) -> None:
    """A change is named by the end of its id; what has been undone says so, and --redo with
    either id brings it back."""
    desk.use("write_file", path="a.txt", content="one\n")
    desk.use("write_file", path="b.txt", content="one\n")
    first = desk.changes()[1]
    assert run("undo", first[-10:]).code == 0
    assert sorted(desk.picture()) == ["b.txt"]
    assert "already" in run("undo", first).err
    assert "undone" in run("undo", "list").out
    assert run("undo", first, "--redo").code == 0
    assert sorted(desk.picture()) == ["a.txt", "b.txt"]
