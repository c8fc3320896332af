"""The owner's API to files of memory, their history, the graph, contacts, budgets."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.unit.gateway.parts import Gate

HOSTILE = "<script>alert(1)</script> \u202egnp.exe \x1b[31m {{ 7*7 }} ' \" & \ufeff"
CARD = "memory/cards/boiler.md"


def write(gate: Gate, path: str, text: str | bytes) -> Path:
    file = gate.home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


async def got(gate: Gate, path: str, **query: Any) -> Any:
    tail = "&".join(f"{name}={quote(str(value))}" for name, value in query.items())
    answer = await gate.ask("GET", f"/api/v1{path}?{tail}")
    assert answer.status == 200, answer
    return answer.data


async def done(gate: Gate, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await gate.ask(method, f"/api/v1{path}", body)
    assert answer.status == status, answer
    return answer.data


async def test_files_come_in_pages_the_latest_first(gate: Gate) -> None:
    """Every file comes once, whatever the length of a page; layers and words choose."""
    for number in range(7):
        file = write(gate, f"memory/cards/c{number}.md", "one\n")
        os.utime(file, (1_700_000_000 + number // 2, 1_700_000_000 + number // 2))
    write(gate, "memory/2026-11-20.md", "# 2026-11-20\n")
    seen: list[str] = []
    before = ""
    while True:
        page = await got(gate, "/memory/files", limit=2, before=before, layer="card", like="C")
        seen += [one["path"] for one in page["files"]]
        before = page["next"]
        if not before:
            break
    assert sorted(seen) == [f"memory/cards/c{number}.md" for number in range(7)]
    assert seen[0].endswith("c6.md") and page["total"] == 7
    whole = await got(gate, "/memory/files")
    assert {one["layer"] for one in whole["files"]} == {"card", "daily"}
    assert (await gate.ask("GET", "/api/v1/memory/files?layer=x")).error["param"] == "layer"


async def test_a_source_leads_to_its_lines(gate: Gate) -> None:
    """Lines around what a source names come with which of them are meant, also once they moved;
    words that are gone are said to be."""
    lines = [f"- fact number {number}" for number in range(40)]
    write(gate, CARD, "\n".join(lines) + "\n")
    await done(gate, "POST", "/memory/refresh")
    hit = (await got(gate, "/memory/search", q="fact number 30"))["hits"][0]
    assert hit["source"].startswith(CARD)
    shown = await got(gate, "/memory/file", what=hit["source"], lines=10)
    first, last = shown["cited"]
    assert (first, last) == (31, 31) and shown["first"] == 26 and len(shown["lines"]) == 10
    assert shown["lines"][first - shown["first"]] == "- fact number 30" and shown["more"]
    write(gate, CARD, "\n".join(["new", "", *lines]) + "\n")
    shown = await got(gate, "/memory/file", what=hit["source"])
    assert shown["moved"] and shown["cited"] == [33, 33]
    write(gate, CARD, "nothing of it\n")
    gone = await gate.ask("GET", f"/api/v1/memory/file?what={quote(hit['source'])}")
    assert gone.status == 404 and "history" in gone.error["message"]
    for path in ("../secrets/owner.key", "memory/../secrets/owner.key", "secrets/owner.key"):
        answer = await gate.ask("GET", f"/api/v1/memory/file?what={quote(path)}")
        assert answer.status in (400, 404), path
        text = await gate.ask("GET", f"/api/v1/memory/file/text?what={quote(path)}")
        assert text.status in (200, 400) and "st-owner" not in text.raw.decode()
        put = {"path": path, "text": "x", "base": ""}
        assert (await gate.ask("PUT", "/api/v1/memory/file", put)).status == 400, path


async def test_an_edit_keeps_what_was_not_edited(gate: Gate) -> None:
    """Bytes that are no UTF-8, CRLF and a missing last line end stay as they were in lines that
    were left alone, though a form gives back none of it."""
    raw = b"one \xff\xfe\r\ntwo\r\n\x00three \xc3\xa4\r\nfour"
    file = write(gate, CARD, raw)
    held = await got(gate, "/memory/file/text", what=CARD)
    assert "\ufffd" in held["text"] and "\r" not in held["text"]
    text = held["text"].replace("two", "deux").replace("\n", "\r\n")
    edit = {"path": CARD, "text": text, "base": held["base"]}
    draft = await done(gate, "PUT", "/memory/file", {**edit, "dry_run": True})
    assert "-two" in draft["diff"] and "+deux" in draft["diff"] and not draft["stale"]
    assert file.read_bytes() == raw
    saved = await done(gate, "PUT", "/memory/file", edit)
    assert file.read_bytes() == raw.replace(b"two", b"deux") and saved["change"]
    stale = await gate.ask("PUT", "/api/v1/memory/file", edit)
    assert stale.status == 409 and stale.error["code"] == "memory_stale"
    again = await done(gate, "PUT", "/memory/file", {**edit, "dry_run": True})
    assert again["stale"] and again["same"]
    now = await got(gate, "/memory/file/text", what=CARD)
    more = {"path": CARD, "text": now["text"] + "\nfive", "base": now["base"]}
    await done(gate, "PUT", "/memory/file", more)
    assert file.read_bytes() == raw.replace(b"two", b"deux") + b"\r\nfive"


async def test_much_that_goes_needs_a_second_look(gate: Gate) -> None:
    """An edit that takes much away is refused with why, and done when it is meant."""
    write(gate, CARD, "".join(f"- line {number}\n" for number in range(50)))
    base = (await got(gate, "/memory/file/text", what=CARD))["base"]
    edit = {"path": CARD, "text": "gone\n", "base": base}
    draft = await done(gate, "PUT", "/memory/file", {**edit, "dry_run": True})
    assert "less" in draft["doubts"]
    assert (await gate.ask("PUT", "/api/v1/memory/file", edit)).error["code"] == "memory_shrinks"
    await done(gate, "PUT", "/memory/file", {**edit, "sure": True})
    assert (gate.home / CARD).read_text() == "gone\n"


async def test_history_in_pages_and_undo(gate: Gate) -> None:
    """Each change is there once, with what it did; an undo is a change, too."""
    base = ""
    for number in range(5):
        body = {"path": CARD, "text": f"version {number} {HOSTILE}\n", "base": base, "sure": True}
        await done(gate, "PUT", "/memory/file", body)
        base = (await got(gate, "/memory/file/text", what=CARD))["base"]
    seen: list[Any] = []
    before = ""
    for _ in range(20):
        page = await got(gate, "/memory/history", what=CARD, limit=2, before=before)
        seen += page["changes"]
        before = seen[-1]["id"]
        if not page["more"]:
            break
    assert len(seen) == 5 == len({one["id"] for one in seen})
    one = await got(gate, f"/memory/history/{seen[1]['id']}")
    assert one["undoable"] and "+version 3" in one["diff"] and "-version 2" in one["diff"]
    old = await got(gate, "/memory/file", what=CARD, at=seen[2]["id"])
    assert old["lines"][0].startswith("version 2") and not old["editable"]
    undone = await done(gate, "POST", "/memory/undo", {"change": seen[0]["id"]})
    assert (gate.home / CARD).read_text().startswith("version 3") and undone["change"]
    clash = await gate.ask("POST", "/api/v1/memory/undo", {"change": seen[1]["id"]})
    assert clash.status in (200, 409)
    for ident in ("nothing", "--all", "HEAD", "0" * 40):
        answer = await gate.ask("GET", f"/api/v1/memory/history/{ident}")
        assert answer.status == 404, ident


async def test_the_graph_as_of_a_time(gate: Gate) -> None:
    """What held then, what holds now, what ended, and what was taken back."""
    day = 86_400_000
    fact = {"subject": "Ada", "predicate": "lives in", "kind": "person", "value": "Bremen"}
    made = await done(gate, "POST", "/memory/graph/facts", {**fact, "since": 1000 * day})
    other = {**fact, "value": "Paris", "since": 2000 * day}
    second = await done(gate, "POST", "/memory/graph/facts", other)
    ended = await done(
        gate, "POST", f"/memory/graph/facts/{made['fact']['id']}/close", {"at": 2000 * day}
    )
    assert ended["fact"]["valid_to"] == 2000 * day

    async def held(**asked: Any) -> set[str]:
        found = await got(gate, "/memory/graph/entity", name="Ada", **asked)
        return {one["value"] for one in found["facts"] if one["holds"]}

    assert await held(as_of=1500 * day) == {"Bremen"}
    assert await held(as_of=2500 * day) == {"Paris"} == await held()
    assert await held(as_of=500 * day) == set()
    listed = await got(gate, "/memory/graph", like="ad")
    assert listed["entities"][0]["name"] == "Ada" and listed["kinds"] == ["person"]
    await done(gate, "POST", "/memory/graph/retract", {"ids": [second["fact"]["id"]]})
    assert await held() == set()
    await done(gate, "POST", "/memory/graph/undo", {})
    assert await held() == {"Paris"}
    operations = (await got(gate, "/memory/graph/operations"))["operations"]
    assert [one["op"] for one in operations][:2] == ["undo", "retract"] and operations[1]["undone"]
    assert (await gate.ask("GET", "/api/v1/memory/graph/entity?name=Nobody")).status == 404
    bad = await gate.ask("POST", "/api/v1/memory/graph/facts", {**fact, "since": -1})
    assert bad.error["param"] == "since"


async def test_contacts_and_what_is_due(gate: Gate) -> None:
    """Added, found by an address, noted of, reminded of, done, taken out and brought back."""
    for number in range(5):
        body = {"name": f"Person {number} {HOSTILE}", "emails": [f"p{number}@example.org", " "]}
        await done(gate, "POST", "/contacts", body, 201)
    seen: list[str] = []
    after = ""
    while True:
        page = await got(gate, "/contacts", limit=2, after=after)
        seen += [one["name"] for one in page["contacts"]]
        after = page["next"]
        if not after:
            break
    assert len(seen) == 5 == len(set(seen))
    (one,) = (await got(gate, "/contacts", like="p3@example.org"))["contacts"]
    at = f"/contacts/{one['id']}"
    await done(gate, "POST", f"{at}/notes", {"text": f"likes tea {HOSTILE}"})
    due = int(time.time() * 1000) + 86_400_000
    made = await done(gate, "POST", f"{at}/follow-ups", {"text": "call back", "due": due})
    assert (await got(gate, "/contacts/due"))["due"] == []
    waiting = (await got(gate, "/contacts/due", until=due + 1))["due"]
    assert [fact["value"] for fact in waiting] == ["call back"]
    whole = await got(gate, at)
    assert {fact["predicate"] for fact in whole["facts"]} and whole["vcards"]
    assert (await got(gate, f"{at}/last"))["last"] is None
    await done(gate, "POST", f"/contacts/due/{made['fact']['id']}/done")
    assert (await got(gate, "/contacts/due", until=due + 1))["due"] == []
    gone = await done(gate, "DELETE", at)
    assert len((await got(gate, "/contacts"))["contacts"]) == 4
    await done(gate, "POST", "/memory/graph/undo", {"operation": gone["operation"]})
    assert len((await got(gate, "/contacts"))["contacts"]) == 5
    assert (await gate.ask("POST", "/api/v1/contacts", {"name": "  "})).status == 400
    assert (await gate.ask("POST", f"/api/v1{at}/notes", {"text": " "})).status == 400


async def test_money_by_conversation_and_what_has_no_price(gate: Gate) -> None:
    """Sums by session name the conversation of each job; budgets say how they stand."""
    job = await gate.say("[[light]] hello", session="kitchen")
    gate.work()
    await gate.ended(job)
    sums = (await got(gate, "/calls/sums", by="session"))["sums"]
    assert "kitchen" in {one["session"] for one in sums}
    money = await got(gate, "/budgets")
    day = next(one for one in money["budgets"] if one["period"] == "day" and not one["scope"])
    assert day["limit_micro"] > 0 and day["renews_at"] > time.time() * 1000
    assert money["unpriced"] == []
