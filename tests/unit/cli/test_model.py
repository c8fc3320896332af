"""`stead model` as the owner and programs use it, through the real command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stead.cli.main import main
from stead.inference import catalogue, modelstate, weights
from stead.inference.modelstate import ModelState
from tests import real

TINY = "smollm2-135m"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_list_shows_the_catalogue(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every model with size, licence and whether it is here; exactly one is what auto means."""
    assert main(["--home", str(home), "model", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [m.name for m in catalogue.load().models]
    assert sum(row["auto"] for row in rows) == 1
    assert {row["here"] for row in rows} == {"no"}
    assert main(["--home", str(home), "model", "list"]) == 0
    assert "Apache-2.0" in capsys.readouterr().out


def test_offline_pull_is_refused_in_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--offline never touches the network and says what can be done instead; exit code 1."""
    assert main(["--home", str(home), "model", "pull", TINY, "--offline"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "the network may not be used (offline)" in said.err
    assert "--from FILE" in said.err


def test_wrong_file_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is not the model is named as such, and nothing is installed."""
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF")
    assert main(["--home", str(home), "model", "pull", TINY, "--from", str(wrong)]) == 1
    assert "the local copy has 4 bytes, not 98362432" in capsys.readouterr().err
    assert not (home / "models" / f"{TINY}.gguf").exists()


def test_unknown_model(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt name is answered with the names there are."""
    for command in ("pull", "remove"):
        assert main(["--home", str(home), "model", command, "smol"]) == 1
        assert "There are: qwen2.5-coder-1.5b" in capsys.readouterr().err


def test_model_in_use_is_not_removed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The model that is running stays, and the message says who uses it."""
    modelstate.write(home, ModelState("ready", model=TINY))
    assert main(["--home", str(home), "model", "remove", TINY]) == 1
    assert "in use by the model process" in capsys.readouterr().err


@pytest.mark.real_model
def test_pull_from_a_file_then_list_then_remove(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole life of a model on this machine, with plain progress lines in a pipe."""
    source = real.obtain(TINY)
    pull = ["--home", str(home), "model", "pull", TINY, "--from", str(source), "--json"]
    assert main(pull) == 0
    said = capsys.readouterr()
    done = json.loads(said.out)
    assert done["path"] == str(weights.file_of(home / "models", catalogue.load().get(TINY)))
    assert "fetching 49 of 98 MB, 50% (from a copy on this machine)" in said.err
    assert "\r" not in said.err
    assert main(["--home", str(home), "model", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows[TINY]["here"] == "yes"
    assert main(["--home", str(home), "model", "remove", TINY, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": TINY, "freed": 98362432}
    assert not Path(done["path"]).exists()
