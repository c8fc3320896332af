"""Who may do what at the gateway's door."""

from __future__ import annotations

import asyncio
from typing import Any

from stead.core.keys import new_key
from stead.core.wire import Claim, Events, Finish, Heartbeat, Hello
from tests.unit.gateway.parts import Gate

_OWNER = [
    ("GET", "/api/v1/status"),
    ("GET", "/api/v1/messages"),
    ("POST", "/api/v1/messages"),
    ("GET", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/000000/events"),
    ("POST", "/api/v1/jobs/000000/cancel"),
    ("POST", "/api/v1/jobs/000000/retry"),
    ("POST", "/api/v1/jobs/000000/answer"),
    ("GET", "/api/v1/why/000000"),
    ("GET", "/api/v1/nodes"),
    ("POST", "/api/v1/nodes"),
    ("DELETE", "/api/v1/nodes/hands"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/stead"),
    ("POST", "/v1/chat/completions"),
]
_NODE = {
    "hello": Hello("b"),
    "claim": Claim("r", "b", wait_s=0),
    "heartbeat": Heartbeat("b"),
    "events": Events("e", "j", 1),
    "finish": Finish("f", "j", 1, "done"),
}


def _keys(gate: Gate) -> list[str]:
    """No key, keys of the wrong kind or look, and what is no text."""
    return [
        "",
        new_key("owner"),
        gate.node_key,
        gate.key[:-1],
        gate.key + "x",
        "sj_x_1_chat_" + "0" * 40,
        "sj_",
        "sj_\xe9_1_chat_\xe9\xff",
        "\xff\xfe",
    ]


async def test_owner_routes_take_the_owners_key_alone(gate: Gate) -> None:
    """Every owner's route refuses every other key with 401, and tells nothing of what is there."""
    for method, path in _OWNER:
        for key in _keys(gate):
            answer = await gate.ask(method, path, b"{}" if method == "POST" else None, key=key)
            assert answer.status == 401, (method, path, key)
            assert answer.error["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
            for secret in (gate.key, gate.node_key, str(gate.home), "hands", "Traceback"):
                assert secret not in answer.raw.decode()


async def test_node_routes_take_node_keys_alone(gate: Gate) -> None:
    """The owner's key, a job's key and unknown ones open no call of the node protocol."""
    await gate.accept("hello")
    job = await gate.claim()
    assert job is not None
    for name, body in _NODE.items():
        for key in (gate.key, new_key("node"), job.key, "x", "\xff"):
            answer = await gate.node(name, body, key=key)
            assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), (name, key)


async def test_other_ways_to_show_a_key(gate: Gate) -> None:
    """`x-api-key` is taken too; the scheme's case does not matter; other schemes are no key."""
    paths = {"x-api-key": gate.key}
    got = await gate.client.request("GET", "/api/v1/status", headers=paths)
    assert got.status == 200
    for value, status in (
        (f"bearer {gate.key}", 200),
        (f"BEARER  {gate.key} ", 200),
        (f"Basic {gate.key}", 401),
        (gate.key, 401),
        ("Bearer", 401),
    ):
        got = await gate.client.request("GET", "/api/v1/status", headers={"authorization": value})
        assert got.status == status, value


async def test_health_needs_no_key(gate: Gate) -> None:
    """A watchdog sees whether it lives without a key, and no more than that."""
    healthy = await gate.ask("GET", "/healthz", key="")
    assert (healthy.status, healthy.data) == (200, {"ok": True})
    ready = await gate.ask("GET", "/readyz", key="")
    assert ready.status == 503  # nobody said that this composition is up
    assert ready.data == {"ready": False, "why": "starting"}


async def test_a_jobs_key_opens_the_model_door_while_its_epoch_lives(gate: Gate) -> None:
    """The key in a claim asks models for that job, does nothing else, and ends with the epoch."""
    await gate.accept("hello")
    job = await gate.claim()
    assert job is not None
    ask = {"model": "scripted", "messages": [{"role": "user", "content": "[[say hi]]"}]}

    answer = await gate.ask("POST", "/v1/chat/completions", ask, key=job.key)
    assert answer.data["choices"][0]["message"]["content"] == "hi"
    assert (await gate.ask("GET", "/v1/models", key=job.key)).status == 200
    for method, path in (("GET", "/api/v1/status"), ("POST", "/api/v1/messages")):
        assert (await gate.ask(method, path, key=job.key)).status == 401
    # An agent cannot talk to itself through its own key.
    agent = await gate.ask("POST", "/v1/chat/completions", {**ask, "model": "stead"}, key=job.key)
    assert (agent.status, agent.error["code"]) == (404, "model_not_found")
    calls: list[Any] = []
    while len(calls) < 2:  # they are written a moment later
        calls = (await gate.why(job.id))["calls"]
    assert [call["caller"] for call in calls] == ["job", "job"]
    assert [call["outcome"] for call in calls] == ["ok", "model_not_found"]

    forged = job.key.replace(f"_{job.epoch}_", f"_{job.epoch + 1}_")
    assert (await gate.ask("POST", "/v1/chat/completions", ask, key=forged)).status == 401

    assert (await gate.finish(job)).status == 200
    over = await gate.ask("POST", "/v1/chat/completions", ask, key=job.key)
    assert (over.status, over.error["code"]) == (403, "forbidden")


async def test_a_jobs_key_ends_when_its_lease_runs_out(gate: Gate) -> None:
    """A worker that was given up cannot spend on: its key belongs to an older epoch."""
    await gate.accept("hello")
    job = await gate.claim()
    assert job is not None
    again = None
    for _ in range(200):  # the lease is 1 s
        again = again or await gate.claim(wait_s=0.1)
    assert again is not None
    assert (again.id, again.epoch) == (job.id, job.epoch + 1)
    ask = {"model": "scripted", "messages": [{"role": "user", "content": "[[say hi]]"}]}
    assert (await gate.ask("POST", "/v1/chat/completions", ask, key=job.key)).status == 403
    assert (await gate.ask("POST", "/v1/chat/completions", ask, key=again.key)).status == 200


async def test_a_revoked_node_is_refused_at_once(gate: Gate) -> None:
    """Revoked: its next call is 401, the claim it holds open ends, and it gets no job by it."""
    made = await gate.ask("POST", "/api/v1/nodes", {"name": "far"})
    assert made.status == 201
    key = made.data["key"]
    assert (await gate.node("hello", Hello("b1"), key=key)).status == 200
    waiting = asyncio.create_task(gate.node("claim", Claim("r1", "b1", wait_s=30), key=key))
    for _ in range(500):
        status = (await gate.ask("GET", "/api/v1/status")).data
        if any(node["name"] == "far" and node["alive"] for node in status["nodes"]):
            break
    gone = await gate.ask("DELETE", "/api/v1/nodes/far")
    assert (gone.status, gone.data) == (200, {"name": "far", "revoked": True})

    cut = await asyncio.wait_for(waiting, 60)
    assert (cut.status, cut.error["code"]) == (401, "invalid_api_key")
    await gate.accept("not for far")
    for name, body in _NODE.items():
        assert (await gate.node(name, body, key=key)).status == 401, name
    status = (await gate.ask("GET", "/api/v1/status")).data
    assert [node["name"] for node in status["nodes"]] == ["hands"]
    assert (await gate.ask("DELETE", "/api/v1/nodes/far")).status == 404

    # The name can be invited anew, with another key; the old one stays shut.
    new = await gate.ask("POST", "/api/v1/nodes", {"name": "far"})
    assert new.data["key"] != key
    assert (await gate.node("hello", Hello("b2"), key=new.data["key"])).status == 200
    assert (await gate.node("hello", Hello("b3"), key=key)).status == 401
    assert await gate.claim(key=new.data["key"]) is not None


async def test_revoking_beats_a_look_under_way(gate: Gate) -> None:
    """A key that is looked up just while it is revoked is not remembered as good."""
    made = await gate.ask("POST", "/api/v1/nodes", {"name": "far"})
    key = made.data["key"]
    results = await asyncio.gather(
        *(gate.node("heartbeat", Heartbeat("b"), key=key) for _ in range(8)),
        gate.ask("DELETE", "/api/v1/nodes/far"),
        *(gate.node("heartbeat", Heartbeat("b"), key=key) for _ in range(8)),
    )
    assert {answer.status for answer in results} <= {200, 401}
    assert (await gate.node("heartbeat", Heartbeat("b"), key=key)).status == 401


async def test_node_names_that_would_not_do(gate: Gate) -> None:
    """A node's name is short and plain, so that it can be typed, shown and put in a path."""
    for name in ("", "a b", "../x", "-a", "x" * 64, "ü", "a\n"):
        answer = await gate.ask("POST", "/api/v1/nodes", {"name": name})
        assert (answer.status, answer.error["param"]) == (400, "name"), name
    taken = await gate.ask("POST", "/api/v1/nodes", {"name": "hands"})
    assert taken.status == 400 and "already" in taken.error["message"]
