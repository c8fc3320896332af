"""A job that kills whatever works on it: it dies of it, and nobody else does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.story.house import House, house_in

_NEIGHBOURS = 3
#: Time enough for the poison to be at work beside the others.
_WORK = "[[first 1500]]"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    yield from house_in(tmp_path, more="slots = 5\nchat_slots = 0")


def _at_work(house: House, poison: str) -> int:
    """The attempt at the poison that is under way and has begun its step; 0: none."""
    found = house.rows(
        "SELECT j.epoch FROM job j JOIN step s ON s.job_id = j.id AND s.epoch = j.epoch"
        " WHERE j.id = ? AND j.state = 'running'",
        poison,
    )
    return int(found[0][0]) if found else 0


def _over(house: House, job_ids: list[str]) -> bool:
    marks = ",".join("?" * len(job_ids))
    (count,) = house.rows(
        f"SELECT count(*) FROM job WHERE id IN ({marks}) AND state IN ('done', 'dead')", *job_ids
    )[0]
    return bool(count == len(job_ids))


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["chat", "background"])
def test_the_poison_dies_and_nobody_else(house: House, lane: str) -> None:
    """Whenever the poison is at work its node is killed at once, with all that runs beside it.
    After three such deaths it is dead, its evidence is kept and the owner told once; its
    neighbours, and who came meanwhile, are answered."""
    house.all_up()
    poison = house.say(f"{_WORK} [[say never]] poison, agent", session="p", lane=lane)
    jobs = [
        house.say(f"{_WORK} [[say done {n}]] agent", session=f"s{n}", lane=lane)
        for n in range(_NEIGHBOURS)
    ]
    # All are at work at the first death, so none is known to be innocent.
    running = "SELECT 1 FROM job WHERE state = 'running'"
    house.until(lambda: len(house.rows(running)) == 4, 20, "all to be at work")
    killed: set[int] = set()
    until = time.monotonic() + 90
    while not _over(house, [poison, *jobs]):
        assert time.monotonic() < until, house.output()
        attempt = _at_work(house, poison)
        if attempt and attempt not in killed:
            killed.add(attempt)
            house.kill("node")
            house.start("node")
            if len(killed) == 1:
                jobs.append(house.say("[[say done too]] agent", session="late", lane=lane))
        time.sleep(0.005)
    assert len(killed) == 3
    for job_id in jobs:
        assert house.story(job_id)["job"]["state"] == "done"
    _evidence(house, poison)


def _evidence(house: House, poison: str) -> None:
    story: Any = house.story(poison)
    assert story["job"]["state"] == "dead" and story["job"]["crashes"] == 3
    crashed = [one for one in story["attempts"] if one["outcome"] == "crashed"]
    assert len(crashed) == 3
    assert all(one["node"] == "hands" and one["ended_at"] for one in crashed)
    assert all("under way: step 1, model:main" in one["under_way"] for one in crashed)
    told = house.rows("SELECT text FROM message WHERE job_id = ? AND role = 'notice'", poison)
    assert len(told) == 1 and "vanished 3 times" in told[0][0]
    shown = house.cli("jobs", "--state", "dead").stdout
    assert "vanished 3 times" in shown and "step 1, model:main" in shown
    assert "on hands, under way: step 1" in house.cli("why", poison).stdout
