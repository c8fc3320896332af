"""Claim and finish per second in the queue itself: no HTTP, real commits and syncs.

Queue and store as the gateway has them, on its kind of event loop. Beside it: how often
this disk can sync 4 KB (one commit serves all who wait, so 32 callers may well be above
it; a single one never is), and the least queue that the same writer could serve.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from statistics import median

import uvloop

from bench.disk import Probe
from bench.figures import Figure, Place, of_runs
from bench.least import Least
from bench.noops import fill
from stead.core.nouns import Job
from stead.core.storage import Ruling
from stead.core.wire import Finish
from stead.queue.policy import Policy, after_report
from stead.queue.queue import Queue
from stead.store.sqlite import SqliteStore

RUNS = 5
SECONDS = 0.5
JOBS = 18_000
LEAST_JOBS = 40_000
AIM = 25_000


def run(place: Place) -> list[Figure]:
    """Medians of ``RUNS`` runs of each kind, interleaved."""
    return uvloop.run(asyncio.wait_for(_measure(place), place.limit_s))


async def _measure(place: Place) -> list[Figure]:
    store = SqliteStore(place.scratch / "state.db", place.scratch / "backups")
    one, many, least, fills, syncs = [], [], [], [], []
    peer = Least(place.scratch / "least.db")
    try:
        node = await store.add_node("bench", "no key")
        queue = Queue(store, Policy())
        worker = Worker(store, queue, node)
        queued = 0
        for n in range(RUNS + 1):
            fills.append(await fill(store, JOBS - queued))
            syncs.append(_syncs(place))
            alone = await worker.work(1, SECONDS)
            together = await worker.work(32, SECONDS)
            await peer.fill(LEAST_JOBS)
            bare = await peer.work(32, SECONDS)
            queued = JOBS - worker.done
            worker.done = 0
            if n:  # the first one warms up
                one.append(alone)
                many.append(together)
                least.append(bare)
    finally:
        peer.close()
        store.close()
    beside = f"this disk syncs 4 KB {median(syncs):,.0f} times a second"
    return [
        of_runs("claim and finish in the queue, 1 caller", one, "/s", more=True, beside=beside),
        of_runs(
            "claim and finish in the queue, 32 callers", many, "/s", aim=AIM, more=True,
            beside=f"the least queue, with the same writer: {median(least):,.0f} /s; "
            f"{median(fills):,.0f} jobs/s are queued",
        ),
    ]  # fmt: skip


class Worker:
    """Claims and finishes, as a gateway does for its nodes."""

    def __init__(
        self, store: SqliteStore, queue: Queue, node: str, labels: tuple[str, ...] = ()
    ) -> None:
        self._store = store
        self._queue = queue
        self._node = node
        self._labels = labels
        self._ids = itertools.count()
        self.done = 0

    async def work(self, callers: int, seconds: float) -> float:
        """Jobs per second with so many callers, each waiting for every commit."""
        before, begun = self.done, time.perf_counter()
        await asyncio.gather(*(self._caller(begun + seconds) for _ in range(callers)))
        return (self.done - before) / (time.perf_counter() - begun)

    async def one(self) -> None:
        """Claim and finish one job."""
        await self._caller(0.0)

    async def _caller(self, until: float) -> None:
        while True:
            request = f"c{next(self._ids)}"
            granted = await self._queue.claim(
                request_id=request, node_id=self._node, boot="bench",
                lanes=("chat", "background"), labels=self._labels, wait_s=0.0,
            )  # fmt: skip
            if granted is None:
                raise RuntimeError("the queue ran empty")
            job = granted.job
            report = Finish(f"f-{request}", job.id, job.epoch, "done")
            self._queue.ended(await self._store.finish(self._node, report, self._rule))
            self.done += 1
            if time.perf_counter() > until:
                return

    def _rule(self, job: Job, report: Finish) -> Ruling:
        return Ruling(after_report(self._queue.policy, job, report).state, reply=report.text)


def _syncs(place: Place) -> float:
    with Probe(place.scratch) as disk:
        times = [disk.sync() for _ in range(100)]
    return 1 / median(times)
