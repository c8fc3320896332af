"""People besides the owner at the API: each for what is theirs, everything else is the owner's."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest
from starlette.routing import Route

from stead.core.errors import Forbidden, WrongKey
from stead.core.people import MEMBER_TOOLS, inside
from stead.gateway.auth import Keys
from stead.gateway.http import Json
from tests.unit.gateway.parts import Answer, Gate, events

#: What others than the owner may ask for; all else has to be refused.
MEMBERS = {
    ("GET", "/api/v1/me"),
    ("POST", "/api/v1/messages"),
    ("GET", "/api/v1/messages"),
    ("POST", "/api/v1/off-the-record/end"),
    ("GET", "/api/v1/jobs"),
    ("POST", "/api/v1/jobs/{id}/cancel"),
    ("GET", "/api/v1/jobs/{id}/events"),
    ("GET", "/api/v1/why/{id}"),
    ("GET", "/api/v1/sessions"),
    ("GET", "/api/v1/sessions/{id:path}/events"),
    ("POST", "/api/v1/sessions/{id:path}/end"),
    ("GET", "/api/v1/sessions/{id:path}"),
    ("POST", "/api/v1/sessions/{id:path}"),
    ("DELETE", "/api/v1/sessions/{id:path}"),
    ("GET", "/api/v1/messages/{id}"),
    ("POST", "/api/v1/messages/{id}/again"),
    ("GET", "/api/v1/search"),
    ("GET", "/api/v1/files"),
    ("POST", "/api/v1/files"),
    ("GET", "/api/v1/files/{id}"),
    ("DELETE", "/api/v1/files/{id}"),
    ("GET", "/api/v1/files/{id}/content"),
    ("GET", "/api/v1/devices"),
    ("DELETE", "/api/v1/devices"),
    ("GET", "/api/v1/devices/{id}"),
    ("DELETE", "/api/v1/devices/{id}"),
    ("DELETE", "/api/v1/passkeys/{id}"),
    ("POST", "/api/v1/recovery-codes"),
    ("GET", "/api/v1/push"),
    ("POST", "/api/v1/push"),
    ("POST", "/api/v1/push/test"),
    ("DELETE", "/api/v1/push/{id}"),
    ("GET", "/api/v1/voice"),
    ("POST", "/api/v1/voice/words"),
    ("POST", "/api/v1/voice/sound"),
}


async def add(gate: Gate, called: str = "Anna", **terms: Any) -> dict[str, Any]:
    answer = await gate.ask("POST", "/api/v1/people", {"called": called, **terms})
    assert answer.status == 201, answer
    made: dict[str, Any] = answer.data
    return made


async def as_(gate: Gate, who: dict[str, Any], method: str, path: str, body: Any = None) -> Answer:
    return await gate.ask(method, path, body, x_stead_person=who["id"])


async def said_by(gate: Gate, who: dict[str, Any], text: str, **more: Any) -> str:
    answer = await as_(gate, who, "POST", "/api/v1/messages", {"text": text, **more})
    assert answer.status == 202, answer
    return str(answer.data["job_id"])


async def test_people_are_added_changed_and_removed(gate: Gate) -> None:
    """By name or id; what is left out stays as it is; who was removed is told only if asked for,
    and the name is free again."""
    anna = await add(gate, "Zoë Müller", day_micro=500_000, local_only=True)
    assert (anna["name"], anna["called"], anna["state"]) == ("zoe-muller", "Zoë Müller", "holds")
    assert anna["scope"]["day_micro"] == 500_000 and anna["scope"]["local_only"] is True
    assert anna["tools"] == list(MEMBER_TOOLS) and "endpoints" not in anna["scope"]
    path = "/api/v1/people/zoe-muller"
    changed = (await gate.ask("POST", path, {"name": "zoe", "tools": ["clock", "sql"]})).data
    assert (changed["id"], changed["name"], changed["tools"]) == (
        anna["id"], "zoe", ["clock", "sql"]
    )  # fmt: skip
    assert changed["scope"] == anna["scope"] and changed["called"] == "Zoë Müller"
    assert (await gate.ask("GET", path)).status == 404
    assert (await gate.ask("GET", f"/api/v1/people/{anna['id']}")).data == changed
    gone = await gate.ask("DELETE", "/api/v1/people/zoe")
    assert gone.status == 200 and gone.data["state"] == "removed"
    names = [one["name"] for one in (await gate.ask("GET", "/api/v1/people")).data["people"]]
    assert names == ["owner"]
    again = await add(gate, "Zoe")
    everybody = (await gate.ask("GET", "/api/v1/people?all=1")).data["people"]
    assert [one["id"] for one in everybody] == ["owner", again["id"], anna["id"]]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "called"), ({"called": "  "}, "called"), ({"called": "a\u2028b" * 80}, "called"),
        ({"called": "A\u202eanna"}, "called"),
        ({"called": "李"}, "name"), ({"called": "Anna", "name": "owner"}, "name"),
        ({"called": "Owner"}, "name"), ({"called": "A", "name": "A B"}, "name"),
        ({"called": "Anna", "tools": ["rm -rf"]}, "tools"),
        ({"called": "Anna", "day_micro": -2}, "day_micro"),
        ({"called": "Anna", "endpoints": ["metrics"]}, None),
        ({"called": "Anna", "lanes": ["a\n"]}, "lanes"),
    ],
)  # fmt: skip
async def test_what_makes_no_person_is_refused(gate: Gate, body: Any, param: str | None) -> None:
    """In words, with the field that is wrong; nobody is added."""
    answer = await gate.ask("POST", "/api/v1/people", body)
    assert answer.status == 400, answer
    assert param is None or answer.error["param"] == param
    assert len((await gate.ask("GET", "/api/v1/people")).data["people"]) == 1


async def test_everything_else_is_the_owners(gate: Gate) -> None:
    """Of all the routes there are only those named here let somebody else in: a route that says
    nothing is the owner's alone, and refuses before it looks at anything."""
    anna = await add(gate)
    seen = set()
    routes = [one for one in gate.parts.app._rest.routes if isinstance(one, Route)]
    owners = [one for one in routes if one.path.startswith("/api/v1/")]
    assert len(owners) > 40
    for route in owners:
        for method in (route.methods or set()) - {"HEAD"}:
            path = re.sub(r"\{[^}]*\}", "123456789", route.path)
            streamed = await gate.open(method, path, {}, x_stead_person=anna["id"])
            await streamed.aclose()  # some have no end
            seen.add((method, route.path))
            let_in = (method, route.path) in MEMBERS
            assert (streamed.status != 403) is let_in, (method, path, streamed.status)
    assert seen >= MEMBERS


async def test_a_route_of_tomorrow_is_the_owners(gate: Gate) -> None:
    """Who adds a route need not think of other people: it is shut to them."""
    keys = gate.parts.keys
    assert isinstance(keys, Keys)
    anna = await add(gate)
    scope: Any = {"headers": [(b"authorization", f"Bearer {gate.key}".encode())]}
    keys.owner(scope)
    scope["headers"].append((b"x-stead-person", anna["id"].encode()))
    with pytest.raises(Forbidden):
        keys.owner(scope)
    assert keys.asker(scope) == anna["id"]
    assert Json({}).status_code == 200


async def test_only_the_owners_key_speaks_for_others(gate: Gate) -> None:
    """With any other key, or none, naming a person opens nothing; somebody who is not there, was
    removed, or whose time is up is nobody."""
    anna = await add(gate)
    key = (await gate.ask("POST", "/api/v1/keys", {"name": "desk", "models": ["stead"]})).data
    head = {"x_stead_person": anna["id"]}
    for shown, status in ((key["key"], 401), ("", 401), (gate.node_key, 401), ("x", 401)):
        assert (await gate.ask("GET", "/api/v1/me", key=shown, **head)).status == status
    body = {"model": "stead", "messages": [{"role": "user", "content": "hi"}]}
    chat = await gate.ask("POST", "/v1/chat/completions", body, key=key["key"], **head)
    assert chat.status == 403
    for nobody in ("berta", "01890000-0000-7000-8000-00000000aaaa", "nobody", "a" * 300):
        assert (await gate.ask("GET", "/api/v1/me", x_stead_person=nobody)).status == 404
    guest = await add(gate, "Guest", expires_at=int(time.time() * 1000) - 1)
    refused = await as_(gate, guest, "GET", "/api/v1/me")
    assert refused.status == 403 and "let in until" in refused.error["message"]
    await gate.ask("DELETE", f"/api/v1/people/{anna['id']}")
    assert (await as_(gate, anna, "GET", "/api/v1/me")).status == 404


async def test_each_sees_what_is_theirs(gate: Gate) -> None:
    """Messages, jobs, stories and streams of somebody else are not there for a person, under any
    piece of their ids; the owner sees all jobs, and whose they are."""
    anna, bert = await add(gate), await add(gate, "Bert")
    jobs = {
        "owner": await gate.say("the owner's secret"),
        "anna": await said_by(gate, anna, "Anna's secret"),
        "bert": await said_by(gate, bert, "Bert's secret"),
    }
    for who in (anna, bert):
        mine = jobs[who["name"]]
        page = (await as_(gate, who, "GET", "/api/v1/jobs")).data["jobs"]
        assert [(one["id"], one["session"], one["person"]) for one in page] == [
            (mine, "main", who["name"])
        ]
        (message,) = (await as_(gate, who, "GET", "/api/v1/messages?session=main")).data["messages"]
        assert (message["text"], message["session"]) == (f"{who['called']}'s secret", "main")
        for job in jobs.values():
            there = 200 if job == mine else 404
            for ident in (job, job[-12:], job[:8]):
                story = await as_(gate, who, "GET", f"/api/v1/why/{ident}")
                assert story.status == (there if ident != job[:8] else 404), ident
                assert b"secret" not in story.raw or story.status == 200
            for method, path in (("POST", "cancel"), ("GET", "events")):
                if job != mine:
                    answer = await as_(gate, who, method, f"/api/v1/jobs/{job}/{path}")
                    assert answer.status == 404, path
        for session in ("main", inside(who["id"], "main"), f"person:{anna['id']}:main"):
            page = (await as_(gate, who, "GET", f"/api/v1/messages?session={session}")).data
            assert all(one["text"] == f"{who['called']}'s secret" for one in page["messages"])
        forced = (await as_(gate, who, "GET", "/api/v1/jobs?person=owner")).data["jobs"]
        assert [one["id"] for one in forced] == [mine]
    page = (await gate.ask("GET", "/api/v1/jobs")).data["jobs"]
    assert [one["person"] for one in page] == ["bert", "anna", "owner"]
    page = (await gate.ask("GET", "/api/v1/jobs?person=anna")).data["jobs"]
    assert [one["id"] for one in page] == [jobs["anna"]]
    (mine,) = (await gate.ask("GET", "/api/v1/messages?session=main")).data["messages"]
    assert mine["text"] == "the owner's secret"
    refused = await gate.ask(
        "POST", "/api/v1/messages", {"text": "x", "session": page[0]["session"]}
    )
    assert refused.status == 400 and refused.error["param"] == "session"


async def test_what_one_client_makes_up_is_not_anothers(gate: Gate) -> None:
    """The same external id, Idempotency-Key or repeated body of two people is two messages."""
    anna = await add(gate)
    mine = await gate.say("add two and two", external_id="1")
    hers = await said_by(gate, anna, "add two and two", external_id="1")
    assert hers != mine == await gate.say("add two and two", external_id="1")
    assert hers == await said_by(gate, anna, "add two and two", external_id="1")
    gate.work()
    body = {"model": "stead", "messages": [{"role": "user", "content": "say who I am"}]}
    more = {"idempotency_key": "k", "x_stainless_retry_count": "1"}
    ids = set()
    for head in ({}, {"x_stead_person": anna["name"]}) * 2:
        answer = await gate.ask("POST", "/v1/chat/completions", body, **more, **head)
        assert answer.status == 200, answer
        ids.add(answer.data["stead"]["job_id"])
    assert len(ids) == 2


async def test_a_persons_job_has_their_terms(gate: Gate) -> None:
    """It is given out with who asks, the tools they may use, and nothing of memory; its calls are
    booked as theirs, and pass none of their limits."""
    anna = await add(gate, tools=["clock"])
    mine, hers = await gate.say("mine, please"), await said_by(gate, anna, "hers, please")
    first, second = await gate.claim(), await gate.claim()
    assert first is not None and second is not None
    assert (first.id, first.person, first.tools, first.called) == (mine, "owner", None, "")
    assert (second.id, second.person, second.tools, second.called) == (
        hers, "anna", ["clock"], "Anna"
    )  # fmt: skip
    assert second.channels == [] and second.recall is None
    who = gate.parts.keys.who(second.key)
    assert (who.name, who.key_id, who.job_id) == ("anna", f"person:{anna['id']}", hers)
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
    assert (await gate.ask("POST", "/v1/chat/completions", body, key=second.key)).status == 200
    calls: list[dict[str, Any]] = []
    for _ in range(2000):  # rows are written with others, a moment later
        calls = (await gate.ask("GET", "/api/v1/calls?key=anna")).data["calls"]
        if calls and calls[0]["outcome"]:
            break
        await asyncio.sleep(0.01)
    assert [(one["caller"], one["job_id"]) for one in calls] == [("anna", hers)]
    await gate.ask("POST", "/api/v1/people/anna", {"models": ["another"]})
    refused = await gate.ask("POST", "/v1/chat/completions", body, key=second.key)
    assert refused.status in (403, 404), refused
    assert (await gate.ask("POST", "/v1/chat/completions", body, key=first.key)).status == 200


async def test_who_is_removed_is_out_at_once(gate: Gate) -> None:
    """What they asked for is stopped, and the keys of their jobs open nothing any more."""
    anna = await add(gate)
    ids = [await said_by(gate, anna, "one"), await said_by(gate, anna, "two")]
    mine = await gate.say("mine")
    job = await gate.claim()
    assert job is not None and job.id == ids[0]
    gone = (await gate.ask("DELETE", "/api/v1/people/anna")).data
    assert gone["stopped"] == 2
    assert (await gate.why(ids[1]))["job"]["state"] == "cancelled"
    assert (await gate.why(ids[0]))["job"]["cancel_req"]
    assert (await gate.why(mine))["job"]["state"] == "queued"
    body = {"model": "scripted", "messages": [{"role": "user", "content": "hi"}]}
    refused = await gate.ask("POST", "/v1/chat/completions", body, key=job.key)
    assert refused.status == 401
    with pytest.raises(WrongKey):
        gate.parts.policy.check(gate.parts.keys.who(job.key), _asked())


def _asked() -> Any:
    from stead.inference.seam import Api, Asked

    return Asked(Api.CHAT, b"{}", "application/json", "scripted")


async def test_a_person_talks_to_the_end(gate: Gate) -> None:
    """A member's message is answered by a node that works, streamed, and told in their own names;
    memory, files and what else is the owner's is not among the tools, whatever the model asks."""
    anna = await add(gate)
    gate.work()
    calls = '[[tool memory_search {"query": "x"}]] [[tool read_file {"path": "x"}]] [[tool clock]]'
    job = await said_by(gate, anna, f"{calls} [[say it is late]]", mark="heavy")
    streamed = await gate.open("GET", f"/api/v1/jobs/{job}/events", x_stead_person=anna["id"])
    last = [event async for event in events(streamed) if event.type == "end"][-1]
    assert (last.data["state"], last.data["text"]) == ("done", "it is late"), last
    story = (await as_(gate, anna, "GET", f"/api/v1/why/{job}")).data
    assert (story["reply"]["session"], story["job"]["person"]) == ("main", "anna")
    tools = {one["name"]: one["output"] for one in story["steps"] if "tool:" in one["name"]}
    assert "there is no tool" in tools["tool:memory_search"]
    assert "there is no tool" in tools["tool:read_file"]
    assert "error" not in tools["tool:clock"]
    before = await gate.say("[[tool list_files]] [[say done]]", mark="heavy")
    (step,) = [s for s in (await gate.ended(before))["steps"] if s["name"] == "tool:list_files"]
    assert "there is no tool" not in step["output"], "the owner's jobs have all of them"


async def test_what_they_attach_is_read_and_nothing_else(gate: Gate) -> None:
    """A file of a person's own is read for them without a question; one of the owner's waits for
    his word, and he learns who wants it. Nobody attaches what somebody else handed in."""
    anna = await add(gate)
    mine = await gate.ask("POST", "/api/v1/files?name=mine.txt", b"the owner's")
    refused = {"text": "read it", "files": [mine.data["id"]]}
    assert (await as_(gate, anna, "POST", "/api/v1/messages", refused)).status == 404
    (gate.home / "workspace" / "diary.txt").write_text("private words")
    head = {"x_stead_person": anna["id"]}
    hers = await gate.ask("POST", "/api/v1/files?name=hers.txt", b"dear diary", **head)
    path = f"attachments/{hers.data['id'][-8:]}/hers.txt"
    reads = "".join(f'[[tool read_file {{"path": "{one}"}}]]' for one in (path, "diary.txt"))
    gate.work()
    files = [hers.data["id"]]
    job = await said_by(gate, anna, f"{reads} [[say done]]", mark="heavy", files=files)
    for _ in range(6000):
        story = (await as_(gate, anna, "GET", f"/api/v1/why/{job}")).data
        if story["job"]["state"] not in ("queued", "running"):
            break
        await asyncio.sleep(0.01)
    assert story["job"]["state"] == "waiting", story["job"]
    outputs = [one["output"] for one in story["steps"] if one["name"] == "tool:read_file"]
    assert len(outputs) == 1 and "dear diary" in outputs[0]
    assert "private words" not in str(story)
    (asked,) = (await gate.ask("GET", "/api/v1/approvals")).data["approvals"]
    assert asked["tool"] == "read_file" and "diary.txt" in asked["preview"]
    told = (await gate.ask("GET", "/api/v1/messages?session=main")).data["messages"][-1]
    assert told["text"].startswith("Anna asked for something")
