"""Pruning a million finished jobs while others claim and finish: how long is a claim held up?

Paced callers claim and finish, first with nothing else going on, then while a million jobs, their
attempts and a step each are pruned and their space is given back. Both in the same database.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import apsw
import uvloop

from bench.figures import Figure, Place, quantile
from bench.noops import fill_one
from stead.core.nouns import Job, Step
from stead.core.states import JobState, StepState
from stead.core.storage import Ruling
from stead.core.wire import Finish
from stead.keep.retention import Retention, Terms
from stead.queue.policy import Policy
from stead.queue.queue import Queue
from stead.store.sqlite import SqliteStore

MANY = 1_000_000
CALLERS = 4
QUIET_S = 8.0
_PAUSE_S = 0.004
_DAY_MS = 86_400_000
_OLD_MS = 40 * _DAY_MS
_LONGEST_MS = 100.0


def run(place: Place) -> list[Figure]:
    """p99 and the longest of all claims made meanwhile."""
    return uvloop.run(asyncio.wait_for(_measure(place), place.limit_s))


async def _measure(place: Place) -> list[Figure]:
    path = place.scratch / "state.db"
    store = await _full(path)
    try:
        quiet = await _claims(store, asyncio.create_task(asyncio.sleep(QUIET_S)))
        size = path.stat().st_size
        retention = Retention(store, Terms(30 * _DAY_MS, 0, 0, 0), place.scratch)
        pruning = asyncio.create_task(retention.prune())
        begun = time.perf_counter()
        busy = await _claims(store, pruning)
        took = time.perf_counter() - begun
        did = await pruning
    finally:
        store.close()
    if did["jobs"] != MANY:
        raise RuntimeError(f"{did['jobs']} jobs were pruned")
    alone = f"{quantile(quiet, 0.99):.1f} ms and {max(quiet):.1f} ms with nothing else going on"
    about = f"{len(busy):,} claims; {size / 1e6:.0f} MB became {path.stat().st_size / 1e6:.0f} MB"
    return [
        Figure("a million jobs pruned", took, "s", beside=about),
        Figure("claims meanwhile, p99", quantile(busy, 0.99), "ms", beside=alone),
        Figure("claims meanwhile, the longest", max(busy), "ms", _LONGEST_MS),
    ]


async def _claims(store: SqliteStore, until: asyncio.Task[Any]) -> list[float]:
    """Milliseconds of each claim that was made until a task is done."""
    took: list[float] = []
    queue = Queue(store, Policy())

    async def work(caller: int) -> None:
        while not until.done():
            await fill_one(store)
            begun = time.perf_counter()
            job = await _claim(queue, f"c{caller}-{len(took)}-{begun}")
            took.append(1000 * (time.perf_counter() - begun))
            await _finish(store, job)
            await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(work(caller) for caller in range(CALLERS)))
    return took


async def _claim(queue: Queue, request_id: str) -> Job:
    granted = await queue.claim(
        request_id=request_id, node_id="bench", boot="bench", lanes=("chat", "background"),
        labels=(), wait_s=0.0,
    )  # fmt: skip
    if granted is None:
        raise RuntimeError("the queue ran empty")
    return granted.job


async def _finish(store: SqliteStore, job: Job) -> None:
    report = Finish(f"f-{job.id}", job.id, job.epoch, "done")
    await store.finish("bench", report, lambda job, report: Ruling(JobState.DONE, reply=""))


async def _full(path: Path) -> SqliteStore:
    """A database with a million old jobs that are done, all copied from one."""
    store = SqliteStore(path, path.parent / "backups")
    job_id = await fill_one(store)
    job = await _claim(Queue(store, Policy()), "first")
    step = Step(1, "model:main", "0" * 64, StepState.DONE, output='{"text": "done"}')
    await store.journal(job.id, job.epoch, "bench", [step], [""])
    await _finish(store, job)
    store.close()
    first_ms = int(time.time() * 1000) - _OLD_MS - MANY
    c = apsw.Connection(str(path))
    c.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN")
    for table, key in (("job", "id"), ("attempt", "job_id"), ("step", "job_id")):
        _copies(c, table, key, job_id, first_ms)
    c.execute("DELETE FROM job WHERE id = ?", (job_id,))
    c.execute("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
    c.close()
    return SqliteStore(path, path.parent / "backups")


def _copies(c: apsw.Connection, table: str, key: str, job_id: str, first_ms: int) -> None:
    """Copies of a row, of jobs that were made one a millisecond, long ago."""
    columns = [one[1] for one in c.execute(f"PRAGMA table_info({table})")]
    made = f"({first_ms} + i)"
    ident = f"printf('%08x-%04x-7000-8000-%012x', {made} >> 16, {made} & 65535, i)"
    changes = {key: ident, "ended_at": f"ended_at - {_OLD_MS}"}
    values = ", ".join(changes.get(one, one) for one in columns)
    c.execute(
        "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT ?)"
        f" INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM n, {table}"
        f" WHERE {key} = ?",
        (MANY, job_id),
    )
