"""Forgetting takes words out of every place, and shows by the bytes that it did."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import BadRequest, NotFound, WrongState
from stead.memory.files import history
from stead.memory.forget.forgetter import Forgetter
from stead.memory.forget.prove import Seeker, search
from stead.memory.forget.wish import Wish
from stead.memory.forget.words import Phrase
from tests.contract.storages import chat, claimed, finish, inbound, trouble
from tests.unit.memory.forget.homes import ANSWER, MAIL, NAME, OTHER, TOLD, Home


def forgetter(home: Home, **more: Any) -> Forgetter:
    return Forgetter(
        home.path, home.store, still=home.daily.still, flush=home.daily.write_pending, **more
    )


def holding(path: Path, *texts: str) -> list[str]:
    """Files that hold one of the texts, in any shape."""
    return search(path, Seeker([Phrase.of(text) for text in texts])).paths


YOURS = ["backups/before.db", "workspace/guests.txt"]


async def test_a_person_goes_from_everywhere(home: Home) -> None:
    """A person named once is taken out of every place: database, files, contacts, graph, spools,
    bodies, outputs, undo, caches, logs, index and history, in whatever shape it lay there; what is
    the owner's own and the old copies are said; all else stays."""
    job = await home.everywhere()
    home.commit(f"notes on {NAME}")
    home.write("memory/MEMORY.md", home.read("memory/MEMORY.md") + "- later\n")
    home.commit("later")
    assert len(holding(home.path, NAME)) > 15
    plan = await forgetter(home).plan(Wish("person", NAME.lower()))
    assert {NAME, MAIL, "Rosi K"} <= set(plan.names)
    receipt = await forgetter(home).run(Wish("person", NAME.lower()))
    assert holding(home.path, NAME, MAIL, "Rosi K") == YOURS
    assert [one for one in receipt["left"] if "backups/before.db" in one]
    assert [one for one in receipt["left"] if "workspace/guests.txt" in one]
    assert not [one for one in receipt["left"] if "still holds it" in one and "backups" not in one]
    story = await home.store.view_why(job)
    assert story["message"]["text"] == "" and story["job"]["state"] == "done"
    standing = home.read("memory/MEMORY.md")
    assert "Vaillant" in standing and "three rooms" in standing and "tea" not in standing
    assert "- quiet" in home.read("memory/cards/neighbours.md")
    assert not (home.path / "memory/cards/käsbohrer.md").exists()
    assert "Karl Otto" in home.read("knowledge/contacts/all.vcf")
    kept = [json.loads(line) for line in home.read("knowledge/journal.jsonl").splitlines()]
    assert [one["id"] for one in kept] == ["o1", "o3"]
    assert [one["id"] for one in kept[0]["entities"]] == ["e2"] and "fact" not in kept[0]
    assert OTHER in home.days() and "forgotten (" in home.days()
    assert holding(home.path / "spool", OTHER) and holding(home.path / "logs", "b 2")
    subjects = home.git("log", "--format=%s", "refs/heads/main").decode().split("\n")
    assert "later" in subjects and "forgotten" in subjects
    home.write("memory/MEMORY.md", home.read("memory/MEMORY.md") + "- and on\n")
    assert history.commit(home.path, "it goes on", ["memory/MEMORY.md"])
    assert home.git("fsck", "--full", "--strict") is not None


async def test_a_message_goes_with_its_turn(home: Home) -> None:
    """A message named by the end of its id goes with its answer and its steps; its lines in the
    daily log become tombstones of the same time, and no other line moves."""
    job = await home.everywhere()
    before = home.days().splitlines()
    receipt = await forgetter(home).run(Wish("message", job[-8:]))
    after = home.days().splitlines()
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == 3
    for old, new in changed:
        assert re.fullmatch(re.escape(old[:11]) + r"forgotten \([0-9a-f]{8}\)", new)
    assert {new[-9:-1] for _, new in changed} <= set(receipt["tombstones"])
    assert receipt["messages"] == 2 and receipt["counts"]["rows"]["message"] == 2
    assert NAME in home.read("memory/MEMORY.md")  # said apart from it
    assert holding(home.path, TOLD, ANSWER) == []


async def test_words_of_a_topic(home: Home) -> None:
    """All words of a topic in one entry mean it, in any order and case; one of them alone does
    not."""
    first = await home.talk("Cake with GOOSEBERRY, please", "done")
    second = await home.talk("a cake with apples", "fine", "other")
    receipt = await forgetter(home).run(Wish("topic", "gooseberry cake"))
    assert receipt["jobs"] == 1
    assert (await home.store.view_why(first))["message"]["text"] == ""
    assert (await home.store.view_why(second))["message"]["text"] == "a cake with apples"
    assert "apples" in home.days()


async def test_a_span(home: Home) -> None:
    """What was said between two times goes, of one conversation or of all."""
    await home.talk(TOLD, ANSWER)
    await home.talk(OTHER, "I know", "other")
    messages = (await home.store.view_messages("main", 0, 9))["messages"]
    since = messages[0]["at"]
    one = Wish("span", since=since, until=since + 3_600_000, session="main")
    await forgetter(home).run(one)
    assert holding(home.path, TOLD) == [] and holding(home.path, OTHER) != []
    await forgetter(home).run(Wish("span", since=since, until=since + 3_600_000))
    assert holding(home.path, OTHER) == []


async def test_what_was_drawn_from_it_goes_too(home: Home) -> None:
    """A card's item and a fact that cite a forgotten line go with it; others that cite other lines
    stay."""
    job = await home.talk(TOLD, ANSWER)
    day = home.today()
    home.write(
        "memory/cards/cakes.md",
        f"---\ntopic: cakes\n---\n- R. likes it ({day}#L3@1a2b3c4d)\n- plum ({day}#L99@1a2b3c4d)\n",
    )
    drawn = {
        "id": "o1", "v": 1, "at": 1, "op": "assert", "source": [f"{day}#L3-L4@1a2b3c4d"],
        "fact": {"id": "f", "subject": "e", "predicate": "likes", "value": "it"},
    }  # fmt: skip
    home.write("knowledge/journal.jsonl", json.dumps(drawn) + "\n")
    await forgetter(home).run(Wish("message", job))
    assert "plum" in home.read("memory/cards/cakes.md")
    assert "likes it" not in home.read("memory/cards/cakes.md")
    assert home.read("knowledge/journal.jsonl") == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "owner"), ("text", "node"), ("topic", "job done"), ("topic", "tool clock"),
        ("text", "topic"), ("text", "source"), ("person", "stead"), ("text", "worked 0.2 s"),
    ],
)  # fmt: skip
async def test_words_of_steads_own_are_not_meant(home: Home, kind: str, words: str) -> None:
    """What stead writes around what was said (who, where, how long), and names of fields in files
    and rows, are nobody's words: they mean no entry."""
    await home.talk(TOLD, ANSWER)
    home.write(
        "memory/cards/cakes.md",
        "---\ntopic: cakes\ntags: [a]\n---\n\n- plum <!-- source a.md#L1, id x -->\n",
    )
    plan = await forgetter(home).plan(Wish(kind, words))
    assert not plan.traces.jobs and not plan.traces.messages and not plan.entries


async def test_what_stands_beside_is_blanked_alone(home: Home) -> None:
    """An error that says it, in a job which is about something else, loses its words; the job and
    what was said in it stay."""
    await home.store.accept(inbound("look it up"), chat(), "")
    job = await claimed(home.store)
    why = f"{NAME} is no number"
    await finish(home.store, job, "failed", trouble=trouble(why))
    await finish(home.store, await claimed(home.store), "done", "I have")
    for delivery in await home.store.take("cli", 10):
        await home.store.delivered(delivery.id)
    plan = await forgetter(home).plan(Wish("text", "is no number"))
    assert ("attempt", job.id) in plan.traces.rows and not plan.traces.jobs
    await forgetter(home).run(Wish("person", NAME))
    assert holding(home.path, NAME) == []
    story = await home.store.view_why(job.id)
    assert story["reply"]["text"] == "I have" and story["message"]["text"] == "look it up"


async def test_an_exact_text(home: Home) -> None:
    """A text is found whatever stands between its words: line breaks, marks, escapes; not as a
    part of a longer word."""
    await home.talk("the code is\n4711-AB, keep it", "ok")
    await home.talk("the decoder is 4711-ABC", "ok", "other")
    await forgetter(home).run(Wish("text", "4711 ab"))
    assert "4711-ABC" in home.days()
    assert "4711-AB," not in home.days()


async def test_nothing_is_said_twice(home: Home) -> None:
    """The same again finds nothing, and says so; the list of tombstones holds no words."""
    await home.everywhere()
    await forgetter(home).run(Wish("person", NAME, backups=True))
    assert not (home.path / "backups/before.db").exists()
    plan = await forgetter(home).plan(Wish("person", NAME))
    assert plan.empty
    listed = home.read("memory/forgotten.jsonl")
    assert json.loads(listed.splitlines()[0])["hashes"] and "osw" not in listed.lower()


async def test_what_is_not_over_is_refused(home: Home) -> None:
    """While a job with these words runs, nothing at all is forgotten, and it is said which."""
    await home.everywhere()
    await home.store.accept(inbound(f"and {NAME}?"), chat(), "")
    before = home.days()
    with pytest.raises(WrongState, match="cancel"):
        await forgetter(home).run(Wish("person", NAME))
    assert home.days() == before
    assert not (home.path / "memory" / ".forgetting").exists()
    await finish(home.store, await claimed(home.store), "cancelled")
    await forgetter(home).run(Wish("person", NAME))
    assert holding(home.path, NAME) == YOURS


@pytest.mark.parametrize(
    "wish",
    [
        Wish("text", " "), Wish("person", "x"), Wish("colour", "red"), Wish("span", since=5),
        Wish("span", since=5, until=4), Wish("message", ""),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(home: Home, wish: Wish) -> None:
    """A wish that names nothing, or everything, is refused."""
    with pytest.raises(BadRequest):
        await forgetter(home).plan(wish)


async def test_a_message_that_is_not_there(home: Home) -> None:
    """An id that means nothing is said to."""
    with pytest.raises(NotFound):
        await forgetter(home).plan(Wish("message", "0123456789"))
