"""Waking: who waits for work begins it within milliseconds, and nobody is woken in vain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stead.core.ids import uuid7
from stead.core.nouns import Job, NewJob
from stead.core.placement import Ready
from stead.core.states import JobState, Lane
from stead.core.storage import Ended, Granted, Ruling
from stead.core.wire import Finish, Held
from stead.queue import queue as queue_room
from stead.queue.policy import Policy
from stead.queue.queue import Queue
from stead.store.sqlite import SqliteStore


class Counting(SqliteStore):
    """Counts how often the rows are looked at."""

    looks = 0

    async def claim(self, **asked: Any) -> Granted | None:
        self.looks += 1
        return await super().claim(**asked)

    async def looked(self, times: int) -> None:
        """Until the rows have been looked at this often."""
        for _ in range(1000):
            if self.looks >= times:
                return
            await asyncio.sleep(0)
        raise AssertionError("nobody looks")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Counting]:
    store = Counting(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


@pytest.fixture
def queue(store: Counting, monkeypatch: pytest.MonkeyPatch) -> Queue:
    # Nothing here may be found by the slow look: waking must have done it.
    monkeypatch.setattr(queue_room, "_BACKSTOP_S", 60.0)
    return Queue(store, Policy(lease_ms=30_000, backoff_ms=0))


def claim(queue: Queue, node: str = "n1", wait_s: float = 30.0, **more: Any) -> Any:
    more.setdefault("request_id", uuid7())
    more.setdefault("lanes", ["chat", "background"])
    more.setdefault("labels", [])
    return queue.claim(node_id=node, boot="b", wait_s=wait_s, **more)


async def waiting(queue: Queue, store: Counting, *claims: Any) -> list[asyncio.Task[Any]]:
    """Claims that have looked and now wait."""
    before = store.looks
    tasks = [asyncio.create_task(one) for one in claims]
    await store.looked(before + len(claims))
    await store.write(lambda c: None)  # their looks are answered before this is
    await asyncio.sleep(0)
    return tasks


async def first_done(tasks: list[asyncio.Task[Any]], within_s: float = 5.0) -> Granted:
    done, _ = await asyncio.wait(tasks, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    assert done, "nobody was woken"
    granted: Granted | None = done.pop().result()
    assert granted is not None
    return granted


async def end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def done(job: Job, report: Finish) -> Ruling:
    return Ruling(JobState.DONE)


async def settle(queue: Queue, store: Counting, job: Job, ruling: Ruling | None = None) -> Ended:
    assert job.node_id is not None
    ended = await store.finish(
        job.node_id, Finish(uuid7(), job.id, job.epoch, "done"),
        done if ruling is None else lambda job, report: ruling,
    )  # fmt: skip
    queue.ended(ended)
    return ended


async def test_an_enqueue_wakes_one(queue: Queue, store: Counting) -> None:
    """One job wakes exactly one of those that wait for it, and within milliseconds."""
    tasks = await waiting(queue, store, *(claim(queue, f"n{n}") for n in range(10)))
    looks = store.looks
    took = []
    for n in range(5):
        job_id, _ = await queue.enqueue(NewJob("noop", {}))
        began = time.perf_counter()
        granted = await first_done([one for one in tasks if not one.done()])
        took.append(time.perf_counter() - began)
        assert granted.job.id == job_id
        assert store.looks == looks + n + 1
    assert min(took) < 0.05, took  # the machine may be busy now and then, not always
    assert sum(task.done() for task in tasks) == 5
    await end(tasks)


async def test_the_longest_waiting_is_woken_first(queue: Queue, store: Counting) -> None:
    """Work is spread over those that wait, in their order."""
    tasks = await waiting(queue, store, *(claim(queue, f"n{n}") for n in range(3)))
    for n in range(3):
        await queue.enqueue(NewJob("noop", {}))
        assert (await tasks[n]).job.node_id == f"n{n}"


async def test_only_who_can_take_it_is_woken(queue: Queue, store: Counting) -> None:
    """A worker with room for chat only is not woken for background work, nor one without the
    labels, nor a node for the gateway's own work, while one that can take it sleeps on."""
    chat, plain, gpu, gateway = await waiting(
        queue, store,
        claim(queue, "chat", lanes=["chat"]),
        claim(queue, "plain"),
        claim(queue, "gpu", labels=["gpu", "nas"]),
        claim(queue, "@gateway", labels=["@gateway"]),
    )  # fmt: skip
    looks = store.looks
    await queue.enqueue(NewJob("noop", {}, needs="gpu", lane=Lane.BACKGROUND))
    assert (await gpu).job.node_id == "gpu"
    await queue.enqueue(NewJob("noop", {}, needs="@gateway"))
    assert (await gateway).job.node_id == "@gateway"
    await queue.enqueue(NewJob("noop", {}, lane=Lane.BACKGROUND))
    assert (await plain).job.node_id == "plain"
    assert not chat.done() and store.looks == looks + 3
    await queue.enqueue(NewJob("noop", {}))
    assert (await chat).job.node_id == "chat"


async def test_who_finds_another_passes_its_wake_up_on(queue: Queue, store: Counting) -> None:
    """Of two jobs that come at once the one woken takes what goes first, be it not what it was
    woken for; then the other one's worker is woken as well."""
    first, second = await waiting(
        queue, store, claim(queue, "a", name="a"), claim(queue, "b", name="b")
    )
    both = (
        queue.enqueue(NewJob("noop", {})),
        queue.enqueue(NewJob("noop", {}, prio=-1, avoid="b")),
    )
    (any_, _), (before, _) = await asyncio.gather(*both)
    assert (await first).job.id == before
    assert (await first_done([second])).job.id == any_


async def test_a_cancelled_claim_passes_its_wake_up_on(queue: Queue, store: Counting) -> None:
    """When the one that was woken goes away, another is woken in its place."""
    tasks = await waiting(queue, store, claim(queue, "gone"), claim(queue, "stays"))
    job_id, _ = await store.enqueue(NewJob("noop", {}))
    queue.wake(Ready("", "chat"))
    tasks[0].cancel()
    assert (await first_done(tasks[1:])).job.id == job_id


async def test_a_claim_that_ends_passes_its_wake_up_on(queue: Queue, store: Counting) -> None:
    """A wake-up that meets a claim at the end of its time is not lost."""
    (stays,) = await waiting(queue, store, claim(queue, "stays"))
    hold = asyncio.Event()
    looking = asyncio.Event()
    real = store.claim

    async def slow(**asked: Any) -> Granted | None:
        granted = await real(**asked)
        if asked["node_id"] == "ends":
            looking.set()
            await hold.wait()
        return granted

    store.claim = slow  # type: ignore[method-assign]
    ends = asyncio.create_task(claim(queue, "ends", wait_s=0.0))
    await looking.wait()
    queue._waiters.rotate(1)  # the one about to end would be woken first
    await queue.enqueue(NewJob("noop", {}))
    hold.set()
    assert await ends is None
    assert (await first_done([stays])).job.node_id == "stays"


async def test_a_claim_of_no_patience_looks_once(queue: Queue, store: Counting) -> None:
    """With ``wait_s`` 0 it is now or not."""
    assert await claim(queue, wait_s=0.0) is None
    await queue.enqueue(NewJob("noop", {}))
    assert (await claim(queue, wait_s=0.0)).job.kind == "noop"


async def test_a_claim_that_hangs_up_in_the_midst(queue: Queue, store: Counting) -> None:
    """A claim cut off while its job is being granted: the queue knows who holds it, and the same
    request gets it again."""
    job_id, _ = await store.enqueue(NewJob("noop", {}))
    cut = asyncio.create_task(claim(queue, request_id="r1"))
    await store.looked(1)
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    granted = await claim(queue, request_id="r1", wait_s=0.0)
    assert granted.job.id == job_id and granted.job.epoch == 1
    assert queue.holds(job_id, 1, "n1") and queue.running("n1") == 1


async def test_the_next_of_a_conversation_is_woken(queue: Queue, store: Counting) -> None:
    """The end of a job wakes one that can take the next of its conversation, and only if there
    is one."""
    await queue.enqueue(NewJob("chat", {}, conc_key="s"))
    await queue.enqueue(NewJob("chat", {}, conc_key="s", needs="gpu"))
    first = (await claim(queue)).job
    plain, gpu = await waiting(
        queue, store, claim(queue, "plain"), claim(queue, "gpu", labels=["gpu"])
    )
    looks = store.looks
    await settle(queue, store, first)
    second = (await gpu).job
    assert second.node_id == "gpu" and not plain.done()
    await settle(queue, store, second)
    await store.write(lambda c: None)
    assert store.looks == looks + 1
    await end([plain])


async def test_a_retry_is_taken_up_at_its_time(queue: Queue, store: Counting) -> None:
    """A failed job is begun again when its pause is over, by one that waits."""
    await queue.enqueue(NewJob("noop", {}))
    job = (await claim(queue)).job
    (task,) = await waiting(queue, store, claim(queue, "n2"))
    await settle(queue, store, job, Ruling(JobState.QUEUED, delay_ms=30))
    assert not queue.holds(job.id, 1)
    granted = await first_done([task])
    assert (granted.job.id, granted.job.epoch) == (job.id, 2)


async def test_the_slow_look_finds_what_nobody_told(
    store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that came about without a wake-up is found all the same."""
    monkeypatch.setattr(queue_room, "_BACKSTOP_S", 0.01)
    queue = Queue(store, Policy())
    (task,) = await waiting(queue, store, claim(queue))
    job_id, _ = await store.enqueue(NewJob("noop", {}))
    assert (await first_done([task])).job.id == job_id


async def test_close_lets_all_go(queue: Queue, store: Counting) -> None:
    """At a stop no claim is held open."""
    tasks = await waiting(queue, store, *(claim(queue, f"n{n}") for n in range(5)))
    queue.close()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 20) == [None] * 5
    assert await claim(queue) is None


# --- leases --------------------------------------------------------------------


async def test_who_holds_what_is_read_at_the_start(queue: Queue, store: Counting) -> None:
    """After a restart the rows say who holds what, and every lease starts anew."""
    await queue.enqueue(NewJob("noop", {}))
    job = (await claim(queue)).job
    again = Queue(store, Policy(lease_ms=60_000))
    assert not again.holds(job.id, 1)
    await again.start()
    assert again.holds(job.id, 1) and again.holds(job.id, 1, "n1")
    assert not again.holds(job.id, 2) and not again.holds(job.id, 1, "n2")
    assert (await store.job(job.id)).lease_until > job.lease_until + 20_000


async def test_heartbeats(queue: Queue, store: Counting) -> None:
    """A heartbeat tells what to stop and what is lost, from a coroutine and from a thread."""
    await queue.enqueue(NewJob("noop", {}))
    job = (await claim(queue)).job
    held = [Held(job.id, 1), Held("gone", 1)]
    assert await queue.heartbeat("n1", held) == ([], ["gone"])
    await store.cancel(job.id, lambda job, why: Ruling(JobState.CANCELLED))
    assert await asyncio.to_thread(queue.heartbeat_sync, "n1", held) == ([job.id], ["gone"])


def crash(job: Job, why: str) -> Ruling:
    return Ruling(JobState.QUEUED, error=why)


async def test_rescue_frees_and_wakes(queue: Queue, store: Counting) -> None:
    """A job whose worker fell silent is begun by another at once, and who asked is told."""
    told: list[Ended] = []
    queue.on_ended(told.append)
    queue.policy = Policy(lease_ms=-1)
    await queue.enqueue(NewJob("noop", {}))
    job = (await claim(queue)).job
    (task,) = await waiting(queue, store, claim(queue, "n2"))
    await queue.rescue(crash)
    granted = await first_done([task])
    assert (granted.job.id, granted.job.epoch, granted.job.crashes) == (job.id, 2, 1)
    assert [one.job.id for one in told] == [job.id]
    assert queue.holds(job.id, 2, "n2") and queue.running("n1") == 0


async def test_a_restarted_node_frees_and_wakes(queue: Queue, store: Counting) -> None:
    """What a node's earlier process held goes on elsewhere as soon as the node is back."""
    await queue.enqueue(NewJob("noop", {}))
    job = (await claim(queue)).job
    (task,) = await waiting(queue, store, claim(queue, "n2"))
    await queue.restarted("n1", "new boot", crash)
    assert (await first_done([task])).job.id == job.id


async def test_a_bad_round_does_not_end_the_rescue(queue: Queue, store: Counting) -> None:
    """When one round fails the next one does its work."""
    rounds = 0
    real = store.reap
    over = asyncio.Event()

    async def reap(*asked: Any, **more: Any) -> list[Ended]:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            raise OSError("the disk is away")
        over.set()
        return await real(*asked, **more)

    store.reap = reap  # type: ignore[method-assign]
    task = asyncio.create_task(queue.run_rescue(crash, every_s=0.001))
    await asyncio.wait_for(over.wait(), 60)
    await end([task])


async def test_a_suspended_machine_takes_nothing_away(
    queue: Queue, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the gateway itself stood still no worker could say that it lives, so none is taken to
    have vanished."""
    queue.policy = Policy(lease_ms=-1)
    await queue.enqueue(NewJob("noop", {}))
    job = (await claim(queue)).job
    queue.policy = Policy(lease_ms=60_000)
    hours = iter([0.0, 7200.0])
    monkeypatch.setattr(time, "time", lambda: next(hours, 7200.0))
    reaped = asyncio.Event()
    real = store.reap

    async def reap(*asked: Any, **more: Any) -> list[Ended]:
        ended = await real(*asked, **more)
        reaped.set()
        return ended

    store.reap = reap  # type: ignore[method-assign]
    task = asyncio.create_task(queue.run_rescue(crash, every_s=0.001))
    await asyncio.wait_for(reaped.wait(), 60)
    await end([task])
    assert await store.leases() == [(job.id, 1, "n1")]


async def test_a_clock_that_is_set_back_holds_no_job(
    queue: Queue, store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job of a worker that vanished is taken back after its lease, also where the clock of the
    gateway was set back by hours meanwhile."""
    queue.policy = Policy(lease_ms=7_200_000)  # what is left of a lease after two hours back
    await queue.enqueue(NewJob("noop", {}))
    await claim(queue)
    queue.policy = Policy(lease_ms=1)
    hours = iter([7200.0, 7200.0, 0.0])
    monkeypatch.setattr(time, "time", lambda: next(hours, 0.0))
    task = asyncio.create_task(queue.run_rescue(crash, every_s=0.001))
    async with asyncio.timeout(30):
        while await store.leases():  # noqa: ASYNC110 - the store tells nobody of it
            await asyncio.sleep(0.002)
    await end([task])
