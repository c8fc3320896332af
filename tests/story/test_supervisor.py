"""`stead up` and its three processes are killed one after the other."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import psutil
import pytest

from stead.app.supervise import python
from tests.story.house import House


def _answers(house: House, text: str) -> None:
    story = house.ended(house.say(f"[[say {text}.]] is anybody there, agent?"), 30)
    assert story["reply"]["text"] == f"{text}."


def _anew(house: House, part: str, old: int) -> bool:
    now = house.children().get(part)
    return now is not None and now.pid != old


def test_each_child_comes_back(house: House) -> None:
    """Gateway, node and model, killed with kill -9: each is started again, the others stay, and
    the house answers."""
    house.start("up")
    house.until(house.whole, 20, "everything")
    _answers(house, "Before")
    for part in ("model", "node", "gateway"):
        before = house.children()
        assert set(before) == {"gateway", "node", "model"}
        before[part].kill()
        house.until(partial(_anew, house, part, before[part].pid), 15, f"a new {part}")
        house.until(house.whole, 20, f"everything, after the {part} fell")
        after = house.children()
        for other in set(after) - {part}:
            assert after[other].pid == before[other].pid
        _answers(house, f"After {part}")
    told = (house.home / "up.out").read_text()
    for part in ("model", "node", "gateway"):
        assert f"{part} fell and is started again" in told
    assert house.stop("up", 10) == 0


def test_the_supervisor_itself_is_killed(house: House) -> None:
    """Its children end by themselves, in mid-job, and a new `stead up` takes up their work."""
    if not psutil.LINUX:
        pytest.skip("only Linux tells a child that its parent died")
    house.start("up")
    house.until(house.whole, 20, "everything")
    job_id = house.say("[[first 1500]] [[say Still once.]] a question before the fall")
    house.until(lambda: [c for c in house.calls() if "the fall" in c["owner"]], 10, "the call")
    family = list(house.children().values())
    house.kill("up")
    _, alive = psutil.wait_procs(family, 12)
    assert not alive, alive

    house.start("up")
    house.until(house.whole, 20, "everything anew")
    story = house.ended(job_id, 20)
    assert story["reply"]["text"] == "Still once."
    said = house.get("/api/v1/messages?after=0")["messages"]
    # That no node was there for a moment may have been told; the answer came once.
    roles = [message["role"] for message in said if message["role"] != "notice"]
    assert roles == ["owner", "assistant"]
    assert house.stop("up", 10) == 0


def test_the_working_directory_holds_no_modules(tmp_path: Path) -> None:
    """Started in a directory with a `random.py` of the owner's, every part still runs."""
    for name in ("random.py", "click.py", "stead.py"):
        (tmp_path / name).write_text("raise SystemExit('this is no module of stead')")
    done = subprocess.run(
        [*python(), "-m", "stead", "version"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["stead"]), done.stderr
