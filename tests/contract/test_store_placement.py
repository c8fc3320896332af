"""The contract of a storage: which node gets which job, and who goes first in the long run."""

from __future__ import annotations

import asyncio
from typing import Any

from stead.core.states import JobState
from stead.core.storage import Store
from tests.contract.storages import (
    House,
    background,
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    now_of,
    until,
)

BOTH = frozenset({"main", "spare"})


# --- preferred and forbidden nodes ---------------------------------------------


async def test_a_forbidden_node_never_gets_it(house: House) -> None:
    """A job goes to no node that it avoids, whatever that can do, also after a restart."""
    await house.store.enqueue(background(avoid="main,old"))
    store = house.reopen()
    assert await claim(store, name="main") is None
    assert await claim(store, name="old", there=BOTH) is None
    assert await claim(store, name="spare") is not None


async def test_a_preferred_node_is_waited_for_while_it_is_there(store: Store) -> None:
    """While a node that a job prefers is there, the others leave it the job, and take what comes
    behind it; the preferred one gets it in its turn."""
    wanted, _ = await store.enqueue(background(prefer="main"))
    other, _ = await store.enqueue(background())
    assert (await claimed(store, name="spare", there=BOTH)).id == other
    assert await claim(store, name="spare", there=BOTH) is None
    assert (await claimed(store, name="main", there=BOTH)).id == wanted


async def test_when_it_is_gone_another_takes_over(store: Store) -> None:
    """What prefers a node that is not there goes to any that can do it; with several preferred
    ones the last of them must be gone."""
    for prefer in ("main", "main,second"):
        await store.enqueue(background(prefer=prefer, needs="gpu"))
    gpu = ("gpu",)
    assert await claim(store, name="spare", there={"spare"}) is None
    assert (await claimed(store, name="spare", labels=gpu, there={"spare", "second"})) is not None
    assert await claim(store, name="spare", labels=gpu, there={"spare", "second"}) is None
    assert (await claimed(store, name="second", labels=gpu, there={"second", "main"})) is not None


async def test_the_order_holds_across_demands(store: Store) -> None:
    """Of all that a node may take the most urgent comes first, many demands or few, one claim or
    many at once."""
    ids = []
    for n in range(60):
        ids.append(
            (
                await store.enqueue(
                    background(
                        prio=n % 7, needs=("", "gpu", "gpu,nas", "usb")[n % 4],
                        prefer=("", "main", "spare")[n % 3], avoid=("", f"n{n % 5}")[n % 2],
                    )
                )
            )[0]
        )  # fmt: skip
    fit = sorted(n for n in range(60) if n % 4 != 3 and n % 3 != 2)
    fit.sort(key=lambda n: n % 7)
    asked: dict[str, Any] = {"name": "main", "labels": ("gpu", "nas"), "there": BOTH}
    first = [(await claimed(store, **asked)).id for _ in range(3)]
    rest = await asyncio.gather(*(claim(store, **asked) for _ in range(60)))
    got = first + [one.job.id for one in rest if one is not None]
    assert got == [ids[n] for n in fit]


# --- nothing starves -----------------------------------------------------------


async def test_waiting_makes_up_for_prio(house: House) -> None:
    """A job overtakes those of higher priority that came so much later, and no others."""
    store = house.reopen(age_ms=800)
    old, _ = await store.enqueue(background(prio=2))
    soon, _ = await store.enqueue(background(prio=0))
    began = await now_of(store)
    await until(store, began + 1700)
    late, _ = await store.enqueue(background(prio=0))
    assert [(await claimed(store)).id for _ in range(3)] == [soon, old, late]


async def test_no_prio_is_too_large(store: Store) -> None:
    """Any number is a priority; the extremes come first and last."""
    ids = [(await store.enqueue(background(prio=prio)))[0] for prio in (2**62, 0, -(2**62))]
    assert [(await claimed(store)).id for _ in range(3)] == ids[::-1]


async def test_a_retry_keeps_its_prio(store: Store) -> None:
    """Who is tried again stands where its priority places it, from then on."""
    high, _ = await store.enqueue(background(prio=-1, max_tries=9))
    low, _ = await store.enqueue(background())
    await finish(store, await claimed(store), "failed")
    assert [(await claimed(store)).id for _ in range(2)] == [high, low]


# --- for later -----------------------------------------------------------------


async def test_what_is_wanted_later_comes_in_its_turn(store: Store) -> None:
    """A job for later is given out when its time has come, in the order of times, though it was
    queued first and is more urgent."""
    soon = await now_of(store) + 2000
    later, _ = await store.enqueue(background(prio=-9, run_at=soon + 1))
    first, _ = await store.enqueue(background(prio=-9, run_at=soon))
    plain, _ = await store.enqueue(background())
    assert (await claimed(store)).id == plain
    assert await claim(store) is None
    await until(store, soon + 1)
    assert [(await claimed(store)).id for _ in range(2)] == [first, later]


async def test_many_that_become_due_at_once(store: Store) -> None:
    """Any number of jobs may become due at the same time; all are given out."""
    soon = await now_of(store) + 100
    await asyncio.gather(*(store.enqueue(background(run_at=soon)) for _ in range(700)))
    await until(store, soon)
    await store.reap(crash_rule)
    granted = await asyncio.gather(*(claim(store) for _ in range(701)))
    assert len({one.job.id for one in granted if one is not None}) == 700


async def test_a_reminder_for_tomorrow_holds_up_no_conversation(store: Store) -> None:
    """A job of a conversation that is for later takes its place in the line when it is due."""
    soon = await now_of(store) + 2000
    later, _ = await store.enqueue(chat("a", run_at=soon))
    now, _ = await store.enqueue(chat("a"))
    job = await claimed(store)
    assert job.id == now
    await until(store, soon)
    assert await claim(store) is None
    await finish(store, job)
    assert (await claimed(store)).id == later


async def test_a_retry_keeps_its_turn(store: Store) -> None:
    """Within a conversation who is to be tried again is not overtaken."""
    first, _ = await store.enqueue(chat("a", max_tries=9))
    second, _ = await store.enqueue(chat("a"))
    await finish(store, await claimed(store), "failed")
    for job_id in (first, second):
        job = await claimed(store)
        assert job.id == job_id and await claim(store) is None
        assert (await finish(store, job)).state is JobState.DONE


# --- deadlines -----------------------------------------------------------------


async def test_what_is_too_late_never_starts(store: Store) -> None:
    """However many are past their deadline, none is begun and none stands before another; each
    is dead and says so."""
    late = [(await store.enqueue(background(deadline_at=1, prio=-n % 3)))[0] for n in range(150)]
    good, _ = await store.enqueue(background(deadline_at=await now_of(store) + 600_000, prio=9))
    assert (await claimed(store)).id == good
    assert await claim(store) is None
    ended = await store.reap(crash_rule) + await store.reap(crash_rule)
    assert {one.job.id for one in ended} == set(late)
    assert {(one.state, one.job.error) for one in ended} == {(JobState.DEAD, "deadline")}
    assert {one.job.epoch for one in ended} == {0}
