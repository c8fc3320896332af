"""`stead chaos` at the terminal: what it takes, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[3]


def chaos(*args: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`stead chaos ...`, as it is typed, with a home that it must not touch."""
    command = [sys.executable, "-m", "stead", "--home", str(folder / "own"), "chaos", *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=240, check=False, cwd=ROOT,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--faults", "flood"], "there is no kind flood"),
        (["--only", "3,x"], "numbers"),
        (["--only", "9999"], "no fault 9999"),
        (["--plan", "nowhere.json"], "nowhere.json"),
        (["--messages", "0"], "--messages"),
    ],
)
def test_misuse_is_told_before_anything_starts(tmp_path: Path, args: list[str], words: str) -> None:
    """A wish that cannot be carried out is refused with 2 and in words."""
    done = chaos(*args, folder=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert not list(tmp_path.iterdir())


def test_kinds_and_plan_can_be_seen_without_a_run(tmp_path: Path) -> None:
    """What could come, and what would come, is printed and nothing is started."""
    assert "SIGKILL" in chaos("--faults", "list", folder=tmp_path).stdout
    shown = chaos("--seed", "7", "--messages", "100", "--show-plan", folder=tmp_path)
    assert json.loads(shown.stdout)["seed"] == 7
    assert not list(tmp_path.iterdir())


def test_a_run_is_judged_and_reported(tmp_path: Path) -> None:
    """A small run says 0, gives its figures as JSON, and writes a report without names of hosts
    and paths; the plan it kept can be carried out again; the own home is never made."""
    report, kept = tmp_path / "report.md", tmp_path / "kept"
    done = chaos(
        "--messages", "12", "--kills", "1", "--partitions", "1", "--others", "1", "--json",
        "--faults", "kill,cut,model-500", "--report", str(report), "--keep", str(kept),
        folder=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout
    told = json.loads(done.stdout)
    assert told["sound"] and told["figures"]["accepted"] == 12
    assert told["faults"] == {"kill": 1, "cut": 1, "model-500": 1}
    text = report.read_text()
    assert "| lost | 0 |" in text and "stead chaos --messages 12" in text
    assert str(tmp_path) not in text
    again = chaos("--plan", str(kept / "plan.json"), "--show-plan", folder=tmp_path)
    assert again.stdout == (kept / "plan.json").read_text()
    assert not (tmp_path / "own").exists()
    full = chaos("--keep", str(kept), folder=tmp_path)
    assert full.returncode == 1 and "not empty" in full.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_run_that_is_interrupted_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Neither a process nor a folder of the run is left, and the exit code is 130."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "stead", "chaos", "--messages", "500", "--kills", "20"]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        me = psutil.Process(process.pid)
        until = time.monotonic() + 120
        while time.monotonic() < until and not list(tmp_path.glob("chaos-*/node2/run/node.pid")):
            time.sleep(0.05)
        children = me.children(recursive=True)
        assert len(children) >= 3
        process.send_signal(number)
        assert process.wait(120) == 130
    finally:
        process.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert not list(tmp_path.glob("chaos-*"))
