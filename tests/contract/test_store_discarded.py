"""Discarded attempts: what a node reports of a job that was taken from it is kept, not merged."""

from __future__ import annotations

from typing import Any

import pytest

from stead.core.errors import StaleEpoch
from stead.core.ids import uuid7
from stead.core.nouns import Job
from stead.core.states import StepState
from stead.core.storage import Store
from stead.core.wire import Event, Events, Held
from tests.contract.storages import (
    chat,
    claimed,
    crash_rule,
    finish,
    inbound,
    journal,
    report,
    rule,
    step,
    trouble,
)


async def _taken(store: Store) -> tuple[Job, Job]:
    """A job that was taken from n1 while it worked, and that n2 has now."""
    await store.accept(inbound("do it"), chat(), "")
    first = await claimed(store, "n1")
    await journal(store, first, step(1))
    await store.release("n1", "another boot", crash_rule)
    return first, await claimed(store, "n2")


def _events(job: Job, *steps: Any) -> Events:
    told = [Event(n, "step", step=one) for n, one in enumerate(steps, 1)]
    return Events(uuid7(), job.id, job.epoch, [Event(0, "token", "x"), *told])


async def _parts(store: Store, job: Job) -> list[dict[str, Any]]:
    view = await store.view_attempts(job.id)
    return [part for attempt in view["attempts"] for part in attempt["discarded"]]


async def test_late_work_is_kept_and_not_merged(store: Store) -> None:
    """Outcomes and answer of an attempt that was taken away can be looked at; journal, job and
    conversation are as if they had never come."""
    first, second = await _taken(store)
    late = _events(first, step(1, StepState.DONE, output="paid"), step(2))
    with pytest.raises(StaleEpoch):
        await journal(store, first, step(1, StepState.DONE))
    assert await store.discard("n1", late)
    assert not await store.discard("n1", report(first, "done", "my answer"))
    assert [(p["what"], p["text"]) for p in await _parts(store, first)] == [
        ("step", "paid"), ("end", "my answer"),
    ]  # fmt: skip
    story = await store.view_why(first.id)
    gone, here = story["attempts"]
    assert gone["discarded_at"] > 0 and gone["outcome"] == "crashed"
    assert (here["discarded_at"], here["discarded"]) == (0, [])
    assert [(s["seq"], s["epoch"], s["state"]) for s in story["steps"]] == [(1, 1, "intent")]
    assert story["steps"][0]["came_late"]
    assert story["reply"] is None and story["job"]["state"] == "running"
    await finish(store, second, "done", "the answer")
    assert (await store.view_why(first.id))["reply"]["text"] == "the answer"


async def test_the_same_late_report_twice_is_one(store: Store) -> None:
    """What was kept first stays, and only the first report is news."""
    first, _ = await _taken(store)
    late = _events(first, step(1, StepState.DONE, output="paid"))
    assert await store.discard("n1", late)
    assert not await store.discard("n1", late)
    assert not await store.discard("n1", _events(first, step(1, StepState.DONE, output="other")))
    end = report(first, "failed", trouble=trouble("broken"))
    await store.discard("n1", end)
    await store.discard("n1", end)
    assert [part["text"] for part in await _parts(store, first)] == ["paid", ""]
    assert (await _parts(store, first))[-1]["error"] == "broken"


async def test_only_of_the_node_that_held_it(store: Store) -> None:
    """Of another node, of an epoch that never was, of one that still works or has ended by
    itself, nothing is kept."""
    first, second = await _taken(store)
    for node, job in (("n3", first), ("n2", first), ("n1", second), ("n2", second)):
        assert not await store.discard(node, report(job, "done", "mine"))
    never = Events(uuid7(), first.id, 99, [])
    assert not await store.discard("n1", never)
    assert not await store.discard("n1", Events(uuid7(), "no such job", 1, []))
    await store.finish("n2", report(second, "done", "the answer"), rule)
    assert not await store.discard("n2", report(second, "done", "again"))
    assert await _parts(store, first) == []
    story = await store.view_why(first.id)
    assert [attempt["discarded_at"] for attempt in story["attempts"]] == [0, 0]


async def test_late_work_is_bounded(store: Store) -> None:
    """However much a node tells of a lost job, a bounded part is kept, the end always, and what
    is left out is said."""
    first, _ = await _taken(store)
    huge = "x" * 100_000
    for seq in range(1, 301):
        await store.discard("n1", _events(first, step(seq, StepState.DONE, output=huge)))
    await store.discard("n1", report(first, "done", "the end"))
    parts = await _parts(store, first)
    assert len(parts) <= 201
    assert sum(len(part["text"]) for part in parts) <= 300_000
    assert parts[0]["left_out"] == 100_000 - len(parts[0]["text"]) > 0
    assert (parts[-1]["what"], parts[-1]["text"]) == ("end", "the end")
    short = (await store.view_why(first.id))["attempts"][0]["discarded"][0]
    assert len(short["text"]) <= 1000
    assert short["left_out"] + len(short["text"]) == 100_000


async def test_the_work_of_a_node_that_was_heard_of_again_is_kept(store: Store) -> None:
    """A node that was only cut off beats its heart before it reports; what it did is kept."""
    await store.accept(inbound("do it"), chat(), "")
    first = await claimed(store, "n1", lease_ms=-1000)
    await store.reap(crash_rule)
    await store.heartbeat("n1", [Held(first.id, first.epoch)], 30_000)
    assert await store.discard("n1", report(first, "done", "my answer"))
    assert [part["text"] for part in await _parts(store, first)] == ["my answer"]
