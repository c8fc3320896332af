"""Tools that run away: each is stopped at its limits, its job goes on, and the owner's chat too."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.story.house import House, house_in
from tests.unit.sandbox.kinds import missing

_MARK = str(86400 + os.getpid())

RUNAWAYS = {
    "burns": (
        "for i in 1 2 3 4 5 6 7 8 9 10; do (while :; do :; done) & done; wait",
        "stopped after|longer",
    ),
    "forks": (":(){ :|:& };:; sleep " + _MARK, "stopped after|fork|processes"),
    "takes memory": (
        "python3 -c \"x = bytearray(b'1') * (3 << 30); print(len(x))\"",
        "memory|Killed|killed|MemoryError",
    ),
    "fills the disk": (
        "for i in $(seq 20); do head -c 500M /dev/zero > full$i; done; sleep " + _MARK,
        "wrote more|disk|too large|stopped after",
    ),
    "prints without end": ("yes spam", "stopped after|left out|cut|wrote"),
    "hides": (
        f"setsid sh -c 'setsid sleep {_MARK} & ' & (sleep {_MARK} &) ; echo hid",
        "hid",
    ),
}


IN_PYTHON = {
    "burns in Python": ("while True: pass", "stopped after|longer"),
    "takes memory in Python": ("x = bytearray(b'1') * (3 << 30)", "memory|Killed|killed|Memory"),
    "forks in Python": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "stopped after|processes|longer|memory",
    ),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if shutil.which("bwrap") is None:
        missing("bubblewrap")
    for made in house_in(tmp_path_factory.mktemp("runaways")):
        (made.home / "workspace").mkdir(exist_ok=True)
        made.all_up()
        yield made


@pytest.mark.parametrize("name", [*RUNAWAYS, *IN_PYTHON])
def test_a_runaway_is_stopped_and_its_job_goes_on(house: House, name: str) -> None:
    """The model is told in words, gives its answer, another message was answered meanwhile, and
    nothing of it is left."""
    tool, argument = ("shell", "command") if name in RUNAWAYS else ("python", "code")
    text, words = (RUNAWAYS | IN_PYTHON)[name]
    # To come to the limit of memory takes its time on a busy machine.
    call = json.dumps({argument: text, "seconds": 60 if "memory" in name else 6})
    job = house.say(f"[[tool {tool} {call}]] [[say Went on.]] {name}", mark="heavy")
    other = house.say("[[say Still here.]] are you there", session="other")
    assert house.ended(other, 60)["reply"]["text"] == "Still here."
    story = house.ended(job, 150)
    assert story["reply"]["text"] == "Went on."
    told = " ".join(str(s["output"]) for s in story["steps"] if s["name"] == f"tool:{tool}")
    assert any(word in told for word in words.split("|")), told[:500]
    until = time.monotonic() + 60
    while left := _left():
        assert time.monotonic() < until, left
        time.sleep(0.05)
    for path in Path(house.home / "workspace").glob("full*"):
        path.unlink()


def test_status_tells_that_sandboxes_hold(house: House) -> None:
    """Once the walls were tried, which goes on beside the start."""

    def told() -> bool:
        return any("run in sandboxes" in line for line in house.get("/api/v1/status")["works"])

    house.until(told, 60, "the walls to have been tried")


def _left() -> list[psutil.Process]:
    """What a runaway tried to leave behind."""
    every = psutil.process_iter(["cmdline"])
    return [one for one in every if _MARK in (one.info["cmdline"] or ())]
