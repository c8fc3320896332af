"""Jobs, approvals, nodes and health before a real gateway: forms, hostile text, streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from stead.core.ids import uuid7
from stead.core.permits import Approval
from stead.core.wire import ClaimedJob, Finish
from stead.inference.scripted import Running, running
from tests.unit.gateway.parts import Answer, Event, Gate, events, gate_at

HTML = {"accept": "text/html"}
HOSTILE = "<script>hit()</script>\u202egnp.exe\u202c\u200b'\"><img src=x onerror=hit()>"


@pytest.fixture(scope="module")
def scripted() -> Iterator[Running]:
    with running() as model:
        yield model


@pytest.fixture
async def gate(tmp_path: Path, scripted: Running) -> AsyncIterator[Gate]:
    async with gate_at(tmp_path / "home", scripted) as gate:
        yield gate


async def look(gate: Gate, path: str) -> str:
    answer = await gate.ask("GET", path, **HTML)
    assert answer.status == 200, (path, answer.status, answer.raw[-500:])
    return answer.raw.decode()


async def send(gate: Gate, path: str, htmx: bool = False, **given: str) -> Answer:
    """What a form of the page sends."""
    more = {"hx_request": "true"} if htmx else {}
    kind = "application/x-www-form-urlencoded"
    body = urlencode(given).encode()
    return await gate.ask(
        "POST", path, body, content_type=kind, sec_fetch_site="same-origin", **HTML, **more
    )


async def heavy(gate: Gate, text: str = "do it", session: str = "main") -> ClaimedJob:
    """A job in the hands of a node."""
    # Nobody sends heartbeats for it here: however slow the machine is, it is not taken back.
    gate.parts.queue.policy = replace(gate.parts.queue.policy, lease_ms=600_000)
    await gate.accept(text, session)
    job = await gate.claim()
    assert job is not None
    return job


async def asks(gate: Gate, args: str, preview: str = "Write a.txt", **more: Any) -> str:
    """A question of a job of its own; its id."""
    job = await heavy(gate, session=uuid7())
    report = Finish(uuid7(), job.id, job.epoch, "waiting", waiting_for="your word")
    report.approval = Approval(1, "write", preview, args, "d", "a rule", **more)
    assert (await gate.node("finish", report)).status == 200
    return report.id


@asynccontextmanager
async def followed(gate: Gate, query: str, **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
    streamed = await gate.open("GET", f"/live?{query}", **headers)
    assert streamed.status == 200
    try:
        yield events(streamed)
    finally:
        await streamed.aclose()


async def until(stream: AsyncIterator[Event], part: str) -> Event:
    """The next message with this in its HTML."""
    async with asyncio.timeout(60):
        async for event in stream:
            if event.type == "message" and part in json.loads(event.text):
                return event
    raise AssertionError(f"the stream has ended without {part}")


async def test_rooms_before_anything_happened(gate: Gate) -> None:
    """An empty house has words for each room."""
    for path in ("/jobs", "/approvals", "/nodes", "/health"):
        assert "<h1>" in await look(gate, path)
    assert "Nothing waits for your word" in await look(gate, "/approvals")


async def test_a_job_by_a_piece_of_its_id(gate: Gate) -> None:
    """It leads to its own address; what is none is said not to be there, not to fail."""
    job = await gate.say("hello", mark="heavy")
    answer = await gate.ask("GET", f"/jobs/{job[-8:]}", **HTML)
    assert (answer.status, answer.headers["location"]) == (303, f"/jobs/{job}")
    for wrong in ("nothing", "a" * 36, "%2e%2e%2fstatus", "x%00y", "%F0%9F%98%80", "a?b=c", "_"):
        assert (await gate.ask("GET", f"/jobs/{wrong}", **HTML)).status == 404
        assert (await gate.ask("GET", f"/approvals/{wrong}", **HTML)).status == 404


async def test_acts_on_jobs(gate: Gate) -> None:
    """By a plain form back to the story; by htmx its head anew; what cannot be is refused."""
    job = await gate.say("hello", mark="heavy")
    answer = await send(gate, f"/jobs/{job}/cancel")
    assert (answer.status, answer.headers["location"]) == (303, f"/jobs/{job}")
    assert "cancelled" in await look(gate, f"/jobs/{job}")
    assert (await send(gate, f"/jobs/{job}/retry")).status == 409
    other = await heavy(gate)
    answer = await send(gate, f"/jobs/{other.id}/cancel", htmx=True)
    assert answer.status == 200 and b"is being stopped" in answer.raw
    assert (await send(gate, f"/jobs/{other.id}/answer", answer="maybe")).status == 400
    assert (await send(gate, f"/jobs/{other.id}/explode")).status == 404


async def test_hostile_text_everywhere(gate: Gate) -> None:
    """Escaped in each room, and what would hide in it is shown."""
    job = await heavy(gate, HOSTILE, f"s{HOSTILE[:20]}")
    report = Finish(uuid7(), job.id, job.epoch, "waiting", waiting_for=HOSTILE)
    args = json.dumps({HOSTILE: HOSTILE, "deep": {"a": [HOSTILE]}, "none": None})
    report.approval = Approval(1, HOSTILE, HOSTILE, args, "d", HOSTILE, True, always=HOSTILE)
    assert (await gate.node("finish", report)).status == 200
    pages = ["/jobs", f"/jobs/{job.id}", "/approvals", f"/approvals/{report.id}", "/health"]
    for answered in (False, True):
        if answered:
            assert (
                await send(gate, f"/approvals/{report.id}", answer="always", text=HOSTILE)
            ).status == 303
        for path in pages:
            html = await look(gate, path)
            assert "<script>hit" not in html and "onerror=hit()>" not in html.replace("&gt;", "")
            assert "\u202e" not in html and "\u200b" not in html, path
    assert "⟨U+202E⟩" in await look(gate, f"/approvals/{report.id}")
    whole = await gate.ask("GET", f"/approvals/{report.id}/whole")
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["x-content-type-options"] == "nosniff"


async def test_a_long_argument_is_cut_and_that_is_said(gate: Gate) -> None:
    """A page stays small; how much is left out is told, and all of it is a click away."""
    ident = await asks(gate, json.dumps({"text": "A" * 20_000 + "THE END"}))
    html = await look(gate, f"/approvals/{ident}")
    assert "8,007 characters more are not shown" in html and "THE END" not in html
    assert len(html) < 60_000
    whole = await gate.ask("GET", f"/approvals/{ident}/whole")
    assert whole.raw.endswith(b"THE END")


async def test_odd_arguments_are_shown_all_the_same(gate: Gate) -> None:
    """What is no JSON, no object, or nested without end: as it is."""
    for args in ("not json", "[1, 2]", "", '{"a":' * 30 + "1" + "}" * 30, "[" * 5000):
        ident = await asks(gate, args)
        assert "May this be done?" in await look(gate, f"/approvals/{ident}")


async def test_a_word_only_once_and_only_what_is_offered(gate: Gate) -> None:
    """The second is refused in words, an unknown one as well; a question of the agent's own takes
    what it offers."""
    ident = await asks(gate, "{}", offers=("once", "no"))
    assert (await send(gate, f"/approvals/{ident}", answer="perhaps")).status == 400
    assert (await send(gate, f"/approvals/{ident}", answer="always")).status == 400
    answer = await send(gate, f"/approvals/{ident}", htmx=True, answer="once")
    assert answer.status == 200 and b"approved" in answer.raw
    again = await send(gate, f"/approvals/{ident}", answer="no")
    assert again.status == 409 and b"once" in again.raw
    asked = await asks(gate, "{}", "Which?", kind="question", offers=("red", "blue"))
    assert "blue" in await look(gate, f"/approvals/{asked}")
    assert (await send(gate, f"/approvals/{asked}", answer="answer", text="green")).status == 400
    assert (await send(gate, f"/approvals/{asked}", answer="answer", text="red")).status == 303


async def test_forms_that_are_none(gate: Gate) -> None:
    """Too large, not text, of another kind: refused, and nothing is done."""
    ident = await asks(gate, "{}")
    kind = {"content_type": "application/x-www-form-urlencoded", "sec_fetch_site": "same-origin"}
    for body, status in ((b"x" * 300_000, 413), (b"answer=%ff%fe", 400), (b"{}", 400)):
        answer = await gate.ask("POST", f"/approvals/{ident}", body, **HTML, **kind)
        assert answer.status == status
    assert (await gate.ask("GET", f"/api/v1/approvals/{ident}")).data["state"] == "open"


async def test_badges_and_pages_for_who_has_no_scripts(gate: Gate) -> None:
    """How many wait stands in the navigation, in each room."""
    await asks(gate, "{}")
    await asks(gate, "{}")
    for path in ("/jobs", "/health"):
        assert '<span class="count" id="count-approvals">2<' in await look(gate, path)


async def test_nodes_by_form(gate: Gate) -> None:
    """Invited, drained, taken back; a name that is none keeps what was typed."""
    answer = await send(gate, "/nodes", name="no good name!")
    assert answer.status == 422 and b"no good name!" in answer.raw
    answer = await send(gate, "/nodes", name="attic.2")
    assert (
        answer.status == 200 and b"st-node" in answer.raw.replace(b"_", b"-")
    ) or b"join" in answer.raw
    assert answer.headers["cache-control"] == "no-store"
    for verb, part in (("drain", b"drained"), ("again", b"is away"), ("retire", b"taken back")):
        answer = await send(gate, f"/nodes/attic.2/{verb}", htmx=True)
        assert answer.status == 200 and part in answer.raw, verb
    assert (await send(gate, "/nodes/attic.2/drain")).status == 404
    assert "attic.2" not in await look(gate, "/nodes")
    assert "attic.2" in await look(gate, "/nodes?gone=1")


async def test_health_acts(gate: Gate) -> None:
    """A backend and a service are asked; what is not there is said not to be."""
    answer = await send(gate, "/health/backends/script/test")
    assert answer.status == 200 and b"script (" in answer.raw
    assert (await send(gate, "/health/backends/nothing/test")).status == 404
    assert (await send(gate, "/health/services/nothing/start")).status == 404
    assert (await send(gate, "/health/outbox/1", how="burn")).status == 400
    assert (await send(gate, "/health/outbox/999999", how="drop")).status == 404


async def test_a_page_follows_its_list_and_nothing_else(gate: Gate) -> None:
    """Rows that fit its filters come, with a place; those that fit no more are taken out."""
    place = (await gate.ask("GET", "/api/v1/changes")).data["place"]
    async with followed(gate, f"on=job&session=mine&state=queued&since={place}") as stream:
        mine = await gate.say("mine", session="mine", mark="heavy")
        event = await until(stream, f'id="job-{mine}" data-live-in="jobs"')
        assert int(event.id) > int(place)
        await gate.say("not", session="other", mark="heavy")
        await gate.ask("POST", f"/api/v1/jobs/{mine}/cancel")
        await until(stream, f'<li id="job-{mine}" data-live-gone')
    missed = await gate.say("missed", session="mine", mark="heavy")
    again = followed(gate, "on=job&session=mine", last_event_id=event.id)
    async with again as stream:
        first = json.loads((await until(stream, "count-approvals")).text)
    assert missed in first and "data-live-clear" not in first


async def test_a_place_of_long_ago_gives_the_rows_that_are_shown(gate: Gate) -> None:
    """And of those only as far down as the page has them."""
    made = [await gate.say(str(n), session="s", mark="heavy") for n in range(5)]
    async with followed(gate, f"on=job&since=5&from={made[2]}") as stream:
        html = json.loads((await until(stream, "data-live-clear")).text)
    assert [job in html for job in made] == [False, False, True, True, True]


async def test_a_story_is_told_in_the_parts_that_change(gate: Gate) -> None:
    """Once all of it when something happens, then only what is not as it was."""
    job = await heavy(gate)
    place = (await gate.ask("GET", "/api/v1/changes")).data["place"]
    async with followed(gate, f"on=story&job={job.id}&since={place}") as stream:
        await gate.ask("POST", f"/api/v1/jobs/{job.id}/cancel")
        event = await until(stream, "is being stopped")
        assert 'id="attempts"' in json.loads(event.text)
        await gate.finish(job)
        event = await until(stream, 'id="head"')
        assert 'id="asked-you"' not in json.loads(event.text)


async def test_many_pages_one_look(gate: Gate) -> None:
    """Fifty open pages share one stream of the API, which ends with the last of them."""
    feeds = "changes for pages"

    def tasks() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if feeds in task.get_name()]

    place = (await gate.ask("GET", "/api/v1/changes")).data["place"]
    opened = [await gate.open("GET", f"/live?on=job&since={place}") for _ in range(50)]
    streams = [events(one) for one in opened]
    await asyncio.gather(*(until(one, "count-approvals") for one in streams))
    job = await gate.say("for all", mark="heavy")
    await asyncio.gather(*(until(one, job) for one in streams))
    assert len(tasks()) == 1
    for one in opened:
        await one.aclose()
    for _ in range(6000):
        if not tasks():
            break
        await asyncio.sleep(0.01)
    assert tasks() == []


async def test_an_odd_stream_is_no_fault(gate: Gate) -> None:
    """An unknown kind gets the badges; a job that is none, a place that is none, too."""
    for query in ("on=nothing", "on=story&job=../x", "since=-1", "since=" + "9" * 400, "since=x"):
        async with followed(gate, query) as stream:
            await until(stream, "count-approvals")
    assert (await gate.ask("GET", "/live", key="", **HTML)).status in (303, 401)
