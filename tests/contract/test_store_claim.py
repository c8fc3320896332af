"""The contract of a storage: who gets which job, leases, and the journal of steps."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from stead.core.errors import NotFound, StaleEpoch
from stead.core.nouns import Usage
from stead.core.states import JobState, OnUnknown, StepState
from stead.core.storage import Ruling, Store
from stead.core.wire import Held
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
    report,
    rule,
    step,
    until_lease_is_over,
)

# --- order -------------------------------------------------------------------


async def test_chat_goes_before_background(store: Store) -> None:
    """A ready chat job goes before background work, however long that has waited."""
    slow, _ = await store.enqueue(background(prio=-5))
    quick, _ = await store.enqueue(chat("a", prio=5))
    assert (await claimed(store)).id == quick
    assert (await claimed(store)).id == slow


async def test_lanes_are_those_asked_for(store: Store) -> None:
    """A worker with room for chat only gets no background work, and the order is its own."""
    slow, _ = await store.enqueue(background())
    assert await claim(store, lanes=("chat",)) is None
    quick, _ = await store.enqueue(chat("a"))
    assert (await claimed(store, lanes=("background", "chat"))).id == slow
    assert (await claimed(store, lanes=("chat",))).id == quick


async def test_prio_then_first_come(store: Store) -> None:
    """Within a lane the lower prio goes first, and among equals the one that came first."""
    ids = [(await store.enqueue(background(prio=prio)))[0] for prio in (1, 0, 1, 0, -1)]
    got = [(await claimed(store)).id for _ in ids]
    assert got == [ids[4], ids[1], ids[3], ids[0], ids[2]]


async def test_a_job_that_failed_goes_behind_those_that_wait(store: Store) -> None:
    """Among equals the one that has been due longest goes first, so a retry holds up nobody."""
    first, _ = await store.enqueue(background(max_tries=9))
    job = await claimed(store)
    second, _ = await store.enqueue(background())
    await asyncio.sleep(0.003)  # the database's clock counts milliseconds
    await finish(store, job, "failed")
    assert [(await claimed(store)).id for _ in range(2)] == [second, first]


async def test_prio_and_age_hold_across_needs(store: Store) -> None:
    """A worker with labels takes the most urgent of all it can do, whatever labels that asks."""
    plain, _ = await store.enqueue(background(prio=1))
    gpu, _ = await store.enqueue(background(needs="gpu"))
    both, _ = await store.enqueue(background(needs="gpu,nas", prio=1))
    got = [(await claimed(store, labels=("gpu", "nas"))).id for _ in range(3)]
    assert got == [gpu, plain, both]


async def test_a_job_for_later_is_left_for_later(store: Store) -> None:
    """A job is not given out before its time, and does not stand before those that are due."""
    later = 10**14
    for prio in (0, 1):
        await store.enqueue(background(run_at=later, prio=prio))
    due, _ = await store.enqueue(background(prio=2))
    assert (await claimed(store)).id == due
    assert await claim(store) is None
    wait = await store.next_due_ms()
    assert wait is not None and wait > 10**12


async def test_next_due(store: Store) -> None:
    """What is due now is due in 0 ms; with nothing queued there is no such time."""
    assert await store.next_due_ms() is None
    await store.enqueue(background())
    assert await store.next_due_ms() == 0


async def test_needs_must_be_met(house: House) -> None:
    """A job goes only to a worker that carries all labels it needs, also after a restart."""
    await house.store.enqueue(background(needs="gpu,nas"))
    store = house.reopen()
    assert await claim(store) is None
    assert await claim(store, labels=("gpu",)) is None
    assert await claim(store, labels=("nas", "gpu", "more")) is not None


async def test_work_for_the_gateway_is_for_its_own_worker(store: Store) -> None:
    """``@gateway`` jobs go to the worker in the gateway alone, and it takes nothing else."""
    await store.enqueue(chat("a"))
    assert await claim(store, "@gateway", labels=("@gateway",)) is None
    await store.enqueue(chat("b", needs="@gateway"))
    light = await claimed(store, "@gateway", labels=("@gateway",))
    assert light.needs == "@gateway"
    assert (await claimed(store, labels=("gpu",))).needs == ""
    assert await claim(store, labels=("gpu",)) is None


# --- claiming ----------------------------------------------------------------


async def test_a_claim_tells_all_of_the_job(store: Store) -> None:
    """What a claim gives is what was queued, with the owner and a lease on the database's clock."""
    job_id, _ = await store.enqueue(
        chat("s", prio=3, max_tries=4, max_crashes=5, route="node: mine")
    )
    job = await claimed(store, "n7", lease_ms=1234)
    assert (job.id, job.kind, job.payload) == (job_id, "chat", {"text": "hello"})
    assert (job.state, job.epoch, job.node_id) == (JobState.RUNNING, 1, "n7")
    assert (job.prio, job.max_tries, job.max_crashes) == (3, 4, 5)
    assert (job.session, job.route, job.conc_key) == ("s", "node: mine", "session:s")
    assert job.lease_until == job.started_at + 1234
    assert job.created_at <= job.run_at <= job.started_at
    assert (job.tries, job.crashes, job.cancel_req, job.error) == (0, 0, False, "")


async def test_a_repeated_claim_gets_the_same_job(house: House) -> None:
    """The same request id of the same node is the same job, steps and all, after a restart too."""
    for _ in range(3):
        await house.store.enqueue(background())
    first = await claim(house.store, request_id="r1")
    assert first is not None
    await journal(house.store, first.job, step(1))
    store = house.reopen()
    again = await claim(store, request_id="r1")
    assert again is not None
    assert (again.job.id, again.job.epoch) == (first.job.id, 1)
    assert [one.seq for one in again.steps] == [1]
    assert (await claimed(store, request_id="r2")).id != first.job.id
    assert (await claimed(store, "n2", request_id="r1")).id != first.job.id


async def test_a_claim_racing_with_itself_gets_one_job(store: Store) -> None:
    """Copies of one request at the same moment all get the same job, at the same epoch."""
    for _ in range(5):
        await store.enqueue(background())
    granted = await asyncio.gather(*(claim(store, request_id=f"r{n % 2}") for n in range(20)))
    got = [(one.job.id, one.job.epoch) for one in granted if one is not None]
    assert len(got) == 20 and len(set(got)) == 2
    assert len(await store.leases()) == 2


async def test_workers_of_all_kinds_at_once(store: Store) -> None:
    """Claims that come together get what each alone would: its lanes, its labels, in order."""
    for needs in ("", "gpu", "", "@gateway"):
        await store.enqueue(background(needs=needs))
    await store.enqueue(chat("a"))
    granted = await asyncio.gather(
        claim(store, "n1", lanes=("chat",)),
        claim(store, "n2", labels=("gpu",), lanes=("background",)),
        claim(store, "n3", lanes=("chat",)),
        claim(store, "@gateway", labels=("@gateway",)),
        claim(store, "n4"),
        claim(store, "n5", labels=("gpu", "nas")),
        claim(store, "n6"),
    )
    got = [(one.job.lane.value, one.job.needs, one.job.node_id) if one else None for one in granted]
    assert got == [
        ("chat", "", "n1"), ("background", "", "n2"), None, ("background", "@gateway", "@gateway"),
        ("background", "", "n4"), ("background", "gpu", "n5"), None,
    ]  # fmt: skip


async def test_a_repeated_claim_starts_its_lease_anew(store: Store) -> None:
    """The worker counts its lease from the answer it got, so a late answer must not be short."""
    await store.enqueue(background())
    first = await claimed(store, request_id="r1", lease_ms=1_000)
    again = await claimed(store, request_id="r1", lease_ms=60_000)
    assert again.lease_until > first.lease_until + 50_000


async def test_a_request_that_is_over_gets_new_work(store: Store) -> None:
    """A request id names a job only while that job runs under it."""
    await store.enqueue(background())
    job = await claimed(store, request_id="r1")
    await finish(store, job)
    assert await claim(store, request_id="r1") is None
    other, _ = await store.enqueue(background())
    assert (await claimed(store, request_id="r1")).id == other


async def test_no_job_is_given_out_twice_in_a_race(store: Store) -> None:
    """Fifty workers racing over 200 jobs get each job once, and all of them."""
    await asyncio.gather(*(store.enqueue(background()) for _ in range(200)))

    async def worker(name: str) -> list[str]:
        got = []
        while (granted := await claim(store, name)) is not None:
            got.append(granted.job.id)
        return got

    got = await asyncio.gather(*(worker(f"n{n}") for n in range(50)))
    flat = [job_id for one in got for job_id in one]
    assert len(flat) == len(set(flat)) == 200


async def test_every_claim_raises_the_epoch(store: Store) -> None:
    """Each owner of a job has a higher epoch than all before (invariant 2)."""
    await store.enqueue(background(max_tries=9))
    for epoch in (1, 2, 3):
        job = await claimed(store)
        assert job.epoch == epoch
        await finish(store, job, "failed")


async def test_idem_key_makes_one_job(house: House) -> None:
    """The same key is the same job, in a race and after it has ended."""
    made = await asyncio.gather(
        *(house.store.enqueue(background(idem_key="cron:1")) for _ in range(20))
    )
    assert len({job_id for job_id, _ in made}) == 1
    assert sum(new for _, new in made) == 1
    job = await claimed(house.store)
    await finish(house.store, job)
    assert await house.reopen().enqueue(background(idem_key="cron:1")) == (job.id, False)


# --- leases ------------------------------------------------------------------


async def test_a_heartbeat_keeps_what_is_held(store: Store) -> None:
    """Only the living (job, epoch, node) is extended; everything else is told as lost."""
    await store.enqueue(background())
    await store.enqueue(background())
    job, other = await claimed(store), await claimed(store, "n2")
    beat = await store.heartbeat(
        "n1",
        [
            Held(job.id, 1), Held(job.id, 2), Held(other.id, 1), Held("nothing", 1),
        ],
        90_000,
    )  # fmt: skip
    assert beat.cancel == []
    assert beat.lost == [job.id, other.id, "nothing"]
    assert set(await store.leases()) == {(job.id, 1, "n1"), (other.id, 1, "n2")}


async def test_a_heartbeat_brings_the_wish_to_cancel(store: Store) -> None:
    """The worker learns with its heartbeat that the owner wants the job stopped."""
    await store.enqueue(background())
    job = await claimed(store)
    ended = await store.cancel(job.id, crash_rule)
    assert ended.state is JobState.RUNNING and ended.job.cancel_req
    assert (await store.heartbeat("n1", [Held(job.id, 1)], 30_000)).cancel == [job.id]
    assert await journal(store, job, step(1)) is True


async def test_a_heartbeat_from_a_thread(store: Store) -> None:
    """Heartbeats come from a thread that has no event loop (invariant 6)."""
    await store.enqueue(background())
    job = await claimed(store)
    beat = await asyncio.to_thread(store.heartbeat_sync, "n1", [Held(job.id, 1)], 30_000)
    assert (beat.cancel, beat.lost) == ([], [])


async def test_a_heartbeat_saves_from_the_reaper(store: Store) -> None:
    """A lease that was extended in time is not taken away."""
    await store.enqueue(background())
    await store.enqueue(background())
    kept = await claimed(store, lease_ms=10)
    left = await claimed(store, lease_ms=10)
    await store.heartbeat("n1", [Held(kept.id, 1)], 60_000)
    await until_lease_is_over(store, left)
    assert [held for held, _, _ in await store.leases()] == [kept.id]


async def test_leases_start_anew_after_a_stop(house: House) -> None:
    """When the gateway was down nobody could keep a lease, so nobody loses one."""
    await house.store.enqueue(background())
    job = await claimed(house.store, lease_ms=-1000)
    store = house.reopen()
    assert await store.extend_leases(60_000) == 1
    assert await store.reap(crash_rule) == []
    assert await store.leases() == [(job.id, 1, "n1")]


async def test_a_clock_that_was_set_back_keeps_nothing(store: Store) -> None:
    """When the clock was set back, a lease ends as soon as it would have, a job that is to be tried
    again is tried as soon as it would have been, and so is a delivery. A job that was wanted at a
    time is left for that time."""
    hour = 3_600_000
    accepted = await store.accept(inbound(), chat(), "")
    job = await claimed(store, lease_ms=hour)  # as if it had been claimed an hour ahead
    assert job.id == accepted.job_id
    assert await store.extend_leases(-1) == 1
    (taken,) = await store.reap(lambda job, why: Ruling(JobState.QUEUED, delay_ms=hour, error=why))
    assert taken.job.run_at > taken.job.created_at + hour // 2
    await store.enqueue(background(run_at=taken.job.run_at + 10))
    assert await claim(store) is None
    await store.extend_leases(30_000, -2 * hour)
    again = await claimed(store)
    assert again.id == job.id
    assert again.lease_until - 30_000 - again.started_at < hour // 2
    assert await claim(store) is None
    await finish(store, again)
    (delivery,) = await store.take("cli")
    await store.undelivered(delivery.id, delay_ms=hour, note="away")
    assert await store.take("cli") == []
    await store.extend_leases(30_000, -2 * hour)
    assert [one.id for one in await store.take("cli")] == [delivery.id]


async def test_only_work_counts_as_time_spent(store: Store) -> None:
    """The time between attempts, be it the owner's night or a stop of the house, is not counted
    against a job's limit on time; its story still says when it really began."""
    accepted = await store.accept(inbound(), chat(), "")
    job = await claimed(store)
    await finish(store, job, "waiting", waiting_for="?")
    await asyncio.sleep(0.04)
    await store.answer(job.id, "done")
    again = await claimed(store, lease_ms=30_000)
    assert again.lease_until - 30_000 - again.started_at < 30
    assert again.started_at > job.started_at
    assert (await store.view_why(accepted.job_id))["times"]["started_at"] == job.started_at


async def test_a_jump_of_the_clock_counts_as_no_time(store: Store) -> None:
    """A job has worked for as long as its worker says, where the clock says more."""
    await store.enqueue(background())
    job = await claimed(store)
    await asyncio.sleep(0.1)
    assert job.node_id is not None
    failed = report(job, "failed", worked_ms=1)
    await store.finish(job.node_id, failed, lambda job, report: Ruling(JobState.QUEUED))
    again = await claimed(store)
    assert again.started_at - job.started_at >= 99


async def test_a_stop_of_the_gateway_counts_as_no_time(house: House) -> None:
    """When the gateway was down for longer than a lease, its jobs' clocks stood still."""
    await house.store.enqueue(background())
    job = await claimed(house.store, lease_ms=-50_000)  # its lease ran out 50 s ago
    store = house.reopen()
    await store.extend_leases(30_000)
    await store.release("n1", "b2", crash_rule)
    again = await claimed(store, lease_ms=30_000)
    assert again.started_at - job.started_at >= 50_000


# --- the journal -------------------------------------------------------------


async def test_steps_are_for_the_next_attempt(house: House) -> None:
    """All that was journalled comes with the next claim, every field of it (invariant 3)."""
    await house.store.enqueue(background())
    job = await claimed(house.store)
    full = step(
        1, StepState.DONE, name="model:main", rule=OnUnknown.ASK, input="asked", output='{"a":1}',
        usage=Usage(10, 4, 3, 25), started_at=5, ended_at=9, note="quick",
    )  # fmt: skip
    await journal(house.store, job, full, step(2))
    store = house.reopen()
    await finish(store, job, "failed")
    granted = await claim(store)
    assert granted is not None and granted.job.epoch == 2
    assert granted.steps == [replace(full, epoch=1), replace(step(2), epoch=1)]


async def test_an_outcome_is_never_overwritten(store: Store) -> None:
    """A report that comes twice, or an intent that comes after its outcome, changes nothing."""
    await store.enqueue(background())
    job = await claimed(store)
    await journal(store, job, step(1))
    await journal(store, job, step(1, StepState.DONE, output="1"))
    await journal(store, job, step(1, StepState.DONE, output="2"))
    await journal(store, job, step(1))
    await journal(store, job, step(1, StepState.FAILED, output="3"))
    (kept,) = (await store.view_why(job.id))["steps"]
    assert (kept["state"], kept["output"]) == ("done", "1")


async def test_a_repeated_step_gives_no_second_line(store: Store) -> None:
    """The daily log tells of a step once, however often its report comes."""
    await store.enqueue(background())
    job = await claimed(store)
    for _ in range(3):
        await store.journal(
            job.id, 1, "n1", [step(1), step(1, StepState.DONE)], ["", "step 1 done"]
        )
    assert [text for _, _, text in await store.day_lines()] == ["step 1 done"]


async def test_a_stale_epoch_journals_nothing(store: Store) -> None:
    """Neither an earlier epoch nor another node may write a step; nothing of its batch stays."""
    await store.enqueue(background())
    old = await claimed(store)
    await finish(store, old, "failed")
    new = await claimed(store, "n2")
    with pytest.raises(StaleEpoch):
        await journal(store, old, step(1), step(2))
    with pytest.raises(StaleEpoch):
        await store.journal(new.id, new.epoch, "n1", [step(1)], [""])
    with pytest.raises(StaleEpoch):
        await store.journal(new.id, new.epoch + 1, "n2", [step(1)], [""])
    with pytest.raises(StaleEpoch):
        await store.journal("nothing", 1, "n2", [step(1)], [""])
    assert (await store.view_why(new.id))["steps"] == []


async def test_an_intent_left_behind_is_marked(store: Store) -> None:
    """When a later attempt takes a step up again, the earlier one shows that its outcome will
    never be known."""
    await store.enqueue(background(max_crashes=9))
    job = await claimed(store)
    await journal(store, job, step(1), step(2, rule=OnUnknown.ASK))
    await store.release("n1", "later", crash_rule)
    again = await claimed(store)
    await journal(store, again, step(1), step(2, StepState.UNKNOWN, rule=OnUnknown.ASK))
    steps = {(one["seq"], one["epoch"]): one for one in (await store.view_why(job.id))["steps"]}
    assert steps[1, 1]["state"] == "unknown" and "repeated" in steps[1, 1]["note"]
    assert steps[2, 1]["state"] == "unknown" and "owner" in steps[2, 1]["note"]
    assert steps[1, 2]["state"] == "intent"


async def test_the_outcome_of_any_attempt_is_known_to_all(store: Store) -> None:
    """For each place the next attempt gets the outcome, if any attempt had one, else the last
    that is known of it."""
    await store.enqueue(background(max_tries=9, max_crashes=9))
    first = await claimed(store)
    await journal(store, first, step(1, StepState.DONE, output="1"), step(2), step(3))
    await finish(store, first, "failed")
    second = await claimed(store)
    await journal(store, second, step(2), step(2, StepState.FAILED, output="no"))
    await finish(store, second, "failed")
    granted = await claim(store)
    assert granted is not None
    known = [(one.seq, one.epoch, one.state.value) for one in granted.steps]
    assert known == [(1, 1, "done"), (2, 2, "failed"), (3, 1, "intent")]


# --- what is not there ---------------------------------------------------------


async def test_unknown_jobs_are_said_to_be_unknown(store: Store) -> None:
    """Nothing is made up for a job that does not exist."""
    for asked in (
        store.cancel("nothing", crash_rule), store.revive("nothing"), store.answer("nothing", "x"),
    ):  # fmt: skip
        with pytest.raises(NotFound, match="nothing"):
            await asked
    await store.enqueue(background())
    ghost = replace(await claimed(store), id="nothing")
    with pytest.raises(StaleEpoch):
        await store.finish("n1", report(ghost), rule)


async def test_what_came_at_once_is_given_in_its_order(store: Store) -> None:
    """Jobs with different demands that came in the same moment are given out as they came."""
    for n in range(20):
        needs = ("gpu", "", "nas") if n % 2 else ("nas", "", "gpu")
        both = await asyncio.gather(*(store.enqueue(background(needs=need)) for need in needs))
        given = [(await claimed(store, labels=("gpu", "nas"))).id for _ in both]
        assert given == sorted(given) == [job_id for job_id, _ in both]
