"""The contract of a storage: the recorder, the history of a conversation, the daily lines."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stead.core.errors import KeyReused
from stead.core.nouns import Turn
from stead.core.states import JobState
from stead.core.storage import Accepted, Store
from tests.contract.storages import (
    House,
    chat,
    claimed,
    converse,
    finish,
    inbound,
    state_of,
    trouble,
)

# --- accept ------------------------------------------------------------------


async def test_a_message_and_its_job_are_one_write(house: House) -> None:
    """An accepted message is on disk with its job, its turn and its log line (invariant 1)."""
    accepted = await house.store.accept(
        inbound("what time is it?", external_id="1"), chat(route="node: everything else"), "[{job}]"
    )
    assert not accepted.duplicate
    assert accepted.route == "node: everything else"
    store = house.reopen()
    story = await store.view_why(accepted.message_id)
    assert story["message"]["text"] == "what time is it?"
    assert story["message"]["job_id"] == accepted.job_id == story["job"]["id"]
    assert story["job"]["state"] == "queued"
    assert story["route"]["to"] == "node" and story["route"]["rule"] == "everything else"
    assert [text for _, _, text in await store.day_lines()] == [f"[{accepted.job_id[-8:]}]"]


async def test_the_same_identity_is_the_same_message(house: House) -> None:
    """(channel, external id) twice is one message, one job and one line, even after a restart."""
    first = await house.store.accept(inbound(external_id="7"), chat(route="a: b"), "line")
    store = house.reopen()
    again = await store.accept(inbound("other", external_id="7"), chat(route="c: d"), "line")
    assert again.duplicate
    assert (again.message_id, again.job_id, again.route) == (
        first.message_id, first.job_id, "a: b",
    )  # fmt: skip
    other = await store.accept(inbound(external_id="7", channel="mail"), chat(), "")
    assert not other.duplicate
    assert len((await store.view_jobs())["jobs"]) == 2
    assert len(await store.day_lines()) == 1


async def test_fifty_racing_for_one_message_make_one_job(store: Store) -> None:
    """However many ask at once with the same identity, one is first and the others are told so."""
    answers = await asyncio.gather(
        *(store.accept(inbound(f"try {n}", external_id="same"), chat(), "") for n in range(50))
    )
    assert sum(not one.duplicate for one in answers) == 1
    assert len({one.job_id for one in answers}) == 1
    assert len((await store.view_jobs(limit=100))["jobs"]) == 1
    assert len((await store.view_messages("main", 0, 100))["messages"]) == 1


async def test_a_marked_retry_is_known_by_its_body(store: Store) -> None:
    """A client's own retry has a new identity but the same body; only a marked one is taken so."""
    first = await store.accept(inbound(external_id="a", body_hash="h1"), chat(), "")
    unmarked = await store.accept(inbound(external_id="b", body_hash="h1"), chat(), "")
    marked = await store.accept(inbound(external_id="c", body_hash="h1", is_retry=True), chat(), "")
    assert not unmarked.duplicate
    assert marked.duplicate and marked.job_id == unmarked.job_id != first.job_id
    for other in (
        inbound(external_id="d", body_hash="h2", is_retry=True),
        inbound(external_id="e", body_hash="h1", is_retry=True, channel="mail"),
        inbound(external_id="f", body_hash="", is_retry=True),
    ):
        assert not (await store.accept(other, chat(), "")).duplicate


async def test_words_in_a_message_are_left_alone(store: Store) -> None:
    """``{job}`` in the owner's own text is text, not a place to fill in."""
    accepted = await store.accept(inbound("use {job} here"), chat(), "[{job}] use {job} here")
    (line,) = await store.day_lines()
    assert line[2] == f"[{accepted.job_id[-8:]}] use {{job}} here"


async def test_any_text_comes_back_as_it_went_in(store: Store) -> None:
    """Zero bytes, quotes, other scripts and a long text are kept to the letter."""
    text = "a\x00b 'quote' \"double\" 日本語 🏠 \r\n\t" + "x" * 200_000
    accepted = await store.accept(inbound(text), chat(), "")
    assert (await store.view_why(accepted.message_id))["message"]["text"] == text


# --- notices -----------------------------------------------------------------


async def test_a_notice_is_said_once(store: Store) -> None:
    """A notice is recorded and sent once for its identity, and is no part of the conversation."""
    first = await store.notice("cli", "main", "away:1", "No node is there.")
    again = await store.notice("cli", "main", "away:1", "No node is there.")
    assert first is not None and again is None
    assert [one.text for one in await store.take("cli")] == ["No node is there."]
    await store.accept(inbound("hello"), chat(), "")
    assert await store.history(await claimed(store)) == []


# --- history -----------------------------------------------------------------


async def test_history_is_what_was_said_before(store: Store) -> None:
    """Earlier turns in order, of this session alone, without the present message."""
    await converse(store, "one", "first")
    await converse(store, "elsewhere", "other", session="work")
    await converse(store, "two", "second")
    await store.accept(inbound("three"), chat(), "")
    assert await store.history(await claimed(store)) == [
        Turn("user", "one"), Turn("assistant", "first"),
        Turn("user", "two"), Turn("assistant", "second"),
    ]  # fmt: skip


async def test_history_is_the_same_at_every_attempt(house: House) -> None:
    """What is said while a job waits or fails does not change what its next attempt reads."""
    store = house.store
    await converse(store, "one", "first")
    await store.accept(inbound("two"), chat(), "")
    job = await claimed(store)
    before = await store.history(job)
    await finish(store, job, "waiting", waiting_for="Shall I?")
    await converse(store, "three", "third")
    await store.answer(job.id, "repeat")
    store = house.reopen()
    again = await claimed(store)
    assert again.id == job.id and again.epoch == 2
    assert await store.history(again) == before == [Turn("user", "one"), Turn("assistant", "first")]


async def test_a_late_answer_does_not_change_what_was_read(store: Store) -> None:
    """An earlier message that is answered only after a job began is not in what that job reads at
    its next attempt either, but in what later ones read."""
    await store.accept(inbound("one"), chat(), "")
    first = await claimed(store)
    await finish(store, first, "waiting", waiting_for="Shall I?")
    await store.accept(inbound("two"), chat(), "")
    job = await claimed(store)
    before = await store.history(job)
    await finish(store, job, "waiting", waiting_for="And now?")
    await store.answer(first.id, "done")
    await finish(store, await claimed(store), "done", "late")
    await store.answer(job.id, "done")
    again = await claimed(store)
    assert again.id == job.id
    assert await store.history(again) == before
    assert before == [Turn("user", "one"), Turn("assistant", "(no answer)")]
    await finish(store, again, "done", "second")
    await store.accept(inbound("three"), chat(), "")
    assert Turn("assistant", "late") in await store.history(await claimed(store))


async def test_unanswered_messages_keep_the_alternation(store: Store) -> None:
    """A message that failed joins the next one; an apology is no answer of the assistant."""
    await converse(store, "one", None)
    await converse(store, "two", "second")
    await converse(store, "three", None)
    await store.accept(inbound("four"), chat(), "")
    assert await store.history(await claimed(store)) == [
        Turn("user", "one\n\ntwo"), Turn("assistant", "second"),
        Turn("user", "three"), Turn("assistant", "(no answer)"),
    ]  # fmt: skip


async def test_history_is_bounded_and_its_beginning_seldom_moves(store: Store) -> None:
    """At most 199 turns are read, and the first of them changes once in a hundred turns."""
    await asyncio.gather(
        *(store.accept(inbound(f"m{turn}"), chat(conc_key=None), "") for turn in range(1, 402))
    )
    jobs = await asyncio.gather(*(claimed(store) for _ in range(401)))
    await asyncio.gather(*(finish(store, job, "done", "answer") for job in jobs))
    jobs.sort(key=lambda job: job.id)
    read = [await store.history(replace(job, history_upto=10**9)) for job in jobs]
    starts = [turns[0].text if turns else "" for turns in read]
    lengths = [len(turns) // 2 for turns in read]
    assert max(lengths) == 199
    changes = [n for n in range(2, len(starts)) if starts[n] != starts[n - 1]]
    assert changes == [199, 299, 399]  # at the 200th, 300th and 400th turn
    assert starts[-1] == "m300"


async def test_a_job_without_a_message_has_no_history(store: Store) -> None:
    """Background work that no message began reads nothing of the conversation."""
    await converse(store, "one", "first")
    await store.enqueue(chat(conc_key=None))
    assert await store.history(await claimed(store)) == []


# --- lines for the daily log ---------------------------------------------------


async def test_day_lines_wait_until_they_are_written(house: House) -> None:
    """Lines come oldest first, survive a restart, go when written, and ids are never used again."""
    for n in range(5):
        await house.store.add_day_line(f"line {n}")
    store = house.reopen()
    first = await store.day_lines(limit=3)
    assert [text for _, _, text in first] == ["line 0", "line 1", "line 2"]
    assert all(at > 1_600_000_000_000 for _, at, _ in first)
    await store.day_lines_written(first[-1][0])
    rest = await store.day_lines()
    assert [text for _, _, text in rest] == ["line 3", "line 4"]
    await store.day_lines_written(rest[-1][0])
    await store.add_day_line("new")
    ((ident, _, _),) = await store.day_lines()
    assert ident > rest[-1][0]


async def test_a_reply_its_outbox_row_and_its_line_are_one_write(house: House) -> None:
    """When a job is done its reply is recorded and on its way; nothing of it when the end is
    refused (invariant 5)."""
    store = house.store
    accepted = await store.accept(inbound("two and two?"), chat(), "")
    job = await claimed(store)
    ended = await finish(store, job, "done", "four")
    assert ended.state is JobState.DONE and ended.message_id is not None
    store = house.reopen()
    story = await store.view_why(accepted.message_id)
    assert story["reply"]["text"] == "four" and story["reply"]["role"] == "assistant"
    assert [row["state"] for row in story["delivery"]] == ["pending"]
    assert [text for _, _, text in await store.day_lines()] == [f"answered {job.id[-8:]}"]


async def test_a_dead_job_apologises(store: Store) -> None:
    """The owner is answered even when the work failed for good, in stead's own name."""
    job = await converse(store, "do it", None)
    assert await state_of(store, job.id) == "dead"
    (sent,) = await store.take("cli")
    assert (sent.role, sent.text, sent.job_id) == ("notice", "Sorry: broken", job.id)


async def test_nothing_is_said_for_a_failure_that_is_tried_again(store: Store) -> None:
    """Only ends are told; a try that failed on the way is not."""
    await store.accept(inbound("do it"), chat(), "")
    ended = await finish(store, await claimed(store), "failed", trouble=trouble("network"))
    assert ended.state is JobState.QUEUED and ended.message_id is None
    assert await store.take("cli") == []


async def test_one_key_for_two_requests_is_refused(store: Store) -> None:
    """A client's key names one request: another one under it is refused with what differs, and
    nothing is written; the same request in other words is the same."""

    async def ask(text: str, body: str, session: str = "main", **payload: Any) -> Accepted:
        said = inbound(text, channel="api", external_id="idem:k", session=session, body_hash=body)
        job = replace(chat(session), payload={"text": text, **payload})
        return await store.accept(said, job, "")

    first = await ask("pay 5", "h1", overrides={"temperature": 0.1})
    for what, work in (
        ("the message", ask("pay 50", "h2", overrides={"temperature": 0.1})),
        ("metadata.session", ask("pay 5", "h2", "other", overrides={"temperature": 0.1})),
        ("the system text", ask("pay 5", "h2", instructions="x", overrides={"temperature": 0.1})),
        ("temperature", ask("pay 5", "h2", overrides={"temperature": 0.2})),
    ):
        with pytest.raises(KeyReused, match=f"'k' .*{what} differs"):
            await work
    again = await ask("pay 5", "h2", overrides={"temperature": 0.1})
    assert again.duplicate and again.job_id == first.job_id
    assert (await store.view_counts())["queue"]["queued"] == 1


async def test_a_notice_where_the_owner_is(store: Store) -> None:
    """Told in the conversation that was used last, or in the first one there is; once there."""
    assert await store.tell("budget:1", "much is spent") is not None
    assert await store.tell("budget:1", "much is spent") is None
    page = await store.view_messages("main", 0, 10)
    assert [(one["channel"], one["text"]) for one in page["messages"]] == [("cli", "much is spent")]
    await store.accept(inbound(session="family", channel="mail"), chat("family"), "")
    assert await store.tell("budget:2", "all is spent") is not None
    page = await store.view_messages("family", 0, 10)
    assert [one["channel"] for one in page["messages"]] == ["mail", "mail"]
