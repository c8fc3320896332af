"""The contract of a storage: a job that brings its worker down is found, and no other with it."""

from __future__ import annotations

from typing import Any

from stead.core.states import JobState, StepState
from stead.core.storage import Store
from stead.core.wire import Held
from tests.contract.storages import (
    background,
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    inbound,
    journal,
    state_of,
    step,
    until_lease_is_over,
)


async def enqueued(store: Store, many: int, **more: Any) -> list[str]:
    return [(await store.enqueue(background(**more)))[0] for _ in range(many)]


async def crash(store: Store, boot: int, node: str = "n1") -> None:
    """The node dies with all it holds and comes up anew."""
    await store.release(node, f"{node}-boot-{boot}", crash_rule)


async def take(store: Store, boot: int, most: int = 9, **more: Any) -> list[str]:
    """What a node is given until there is nothing more for it."""
    taken = []
    for _ in range(most):
        granted = await claim(store, boot=f"n1-boot-{boot}", **more)
        if granted is None:
            break
        taken.append(granted.job.id)
    return taken


async def test_only_the_poison_dies(store: Store) -> None:
    """Jobs that ran beside one that kills its worker, at first and later, are all done; the one
    is dead, in three of its worker's deaths."""
    poison, *innocent = await enqueued(store, 4)
    innocent += await enqueued(store, 6)
    deaths = 0
    for boot in range(40):
        held = await take(store, boot, 4)
        if not held:
            break
        if poison in held:
            deaths += 1
            await crash(store, boot + 1)
            continue
        for job_id in held:
            await finish(store, await store.job(job_id))
    assert deaths == 3 and await state_of(store, poison) == "dead"
    assert {await state_of(store, job_id) for job_id in innocent} == {"done"}


async def test_many_poisons_and_one_innocent(store: Store) -> None:
    """Whoever is near the poison again and again lives all the same: nobody dies by a crash that
    another may have caused."""
    poison = await enqueued(store, 2)
    innocent = (await enqueued(store, 1))[0]
    poison += await enqueued(store, 8)
    for boot in range(200):
        held = await take(store, boot, 3)
        if not held:
            break
        if set(poison) & set(held):
            await crash(store, boot + 1)
        elif innocent in held:
            await finish(store, await store.job(innocent))
    assert {await state_of(store, job_id) for job_id in poison} == {"dead"}
    assert await state_of(store, innocent) == "done"


async def test_suspects_are_tried_apart(store: Store) -> None:
    """After a crash a node gets those that it held one at a time; others run beside them, and
    another node takes the next."""
    first = await enqueued(store, 3)
    assert await take(store, 1) == first
    await crash(store, 2)
    fresh = await enqueued(store, 2)
    assert await take(store, 2) == [first[0], *fresh]
    other = await claim(store, "n2")
    assert other is not None and other.job.id == first[1]
    await finish(store, await store.job(first[0]))
    assert await take(store, 2) == [first[2]]


async def test_the_last_chance_is_alone(store: Store) -> None:
    """A background job with one crash left waits for what its node does in the background, keeps
    others from beginning there, and never keeps the owner's chat."""
    (job_id,) = await enqueued(store, 1, max_crashes=2)
    assert await take(store, 1) == [job_id]
    await crash(store, 2)
    (again,) = await take(store, 2)
    assert again == job_id
    await enqueued(store, 1)
    assert await take(store, 2) == []
    await store.accept(inbound(), chat(), "")
    assert len(await take(store, 2)) == 1
    await crash(store, 3)
    assert await state_of(store, job_id) == "dead"
    (job_id,) = await enqueued(store, 1, max_crashes=2, prio=-1)
    taken = await take(store, 3)  # the chat, which is a suspect now, the new one and the loose one
    assert len(taken) == 3 and job_id in taken
    await crash(store, 4)
    await enqueued(store, 1)
    begun = await take(store, 4, lanes=("background",))
    assert begun == [job_id]  # nothing runs there, so it begins, and nothing beside it


async def test_it_waits_for_the_background_to_end(store: Store) -> None:
    """What must be alone begins when the last background job of its node has ended."""
    (job_id,) = await enqueued(store, 1, max_crashes=2)
    await take(store, 1)
    (busy,) = await enqueued(store, 1)
    assert await take(store, 1) == [busy]
    await store.cancel(job_id, crash_rule)
    await finish(store, await store.job(job_id), "failed")
    (job_id,) = await enqueued(store, 1, max_crashes=2)
    lost = await claimed(store, "n2")
    assert lost.id == job_id
    await store.release("n2", "n2-later", crash_rule)
    await enqueued(store, 1)
    assert await take(store, 1) == []
    await finish(store, await store.job(busy))
    assert await take(store, 1) == [job_id]


async def test_a_worker_that_comes_back_had_not_vanished(store: Store) -> None:
    """A node that was only cut off from us for a while costs its jobs nothing."""
    (job_id,) = await enqueued(store, 1)
    job = await claimed(store, lease_ms=5)
    await until_lease_is_over(store, job)
    assert (await store.job(job_id)).crashes == 1
    for _ in range(2):
        beat = await store.heartbeat("n1", [Held(job_id, 1)], 30_000)
        assert beat.lost == [job_id]
        assert (await store.job(job_id)).crashes == 0
    assert (await store.view_why(job_id))["attempts"][0]["outcome"] == "cut off"
    await enqueued(store, 1)
    assert len(await take(store, 1)) == 2


async def test_a_worker_that_restarted_had_vanished(store: Store) -> None:
    """What a restart took back stays counted, whatever is still on its way from before."""
    (job_id,) = await enqueued(store, 1)
    await claimed(store)
    await crash(store, 2)
    await store.heartbeat("n1", [Held(job_id, 1)], 30_000)
    assert (await store.job(job_id)).crashes == 1


async def test_leases_that_end_one_after_the_other(store: Store) -> None:
    """A dead worker's jobs may be taken back at different moments; they had each other for
    company all the same."""
    short, long = await enqueued(store, 2, max_crashes=1)
    one = await claimed(store, lease_ms=5)
    two = await claimed(store, lease_ms=200)
    assert (one.id, two.id) == (short, long)
    await until_lease_is_over(store, one)
    await until_lease_is_over(store, two)
    for job_id in (short, long):
        assert await state_of(store, job_id) == JobState.QUEUED


async def test_the_evidence_is_kept(store: Store) -> None:
    """Of each crash it is known on which node it was, when, and what was under way."""
    (job_id,) = await enqueued(store, 1)
    job = await claimed(store)
    output = '{"text": "", "calls": [{"id": "1", "name": "burn", "arguments": "{}"}]}'
    await journal(store, job, step(1, StepState.DONE, name="model:main", output=output))
    await crash(store, 2)
    job = await claimed(store)
    await journal(store, job, step(2, name="tool:shell", input="rm"))
    await crash(store, 3)
    first, second = (await store.view_why(job_id))["attempts"]
    assert first["under_way"] == "on n1, after step 1, model:main, which asked for burn {}"
    assert second["under_way"] == "on n1, under way: step 2, tool:shell rm"
    assert first["outcome"] == second["outcome"] == "crashed"
    assert first["ended_at"] and second["error"] == "its worker restarted"


async def test_suspects_keep_their_turn(store: Store) -> None:
    """In a conversation a message that was cut off by a crash still goes before the next."""
    ids = []
    for n in range(3):
        ids.append((await store.accept(inbound(external_id=str(n)), chat(), "")).job_id)
    assert await take(store, 1) == ids[:1]
    await crash(store, 2)
    assert await take(store, 2) == ids[:1]
    await finish(store, await store.job(ids[0]))
    assert await take(store, 2) == ids[1:2]
