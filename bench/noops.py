"""Jobs that do nothing, to measure the queue with."""

from __future__ import annotations

import asyncio
import time

from stead.core.nouns import NewJob
from stead.store.sqlite import SqliteStore

_AT_ONCE = 500


async def fill(store: SqliteStore, many: int) -> float:
    """Queue so many jobs; how many per second."""
    begun = time.perf_counter()
    job = NewJob(kind="noop", payload={"text": ""})
    for start in range(0, many, _AT_ONCE):
        size = min(_AT_ONCE, many - start)
        await asyncio.gather(*(store.enqueue(job) for _ in range(size)))
    return many / (time.perf_counter() - begun)
