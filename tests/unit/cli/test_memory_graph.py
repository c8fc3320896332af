"""`stead memory graph` as an owner uses it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stead.cli.main import cli


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), "memory", "graph", *words])


def asked(home: Path, *words: str) -> Any:
    result = run(home, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_move_is_shown_with_both_dates(home: Path) -> None:
    """What held before is shown, and found by its time."""
    run(home, "assert", "Anna", "lives in", "Bremen", "--from", "2020", "--kind", "person")
    said = run(home, "assert", "Anna", "lives in", "Berlin", "--from", "2026-03")
    assert "Before that: Anna lives in Bremen (2020-01-01 to 2026-03-01)" in said.stdout
    shown = run(home, "Anna").stdout
    assert "2020-01-01 to 2026-03-01" in shown and "since 2026-03-01" in shown
    then = asked(home, "anna", "--as-of", "2022-05")
    assert [fact["value"] for fact in then["facts"]] == ["Bremen"]
    assert then["contradictions"][0]["newer"]["value"] == "Berlin"


def test_relations_merging_splitting_undoing(home: Path) -> None:
    """Each is a command, says what it did, and can be taken back."""
    asked(home, "assert", "Anna", "married to", "Bernd", "--entity", "person")
    asked(home, "assert", "A. Maier", "likes", "tea")
    assert "<- Anna married to Bernd" in run(home, "Bernd").stdout
    assert asked(home, "merge", "Anna", "A. Maier")["aliases"] == ["A. Maier"]
    assert len(asked(home, "split", "Anna")) == 2
    fact = asked(home, "A. Maier")["facts"][0]
    assert asked(home, "close", fact["id"][-8:], "--on", "2099-01-02")["valid_to"] > 0
    done = asked(home, "retract", fact["id"])
    assert asked(home, "A. Maier")["facts"] == []
    run(home, "undo", done["id"])
    assert len(asked(home, "A. Maier")["facts"]) == 1
    assert "undo" in run(home, "log").stdout
    assert {e["name"] for e in asked(home)["entities"]} == {"Anna", "Bernd", "A. Maier"}


def test_errors_say_what_to_do(home: Path) -> None:
    """A name that is unknown, a date that is none, a journal with a broken line."""
    run(home, "assert", "Anna Maier", "likes", "tea")
    unknown = CliRunner().invoke(cli, ["--home", str(home), "memory", "graph", "Ana Mayer"])
    assert "Do you mean Anna Maier?" in str(unknown.exception)
    assert "is no date" in run(home, "Anna", "--as-of", "whenever").output
    with (home / "knowledge/journal.jsonl").open("a") as file:
        file.write("rubbish\n")
    assert "line 2: it is no operation" in run(home, "Anna").stderr
