"""The contract of a storage: words can be forgotten to the last byte; that they were said stays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import BadRequest, NotFound, NotSettled, StaleEpoch, WrongState
from stead.core.forgetting import Wanted
from stead.core.ids import uuid7
from stead.core.nouns import Call, Job, Usage
from stead.core.permits import Approval
from stead.core.states import StepState
from stead.core.storage import Store
from stead.core.wire import Event, Events
from tests.contract.storages import (
    House,
    background,
    chat,
    claimed,
    converse,
    crash_rule,
    finish,
    inbound,
    journal,
    report,
    rule,
    step,
    trouble,
    until,
)

WORD = "Zwetschgendatschi"
OTHER = "Sauerkirschmarmelade"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the storage of `house` lies."""
    return tmp_path


def raw(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.name, path.read_bytes()


def holding(folder: Path, word: str) -> list[str]:
    """The files that have a word in them, anywhere."""
    return [name for name, data in raw(folder) if word.encode() in data]


async def full_turn(store: Store, word: str, session: str = "main") -> Job:
    """A job with its words in every table there is: steps, an approval, a late report, a call."""
    line = f"**owner** (cli, {session}) [job {{job}}, node]: tell me of {word}"
    await store.accept(inbound(f"tell me of {word}", session=session), _job(word, session), line)
    first = await claimed(store, "n1")
    await journal(store, first, step(1, input=word, note=word))
    await store.release("n1", "another boot", crash_rule)
    late = Events(uuid7(), first.id, first.epoch, [_event(word)])
    await store.discard("n1", late)
    job = await claimed(store, "n2")
    done = step(1, StepState.DONE, input=word, output=f'{{"result":"{word}"}}', note=word)
    await journal(store, job, done, step(2, input=f'{{"q":"{word}"}}'))
    call = Approval(
        seq=2, tool="mail", preview=f"write {word}", args=f'{{"to":"{word}"}}', digest="d1",
        why=word, job_scope=word, always_scope=word, always=word,
    )  # fmt: skip
    asks = report(job, "waiting", waiting_for=f"May I? {word}", approval=call)
    await store.finish("n2", asks, rule)
    (question,) = (await store.view_approvals())["approvals"]
    await store.decide(question["id"], "no", text=f"no {word}")
    job = await claimed(store, "n1")
    await store.record_calls([], [_call(job, word)])
    await finish(store, job, "done", f"All about {word}: " + f"{word} is good. " * 900)
    return job


def _job(word: str, session: str) -> Any:
    made = chat(session)
    made.payload["text"] = f"tell me of {word}"
    return made


def _event(word: str) -> Event:
    return Event(1, "step", step=step(1, StepState.DONE, output=word))


def _call(job: Job, error: str) -> Call:
    return Call(
        uuid7(), 0, "m", "b", "owner", job.id, "chat", Usage(10, 4, 5, 7), 0, "settled", 500, 1.0,
        2.0, "", error=error,
    )  # fmt: skip


async def settled(store: Store) -> None:
    while deliveries := await store.take("cli", 100):
        for delivery in deliveries:
            await store.delivered(delivery.id)
    lines = await store.day_lines()
    if lines:
        await store.day_lines_written(lines[-1][0])


async def test_every_table_is_blanked_to_the_last_byte(store: Store, folder: Path) -> None:
    """After a job was forgotten its words are in no file of the storage, raw: not in free pages,
    not in the log of writes, not in pages that a long answer ran over into. Others' stay."""
    job = await full_turn(store, WORD)
    kept = await full_turn(store, OTHER, "other")
    await settled(store)
    assert holding(folder, WORD)
    done = await store.forget([job.id])
    assert {"message", "job", "step", "approval", "discarded", "call"} <= set(done)
    assert await store.forget_clean(rewrite=True)
    assert holding(folder, WORD) == []
    assert holding(folder, OTHER)
    assert (await store.view_why(kept.id))["reply"]["text"].count(OTHER) > 900
    assert await store.forget([job.id]) == {}


async def test_that_it_was_said_stays(house: House) -> None:
    """Who said it, when, what became of it and what it cost is still known after words were
    forgotten, and the same message sent again is not answered again, also after a restart."""
    store = house.store
    message = inbound(f"tell me of {WORD}", external_id="42")
    accepted = await store.accept(message, chat(), "")
    job = await claimed(store)
    await store.record_calls([], [_call(job, "")])
    await finish(store, job, "done", f"so much of {WORD}", usage=Usage(3, 0, 4, 5))
    await settled(store)
    before = await store.view_why(job.id)
    counts = await store.view_counts()
    await store.forget([job.id])
    store = house.reopen()
    after = await store.view_why(job.id)
    assert after["message"]["text"] == after["reply"]["text"] == ""
    assert after["message"]["pruned_at"] > 0
    for name in ("id", "state", "created_at", "ended_at", "epoch"):
        assert after["job"][name] == before["job"][name]
    assert (await store.view_counts())["spent"] == counts["spent"]
    again = await store.accept(message, chat(), "")
    assert again.duplicate and again.job_id == accepted.job_id
    later = await converse(store, "and now?", "fine")
    assert await store.history(later) == []


async def test_what_is_not_over_is_refused(store: Store) -> None:
    """A job that runs, waits or is queued is not forgotten; nothing of the rest is, either."""
    over = await converse(store, WORD, WORD)
    await settled(store)
    queued = (await store.accept(inbound(WORD, session="w"), chat("w"), "")).job_id
    with pytest.raises(WrongState, match="queued"):
        await store.forget([over.id, queued])
    assert (await store.view_why(over.id))["reply"]["text"] == WORD
    job = await claimed(store)
    with pytest.raises(WrongState, match="running"):
        await store.forget([job.id])
    await finish(store, job, "waiting", waiting_for="?")
    with pytest.raises(WrongState, match="waiting"):
        await store.forget([job.id])


async def test_a_reply_on_its_way(store: Store) -> None:
    """A reply that nobody has fetched is dropped with its words, and the next of its conversation
    goes; while one is being sent, nothing is forgotten."""
    first = await converse(store, WORD, WORD)
    second = await converse(store, "other", "next")
    (delivery,) = await store.take("cli", 1)
    with pytest.raises(NotSettled):
        await store.forget([first.id])
    await store.undelivered(delivery.id, delay_ms=0, note=WORD)
    await store.forget([first.id])
    (left,) = await store.take("cli", 10)
    assert left.job_id == second.id and left.text == "next"
    assert (await store.view_delivery(str(delivery.id)))["state"] == "dropped"


async def test_it_does_not_come_back(store: Store, folder: Path) -> None:
    """What a node reports late of a forgotten job is not kept; a dead one is not tried again."""
    await store.accept(inbound(WORD), chat(), "")
    first = await claimed(store, "n1")
    await store.release("n1", "another boot", crash_rule)
    job = await claimed(store, "n2")
    await finish(store, job, "failed", trouble=trouble("broken", permanent=True))
    await settled(store)
    await store.forget([job.id])
    late = Events(uuid7(), first.id, first.epoch, [_event(WORD)])
    assert not await store.discard("n1", late)
    with pytest.raises(StaleEpoch):
        await finish(store, first, "done", WORD)
    with pytest.raises(WrongState, match="forgotten"):
        await store.revive(job.id)
    await store.forget_clean(rewrite=True)
    assert holding(folder, WORD) == []


async def test_finding_by_id(store: Store) -> None:
    """A message is found by its id or that of its job or answer, or the end of one, and means all
    of its turn; what is not there or could be several is refused."""
    job = await converse(store, WORD, "the answer")
    await converse(store, OTHER, "another")
    messages = (await store.view_messages("main", 0, 10))["messages"]
    for ident in (job.id, job.id[-8:], messages[0]["id"], messages[1]["id"][-8:]):
        traces = await store.forget_find(Wanted(idents=(ident,)))
        assert traces.jobs == {job.id: "done"}
        assert [said.text for said in traces.messages] == [WORD, "the answer"]
    for wrong in ("nothing-like-it", "", "%"):
        with pytest.raises(NotFound):
            await store.forget_find(Wanted(idents=(wrong,)))
    several = [inbound(external_id=uuid7()) for _ in range(2)]
    for one in several:
        await store.accept(one, chat(), "")
    with pytest.raises((BadRequest, NotFound)):
        await store.forget_find(Wanted(idents=(job.id[:3],)))


async def test_finding_by_words(store: Store) -> None:
    """A match in any column of any table finds the whole job: a step's outcome, a question, a late
    report, words on their way into the daily log."""
    job = await full_turn(store, WORD)
    quiet = await converse(store, "nothing of it", "no")
    alone, _ = await store.enqueue(background())
    await store.add_day_line(f"notice: {WORD}")
    await store.notice("cli", "main", "n:1", f"a notice of {WORD}")
    traces = await store.forget_find(Wanted(matches=lambda text: WORD in text))
    assert traces.jobs == {job.id: "done"}
    assert quiet.id not in traces.jobs and alone not in traces.jobs
    assert {said.role for said in traces.messages} == {"owner", "assistant", "notice"}
    assert len(traces.calls) == 1 and len(traces.lines) == 2
    done = await store.forget(
        list(traces.jobs), [said.id for said in traces.messages], traces.lines
    )
    assert done["message"] >= 3 and done["dayline"] > 2
    assert not any(WORD in text for _, _, text in await store.day_lines())
    after = await store.forget_find(Wanted(matches=lambda text: WORD in text))
    assert not after.jobs and not after.messages and not after.lines


async def test_finding_by_time(store: Store) -> None:
    """A span finds what was recorded in it, of one conversation or of all."""
    await converse(store, "before", "a")
    early = (await store.view_messages("main", 0, 9))["messages"][0]
    await until(store, early["at"] + 1)
    first = await converse(store, "here", "a")
    other = await converse(store, "there", "b", "other")
    found = (await store.view_messages("main", 0, 9))["messages"]
    since = next(m["at"] for m in found if m["text"] == "here")
    assert since > early["at"]
    both = await store.forget_find(Wanted(since=since, until=since + 60_000))
    assert set(both.jobs) == {first.id, other.id}
    one = await store.forget_find(Wanted(since=since, until=since + 60_000, session="other"))
    assert set(one.jobs) == {other.id}
    assert (await store.forget_find(Wanted(until=1))).jobs == {}


async def test_others_write_while_it_cleans(store: Store) -> None:
    """Writing the storage anew loses nothing that is written meanwhile."""
    await asyncio.gather(*(store.enqueue(background(route="x" * 5000)) for _ in range(100)))
    cleaning = asyncio.ensure_future(store.forget_clean(rewrite=True))
    made = await asyncio.gather(*(store.enqueue(background()) for _ in range(50)))
    assert await cleaning
    for job_id, new in made:
        assert new and (await store.job(job_id)).id == job_id
