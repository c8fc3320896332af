"""Claim and finish with a million jobs queued and a million over, against an empty queue.

The same load goes in turn to two databases. The full one holds what slows a queue down: jobs
behind others of very many keys, jobs that are due in years, jobs that ask for labels in very many
combinations (some of which this node meets), and a long history with its attempts.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import median

import apsw
import uvloop

from bench.figures import Figure, Place, of_runs
from bench.noops import fill, fill_one
from bench.parts.queue import Worker
from stead.queue.policy import Policy
from stead.queue.queue import Queue
from stead.store.sqlite import SqliteStore

RUNS = 15
SECONDS = 0.4
JOBS = 12_000
MANY = 1_000_000
AIM = 0.8

#: How a fifth of the queued ones each are spread: over keys, and over combinations of labels.
_KEYS, _COMBINATIONS = 50_000, 60
#: Labels that the worker has; it meets as many of the combinations.
_LABELS = 8


def run(place: Place) -> list[Figure]:
    """Medians of ``RUNS`` runs of each, interleaved."""
    return uvloop.run(asyncio.wait_for(_measure(place), place.limit_s))


async def _measure(place: Place) -> list[Figure]:
    empty = SqliteStore(place.scratch / "empty.db", place.scratch / "backups")
    full = await _full(place.scratch / "full.db")
    rates: dict[str, list[float]] = {"empty": [], "full": []}
    cpu_s: dict[str, list[float]] = {"empty": [], "full": []}
    try:
        workers = {"empty": _worker(empty), "full": _worker(full)}
        for n in range(RUNS + 1):
            await fill(empty, JOBS - (await empty.view_counts())["queue"]["queued"])
            for name in ("empty", "full") if n % 2 else ("full", "empty"):
                worker = workers[name]
                done, busy = worker.done, time.process_time()
                rate = await worker.work(32, SECONDS)
                if n:  # the first one warms up
                    rates[name].append(rate)
                    cpu_s[name].append((time.process_time() - busy) / (worker.done - done))
    finally:
        empty.close()
        full.close()
    pairs = [a / b for a, b in zip(rates["full"], rates["empty"], strict=True)]
    work = [b / a for a, b in zip(cpu_s["full"], cpu_s["empty"], strict=True)]
    speed = f"{median(rates['full']):,.0f} /s full, {median(rates['empty']):,.0f} /s empty"
    cpu = " and ".join(f"{1e6 * median(cpu_s[name]):.0f} us {name}" for name in ("full", "empty"))
    return [
        of_runs("a full queue against an empty one, 32 callers", pairs, "x", aim=AIM, more=True,
                beside=speed),
        of_runs("the same by the processor time of a job", work, "x", aim=AIM, more=True,
                beside=cpu),
    ]  # fmt: skip


def _worker(store: SqliteStore) -> Worker:
    labels = tuple(f"l{n}" for n in range(_LABELS))
    return Worker(store, Queue(store, Policy()), "bench", labels)


async def _full(path: Path) -> SqliteStore:
    """A database with a million jobs queued and a million over, all copied from a few."""
    store = SqliteStore(path, path.parent / "backups")
    worker = _worker(store)
    over = await fill_one(store)
    await worker.one()
    plain = await fill_one(store)
    later = await fill_one(store, run_at=10**14)
    keyed = await fill_one(store, conc_key="k")
    needs = [f"l{n}" if n < _LABELS else f"m{n % 7},n{n}" for n in range(_COMBINATIONS)]
    labelled = [await fill_one(store, needs=one) for one in needs]
    store.close()
    c = apsw.Connection(str(path))
    c.execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; BEGIN")
    copy = _Copier(c)
    copy.job(over, MANY)
    copy.attempt(over, MANY)
    fifth = MANY // 5
    copy.job(plain, 2 * fifth, rank="rank + i")
    copy.job(later, fifth, run_at="run_at + i", rank="rank + i")
    copy.job(
        keyed, fifth, conc_key=f"'k' || (i % {_KEYS})", hold=f"i >= {_KEYS}",
        rank=f"rank + {MANY} + i",
    )  # fmt: skip
    for one in labelled:
        copy.job(one, fifth // _COMBINATIONS, rank=f"rank + i * {2 * _COMBINATIONS}")
    c.execute("COMMIT")
    c.close()
    return SqliteStore(path, path.parent / "backups")


class _Copier:
    """Copies of rows, each with an id of its own and some columns changed (SQL; ``i`` counts)."""

    def __init__(self, c: apsw.Connection) -> None:
        self._c = c

    def job(self, job_id: str, many: int, **changes: str) -> None:
        self._copy("job", "id", job_id, many, changes)

    def attempt(self, job_id: str, many: int, **changes: str) -> None:
        self._copy("attempt", "job_id", job_id, many, changes)

    def _copy(self, table: str, key: str, job_id: str, many: int, changes: dict[str, str]) -> None:
        columns = [one[1] for one in self._c.execute(f"PRAGMA table_info({table})")]
        changes = {key: f"substr({key}, 1, 24) || printf('%012x', i)", **changes}
        values = ", ".join(changes.get(one, one) for one in columns)
        self._c.execute(
            "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n LIMIT ?)"
            f" INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM n, {table}"
            f" WHERE {key} = ?",
            (many, job_id),
        )
