"""`stead sandbox`: what tools can see, and a sandbox for a command of one's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run


@pytest.fixture(autouse=True)
def bubblewrap() -> None:
    if shutil.which("bwrap") is None:
        if os.environ.get("CI"):
            pytest.fail("bubblewrap is not installed, and CI has to have it")
        pytest.skip("bubblewrap is not installed")


def stead(home: Path, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A command line in a process of its own: what runs inside has its descriptors."""
    return subprocess.run(
        [sys.executable, "-m", "stead", "--home", str(home), "sandbox", "run", *words],
        capture_output=True, text=True, cwd=cwd, timeout=120, check=False,
        env={"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip


def test_every_tool_is_explained(home: Path, run: Run) -> None:
    """Each tool says where it runs; one that writes files sees the workspace, and no network."""
    walls = json.loads(run("sandbox", "explain", "--json").out)
    assert walls["works"] and walls["kind"] == "bubblewrap"
    assert not any(walls["walls"].values())
    found = json.loads(run("sandbox", "explain", "write_file", "--json").out)
    assert str(home / "workspace") in found["writes"]
    assert found["hosts"] == [] and found["limits"]["memory_mb"] > 0
    said = run("sandbox", "explain", "write_file").out
    assert f"writes {home / 'workspace'}" in said and "no network" in said
    names = run("sandbox", "explain", "nothing").err.partition("there are: ")[2].strip(".\n")
    for name in names.split(", "):
        assert json.loads(run("sandbox", "explain", name, "--json").out)["where"]


def test_a_command_runs_in_one(home: Path, tmp_path: Path) -> None:
    """Its exit code is the command's; it changes the folder it was given and sees no other."""
    mine, secret = tmp_path / "mine", tmp_path / "secret"
    mine.mkdir()
    secret.write_text("hidden")
    script = f"cat {secret}; echo 1 > f; pwd; exit 7"
    done = stead(home, "--write", ".", "--", "sh", "-c", script, cwd=mine)
    assert done.returncode == 7
    assert done.stdout == f"{mine}\n" and "hidden" not in done.stdout
    assert (mine / "f").read_text() == "1\n"
    late = stead(home, "--seconds", "1", "--json", "--", "sleep", "3600")
    assert late.returncode == 137
    assert json.loads(late.stderr)["why"] == "ran longer than 1 s"


def test_where_it_is_switched_off_nothing_runs(home: Path, run: Run) -> None:
    """Neither a command nor a tool: the reason is told."""
    with (home / "stead.toml").open("a") as file:
        file.write('[sandbox]\nkind = "none"\n')
    assert run("sandbox", "explain").code == 1
    assert "switched off" in run("sandbox", "explain").out
    done = stead(home, "--", "echo", "ran")
    assert done.returncode == 1
    assert "ran" not in done.stdout and "switched off" in done.stderr
