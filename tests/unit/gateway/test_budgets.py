"""Money at the gateway's own door: keys, lanes and the day, with a real model server that costs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stead.inference.scripted import Running
from tests.unit.gateway.parts import Answer, Gate, gate_at

_MORE = """
[[backend]]
name = "dear"
url = "{url}"
key_file = "secrets/script.key"
models = [
  {{name = "gold", usd_per_mtok_in = 100.0, usd_per_mtok_out = 1000.0}},
  {{name = "mystery", where = "cloud"}},
]
[[lane]]
name = "cron"
models = ["gold"]
[[lane]]
name = "thrifty"
models = ["gold", "scripted"]
[budget]
daily_usd = 1.0
chat_reserve_usd = 0.4
[[budget.limit]]
lane = "cron"
daily_usd = 0.001
"""


@pytest.fixture
async def shop(tmp_path: Path, scripted: Running) -> AsyncIterator[Gate]:
    """A gateway with a model that costs a cent for ten words."""
    more = _MORE.format(url=scripted.url)
    async with gate_at(tmp_path / "shop", scripted, more=more) as gate:
        yield gate


async def chat(gate: Gate, model: str, *, key: str | None = None, most: int = 10) -> Answer:
    body = {
        "model": model, "max_tokens": most,
        "messages": [{"role": "user", "content": "[[say one two three]]"}],
    }  # fmt: skip
    return await gate.ask("POST", "/v1/chat/completions", body, key=key)


async def key_for(gate: Gate, name: str, **scope: Any) -> str:
    made = await gate.ask("POST", "/api/v1/keys", {"name": name, **scope})
    return str(made.data["key"])


async def until_spent(gate: Gate, wanted: dict[str, tuple[int, int]]) -> None:
    """Until that is spent, by scope, today and this month."""
    found = {}
    for _ in range(500):
        found = await gate.store.view_spent()
        if found == wanted:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(found)


async def test_what_a_call_costs_is_booked_where_it_belongs(shop: Gate) -> None:
    """On its key, its lane and its share, to the micro-dollar; and the client is told."""
    key = await key_for(shop, "desk", day_micro=500_000)
    answer = await chat(shop, "gold", key=key)
    usage = answer.data["usage"]
    cost = usage["prompt_tokens"] * 100 + usage["completion_tokens"] * 1000
    assert int(answer.headers["x-stead-cost-micro"]) == cost > 0
    (made,) = (await shop.ask("GET", "/api/v1/keys")).data["keys"]
    both = (cost, cost)
    await until_spent(shop, {"background": both, f"key:{made['id']}": both})


async def test_the_budget_of_a_key(shop: Gate) -> None:
    """Used up, its paid calls are refused with all that is to be known; free ones go on, and so
    do other keys."""
    key = await key_for(shop, "desk", day_micro=15_000)
    assert (await chat(shop, "gold", key=key)).status == 200
    refused = await chat(shop, "gold", key=key)
    assert (refused.status, refused.error["type"]) == (429, "insufficient_quota")
    told = refused.error["message"]
    for words in ("of the key desk today", "of $0.0150 left", "gold may cost up to", "renews at",
                  "stead key set desk --budget-day", "free"):  # fmt: skip
        assert words in told, told
    assert refused.headers["x-should-retry"] == "false" and int(refused.headers["retry-after"]) > 0
    assert (await chat(shop, "scripted", key=key)).status == 200
    assert (await chat(shop, "gold")).status == 200


async def test_the_budget_of_a_lane(shop: Gate) -> None:
    """A lane has its own; the same model by its name is another matter."""
    refused = await chat(shop, "cron")
    assert refused.status == 429 and "of the lane cron today" in refused.error["message"]
    assert (await chat(shop, "gold")).status == 200


async def test_a_lane_goes_on_with_what_is_free(shop: Gate) -> None:
    """Where a lane has a free model too, an empty budget leads to it, and the row says why."""
    key = await key_for(shop, "desk", day_micro=0)
    answer = await chat(shop, "thrifty", key=key)
    assert answer.status == 200 and "x-stead-cost-micro" not in answer.headers


async def test_the_reserve_of_the_owners_chat(shop: Gate) -> None:
    """A program leaves the reserve alone however often it asks; a way of the owner's own does
    not."""
    program, phone = await key_for(shop, "program"), await key_for(shop, "phone", chat=True)
    refused = await chat(shop, "gold", key=program, most=700)
    assert refused.status == 429 and "kept for the owner's chat" in refused.error["message"]
    assert (await chat(shop, "gold", key=phone, most=700)).status == 200
    assert (await chat(shop, "gold", most=2000)).status == 429


async def test_a_price_that_nobody_knows(shop: Gate) -> None:
    """The call is not made; the error says what to do, and so does `status`."""
    refused = await chat(shop, "mystery")
    assert (refused.status, refused.error["code"]) == (402, "no_price")
    status = (await shop.ask("GET", "/api/v1/status")).data
    assert any("mystery at dear is not asked" in words for words in status["not_yet"])


async def test_in_the_shape_of_the_api_that_was_called(shop: Gate) -> None:
    """Anthropic's clients get Anthropic's errors, with the same headers."""
    key = await key_for(shop, "claude-code", day_micro=0, endpoints=["messages"])
    body = {"model": "gold", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
    answer = await shop.ask("POST", "/v1/messages", body, key="", x_api_key=key)
    assert answer.status == 429 and answer.data["type"] == "error"
    assert "of the key claude-code today" in answer.data["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    refused = await shop.ask("POST", "/v1/embeddings", {"model": "gold", "input": "x"}, key=key)
    assert (refused.status, refused.error["type"]) == (403, "permission_error")
