"""The audit, end to end: who asked, for what, what became of it, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stead.inference.scripted import Running
from tests.unit.gateway.parts import MAX_BODY, Gate, gate_at

_CHAT = "/v1/chat/completions"
_KEEP = '[audit]\nkeep = "all"\nredact = false\n[[audit.rule]]\nkey = "diary"\nkeep = "none"\n'


@pytest.fixture
async def keeping(tmp_path: Path, scripted: Running) -> AsyncIterator[Gate]:
    """A gateway that keeps all bodies, but for those of the key ``diary``."""
    async with gate_at(tmp_path / "home", scripted, more=_KEEP) as gate:
        yield gate


def ask(text: str = "[[say hello]]", **more: Any) -> dict[str, Any]:
    return {"model": "scripted", "messages": [{"role": "user", "content": text}], **more}


async def rows(gate: Gate, many: int, **filters: str) -> list[dict[str, Any]]:
    """The calls, the newest first, once there are so many that are over."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    for _ in range(500):
        answer = await gate.ask("GET", f"/api/v1/calls?{query}")
        assert answer.status == 200, answer
        found = [one for one in answer.data["calls"] if one["state"] != "reserved"]
        if len(found) >= many:
            break
        await asyncio.sleep(0.01)
    return list(found)


async def new_key(gate: Gate, name: str, **scope: Any) -> str:
    made = await gate.ask("POST", "/api/v1/keys", {"name": name, **scope})
    assert made.status == 201, made
    return str(made.data["key"])


async def test_a_request_and_its_row(gate: Gate) -> None:
    """An answer names its row, and the row says who asked, what, where it went, why, what it used,
    how long it took, and how it ended; streamed or not."""
    key = await new_key(gate, "notes")
    whole = await gate.ask("POST", _CHAT, ask(), key=key)
    streamed = await gate.ask("POST", _CHAT, ask(stream=True), key=key)
    second, first = await rows(gate, 2)
    for row, answer in ((first, whole), (second, streamed)):
        assert row["id"] == answer.headers["x-stead-call"]
        assert (row["caller"], row["asked"], row["model"], row["backend"]) == (
            "notes", "scripted", "scripted", "script",
        )  # fmt: skip
        assert row["key_id"] and row["instance"].startswith("127.0.0.1:") and row["reason"]
        assert (row["status"], row["outcome"], row["error"]) == (200, "ok", "")
        assert row["prompt_tokens"] > 0 and row["completion_tokens"] > 0
        assert 0 <= row["waited_ms"] <= row["first_ms"] <= row["total_ms"]
        assert row["bytes_in"] > 50 and row["bytes_out"] > 50
    assert (first["stream"], second["stream"]) == (False, True)
    assert first["bytes_out"] == len(whole.raw)
    story = await gate.ask("GET", f"/api/v1/calls/{first['id'][-8:]}")
    assert story.data["id"] == first["id"] and story.data["bodies"] is None


async def test_what_was_refused_has_a_row(gate: Gate) -> None:
    """A refusal leaves a row with its reason; an unknown key none, so that no stranger can fill
    the disk, but it is counted."""
    local = await new_key(gate, "narrow", models=["other"])
    for body, key, status in (
        (ask() | {"model": "nope"}, None, 404),
        (b"{not json", None, 400),
        (ask("[[fail 500]]"), None, 500),
        (ask(), local, 403),
    ):
        answer = await gate.ask("POST", _CHAT, body, key=key)
        assert answer.status == status, answer
    for _ in range(3):
        assert (await gate.ask("POST", _CHAT, ask(), key="sk_stranger")).status == 401
    found = await rows(gate, 4)
    assert len(found) == 4
    assert {row["outcome"] for row in found} >= {"model_not_found", "bad_request", "forbidden"}
    assert all(row["error"] and row["outcome"] not in ("ok", "left", "") for row in found)
    assert gate.parts.audit.meter.wrong_keys == 3
    status = (await gate.ask("GET", "/api/v1/status")).data
    assert sum(one["errors"] for one in status["today"]["backends"]) == 4


async def test_what_could_not_be_read_has_a_row(gate: Gate) -> None:
    """A request that is too large, or whose client goes before it is whole, leaves a row with whose
    it was; also where the length is not told before."""
    head = f"POST {_CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gate.key}\r\n"
    large = b"x" * (MAX_BODY + 1)
    assert (await gate.ask("POST", _CHAT, large)).status == 413
    chunk = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(large), large)
    assert b" 413 " in (await gate.raw(head.encode() + chunk))
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(head.encode() + b"content-length: 100\r\n\r\n{")
    await writer.drain()
    writer.write_eof()
    assert b" 400 " in await reader.read()
    writer.close()
    found = await rows(gate, 3)
    assert sorted(row["outcome"] for row in found) == [
        "bad_request", "body_too_large", "body_too_large"
    ]  # fmt: skip
    assert all(row["caller"] == "owner" and row["error"] for row in found)


async def test_what_is_kept(keeping: Gate) -> None:
    """Where the owner says so, what was asked and answered is kept and shown, also of streams and
    errors; never for the key that a rule leaves out."""
    gate = keeping
    diary = await new_key(gate, "diary")
    for body, key in (
        (ask("[[say one]]"), None), (ask("[[say two]]", stream=True), None),
        (ask("[[say secret]]"), diary), (ask() | {"model": "nope"}, None),
    ):  # fmt: skip
        await gate.ask("POST", _CHAT, body, key=key)
    found = await rows(gate, 4)
    await gate.parts.audit.bodies.aclose()
    nope, secret, two, one = [
        (await gate.ask("GET", f"/api/v1/calls/{row['id']}/bodies")) for row in found
    ]
    assert one.data["answer"]["words"] == "one" and "[[say one]]" in one.data["request"]["text"]
    assert two.data["answer"]["words"] == "two"
    assert two.data["answer"]["type"].startswith("text/event-stream")
    assert secret.status == 404 and "[audit]" in secret.error["message"]
    assert "nope" in nope.data["answer"]["words"]


async def test_lists_and_sums(gate: Gate) -> None:
    """The owner lists, filters and sums; who has another key does not."""
    notes = await new_key(gate, "notes")
    for key in (notes, None, None):
        await gate.ask("POST", _CHAT, ask(), key=key)
    await rows(gate, 3)
    assert len(await rows(gate, 1, key="notes")) == 1
    assert len(await rows(gate, 0, outcome="error")) == 0
    sums = (await gate.ask("GET", "/api/v1/calls/sums?by=key")).data["sums"]
    assert {one["key"]: one["calls"] for one in sums} == {"owner": 2, "notes": 1}
    for path in ("", "/sums", f"/{'0' * 8}", f"/{'0' * 8}/bodies"):
        assert (await gate.ask("GET", f"/api/v1/calls{path}", key=notes)).status == 401
    for query in ("since=soon", "status=odd", "colour=red"):
        assert (await gate.ask("GET", f"/api/v1/calls?{query}")).status == 400
    assert (await gate.ask("GET", "/api/v1/calls/sums?by=moon")).status == 400
    assert (await gate.ask("GET", "/api/v1/calls/ffffffff")).status == 404


async def test_who_reads_the_metrics(gate: Gate) -> None:
    """The owner, and a key made for it; nobody else, not even on this machine, unless the owner
    opens it to this machine, which holds at once."""
    reader = await new_key(gate, "prometheus", endpoints=["metrics"])
    other = await new_key(gate, "notes")
    await gate.ask("POST", _CHAT, ask())
    await rows(gate, 1)
    for key in (None, reader):
        page = await gate.ask("GET", "/metrics", key=key)
        assert page.status == 200 and page.headers["content-type"].startswith("text/plain")
        families = {one.name: one for one in text_string_to_metric_families(page.raw.decode())}
        (sample,) = families["stead_requests"].samples
        assert (sample.labels["outcome"], sample.value) == ("ok", 1)
        assert "gen_ai_client_operation_duration_seconds" in families
        (up,) = families["stead_upstream_up"].samples
        assert (up.labels["backend"], up.value) == ("script", 1)
        assert {one.labels["period"] for one in families["stead_budget_usd"].samples} >= {"day"}
    assert (await gate.ask("GET", "/metrics", key=other)).status == 403
    assert (await gate.ask("GET", "/metrics", key="")).status == 401
    assert (await gate.ask("POST", _CHAT, ask(), key=reader)).status == 403
    file = gate.home / "stead.toml"
    file.write_text(file.read_text() + "[metrics]\nopen_here = true\n")
    gate.parts.reload.apply()
    assert (await gate.ask("GET", "/metrics", key="")).status == 200
    assert (await gate.ask("GET", "/metrics", key="", host="evil.example")).status == 401


async def test_rules_of_keeping_are_taken_over(gate: Gate) -> None:
    """What is kept may be changed while the gateway runs."""
    await gate.ask("POST", _CHAT, ask("[[say one]]"))
    file = gate.home / "stead.toml"
    file.write_text(file.read_text() + _KEEP)
    gate.parts.reload.apply()
    await gate.ask("POST", _CHAT, ask("[[say two]]"))
    two, one = await rows(gate, 2)
    await gate.parts.audit.bodies.aclose()
    assert (await gate.ask("GET", f"/api/v1/calls/{two['id']}")).data["bodies"] is not None
    assert (await gate.ask("GET", f"/api/v1/calls/{one['id']}")).data["bodies"] is None
