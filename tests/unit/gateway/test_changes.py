"""Whoever shows a list is told of each change of it, and misses none by going away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from stead.core.ids import uuid7
from stead.core.permits import Approval
from stead.core.wire import ClaimedJob, Finish
from stead.inference.scripted import Running
from tests.unit.gateway.parts import Event, Gate, events, gate_at


async def changes(gate: Gate, since: Any, topics: str) -> tuple[str, bool, dict[str, Any]]:
    answer = await gate.ask("GET", f"/api/v1/changes?since={since}&topics={topics}")
    assert answer.status == 200, answer
    data = answer.data
    return data["place"], data["whole"], {one["id"]: one["row"] for one in data["changes"]}


async def now(gate: Gate) -> str:
    return (await changes(gate, "", "job"))[0]


@asynccontextmanager
async def heard(gate: Gate, topics: str, **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of these topics; hangs up in the end."""
    streamed = await gate.open("GET", f"/api/v1/events?topics={topics}", **headers)
    try:
        yield events(streamed)
    finally:
        await streamed.aclose()


async def until(stream: AsyncIterator[Event], type: str, **has: Any) -> Event:
    """The next event of a type whose row is so; fails when the stream ends before."""
    async with asyncio.timeout(60):
        async for event in stream:
            if event.type != type:
                continue
            row = event.data.get("row") or {}
            if all(row.get(name) == value for name, value in has.items()):
                return event
    raise AssertionError(f"the stream has ended without {type} {has}")


async def ask_owner(gate: Gate, job: ClaimedJob) -> str:
    """Let a job ask for the owner's word; the id of the question."""
    report = Finish(uuid7(), job.id, job.epoch, "waiting", waiting_for="your word")
    report.approval = Approval(1, "write", "Write a.txt", '{"path": "a.txt"}', "d", "a rule")
    assert (await gate.node("finish", report)).status == 200
    return report.id


async def heavy(gate: Gate, session: str = "main") -> ClaimedJob:
    """A job in the hands of a node."""
    # Nobody sends heartbeats for it here: however slow the machine is, it is not taken back.
    gate.parts.queue.policy = replace(gate.parts.queue.policy, lease_ms=600_000)
    await gate.accept("do it", session)
    job = await gate.claim()
    assert job is not None
    return job


async def test_each_step_of_a_job_is_told(gate: Gate) -> None:
    """That it is there, that it runs, that it is done: each with its row as the list has it."""
    place = await now(gate)
    # Nobody sends heartbeats here: however slow the machine is, it is not taken back.
    gate.parts.queue.policy = replace(gate.parts.queue.policy, lease_ms=600_000)
    job = await gate.say("hello", mark="heavy")
    place, whole, rows = await changes(gate, place, "job")
    assert whole and rows[job]["state"] == "queued"
    claimed = await gate.claim(labels=("agent",))
    assert claimed is not None and claimed.id == job
    place, _, rows = await changes(gate, place, "job")
    assert rows[job]["state"] == "running"
    await gate.finish(claimed)
    place, _, rows = await changes(gate, place, "job")
    listed = (await gate.ask("GET", "/api/v1/jobs")).data["jobs"][0]
    assert rows == {job: listed}
    assert listed["state"] == "done"
    assert (await changes(gate, place, "job"))[2] == {}


async def test_a_question_and_its_end_are_told(gate: Gate) -> None:
    """Asked, answered, or void with its job; and what is allowed for ever from then on."""
    place = await now(gate)
    first, second = await heavy(gate, "a"), await heavy(gate, "b")
    asked = await ask_owner(gate, first)
    void = await ask_owner(gate, second)
    place, _, rows = await changes(gate, place, "approval")
    assert {rows[asked]["state"], rows[void]["state"]} == {"open"}
    await gate.ask("POST", f"/api/v1/approvals/{asked}/answer", {"answer": "always"})
    await gate.ask("POST", f"/api/v1/jobs/{second.id}/cancel")
    place, _, rows = await changes(gate, place, "approval,grant")
    assert (rows[asked]["state"], rows[void]["state"]) == ("answered", "void")
    (grant,) = [ident for ident, row in rows.items() if "granted_by" in row]
    await gate.ask("POST", f"/api/v1/grants/{grant}/revoke")
    assert (await changes(gate, place, "grant"))[2][grant]["revoked_at"] > 0


async def test_a_stream_goes_on_where_it_was_left(gate: Gate) -> None:
    """What happened while nobody listened comes first, by the id of the last event."""
    async with heard(gate, "job") as stream:
        first = await gate.say("one", mark="heavy")
        await until(stream, "job", id=first, state="queued")
        left = await until(stream, "place")
    second = await gate.say("two", mark="heavy")
    await gate.ask("POST", f"/api/v1/jobs/{first}/cancel")
    async with heard(gate, "job", last_event_id=left.id) as stream:
        seen: dict[str, str] = {}
        while set(seen) != {first, second}:
            event = await until(stream, "job")
            seen[event.data["id"]] = event.data["row"]["state"]
    assert seen == {first: "cancelled", second: "queued"}


async def test_a_place_of_another_process_is_said_to_be_one(
    tmp_path: Path, scripted: Running
) -> None:
    """After a restart nobody knows what was changed, so lists are to be looked at anew."""
    async with gate_at(tmp_path / "one", scripted) as gate:
        place = await now(gate)
    async with gate_at(tmp_path / "two", scripted) as gate:
        assert (await changes(gate, place, "job"))[1] is False
        async with heard(gate, "job", last_event_id=place) as stream:
            event = await until(stream, "again")
        assert (await changes(gate, event.id, "job"))[1] is True


async def test_nodes_and_status_are_told_when_they_differ(gate: Gate) -> None:
    """What there is at the beginning, then what is not so any more; also what has gone away."""
    async with heard(gate, "node,status") as stream:
        await until(stream, "node", name="hands", alive=False)
        await until(stream, "status", ok=False)
        answer = await gate.ask("POST", "/api/v1/nodes", {"name": "attic"})
        assert answer.status == 201
        await until(stream, "node", name="attic", revoked=False)
        await gate.ask("POST", "/api/v1/nodes/attic/drain", {})
        await until(stream, "node", name="attic", draining=True)
        await gate.ask("DELETE", "/api/v1/nodes/attic")
        await until(stream, "node", name="attic", revoked=True)


async def test_a_stop_lets_the_listeners_go(gate: Gate) -> None:
    """With the word to come back soon, and well ended."""
    stream = await gate.open("GET", "/api/v1/events?topics=job")
    gate.parts.queue.news.close()
    async with asyncio.timeout(60):
        text = b"".join([piece async for piece in stream]).decode()
    assert "retry: 500" in text


async def test_what_makes_no_sense_is_refused(gate: Gate) -> None:
    """A topic that is not there, a place that is no number; and no key at all."""
    for query in ("topics=jobs", "since=yesterday"):
        answer = await gate.ask("GET", f"/api/v1/changes?{query}")
        assert answer.status == 400 and answer.error["param"] in query
        assert (await gate.ask("GET", f"/api/v1/events?{query}")).status == 400
    assert (await gate.ask("GET", "/api/v1/events", key="")).status == 401
    assert (await gate.ask("GET", "/api/v1/changes", key="")).status == 401
