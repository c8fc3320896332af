"""The contract of a storage: what is over can go, and what it was is still known."""

from __future__ import annotations

import asyncio
import time

import pytest

from stead.core.errors import NotFound
from stead.core.ids import uuid7
from stead.core.nouns import Call, Job, Usage
from stead.core.pruning import PruneRule
from stead.core.states import JobState, StepState
from stead.core.storage import Store
from tests.contract.storages import (
    House,
    background,
    chat,
    claim,
    claimed,
    converse,
    finish,
    inbound,
    journal,
    state_of,
    step,
    trouble,
)

OVER = (JobState.DONE, JobState.CANCELLED)


def rule(*states: JobState, older_ms: int = 0) -> PruneRule:
    return PruneRule(states or OVER, older_ms, "older than nothing")


async def pruned(store: Store, what: PruneRule, most: int = 3) -> int:
    """Apply a rule to its end; how many jobs went."""
    await asyncio.sleep(0.005)  # so that what ended just now is older than nothing
    number, many, after = await store.prune_begin(what.words), 0, ""
    while True:
        batch = await store.prune_jobs(what, number, after, most)
        assert batch.many <= most
        many, after = many + batch.many, batch.after
        if not after:
            return many


async def read(store: Store) -> None:
    """The owner has everything."""
    while deliveries := await store.take("cli", 100):
        for delivery in deliveries:
            await store.delivered(delivery.id)


async def test_what_is_over_goes_and_what_is_not_stays(store: Store) -> None:
    """Only jobs in the states of the rule go, with their attempts, steps and deliveries."""
    done = [await converse(store, f"q{n}", "a") for n in range(5)]
    dead = await converse(store, "bad", None)
    await read(store)
    waiting_id = (await store.accept(inbound(), chat("w"), "")).job_id
    await finish(store, await claimed(store), "waiting", waiting_for="?")
    running = (await store.accept(inbound(), chat("r"), "")).job_id
    await claimed(store)
    queued = (await store.accept(inbound(), chat("q"), "")).job_id
    assert await pruned(store, rule()) == 5
    assert await pruned(store, rule()) == 0
    for job in done:
        story = await store.view_why(job.id)
        assert story["pruned"]["rule"] == "older than nothing" and story["pruned"]["at"] > 0
        assert not story["attempts"] and not story["steps"] and not story["delivery"]
    states = {dead.id: "dead", waiting_id: "waiting", running: "running", queued: "queued"}
    for job_id, state in states.items():
        story = await store.view_why(job_id)
        assert story["pruned"] is None and story["job"]["state"] == state
    assert await pruned(store, rule(JobState.DEAD)) == 1


async def test_the_record_stays(store: Store) -> None:
    """A pruned job's message and reply are there, found by any of their ids, and part of the
    history of later ones."""
    job = await converse(store, "where is the key?", "by the door")
    await read(store)
    before = await store.view_messages("main", 0, 10)
    await pruned(store, rule())
    assert await store.view_messages("main", 0, 10) == before
    for ident in (job.id, job.id[-8:], before["messages"][0]["id"]):
        story = await store.view_why(ident)
        assert story["message"]["text"] == "where is the key?"
        assert story["reply"]["text"] == "by the door"
        assert story["job"]["state"] == "done" and story["job"]["ended_at"] > 0
    later = await converse(store, "thanks", "welcome")
    assert [turn.text for turn in await store.history(later)] == [
        "where is the key?", "by the door",
    ]  # fmt: skip


async def test_what_comes_again_is_not_done_again(house: House) -> None:
    """A message sent again, or a job enqueued again under its key, after its job was pruned is
    the same one, also after a restart."""
    store = house.store
    first = await store.accept(inbound(external_id="42"), chat(), "")
    await finish(store, await claimed(store), "done", "answer")
    keyed, _ = await store.enqueue(background(idem_key="cron:1"))
    await finish(store, await claimed(store))
    await read(store)
    assert await pruned(store, rule()) == 2
    store = house.reopen()
    again = await store.accept(inbound(external_id="42"), chat(), "")
    assert again.duplicate and again.job_id == first.job_id
    assert await store.enqueue(background(idem_key="cron:1")) == (keyed, False)
    assert await claim(store) is None
    assert (await store.view_why(again.job_id))["reply"]["text"] == "answer"


async def test_age_counts_from_the_end(store: Store) -> None:
    """What ended less long ago than the rule says stays."""
    await converse(store, "q", "a")
    assert await pruned(store, rule(older_ms=60_000)) == 0
    plan = await store.prune_plan([rule(), rule(older_ms=60_000)], 0, None)
    assert [one["jobs"] for one in plan["jobs"]] == [1, 0]
    assert await pruned(store, rule()) == 1


async def test_an_open_delivery_outlives_its_job(store: Store) -> None:
    """A reply that nobody has fetched yet can still be delivered after its job was pruned."""
    await converse(store, "q", "a")
    await pruned(store, rule())
    (delivery,) = await store.take("cli")
    assert delivery.text == "a"
    await store.delivered(delivery.id)
    await asyncio.sleep(0.005)
    assert (await store.prune_notices(0, "", 10)).many == 0  # it belongs to a job


async def test_discarded_attempts_go_too(store: Store) -> None:
    """Nothing of a pruned job is left behind in any table."""
    await store.enqueue(background())
    job = await claimed(store)
    await journal(store, job, step(1), step(1, StepState.DONE), step(2))
    await finish(store, job, "failed", trouble=trouble("x", permanent=True))
    assert await pruned(store, rule(JobState.DEAD)) == 1
    assert (await store.view_attempts(job.id))["attempts"] == []
    with pytest.raises(NotFound):
        await store.job(job.id)


def call(job: Job | None, micro: int, model: str = "m") -> Call:
    return Call(
        uuid7(), 0, model, "b", "owner", job.id if job else None, "chat",
        Usage(10, 4, 5, micro), 0, "settled", 200, 1.0, 2.0, "",
    )  # fmt: skip


async def test_sums_of_calls_stay(store: Store) -> None:
    """Pruned calls are counted in the sums of their day, once, and what was spent is unchanged."""
    for n in range(7):
        await store.record_calls([], [call(None, 100, f"m{n % 2}")])
    open_call = call(None, 0)
    await store.reserve(
        Call(
            open_call.id, 0, "m", "b", "o", None, "chat", Usage(), 50, "reserved", 0, 0, 0, ""
        ),
        [],
    )  # fmt: skip
    spent = (await store.view_counts())["spent"]
    await asyncio.sleep(0.005)
    many = 0
    while (batch := await store.prune_calls(0, 3)).after:
        many += batch.many
    assert many + batch.many == 7
    assert (await store.view_counts())["spent"] == spent
    assert (await store.prune_plan([], 0, None))["calls"] == 0
    sums = await store.view_call_days()
    assert {(one["model"], one["calls"], one["cost_micro"]) for one in sums} == {
        ("m0", 4, 400), ("m1", 3, 300),
    }  # fmt: skip
    assert all(one["prompt_tokens"] == 10 * one["calls"] for one in sums)


async def test_words_go_only_when_asked(store: Store) -> None:
    """Words of messages from before a time go; that they were said does not, nor what is still
    under way, nor what came later."""
    await converse(store, "old secret", "I see")
    await read(store)
    await store.accept(inbound("open", external_id="o", session="w"), chat("w"), "")
    await asyncio.sleep(0.005)
    moment = int(time.time() * 1000)
    await asyncio.sleep(0.005)
    later = await store.accept(inbound("new", external_id="n", session="x"), chat("x"), "")
    plan = await store.prune_plan([], 0, moment)
    assert plan["messages"] == 2
    assert (await store.prune_messages(moment, "", 100)).many == 2
    assert (await store.prune_messages(moment, "", 100)).many == 0
    messages = (await store.view_messages("main", 0, 10))["messages"]
    assert [one["text"] for one in messages] == ["", ""]
    assert all(one["pruned_at"] > 0 for one in messages)
    again = await store.accept(
        inbound("old secret", external_id=messages[0]["external_id"]), chat(), ""
    )
    assert again.duplicate
    assert await state_of(store, later.job_id) == "queued"
    (kept,) = (await store.view_messages("w", 0, 10))["messages"]
    assert kept["text"] == "open" and kept["pruned_at"] == 0
    await store.accept(inbound("next"), chat(), "")
    for _ in range(3):
        job = await claimed(store)
        assert await store.history(job) == []


async def test_space_goes_back_to_the_disk(store: Store) -> None:
    """After much was pruned the database is smaller on disk, and its log of writes is short."""
    text = "x" * 40_000
    await asyncio.gather(*(store.enqueue(background(route=text)) for _ in range(200)))
    jobs = await asyncio.gather(*(claimed(store) for _ in range(200)))
    await asyncio.gather(*(finish(store, job) for job in jobs))
    full = await store.size()
    assert await pruned(store, rule(), 50) == 200
    freed = await store.size()
    assert freed["used"] < full["used"] / 2 < freed["free"]
    while (await store.give_back(500)).after:
        pass
    await store.trim()
    given = await store.size()
    assert given["used"] + given["free"] < full["used"] / 2
    assert given["log"] == 0
