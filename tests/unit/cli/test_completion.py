"""The Tab key of real shells, and `stead help`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from stead.cli.help import TOPICS
from stead.cli.main import COMMANDS
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import Gateway


@pytest.fixture
def bin(tmp_path: Path) -> Path:
    """A folder with the program in it, as an installation makes one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "stead"
    root = Path(__file__).parents[3]
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m stead "$@"\n')
    program.chmod(0o755)
    return folder


def completed(home: Path, bin: Path, *words: str) -> list[str]:
    """What bash offers for the last of ``words``."""
    script = (
        'eval "$(stead completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
        ' _stead_completion "$1" "${!#}" ""; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "bash", "stead", *words],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "STEAD_HOME": str(home)},
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.split()


def test_names_of_the_house(home: Path, bin: Path, gateway: Gateway) -> None:
    """Commands, options and names are offered; a name with more in it than a name never is, since
    the shell would do what it says."""
    gateway.answers["/api/v1/sessions"] = {
        "sessions": [{"id": "work"}, {"id": "wood $(touch x)"}, {"id": "w;reboot"}, {"id": "main"}]
    }
    assert set(completed(home, bin, "ch")) == {"chat", "chaos"}
    assert completed(home, bin, "chat", "--pl") == ["--plain"]
    assert completed(home, bin, "chat", "--session", "w") == ["work"]
    assert "trouble" in completed(home, bin, "help", "tr")


def test_without_a_gateway(home: Path, bin: Path) -> None:
    """Nothing is offered and nothing is said where the gateway is away."""
    assert completed(home, bin, "chat", "--session", "w") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(run: Run, shell: str) -> None:
    """Each shell gets a script of its own, which that shell can read."""
    result = run("completion", shell)
    assert result.code == 0 and f"{shell}_complete" in result.out
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=result.out, text=True, check=True, timeout=60)


def test_help(run: Run) -> None:
    """Every topic comes with the program and fits a terminal; a command is a topic too; a word
    that is none is answered with those like it."""
    listed = run("help").out
    for name in TOPICS:
        assert name in listed
        text = run("help", name).out
        assert text.strip() and max(map(len, text.splitlines())) <= 100, name
    there = {file.name for file in files("stead.cli.topics").iterdir()}
    assert {f"{name}.md" for name in TOPICS} <= there
    assert "Usage: stead key create" in run("help", "key", "create").out
    missing = run("help", "memroy")
    assert missing.code == 1 and "did you mean memory" in missing.err


def test_help_names_what_there_is(run: Run) -> None:
    """A command that a topic names exists."""
    for name in TOPICS:
        for line in run("help", name).out.splitlines():
            words = line.replace("$(", "").replace("`", "").split()
            at = [i for i, word in enumerate(words[:-1]) if word == "stead"]
            for i in at:
                word = words[i + 1].strip(".,;:)\"'")
                if word.islower() and word.isalpha() and i == 0:
                    assert word in COMMANDS, (name, line)
