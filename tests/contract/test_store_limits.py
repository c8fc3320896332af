"""The contract of a storage: limits on what runs at a time, and on how often something starts."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import BadRequest
from stead.core.limits import Limit
from stead.core.nouns import Job, NewJob
from stead.core.states import JobState, Lane
from stead.core.storage import Ruling, Store
from tests.contract.storages import (
    House,
    background,
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    inbound,
    now_of,
    report,
    until,
)


def mail(**more: object) -> NewJob:
    return NewJob("mail", {}, lane=Lane.BACKGROUND, **more)  # type: ignore[arg-type]


async def all_that_can(store: Store, most: int = 20) -> list[Job]:
    """Claims, many at once, until there is no more."""
    granted = await asyncio.gather(*(claim(store) for _ in range(most)))
    return [one.job for one in granted if one is not None]


# --- a key with several places -------------------------------------------------


async def test_a_key_with_places(house: House) -> None:
    """As many jobs of a key run as it has places, begun in the order of arrival; an end lets the
    next begin, also after a restart."""
    store = house.store
    ids = [(await store.enqueue(background(conc_key="k", conc_limit=3)))[0] for _ in range(6)]
    other, _ = await store.enqueue(background(conc_key="l", conc_limit=3))
    running = await all_that_can(store)
    assert [job.id for job in running] == [*ids[:3], other]
    store = house.reopen()
    ended = await finish(store, running[1])
    assert ended.ready is not None
    assert [job.id for job in await all_that_can(store)] == [ids[3]]
    await store.cancel(ids[4], crash_rule)
    await finish(store, running[0])
    assert [job.id for job in await all_that_can(store)] == [ids[5]]


async def test_who_is_tried_again_leaves_his_place(store: Store) -> None:
    """While a job of a key with several places waits for its next try, another has its place."""
    ids = [(await store.enqueue(background(conc_key="k", conc_limit=2)))[0] for _ in range(4)]
    first, second = await all_that_can(store)

    def later(job: Job, report: object) -> Ruling:
        return Ruling(JobState.QUEUED, delay_ms=2000)

    now = await now_of(store)
    await store.finish("n1", report(first, "failed"), later)
    assert [job.id for job in await all_that_can(store)] == [ids[2]]
    await until(store, now + 2100)
    assert await all_that_can(store) == []
    await finish(store, second)
    assert [job.id for job in await all_that_can(store)] == [ids[0]]


async def test_a_limit_that_is_none_is_one(store: Store) -> None:
    """A key always has a place, whatever number a job gives."""
    for most in (0, -7):
        await store.enqueue(background(conc_key="k", conc_limit=most))
    (job,) = await all_that_can(store)
    await finish(store, job)
    assert len(await all_that_can(store)) == 1


# --- limits on what runs -------------------------------------------------------


async def test_a_limit_on_a_kind(house: House) -> None:
    """No more of a kind run than the house allows, by whomever they are claimed; what is behind
    them goes on, and what was queued before the limit was set counts as well."""
    for n in range(5):
        await house.store.enqueue(mail(prio=-1, needs="gpu" if n % 2 else ""))
    await house.store.enqueue(background())
    store = house.reopen(limits=[Limit("kind:mail", at_once=2)])
    granted = await asyncio.gather(*(claim(store, labels=("gpu",)) for _ in range(9)))
    jobs = [one.job for one in granted if one is not None]
    assert [job.kind for job in jobs] == ["mail", "mail", "noop"]
    assert await claim(store, "n2", labels=("gpu",)) is None
    await finish(store, jobs[0])
    again = await claimed(store, "n2", labels=("gpu",))
    assert again.kind == "mail" and await claim(store, labels=("gpu",)) is None
    store = house.reopen()
    assert len(await all_that_can(store)) >= 1


async def test_a_limit_on_a_channel(house: House) -> None:
    """What came by a message counts against its channel."""
    store = house.reopen(limits=[Limit("channel:api", at_once=1)])
    for channel in ("api", "api", "cli"):
        await store.accept(inbound(channel=channel), chat(f"s-{channel}-{id(channel)}"), "")
    await store.accept(inbound(channel="api"), chat("another"), "")
    assert len(await all_that_can(store)) == 2


async def test_a_limit_of_a_job_itself(store: Store) -> None:
    """A job may name what it shares with others, and how many may have it; the narrowest holds."""
    for _ in range(3):
        await store.enqueue(background(limits="browser=1"))
    await store.enqueue(background(limits="browser=2,printer=1"))
    await store.enqueue(background(limits="printer"))
    first = await all_that_can(store)
    assert len(first) == 3  # browser=1 lets one go, then one of browser=2, then printer
    for job in first:
        await finish(store, job)
    assert len(await all_that_can(store)) == 1


async def test_a_crash_frees_its_place(store: Store) -> None:
    """What was taken back counts no more, and is itself given out again under its limit."""
    for _ in range(2):
        await store.enqueue(background(limits="browser=1"))
    (job,) = await all_that_can(store)
    await store.release("n1", "next", crash_rule)
    (again,) = await all_that_can(store)
    assert await claim(store, "n2") is None
    await finish(store, again)
    (last,) = await all_that_can(store)
    assert {again.id, last.id} >= {job.id} and again.id != last.id


# --- limits on starts ----------------------------------------------------------


async def test_so_many_starts_in_a_while(house: House) -> None:
    """In any such time no more start than allowed, though they end at once and the house is
    opened anew; then the next may."""
    limits = [Limit("kind:mail", starts=3, period_ms=2000)]
    store = house.reopen(limits=limits)
    for _ in range(8):
        await store.enqueue(mail())
    for n in range(2):
        began = await now_of(store)
        jobs = await all_that_can(store)
        assert len(jobs) == 3, n
        for job in jobs:
            await finish(store, job)
        store = house.reopen(limits=limits)
        if await now_of(store) < began + 2000:
            assert len(await all_that_can(store)) == 0
        await until(store, await now_of(store) + 2000)
    assert len(await all_that_can(store)) == 2


async def test_starts_by_the_job_itself(store: Store) -> None:
    """A job may say how often its like may start; others are not held up."""
    for _ in range(4):
        await store.enqueue(background(limits="api.example.com=2/1h", prio=-5))
    free, _ = await store.enqueue(background())
    jobs = await all_that_can(store)
    assert len(jobs) == 3 and free in {job.id for job in jobs}


@pytest.mark.parametrize("limits", ["a b", "a=", "a=0", "a=1/60", "a=1/0s", ",", "=2", "a=1.5"])
async def test_a_limit_that_makes_no_sense_is_refused(store: Store, limits: str) -> None:
    """It says what would be one, and nothing is queued."""
    with pytest.raises(BadRequest, match="name=10/60s"):
        await store.enqueue(background(limits=limits))
    assert (await store.view_counts())["queue"]["queued"] == 0
