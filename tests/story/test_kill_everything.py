"""Gateway and node are killed at every step boundary in turn: nothing lost, nothing done twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.story.house import House

TEXT = (
    '[[first 120]] [[tool clock {}]] [[tool host_facts {"about": "disk"}]]'
    " [[say It is done.]] take a look"
)

#: (steps in the journal, of which with an outcome): the boundaries of this message.
#: Tools without effects have no intent, so two steps may end at one look.
BOUNDARIES = [(0, 0), (1, 0), (2, 2), (3, 2), (4, 4), (5, 4), (5, 5)]


@dataclass
class _Known:
    """The journal at the moment of the kill."""

    outcomes: dict[int, str]
    calls: Counter[str]


def _journal(house: House, job_id: str) -> list[tuple[int, str]]:
    rows = house.rows("SELECT seq, state FROM step WHERE job_id = ? ORDER BY seq, epoch", job_id)
    return [(row[0], row[1]) for row in rows]


def _at(house: House, job_id: str, boundary: tuple[int, int]) -> bool:
    """Whether the journal has come to a boundary, or past it."""
    journal = _journal(house, job_id)
    done = sum(1 for _, state in journal if state == "done")
    return len(journal) >= boundary[0] and done >= boundary[1]


def _asked(house: House) -> Counter[str]:
    """How often the model was asked what, but for the warming-up at each start of the gateway."""
    return Counter(call["hash"] for call in house.calls() if call["last"] != "ping")


def _outcomes(house: House, job_id: str) -> dict[int, str]:
    rows = house.rows("SELECT seq, output FROM step WHERE job_id = ? AND state = 'done'", job_id)
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("victim", ["gateway", "node"])
def test_killed_at_every_boundary(house: House, victim: str) -> None:
    """0 lost messages, 0 doubled replies, 0 journalled steps run again, whoever is killed when.

    A model call that was in flight at the kill may be asked again (its rule is
    repeat); it is shown as such in the journal.
    """
    house.all_up()
    lost, doubled, again, repeated = 0, 0, 0, 0
    jobs: list[str] = []
    for boundary in BOUNDARIES:
        job_id = house.say(f"{TEXT} at {boundary}")
        jobs.append(job_id)
        house.until(partial(_at, house, job_id, boundary), 20, f"boundary {boundary}")
        house.kill(victim)
        known = _Known(_outcomes(house, job_id), _asked(house))
        house.start(victim)
        house.until(house.ready, 20, "the gateway")
        story = house.ended(job_id, 40)

        assert story["job"]["state"] == "done", story
        lost += story["reply"]["text"] != "It is done."
        again += _run_again(known, _outcomes(house, job_id), story)
        # In flight at the kill: never known (node killed), or seen to break (gateway killed).
        repeated += sum(1 for step in story["steps"] if step["state"] in ("unknown", "failed"))
        assert story["job"]["tries"] == 0, "a gateway that was away costs the job no try"
        for step in story["steps"]:
            if step["state"] == "unknown":
                assert "repeated by its rule" in step["note"]
    for job_id in jobs:
        replies = house.rows(
            "SELECT count(*) FROM message WHERE job_id = ? AND role = 'assistant'", job_id
        )[0][0]
        lost += replies == 0
        doubled += replies > 1
    # What the journal has was asked once; only calls in flight at a kill were asked again.
    most = _asked(house)
    assert sum(count - 1 for count in most.values()) <= repeated
    assert (lost, doubled, again) == (0, 0, 0)


def _run_again(known: _Known, after: dict[int, str], story: dict[str, Any]) -> int:
    """How many steps that had an outcome at the kill were run or paid again."""
    rows = Counter(step["seq"] for step in story["steps"])
    return sum(
        1 for seq, output in known.outcomes.items() if rows[seq] != 1 or after.get(seq) != output
    )


def test_killed_model(house: House) -> None:
    """A model killed while it answers is waited for, and the message is answered once."""
    house.all_up()
    job_id = house.say("[[first 400]] [[say Still here.]] tell me something long")
    house.until(lambda: _at(house, job_id, (1, 0)), 10, "the call")
    house.kill("model")
    house.start("model")
    story = house.ended(job_id, 40)
    assert story["reply"]["text"] == "Still here."
    replies = house.rows("SELECT count(*) FROM message WHERE job_id = ?", job_id)[0][0]
    assert replies == 2
