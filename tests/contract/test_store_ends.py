"""The contract of a storage: how attempts end, and what becomes of their jobs."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import StaleEpoch, WrongState
from stead.core.nouns import Job
from stead.core.placement import Ready
from stead.core.states import JobState
from stead.core.storage import Ruling, Store
from stead.core.wire import Finish
from tests.contract.storages import (
    House,
    background,
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    inbound,
    journal,
    now_of,
    report,
    rule,
    state_of,
    step,
    trouble,
    until,
    until_lease_is_over,
)

# --- reports -----------------------------------------------------------------


async def test_done_is_done(store: Store) -> None:
    """A finished job holds nothing any more and is given to nobody again."""
    await store.enqueue(background())
    job = await claimed(store)
    ended = await finish(store, job, worked_ms=42)
    assert (ended.state, ended.repeat, ended.job.state) == (JobState.DONE, False, JobState.DONE)
    assert ended.job.ended_at >= job.started_at and ended.job.lease_until == 0
    assert await store.leases() == [] and await claim(store) is None
    (attempt,) = (await store.view_why(job.id))["attempts"]
    assert (attempt["epoch"], attempt["outcome"], attempt["worked_ms"]) == (1, "done", 42)
    assert attempt["ended_at"] >= attempt["started_at"] > 0


async def test_what_is_answered_is_what_was_written(house: House) -> None:
    """The job in the answer to a report is the job as it now lies in the storage."""
    store = house.store
    for outcome in ("done", "failed", "waiting", "cancelled"):
        await store.enqueue(background(max_tries=2))
        ended = await finish(
            store, await claimed(store), outcome, trouble=trouble("why"), waiting_for="so?"
        )
        story = (await store.view_why(ended.job.id))["job"]
        for name in (
            "state", "run_at", "ended_at", "tries", "crashes", "error", "waiting_for", "epoch",
            "started_at",
        ):  # fmt: skip
            assert story[name] == getattr(ended.job, name), (outcome, name)
        if ended.state is JobState.QUEUED:
            await store.cancel(ended.job.id, crash_rule)


async def test_a_repeated_report_is_answered_as_before(house: House) -> None:
    """A report whose answer was lost gets the same one, after a restart and after the job went
    on, and does nothing a second time (invariant 4)."""
    await house.store.accept(inbound(), chat(max_tries=3), "")
    job = await claimed(house.store)
    first = report(job, "failed", trouble=trouble("network"))
    assert (await house.store.finish("n1", first, rule)).state is JobState.QUEUED
    store = house.reopen()
    for _ in range(2):
        again = await store.finish("n1", first, rule)
        assert (again.state, again.repeat) == (JobState.QUEUED, True)
    second = await claimed(store)
    last = report(second, "done", "hello")
    await store.finish("n1", last, rule)
    assert (await store.finish("n1", last, rule)).repeat
    assert (await store.finish("n1", first, rule)).state is JobState.QUEUED
    assert len(await store.take("cli")) == 1
    assert (await store.view_why(job.id))["job"]["tries"] == 1


async def test_the_same_report_racing_with_itself_counts_once(store: Store) -> None:
    """Twenty copies of one report at once are one end and nineteen repeats."""
    await store.accept(inbound(), chat(), "")
    last = report(await claimed(store), "done", "hello")
    ended = await asyncio.gather(*(store.finish("n1", last, rule) for _ in range(20)))
    assert sum(not one.repeat for one in ended) == 1
    assert {one.state for one in ended} == {JobState.DONE}
    assert len(await store.take("cli")) == 1


async def test_a_stale_report_is_refused(store: Store) -> None:
    """Who lost a job cannot end it: not an earlier epoch, not another node, not a second report
    of the same attempt (invariant 2)."""
    await store.enqueue(background(max_tries=9))
    oldest = await claimed(store)
    await finish(store, oldest, "failed")
    old = await claimed(store)
    with pytest.raises(StaleEpoch):
        await finish(store, oldest)
    await finish(store, old, "failed")
    new = await claimed(store, "n2")
    for job in (oldest, old):
        with pytest.raises(StaleEpoch):
            await finish(store, job)
    with pytest.raises(StaleEpoch):
        await store.finish("n1", report(new), rule)
    assert await state_of(store, new.id) == "running"
    await finish(store, new)
    with pytest.raises(StaleEpoch):
        await finish(store, new)


async def test_a_refused_report_does_not_undo_its_neighbours(store: Store) -> None:
    """Reports are committed together, yet each stands or falls alone."""
    await asyncio.gather(*(store.enqueue(background()) for _ in range(10)))
    jobs = [await claimed(store) for _ in range(10)]
    results = await asyncio.gather(
        *(
            store.finish("n1" if n % 3 else "stranger", report(job), rule)
            for n, job in enumerate(jobs)
        ),
        return_exceptions=True,
    )
    for n, (job, result) in enumerate(zip(jobs, results, strict=True)):
        assert isinstance(result, StaleEpoch) is (n % 3 == 0)
        assert await state_of(store, job.id) == ("done" if n % 3 else "running")


# --- failures ----------------------------------------------------------------


async def test_failures_are_counted_until_the_job_is_dead(store: Store) -> None:
    """A failed job is tried again ``max_tries`` times in all, then it is dead and says so."""
    await store.accept(inbound(), chat(max_tries=3), "")
    states = []
    for _ in range(3):
        ended = await finish(store, await claimed(store), "failed", trouble=trouble("broken"))
        states.append((ended.state.value, ended.job.tries))
    assert states == [("queued", 1), ("queued", 2), ("dead", 3)]
    assert await claim(store) is None
    assert [one.text for one in await store.take("cli")] == ["Sorry: broken"]


async def test_a_failure_may_be_ruled_not_to_count(store: Store) -> None:
    """An attempt that ended through no fault of its job uses up no try."""
    await store.enqueue(background())
    ended = await store.finish(
        "n1",
        report(await claimed(store), "failed"),
        lambda job, report: Ruling(JobState.QUEUED, counts=False),
    )
    assert ended.job.tries == 0


async def test_a_permanent_failure_is_dead_at_once(store: Store) -> None:
    """What would fail the same way again is not tried again."""
    await store.enqueue(background(max_tries=5))
    ended = await finish(
        store, await claimed(store), "failed", trouble=trouble("no such key", permanent=True)
    )
    assert (ended.state, ended.job.error) == (JobState.DEAD, "no such key")


async def test_backoff_keeps_a_job_from_being_claimed(store: Store) -> None:
    """A job that waits for its next try is queued, but not due."""
    await store.enqueue(background())
    job = await claimed(store)
    await store.finish(
        "n1", report(job, "failed"), lambda job, report: Ruling(JobState.QUEUED, delay_ms=60_000)
    )
    assert await state_of(store, job.id) == "queued"
    assert await claim(store) is None
    due = await store.next_due_ms()
    assert due is not None and 50_000 < due <= 60_000


async def test_a_short_backoff_ends(store: Store) -> None:
    """After its delay the job is due again."""
    await store.enqueue(background())
    job = await claimed(store)
    await store.finish(
        "n1", report(job, "failed"), lambda job, report: Ruling(JobState.QUEUED, delay_ms=15)
    )
    for _ in range(200):
        granted = await claim(store)
        if granted is not None:
            break
        await asyncio.sleep(0.005)
    assert granted is not None and granted.job.epoch == 2


# --- crashes -----------------------------------------------------------------


async def test_a_silent_worker_loses_its_job(store: Store) -> None:
    """When a lease runs out the crash is counted and the job goes to another; its old owner is
    refused from then on."""
    await store.enqueue(background())
    old = await claimed(store, lease_ms=5)
    await until_lease_is_over(store, old)
    new = await claimed(store, "n2")
    assert (new.id, new.epoch, new.crashes) == (old.id, 2, 1)
    with pytest.raises(StaleEpoch):
        await finish(store, old)
    first, second = (await store.view_why(old.id))["attempts"]
    assert (first["outcome"], second["outcome"]) == ("crashed", "")
    assert "lease" in first["error"]


async def test_a_living_lease_is_not_reaped(store: Store) -> None:
    """The reaper takes nothing from a worker whose lease runs."""
    await store.enqueue(background())
    job = await claimed(store)
    assert await store.reap(crash_rule) == []
    assert await state_of(store, job.id) == "running"


async def test_poison_dies(store: Store) -> None:
    """A job that brings its workers down is dead after ``max_crashes`` of them."""
    await store.accept(inbound(), chat(max_crashes=3), "")
    for boot in ("b1", "b2", "b3"):
        await claimed(store, boot=boot)
        (ended,) = await store.release("n1", "next", crash_rule)
    assert (ended.state, ended.job.crashes) == (JobState.DEAD, 3)
    assert await claim(store) is None
    assert len(await store.take("cli")) == 1


async def test_the_rule_sees_the_crash_counted(store: Store) -> None:
    """The count is raised before anything judges the job."""
    seen: list[int] = []

    def judge(job: Job, why: str) -> Ruling:
        seen.append(job.crashes)
        return Ruling(JobState.QUEUED)

    await store.enqueue(background())
    for boot in ("b1", "b2"):
        await claimed(store, boot=boot)
        await store.release("n1", "next", judge)
    assert seen == [1, 2]


async def test_a_restarted_node_gives_its_jobs_back_at_once(store: Store) -> None:
    """What an earlier process of a node held is free when the next one says hello; what the new
    one and other nodes hold is not touched."""
    for _ in range(3):
        await store.enqueue(background())
    old = await claimed(store, boot="b1")
    new = await claimed(store, boot="b2")
    other = await claimed(store, "n2", boot="b1")
    (ended,) = await store.release("n1", "b2", crash_rule)
    assert (ended.job.id, ended.state, ended.job.crashes) == (old.id, JobState.QUEUED, 1)
    assert {held for held, _, _ in await store.leases()} == {new.id, other.id}
    assert await store.release("n1", "b2", crash_rule) == []


async def test_one_job_that_cannot_be_judged_does_not_hold_up_the_others(store: Store) -> None:
    """A poisoned row blocks nobody: the others are taken back all the same."""
    for n in range(4):
        await store.enqueue(background(prio=n))
    jobs = [await claimed(store, lease_ms=-1000) for _ in range(4)]

    def judge(job: Job, why: str) -> Ruling:
        if job.id == jobs[1].id:
            raise ValueError("cannot judge this")
        return crash_rule(job, why)

    ended = await store.reap(judge)
    assert {one.job.id for one in ended} == {job.id for n, job in enumerate(jobs) if n != 1}
    assert await state_of(store, jobs[1].id) == "running"
    assert [one.job.id for one in await store.reap(crash_rule)] == [jobs[1].id]


async def test_a_deadline_ends_what_nobody_did(store: Store) -> None:
    """A job past its deadline is dead and says so; one that runs may still come to its end."""
    soon = await now_of(store) + 2000
    await store.accept(inbound(), chat(deadline_at=soon), "")
    running = await claimed(store)
    queued = await store.accept(inbound(), chat("other", deadline_at=soon), "")
    await until(store, soon)
    assert await claim(store) is None
    (ended,) = await store.reap(crash_rule)
    assert (ended.job.id, ended.state) == (queued.job_id, JobState.DEAD)
    assert (await finish(store, running)).state is JobState.DONE


# --- the owner's hand ----------------------------------------------------------


async def test_cancel_before_it_began(store: Store) -> None:
    """A queued job is cancelled at once and never given out."""
    accepted = await store.accept(inbound(), chat(), "")
    ended = await store.cancel(accepted.job_id, crash_rule)
    assert ended.state is JobState.CANCELLED and ended.message_id is not None
    assert await claim(store) is None
    with pytest.raises(WrongState, match="cancelled"):
        await store.cancel(accepted.job_id, crash_rule)


async def test_cancel_while_it_runs(store: Store) -> None:
    """A running job is only asked to stop; it is cancelled when its worker says so, or is
    gone."""
    for _ in range(2):
        await store.enqueue(background())
    told, gone = await claimed(store), await claimed(store, "n2", boot="b1")
    for job in (told, gone):
        assert (await store.cancel(job.id, crash_rule)).state is JobState.RUNNING
    assert (await finish(store, told, "cancelled")).state is JobState.CANCELLED
    (ended,) = await store.release("n2", "b2", crash_rule)
    assert ended.state is JobState.CANCELLED


async def test_cancel_while_it_waits(store: Store) -> None:
    """A job that waits for the owner's answer can be cancelled instead."""
    await store.enqueue(background())
    job = await claimed(store)
    await finish(store, job, "waiting", waiting_for="so?")
    assert (await store.cancel(job.id, crash_rule)).state is JobState.CANCELLED


async def test_revive_only_the_dead(store: Store) -> None:
    """Only a dead job is queued again by hand, with its counts at zero and no deadline."""
    soon = await now_of(store) + 60_000
    await store.accept(inbound(), chat(max_tries=1, deadline_at=soon), "")
    job = await claimed(store)
    with pytest.raises(WrongState, match="running"):
        await store.revive(job.id)
    await finish(store, job, "failed")
    revived = await store.revive(job.id)
    assert (revived.state, revived.tries, revived.crashes) == (JobState.QUEUED, 0, 0)
    assert (revived.error, revived.ended_at, revived.deadline_at) == ("", 0, 0)
    with pytest.raises(WrongState, match="queued"):
        await store.revive(job.id)
    again = await claimed(store)
    assert again.epoch == 2
    await finish(store, again, "done", "at last")
    with pytest.raises(WrongState, match="done"):
        await store.revive(job.id)


async def test_an_answer_goes_back_with_the_job(store: Store) -> None:
    """The owner's answer is in the payload of the next attempt, under the step it is about."""
    await store.enqueue(background())
    job = await claimed(store)
    with pytest.raises(WrongState, match="running"):
        await store.answer(job.id, "repeat")
    await journal(store, job, step(1, name="tool:mail"), step(2, name="tool:mail"))
    await finish(store, job, "waiting", waiting_for="Did it happen?")
    assert (await store.view_why(job.id))["job"]["waiting_for"] == "Did it happen?"
    answered = await store.answer(job.id, "repeat")
    assert (answered.state, answered.waiting_for) == (JobState.QUEUED, "")
    assert answered.payload == {"n": 1, "answers": {"2": "repeat"}}
    assert (await claimed(store)).payload == answered.payload


# --- one at a time -------------------------------------------------------------


async def test_one_conversation_runs_one_job_at_a_time(store: Store) -> None:
    """Jobs of one key run one after the other in order; other keys are not held up."""
    first, _ = await store.enqueue(chat("a"))
    second, _ = await store.enqueue(chat("a"))
    other, _ = await store.enqueue(chat("b"))
    job = await claimed(store)
    assert job.id == first
    assert (await claimed(store)).id == other
    assert await claim(store) is None
    ended = await finish(store, job)
    assert ended.ready == Ready("", "chat")
    assert (await claimed(store)).id == second


@pytest.mark.parametrize("way", ["failed", "crashed"])
async def test_a_retry_keeps_its_place(store: Store, way: str) -> None:
    """While a job is tried again the later ones of its key still wait."""
    first, _ = await store.enqueue(chat("a", max_tries=9, max_crashes=9))
    second, _ = await store.enqueue(chat("a"))
    job = await claimed(store, boot="b1")
    if way == "failed":
        assert (await finish(store, job, "failed")).ready is None
    else:
        await store.release("n1", "b2", crash_rule)
    again = await claimed(store)
    assert again.id == first
    assert await claim(store) is None
    await finish(store, again)
    assert (await claimed(store)).id == second


@pytest.mark.parametrize("end", ["waiting", "dead", "cancelled"])
async def test_an_end_of_any_kind_lets_the_next_one_go(store: Store, end: str) -> None:
    """Whatever became of a job, the next of its key becomes ready by it."""
    first, _ = await store.enqueue(chat("a", max_tries=1))
    second, _ = await store.enqueue(chat("a", needs="gpu"))
    if end == "cancelled":
        ended = await store.cancel(first, crash_rule)
    else:
        outcome = "failed" if end == "dead" else end
        ended = await finish(store, await claimed(store), outcome, waiting_for="?")
    assert (ended.state, ended.ready) == (end, Ready("gpu", "chat"))
    assert (await claimed(store, labels=("gpu",))).id == second


async def test_an_answered_job_waits_for_its_turn(store: Store) -> None:
    """A job that comes back finds another of its key at work; it is next, before later ones,
    and nothing that happens meanwhile lets it run beside the other."""
    first, _ = await store.enqueue(chat("a"))
    second, _ = await store.enqueue(chat("a"))
    third, _ = await store.enqueue(chat("a"))
    last, _ = await store.enqueue(chat("a"))
    await finish(store, await claimed(store), "waiting", waiting_for="?")
    await store.answer(first, "done")  # the second is ready now, and not yet claimed
    await store.cancel(last, crash_rule)
    job = await claimed(store)
    assert job.id == second
    assert await claim(store) is None
    await finish(store, job)
    for expected in (first, third):
        job = await claimed(store)
        assert job.id == expected
        assert await claim(store) is None
        await finish(store, job)


async def test_a_revived_job_waits_for_its_turn(store: Store) -> None:
    """A dead job that is queued again does not run beside a living one of its key."""
    first, _ = await store.enqueue(chat("a", max_tries=1))
    await store.enqueue(chat("a"))
    await finish(store, await claimed(store), "failed")
    living = await claimed(store)
    await store.revive(first)
    assert await claim(store) is None
    await finish(store, living)
    assert (await claimed(store)).id == first


async def test_a_race_over_one_conversation(store: Store) -> None:
    """With many workers on many conversations, no two jobs of one ever run together, and each
    conversation keeps its order."""
    order: dict[str, list[str]] = {}
    for n in range(60):
        job_id, _ = await store.enqueue(chat(f"s{n % 6}", max_tries=9))
        order.setdefault(f"session:s{n % 6}", []).append(job_id)
    running: set[str] = set()
    done: dict[str, list[str]] = {key: [] for key in order}

    async def worker(name: str, fails: int) -> None:
        while (granted := await claim(store, name)) is not None:
            key = granted.job.conc_key
            assert key is not None and key not in running
            running.add(key)
            await asyncio.sleep(0)
            running.remove(key)
            if fails:
                fails -= 1
                await finish(store, granted.job, "failed")
            else:
                done[key].append(granted.job.id)
                await finish(store, granted.job)

    while any(len(done[key]) < len(ids) for key, ids in order.items()):
        await asyncio.gather(*(worker(f"n{n}", n % 3) for n in range(10)))
    assert done == order


async def test_a_report_with_an_impossible_number(store: Store) -> None:
    """A number that no database holds is refused at its reporter; its neighbours are ended."""
    for _ in range(3):
        await store.enqueue(background())
    jobs = [await claimed(store) for _ in range(3)]
    results = await asyncio.gather(
        *(finish(store, job, worked_ms=2**70 if n == 1 else 5) for n, job in enumerate(jobs)),
        return_exceptions=True,
    )
    assert [isinstance(one, OverflowError) for one in results] == [False, True, False]
    assert [await state_of(store, job.id) for job in jobs] == ["done", "running", "done"]


async def test_a_rule_that_fails_changes_nothing(store: Store) -> None:
    """When the end of an attempt cannot be judged its report is refused whole, to be sent again."""

    def broken(job: Job, report: Finish) -> Ruling:
        raise ValueError("no idea")

    await store.accept(inbound(), chat(), "")
    job = await claimed(store)
    last = report(job, "done", "hello")
    with pytest.raises(ValueError, match="no idea"):
        await store.finish("n1", last, broken)
    assert await state_of(store, job.id) == "running"
    assert (await store.finish("n1", last, rule)).repeat is False
