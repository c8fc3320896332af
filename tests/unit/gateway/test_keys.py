"""The keys of programs: made once, scoped, and shut at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from stead.core.errors import WrongKey
from stead.core.keys import new_key
from stead.gateway.auth import Keys
from tests.unit.gateway.parts import Gate


def keys_of(gate: Gate) -> Keys:
    keys = gate.parts.keys
    assert isinstance(keys, Keys)
    return keys


async def make(gate: Gate, name: str = "desk", **scope: Any) -> dict[str, Any]:
    answer = await gate.ask("POST", "/api/v1/keys", {"name": name, **scope})
    assert answer.status == 201, answer
    made: dict[str, Any] = answer.data
    return made


async def test_a_key_is_shown_once_and_stored_hashed(gate: Gate) -> None:
    """Who makes a key sees it in the answer and nowhere else, neither by the API nor on disk."""
    made = await make(gate, lanes=["light"], requests_per_min=3)
    key = made["key"]
    assert key.startswith("sp_") and len(key) > 40
    assert made["scope"]["lanes"] == ["light"] and made["scope"]["day_micro"] == -1
    for path in ("/api/v1/keys", "/api/v1/keys/desk", "/api/v1/keys?all=1"):
        shown = await gate.ask("GET", path)
        assert shown.status == 200 and key.encode() not in shown.raw
    files = [file for file in gate.home.rglob("*") if file.is_file()]
    assert files and not any(key.encode() in file.read_bytes() for file in files)


async def test_whose_key_it_is(gate: Gate) -> None:
    """A key tells the program's name and whose share of the money it is; wrong ones are refused."""
    keys = keys_of(gate)
    made, phone = await make(gate), await make(gate, "phone", chat=True)
    who = keys.who(made["key"])
    assert (who.name, who.key_id, who.job_id, who.lane) == ("desk", made["id"], None, "background")
    assert keys.who(phone["key"]).lane == "chat"
    assert (keys.who(gate.key).name, keys.who(gate.key).key_id) == ("owner", "")
    for wrong in (
        "",
        made["key"][:-1],
        made["key"] + "x",
        new_key("program"),
        gate.node_key,
        "\xff",
    ):
        with pytest.raises(WrongKey):
            keys.who(wrong)


async def test_a_program_is_no_owner(gate: Gate) -> None:
    """A program's key opens no route of the owner's and none of the nodes'."""
    key = (await make(gate))["key"]
    for method, path in (
        ("GET", "/api/v1/status"),
        ("GET", "/api/v1/keys"),
        ("POST", "/api/v1/keys"),
    ):
        assert (await gate.ask(method, path, key=key)).status == 401, path
    assert (await gate.ask("POST", "/node/v1/claim", b"{}", key=key)).status == 401


async def test_a_revoked_key_is_shut_at_once(gate: Gate) -> None:
    """When the answer to the revocation is there, the key opens nothing, whatever ran beside."""
    keys = keys_of(gate)
    key = (await make(gate))["key"]
    others = [gate.ask("POST", "/api/v1/keys", {"name": f"other-{n}"}) for n in range(4)]
    gone, *_ = await asyncio.gather(gate.ask("DELETE", "/api/v1/keys/desk"), *others)
    assert (gone.status, gone.data["state"]) == (200, "revoked")
    with pytest.raises(WrongKey):
        keys.who(key)
    names = [one["name"] for one in (await gate.ask("GET", "/api/v1/keys")).data["keys"]]
    assert names == [f"other-{n}" for n in range(4)]
    assert (await gate.ask("DELETE", "/api/v1/keys/desk")).status == 404
    again = await make(gate)
    assert keys.who(again["key"]).name == "desk"
    with pytest.raises(WrongKey):
        keys.who(key)


async def test_a_key_ends_with_its_time(gate: Gate) -> None:
    """An expired key is refused with what to do, and holds again when it is given more time."""
    keys = keys_of(gate)
    key = (await make(gate, expires_at=int(time.time() * 1000) - 1))["key"]
    with pytest.raises(WrongKey, match="stead key set desk --expires"):
        keys.who(key)
    assert (await gate.ask("GET", "/api/v1/keys/desk")).data["state"] == "expired"
    later = {"expires_at": int(time.time() * 1000) + 60_000}
    assert (await gate.ask("POST", "/api/v1/keys/desk", later)).status == 200
    assert keys.who(key).name == "desk"


async def test_a_change_holds_at_once_and_leaves_the_rest(gate: Gate) -> None:
    """What is not named in a change stays as it was."""
    made = await make(gate, models=["a", "b"], at_once=2)
    changed = await gate.ask("POST", "/api/v1/keys/desk", {"at_once": 5, "local_only": True})
    assert (
        changed.data["scope"] | {"at_once": 5, "local_only": True, "models": ["a", "b"]}
        == (changed.data["scope"])
    )
    scope = keys_of(gate).scope(made["id"])
    assert scope is not None
    assert (scope.models, scope.at_once, scope.local_only) == (("a", "b"), 5, True)
    assert scope.names == frozenset({"a", "b"})


async def test_keys_that_would_not_do(gate: Gate) -> None:
    """What cannot be a key's name or scope is refused with the name of the field."""
    for body, param in (
        ({}, "name"), ({"name": ""}, "name"), ({"name": "a b"}, "name"),
        ({"name": "owner"}, "name"),
        ({"name": "job"}, "name"), ({"name": "x" * 64}, "name"), ({"name": "ü"}, "name"),
        ({"name": "a", "endpoints": ["chat"]}, "endpoints"),
        ({"name": "a", "lanes": [""]}, "lanes"),
        ({"name": "a", "at_once": -1}, "at_once"), ({"name": "a", "day_micro": -2}, "day_micro"),
        ({"name": "a", "models": ["x\n"]}, "models"), ({"name": "a", "tokens": 1}, None),
        ({"name": "a", "expires_at": 10**19}, "expires_at"),
    ):  # fmt: skip
        answer = await gate.ask("POST", "/api/v1/keys", body)
        assert (answer.status, answer.error["param"]) == (400, param), (body, answer)
    assert (await gate.ask("GET", "/api/v1/keys")).data == {"keys": []}
    for method in ("GET", "POST", "DELETE"):
        assert (await gate.ask(method, "/api/v1/keys/none", {})).status == 404


_FIELDS = {
    "/v1/chat/completions": ("model", "messages"),
    "/v1/messages": ("model", "messages", "max_tokens"),
    "/v1/responses": ("model", "input"),
}


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(3000):
        if await holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("what was waited for did not happen within a minute")


async def _under_way(gate: Gate, model: str) -> bool:
    """Whether the model has begun with what the key `desk` asks."""
    if model == "stead":
        jobs = (await gate.ask("GET", "/api/v1/jobs")).data["jobs"]
        return [job["state"] for job in jobs] == ["running"]
    calls = (await gate.ask("GET", "/api/v1/calls?key=desk")).data["calls"]
    return len(calls) == 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1/chat/completions", "scripted"),
        ("/v1/messages", "scripted"),
        ("/v1/responses", "scripted"),
        ("/v1/chat/completions", "stead"),
    ],
)
async def test_what_a_revoked_key_was_being_answered_ends(
    gate: Gate, path: str, model: str, stream: bool
) -> None:
    """Who is in the middle of an answer when his key is taken back is told so in the shape of the
    API that he called, and hears no more; the row says it, and others go on. What the agent was
    asked was accepted, and goes on."""
    gate.work()
    key, other = (await make(gate, models=[model]))["key"], (await make(gate, "other"))["key"]
    said = [{"role": "user", "content": "[[slow 20]] [[tokens 9000]]"}]
    body = {"model": model, "messages": said, "input": said[0]["content"], "max_tokens": 9000}
    body = {name: body[name] for name in _FIELDS[path]} | {"stream": stream}
    more = {"model": "scripted", "messages": said, "stream": True}

    async def revoke() -> None:
        assert (await gate.ask("DELETE", "/api/v1/keys/desk")).status == 200

    async with await gate.open("POST", "/v1/chat/completions", more, key=other) as going:
        rest = aiter(going)
        assert await anext(rest)
        if stream:
            async with await gate.open("POST", path, body, key=key) as streamed:
                pieces = aiter(streamed)
                told = await anext(pieces)
                await revoke()
                async for piece in pieces:
                    told += piece
            assert b"[DONE]" not in told and b"message_stop" not in told
            assert b"response.completed" not in told
            error = json.loads(told.rstrip().rpartition(b"data: ")[2])
            error = error.get("error", error)
            error = error.get("response", {}).get("error", error) if "response" in error else error
        else:
            asking = asyncio.create_task(gate.ask("POST", path, body, key=key))
            await _until(lambda: _under_way(gate, model))
            await revoke()
            answer = await asking
            assert answer.status == 401
            error = answer.data["error"]
        assert "taken back" in error["message"]
        assert await anext(rest), "who has another key goes on"
    if model != "stead":

        async def told_of() -> bool:
            calls = (await gate.ask("GET", "/api/v1/calls?key=desk")).data["calls"]
            assert len(calls) <= 1
            if [call["outcome"] for call in calls] != ["key_revoked"]:
                return False
            assert not stream or calls[0]["completion_tokens"] > 0
            return True

        await _until(told_of)
    else:
        jobs = (await gate.ask("GET", "/api/v1/jobs")).data["jobs"]
        assert [job["state"] for job in jobs] == ["running"]


async def test_a_stream_that_waits_for_its_first_word_ends_too(gate: Gate) -> None:
    """Nothing of the answer is out when the key is taken back: it is refused, as any other is."""
    key = (await make(gate))["key"]
    said = [{"role": "user", "content": "[[first 60000]] [[tokens 10]]"}]
    body = {"model": "scripted", "messages": said, "stream": True}
    asking = asyncio.create_task(gate.ask("POST", "/v1/chat/completions", body, key=key))
    await _until(lambda: _under_way(gate, "scripted"))
    assert (await gate.ask("DELETE", "/api/v1/keys/desk")).status == 200
    told = (await asking).raw
    assert b"taken back" in told and b"[DONE]" not in told
