"""No node is there: what arrives is kept, the owner is told once, and it is worked off after."""

from __future__ import annotations

import re
from typing import Any

from tests.story.house import House


def _notices(house: House) -> list[Any]:
    seen = house.get("/api/v1/messages?after=0&limit=500")["messages"]
    return [message["text"] for message in seen if message["role"] == "notice"]


def test_the_node_is_away(house: House) -> None:
    """Queued, told once with count and since when, light talk answered meanwhile, and worked off
    in the order of arrival once a node is back. A second outage is told of anew."""
    house.start("gateway", "model")
    house.until(house.ready, 20, "the gateway")
    jobs = [house.say(f"[[say answer {n}]] task {n} for a node") for n in range(3)]
    jobs += [
        house.say(f"[[say answer {n}]] task {n} for a node", session=f"s{n}") for n in range(3, 5)
    ]
    (told,) = house.until(lambda: _notices(house), 10, "the notice")
    found = re.search(r"(\d) messages? waits? since \d\d:\d\d", told)
    assert found and 1 <= int(found[1]) <= 5, told
    assert "nothing is lost" in told

    light = house.ended(house.say("[[say Hi!]] hello", mark="light", session="talk"), 10)
    assert light["reply"]["text"] == "Hi!"
    jobs.append(house.say("[[say answer 5]] task 5 for a node", session="s5"))
    # Someone who waits at the terminal is told too, why nothing happens.
    status, body = house.call("GET", "/api/v1/status")
    assert status == 200 and body["queue"]["queued"] == 6
    assert any("away" in words for words in body["not_yet"])
    house.ended(house.say("[[say Hi!]] hello again", mark="light", session="talk"), 10)
    assert len(_notices(house)) == 1

    house.start("node")
    stories = [house.ended(job, 20) for job in jobs]
    assert [story["reply"]["text"] for story in stories] == [f"answer {n}" for n in range(6)]
    assert all(len(story["attempts"]) == 1 for story in stories)
    # In order: within the conversation strictly, between them by the time of arrival.
    ends = [story["job"]["ended_at"] for story in stories[:3]]
    begins = [story["job"]["started_at"] for story in stories]
    assert begins[1] >= ends[0] and begins[2] >= ends[1]
    free = [begins[0], *begins[3:]]
    assert free == sorted(free)
    assert all(story["times"]["waited_ms"] > 0 for story in stories)
    assert len(_notices(house)) == 1
    house.until(
        lambda: "a node is back" in "".join(p.read_text() for p in _logs(house)), 5, "the log line"
    )

    house.kill("node")
    last = house.say("[[say answer 6]] task 6 for a node")
    house.until(lambda: len(_notices(house)) == 2, 10, "the second notice")
    house.start("node")
    assert house.ended(last, 20)["reply"]["text"] == "answer 6"
    assert len(_notices(house)) == 2


def _logs(house: House) -> list[Any]:
    return list((house.home / "memory").glob("*.md"))
