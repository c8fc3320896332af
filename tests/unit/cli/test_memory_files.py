"""`stead memory show|edit|history|undo` and `stead import`: what is remembered, by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def memory(home: Path) -> Path:
    folder = home / "memory"
    (folder / "cards").mkdir(parents=True, exist_ok=True)
    (folder / "MEMORY.md").write_text("# Memory\n\n- The boiler is red\n- Anna is the neighbour\n")
    (folder / "cards" / "boiler.md").write_text("---\ntopic: Boiler\n---\n\n- red\n")
    return folder


def test_show(memory: Path, run: Run) -> None:
    """The files are listed, and shown by path, name, topic or source."""
    listed = json.loads(run("memory", "show", "--json").out)["files"]
    assert [one["path"] for one in listed] == ["memory/MEMORY.md", "memory/cards/boiler.md"]
    assert "memory/cards/boiler.md" in run("memory", "show").out
    for name in ("memory/cards/boiler.md", "boiler", "Boiler"):
        assert "- red" in run("memory", "show", name).out
    assert run("memory", "show", "MEMORY.md#L1").code == 1
    shown = run("memory", "show", "memory/MEMORY.md#L3-L3")
    assert shown.out == "- The boiler is red\n"
    missing = run("memory", "show", "nothing")
    assert missing.code == 1 and "stead memory show" in missing.err


def test_edit_by_pipe(memory: Path, run: Run) -> None:
    """What comes on stdin replaces a file, or makes a card; much less asks for --yes; secrets are
    masked."""
    new = "- The boiler is red\n- Anna is the neighbour\n- password: swordfish\n"
    assert run("memory", "edit", "MEMORY", stdin=new).code == 0
    assert (memory / "MEMORY.md").read_text() == new.replace("swordfish", "[masked: password]")
    less = run("memory", "edit", "MEMORY", stdin="- x\n")
    assert less.code == 1 and "--yes" in less.err
    assert run("memory", "edit", "MEMORY", "--yes", stdin="- x\n").code == 0
    assert (memory / "MEMORY.md").read_text() == "- x\n"
    assert run("memory", "edit", "The Garden", stdin="- roses\n").code == 0
    assert (memory / "cards" / "the-garden.md").read_text() == "- roses\n"


@needs_git
def test_history_and_undo(memory: Path, run: Run) -> None:
    """Changes by hand and by command are told apart, shown, and taken back."""
    run("memory", "history")
    (memory / "cards" / "boiler.md").write_text("---\ntopic: Boiler\n---\n\n- blue\n")
    assert (
        run(
            "memory",
            "edit",
            "MEMORY",
            stdin="- a\n- b\n",
        ).code
        == 1
    )
    assert run("memory", "edit", "MEMORY", "--yes", stdin="- a\n- b\n").code == 0
    told = json.loads(run("memory", "history", "--json").out)["changes"]
    assert [one["message"] for one in told][:2] == ["edited memory/MEMORY.md", "by hand"]
    only = run("memory", "history", "boiler", "--diff").out
    assert "+- blue" in only and "edited" not in only
    done = json.loads(run("memory", "undo", "--json").out)
    assert done["undone"] == "edited memory/MEMORY.md"
    assert "Anna" in (memory / "MEMORY.md").read_text()
    assert "Taken back" in run("memory", "undo", done["change"][:8]).out
    assert (memory / "MEMORY.md").read_text() == "- a\n- b\n"
    old = run("memory", "show", "memory/MEMORY.md", "--at", told[-1]["id"]).out
    assert "Anna" in old


def test_import(home: Path, memory: Path, run: Run, tmp_path: Path) -> None:
    """A dry run says what would come, the run does it, and both say what is left out."""
    work = tmp_path / "workspace"
    (work / "memory").mkdir(parents=True)
    (work / "memory" / "2026-02-05.md").write_text("- met Bob\n")
    (work / "USER.md").write_text("- Anna\n" * 2000)
    (work / "HEARTBEAT.md").write_text("x\n")
    dry = run("import", "openclaw", str(work), "--dry-run")
    assert dry.code == 0 and "Would be: 2 new, 1 left out" in dry.out
    assert not (memory / "USER.md").exists()
    done = json.loads(run("import", "openclaw", str(work), "--json").out)
    assert {one["what"] for one in done["steps"]} == {"new", "skipped"}
    assert (memory / "USER.md").exists()
    assert "2 as before" in run("import", "openclaw", str(work)).out
    assert run("import", "openclaw", str(tmp_path / "nowhere")).code == 1
