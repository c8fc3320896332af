"""A storm of kill -9: gateway, node and model fall at random moments while messages come in."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.story.house import House, house_in

_SESSIONS = 6
_EACH = 10
_STORM_S = 20.0
#: A storm is no fault of any job: none may be given up because of it.
_PATIENT = "max_tries = 50\nmax_crashes = 50\nbackoff_max_s = 0.5"


class _Sender(threading.Thread):
    """One conversation: says its messages one after the other, each until it is accepted."""

    def __init__(self, house: House, session: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.accepted: dict[str, str] = {}
        """Text of a message to the id of its job, in the order said."""
        self.error = ""
        self._house = house
        self._session = session
        self._random = random.Random(seed * 1000 + session)

    def run(self) -> None:
        for number in range(_EACH):
            time.sleep(self._random.uniform(0.2, 1.6 * _STORM_S / _EACH))
            name = f"{self._session}-{number}"
            text = (
                f"[[first 40]] [[tool clock {{}}]] [[slow 8]] [[say reply to {name}.]] say {name}"
            )
            body = {"text": text, "external_id": name, "session": f"s{self._session}"}
            self.accepted[name] = self._say(body)

    def _say(self, body: dict[str, Any]) -> str:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                status, answer = self._house.call("POST", "/api/v1/messages", body, timeout=10)
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)
                continue
            if status == 202:
                return str(answer["job_id"])
            if status < 500:
                self.error = f"{status} {answer}"
                break
            time.sleep(0.05)
        raise AssertionError(f"not accepted: {body} {self.error}")


def _storm(house: House, dice: random.Random) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Kill and start parts for a while; how often which, and what fallen models were asked."""
    kills: Counter[str] = Counter()
    asked: Counter[tuple[str, str]] = Counter()
    until = time.monotonic() + _STORM_S
    while time.monotonic() < until:
        time.sleep(dice.uniform(0.15, 1.4))
        victim = dice.choice(["gateway", "gateway", "node", "node", "model"])
        if victim == "model":
            # A model forgets what it was asked. What it has open now is cut off by the kill;
            # the door may put that to the next one at once, so it does not count as asked.
            asked += _asked(house, but="open")
        house.kill(victim)
        kills[victim] += 1
        time.sleep(dice.choice([0.0, 0.0, 0.1, 0.6]))
        house.start(victim)
    return kills, asked


def _asked(house: House, but: str = "") -> Counter[tuple[str, str]]:
    """How often the model was asked what, by message and hash."""
    try:
        calls = house.calls()
    except (OSError, http.client.HTTPException, ValueError, LookupError):
        return Counter()  # it is not up yet
    return Counter(
        (call["owner"].rpartition("say ")[2], call["hash"])
        for call in calls
        if call["last"] != "ping" and call["outcome"] != but
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7])
def test_a_storm_of_kills(tmp_path: Path, seed: int) -> None:
    """Every message that was accepted is answered exactly once and in its order, no journalled
    step has two outcomes, and the model is asked again only for calls that a kill cut off."""
    for house in house_in(tmp_path, queue=_PATIENT):
        house.all_up()
        senders = [_Sender(house, session, seed) for session in range(_SESSIONS)]
        for sender in senders:
            sender.start()
        kills, asked = _storm(house, random.Random(seed))
        for sender in senders:
            sender.join(90)
            assert len(sender.accepted) == _EACH, (sender.error, house.output())
        assert sum(kills.values()) >= 10 and set(kills) == {"gateway", "node", "model"}
        house.until(house.ready, 30, "the gateway")
        jobs = {name: job for sender in senders for name, job in sender.accepted.items()}
        stories = {name: house.ended(job, 60) for name, job in jobs.items()}
        asked += _asked(house)

        _answered_once_and_in_order(house, jobs, stories)
        _no_outcome_twice(house)
        _nothing_asked_for_nothing(stories, asked)


def _answered_once_and_in_order(
    house: House, jobs: dict[str, str], stories: dict[str, Any]
) -> None:
    assert len(set(jobs.values())) == _SESSIONS * _EACH
    bad = [(n, s["job"]["state"], s["job"]["error"]) for n, s in stories.items()
           if s["job"]["state"] != "done"]  # fmt: skip
    assert not bad
    owners = house.rows("SELECT external_id FROM message WHERE role = 'owner'")
    assert sorted(row[0] for row in owners) == sorted(jobs)
    for session in range(_SESSIONS):
        said = house.rows(
            "SELECT role, text FROM message WHERE session = ? AND role <> 'notice' ORDER BY seq",
            f"s{session}",
        )
        replies = [text for role, text in said if role == "assistant"]
        assert replies == [f"reply to {session}-{number}." for number in range(_EACH)]
    doubled = house.rows(
        "SELECT job_id, count(*) FROM outbox WHERE job_id IS NOT NULL GROUP BY job_id"
        " HAVING count(*) <> 1"
    )
    assert not doubled


def _no_outcome_twice(house: House) -> None:
    twice = house.rows(
        "SELECT job_id, seq, count(*) FROM step WHERE state = 'done' GROUP BY job_id, seq"
        " HAVING count(*) > 1"
    )
    assert not twice
    # Attempts of a job never overlap: the one before has ended when the next begins.
    overlaps = house.rows(
        "SELECT a.job_id, a.epoch FROM attempt a JOIN attempt b ON b.job_id = a.job_id"
        " AND b.epoch = a.epoch + 1 WHERE b.started_at < a.ended_at"
    )
    assert not overlaps


def _nothing_asked_for_nothing(stories: dict[str, Any], asked: Counter[tuple[str, str]]) -> None:
    """Asked more often than once is a message only as often as one of its calls was cut off."""
    again: Counter[str] = Counter()
    for (name, _), count in asked.items():
        again[name] += count - 1
    for name, story in stories.items():
        cut = [
            step for step in story["steps"]
            if step["name"].startswith("model:") and step["state"] in ("unknown", "failed")
        ]  # fmt: skip
        assert again[name] <= len(cut), (name, again[name], story["steps"], story["attempts"])
        for step in cut:
            if step["state"] == "unknown":
                assert "repeated by its rule" in step["note"]
