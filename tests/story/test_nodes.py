"""Two nodes: the main one is preferred, falls silent, comes back, is drained and retired."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.story.house import House

_MORE = """
[nodes]
main = "hands"
failover_s = 3
[[route]]
name = "draws"
to = "node"
match = "draw"
needs = ["gpu"]
"""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[House]:
    """A house with its own node, hands, and a second home, far, that carries the label gpu."""
    house = House(tmp_path / "home", more=_MORE)
    far = tmp_path / "far"
    far.mkdir(mode=0o700)
    (far / "stead.toml").write_text('[node]\nlabels = ["gpu"]\nrefused_s = 0.5\n')
    try:
        house.all_up()
        yield house
    finally:
        house.close()


def _join(house: House) -> Path:
    far = house.home.parent / "far"
    invited = json.loads(house.cli("node", "invite", "far", "--json").stdout)
    joined = house.cli("node", "join", invited["url"], invited["key"], home=far)
    assert joined.returncode == 0, joined.stderr
    house.start_at("far", far, "node", "run")
    house.until(lambda: _node(house, "far").get("alive"), 20, "the second node")
    return far


def _node(house: House, name: str) -> dict[str, Any]:
    nodes = house.get("/api/v1/nodes")["nodes"]
    return next((node for node in nodes if node["name"] == name), {})


def _status(house: House) -> str:
    status = house.get("/api/v1/status")
    return "\n".join(status["works"] + status["not_yet"])


def _by(story: dict[str, Any]) -> list[str]:
    return [attempt["node"] for attempt in story["attempts"]]


def test_failover_and_back(pair: House) -> None:
    """What both could do goes to the main node; killed in mid-job it is waited for as long as was
    set, then the other goes on from its journal, and everyone is told why. Back again the main
    node gets the work again. What only an absent node could do waits, and says so."""
    waiting = pair.say("draw me a house")
    needs = pair.until(lambda: pair.story(waiting)["waits_for_node"], 10, "the reason")
    assert needs == "it needs a node with gpu, and there is none"
    _join(pair)
    assert _by(pair.ended(waiting)) == ["far"]
    for n in range(4):
        assert _by(pair.ended(pair.say("[[say ok]] any of you", session=f"s{n}"))) == ["hands"]
    wished = pair.say("[[say ok]] you there", session="w", prefer=["far"])
    assert _by(pair.ended(wished)) == ["far"]
    avoided = pair.say("[[say ok]] not you", session="w", avoid=["hands"])
    assert _by(pair.ended(avoided)) == ["far"]

    job_id = pair.say("[[tool clock {}]] [[first 1500]] [[say Over.]] go", session="long")
    pair.until(
        lambda: pair.rows("SELECT 1 FROM step WHERE job_id = ? AND seq = 3", job_id), 20, "step 3"
    )
    pair.kill("node")
    pair.until(lambda: pair.story(job_id)["job"]["state"] == "queued", 20, "the lease to end")
    told = pair.story(job_id)["waits_for_node"]
    assert not told or "far gets it once that has lasted 3 s" in told
    story = pair.ended(job_id, 40)
    assert story["reply"]["text"] == "Over." and _by(story) == ["hands", "far"]
    lost, there = story["attempts"]
    assert there["given"].startswith("given to far, because hands was silent for ")
    assert (there["replayed"], there["ran"]) == ([1, 2], [3]) and lost["ran"] == [1, 2, 3]
    why = pair.cli("why", job_id[-8:]).stdout
    assert "because hands was silent for" in why and "replayed steps 1-2" in why
    assert "node hands (main) is away" in _status(pair) and "silent for" in _status(pair)

    pair.start("node")
    pair.until(lambda: _node(pair, "hands").get("silent_ms") is None, 20, "hands to be heard")
    assert _by(pair.ended(pair.say("[[say ok]] again", session="b"))) == ["hands"]


def test_drain_and_retire(pair: House) -> None:
    """A drained node finishes what it has and gets nothing new, also what it alone could do; given
    back it goes on. Retired it is waited for, what cannot move is named, and its process ends by
    itself with exit code 4."""
    _join(pair)
    slow = pair.say("draw [[first 2000]] [[say Drawn.]]", session="slow")
    pair.until(lambda: _node(pair, "far").get("running"), 20, "far to work")
    drained = pair.cli("node", "drain", "far")
    assert "it still has 1 job" in drained.stdout, drained.stderr
    assert "being drained" in _status(pair)
    waiting = pair.say("draw [[say Later.]]", session="later")
    assert _by(pair.ended(slow)) == ["far"]
    pair.until(lambda: "far is being drained" in pair.story(waiting)["waits_for_node"], 10, "why")
    assert "1 job waits" in _status(pair)
    assert pair.cli("node", "drain", "far", "--undo").returncode == 0
    assert _by(pair.ended(waiting)) == ["far"]

    slow = pair.say("draw [[first 5000]] [[say Drawn.]]", session="slow")
    pair.until(lambda: _node(pair, "far").get("running"), 20, "far to work")
    stays = pair.say("draw [[say Kept.]]", session="slow")
    retired = pair.cli("node", "retire", "far")
    assert retired.returncode == 0, retired.stderr
    assert "cannot move (needs gpu)" in retired.stdout and "is retired" in retired.stdout
    assert pair.story(slow)["job"]["state"] == "done"
    assert pair.story(stays)["job"]["state"] == "queued"
    process = pair.parts.pop("far")
    assert process.wait(30) == 4
    assert "stead node invite" in (pair.home / "far.out").read_text()


def test_a_node_that_comes_back_too_late(pair: House) -> None:
    """Stopped past its lease in mid-job and let go on: what it does is refused, kept as a
    discarded attempt that can be looked at, and the owner has one reply."""
    _join(pair)
    job_id = pair.say("draw [[tokens 4]] [[slow 500]] slowly", prefer=["far"], session="d")
    other = pair.home.parent / "far"
    pair.until(lambda: pair.rows("SELECT 1 FROM step WHERE job_id = ?", job_id), 20, "step 1")
    pid = pair.parts["far"].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        pair.until(lambda: pair.story(job_id)["job"]["state"] == "queued", 20, "the lease to end")
        second = _second_gpu(pair)
        story = pair.ended(job_id, 40)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert set(_by(story)) == {"far", "near"} and _by(story)[-1] == "near", story
    assert story["job"]["state"] == "done"
    pair.until(lambda: pair.story(job_id)["attempts"][0]["discarded_at"], 20, "far to come back")
    story = pair.story(job_id)
    assert story["attempts"][-1]["discarded_at"] == 0
    replies = pair.rows("SELECT count(*) FROM message WHERE job_id = ? AND role <> 'owner'", job_id)
    assert replies == [(1,)]

    def whole() -> str:
        told = pair.cli("jobs", "show", job_id[-8:]).stdout
        return told if "its end:" in told else ""  # the end is the last that comes back

    shown = pair.until(whole, 30, "all of the discarded attempt")
    assert "far came back" in shown and "none of it was used" in shown

    def told() -> int:
        log = "".join(path.read_text() for path in (pair.home / "memory").glob("*.md"))
        return log.count("came back after its job had been taken")

    assert pair.until(told, 20, "the daily log") == 1
    assert second.exists() and other.exists()


def _second_gpu(house: House) -> Path:
    near = house.home.parent / "near"
    near.mkdir(mode=0o700)
    (near / "stead.toml").write_text('[node]\nlabels = ["gpu"]\n')
    invited = json.loads(house.cli("node", "invite", "near", "--json").stdout)
    assert house.cli("node", "join", invited["url"], invited["key"], home=near).returncode == 0
    house.start_at("near", near, "node", "run")
    return near
