"""What is remembered, through the owner's API of a real gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

from stead.app import memory
from tests.unit.gateway.parts import Gate


async def test_what_was_said_is_found(gate: Gate) -> None:
    """A message is found with its source as soon as it is in the daily log; the status and the
    index tell of it."""
    await gate.say("[[say Noted.]] The boiler was serviced.", metadata={"mark": "light"})
    async with asyncio.timeout(60):
        while True:
            answer = await gate.ask("GET", f"/api/v1/memory/search?q={quote('boiler serviced')}")
            assert answer.status == 200, answer
            if answer.data["hits"]:
                break
            await asyncio.sleep(0.02)
    hit = answer.data["hits"][0]
    assert "boiler was serviced" in hit["text"]
    assert hit["source"].startswith("memory/")
    assert hit["layer"] == "daily"
    stats = await gate.ask("GET", "/api/v1/memory/stats")
    assert stats.data["by_layer"]["daily"] >= 1
    status = await gate.ask("GET", "/api/v1/status")
    assert status.data["memory"]["running"]
    assert any("memory:" in line for line in status.data["works"])


async def test_a_new_index_is_made_on_demand(gate: Gate) -> None:
    """It goes on by itself; a look tells how far it is, and at last what it holds."""
    begun = await gate.ask("POST", "/api/v1/memory/reindex")
    assert begun.status == 202
    async with asyncio.timeout(60):
        while True:
            state = (await gate.ask("GET", "/api/v1/memory/reindex")).data
            if not state["running"]:
                break
            await asyncio.sleep(0.02)
    assert state["report"]["rebuilt"]
    refreshed = await gate.ask("POST", "/api/v1/memory/refresh")
    assert refreshed.data["stale"] == ""


async def test_bad_questions_are_refused_with_the_field(gate: Gate) -> None:
    """A clear error, and nothing is started for it."""
    for query, field in (
        ("limit=0", "limit"), ("limit=x", "limit"), ("layer=attic", "layer"),
        ("since=-1", "since"), ("q=" + "x" * 3000, "q"),
    ):  # fmt: skip
        answer = await gate.ask("GET", f"/api/v1/memory/search?{query}")
        assert (answer.status, answer.error["param"]) == (400, field), answer
    assert (await gate.ask("GET", "/api/v1/memory/search?q=x", key="so_wrong")).status == 401
    status = await gate.ask("GET", "/api/v1/status")
    assert not status.data["memory"]["running"]


def test_without_a_gateway_the_index_is_opened_by_itself(tmp_path: Path) -> None:
    """As a command does while the gateway is down."""
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "MEMORY.md").write_text("# House\n\n- the boiler is from 1998\n")
    found = memory.search(tmp_path, text="boiler", layers=("standing",), limit=5)
    assert [hit["text"] for hit in found["hits"]] == ["the boiler is from 1998"]
    assert memory.reindex(tmp_path, lambda done, total: None)["total"] == 1
    assert memory.stats(tmp_path)["by_layer"] == {"standing": 1}
