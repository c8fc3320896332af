"""The rules of the house at the gateway's own door, with real keys and a real model server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stead.inference.scripted import Running
from tests.unit.gateway.parts import Answer, Gate, gate_at

_RULES = """
[[rule]]
name = "names"
then = "redact"
words = ["Walnut"]
[[rule]]
name = "codes"
then = "block"
patterns = ['KD-\\d{4}']
why = "Codes stay at home"
"""


@pytest.fixture
async def strict(tmp_path: Path, scripted: Running) -> AsyncIterator[Gate]:
    """A gateway with rules."""
    async with gate_at(tmp_path / "strict", scripted, more=_RULES) as gate:
        yield gate


async def key_for(gate: Gate, name: str = "desk", **scope: Any) -> str:
    made = await gate.ask("POST", "/api/v1/keys", {"name": name, **scope})
    assert made.status == 201, made
    return str(made.data["key"])


async def chat(
    gate: Gate, text: str = "[[say hi]]", *, key: str | None = None, **more: Any
) -> Answer:
    body = {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}
    return await gate.ask("POST", "/v1/chat/completions", body, key=key)


async def test_a_program_asks_with_its_own_key(gate: Gate) -> None:
    """It is answered, by both ways of showing a key, until the key is revoked."""
    key = await key_for(gate)
    answer = await chat(gate, key=key)
    assert answer.data["choices"][0]["message"]["content"] == "hi"
    body = b'{"model":"scripted","messages":[{"role":"user","content":"[[say hi]]"}]}'
    head = {"x-api-key": key, "content-type": "application/json"}
    got = await gate.client.request("POST", "/v1/chat/completions", body=body, headers=head)
    assert got.status == 200
    assert (await gate.ask("DELETE", "/api/v1/keys/desk")).status == 200
    shut = await chat(gate, key=key)
    assert (shut.status, shut.error["code"]) == (401, "invalid_api_key")


async def test_models_of_a_key(gate: Gate) -> None:
    """It sees what it may ask for, and the agent only if that was said."""
    key = await key_for(gate)
    seen = (await gate.ask("GET", "/v1/models", key=key)).data["data"]
    assert [one["id"] for one in seen][:2] == ["scripted", "main"]
    refused = await chat(gate, key=key, model="stead")
    assert (refused.status, refused.error["code"]) == (403, "forbidden")
    assert (await gate.ask("GET", "/v1/models/stead", key=key)).status == 404
    friend = await key_for(gate, "friend", models=["stead"])
    seen = (await gate.ask("GET", "/v1/models", key=friend)).data["data"]
    assert [one["id"] for one in seen] == ["stead"]


async def test_endpoints_and_rates_of_a_key(gate: Gate) -> None:
    """Refusals have the shape of the API that was called, and say when to come again."""
    narrow = await key_for(gate, "narrow", endpoints=["embeddings"])
    refused = await chat(gate, key=narrow)
    assert (refused.status, refused.error["type"]) == (403, "permission_error")
    assert "narrow is for embeddings" in refused.error["message"]
    slow = await key_for(gate, "slow", requests_per_min=2)
    answers = [await chat(gate, key=slow) for _ in range(3)]
    assert [one.status for one in answers] == [200, 200, 429]
    assert answers[2].error["code"] == "rate_limit_exceeded"
    assert 0 < int(answers[2].headers["retry-after"]) <= 30


async def test_calls_at_once_make_room_when_they_end(gate: Gate) -> None:
    """Also those whose client leaves, and those that fail."""
    key = await key_for(gate, "one", at_once=1)
    for text in ("[[fail 500]]", "[[say hi]]"):
        await chat(gate, text, key=key)
    slow = asyncio.create_task(chat(gate, "[[stall]]", key=key))
    refused = await chat(gate, key=key)
    while refused.status != 429:
        if slow.done():  # it was itself the second one
            slow = asyncio.create_task(chat(gate, "[[stall]]", key=key))
        await asyncio.sleep(0.02)
        refused = await chat(gate, key=key)
    assert "at most 1 at once" in refused.error["message"]
    slow.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await slow
    for _ in range(300):
        answer = await chat(gate, key=key)
        if answer.status == 200:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no room was made")


async def test_rules_on_what_is_said(strict: Gate) -> None:
    """What was to be blacked out never reaches the model; what was to be blocked comes to none."""
    answer = await chat(strict, "[[say Walnut pie]]")
    assert answer.data["choices"][0]["message"]["content"] == "[redacted: word of the list] pie"
    blocked = await chat(strict, "[[say KD-1234]]")
    assert (blocked.status, blocked.error["code"]) == (403, "blocked_by_rule")
    assert "Codes stay at home" in blocked.error["message"] and "1234" not in blocked.raw.decode()
    assert (await chat(strict)).status == 200


_SHADOW = """
[[lane]]
name = "twice"
models = ["scripted"]
shadow = "script/other"
[[rule]]
name = "names"
then = "redact"
words = ["Walnut"]
"""


async def test_a_shadow_is_asked_no_more_than_the_original(
    tmp_path: Path, scripted: Running
) -> None:
    """What was blacked out is so for the shadow; of the rates of a key it takes nothing."""
    more = (
        _SHADOW
        + f"""
[[backend]]
name = "beside"
url = "{scripted.url}"
key_file = "secrets/script.key"
models = [{{name = "other"}}]
"""
    )
    more = more.replace("script/other", "beside/other")
    async with gate_at(tmp_path / "twice", scripted, more=more) as gate:
        key = await key_for(gate, requests_per_min=2)
        for _ in range(2):
            answer = await chat(gate, "[[say Walnut]]", key=key, model="twice")
            assert answer.status == 200
        calls: list[Any] = []
        for _ in range(300):
            found = (await gate.ask("GET", "/api/v1/calls?limit=50")).data["calls"]
            calls = [one for one in found if one["shadow_of"] and one["state"] == "settled"]
            if len(calls) == 2:
                break
            await asyncio.sleep(0.01)
        assert [(one["model"], one["outcome"]) for one in calls] == [("other", "ok")] * 2
        assert all("blacked out" in one["reason"] for one in calls)
        assert (await chat(gate, key=key)).status == 429
