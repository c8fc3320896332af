"""Claim and finish per second in the queue itself: no HTTP, real commits and syncs.

Queue and store as the gateway has them, on its kind of event loop. Beside it, from the same run:
what this disk allows (a claim and its finish are two commits, each on disk before the caller goes
on, and one commit serves all who wait: so many callers never do more than their number by two
syncs), and the least queue that the same writer could serve.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
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
SECONDS = 0.4
JOBS = 16_000
LEAST_JOBS = 30_000
#: Callers, and what is asked for with so many.
CALLERS = {1: None, 32: 25_000, 256: None}


def run(place: Place) -> list[Figure]:
    """Medians of ``RUNS`` runs of each kind, interleaved."""
    return uvloop.run(asyncio.wait_for(_measure(place), place.limit_s))


@dataclass
class _Runs:
    """What was measured with a number of callers."""

    rates: list[float] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    """Processor time of one claim and its finish."""


async def _measure(place: Place) -> list[Figure]:
    store = SqliteStore(place.scratch / "state.db", place.scratch / "backups")
    peer = Least(place.scratch / "least.db")
    runs = {callers: _Runs() for callers in CALLERS}
    fills, syncs = [], []
    try:
        worker = Worker(store, Queue(store, Policy()), await store.add_node("bench", "no key"))
        for n in range(RUNS + 1):
            syncs.append(_syncs(place))
            for callers, seen in runs.items():
                fills.append(await fill(store, JOBS - worker.left))
                worker.left = JOBS
                done, busy = worker.done, time.process_time()
                rate = await worker.work(callers, SECONDS)
                cpu_us = 1e6 * (time.process_time() - busy) / (worker.done - done)
                await peer.fill(LEAST_JOBS)
                least = await peer.work(callers, SECONDS)
                if n:  # the first one warms up
                    seen.rates.append(rate)
                    seen.cpu_us.append(cpu_us)
                    seen.least.append(least)
    finally:
        peer.close()
        store.close()
    syncs_s = median(syncs)
    words = f"; {median(fills):,.0f} jobs/s are queued"
    return [
        of_runs(
            f"claim and finish in the queue, {callers} caller{'s' * (callers > 1)}",
            seen.rates, "/s", aim=CALLERS[callers], more=True,
            beside=f"two of {syncs_s:,.0f} syncs/s each: {callers * syncs_s / 2:,.0f} /s at most;"
            f" the least queue: {median(seen.least):,.0f} /s; {median(seen.cpu_us):.0f} us of"
            f" processor time each{words * (callers == 32)}",
        )
        for callers, seen in runs.items()
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
        self.left = 0
        """Jobs that are queued for it."""

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
            self.left -= 1
            if time.perf_counter() > until:
                return

    def _rule(self, job: Job, report: Finish) -> Ruling:
        return Ruling(after_report(self._queue.policy, job, report).state, reply=report.text)


def _syncs(place: Place) -> float:
    with Probe(place.scratch) as disk:
        times = [disk.sync() for _ in range(100)]
    return 1 / median(times)
