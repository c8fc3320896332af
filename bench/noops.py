"""Jobs that do nothing, to measure the queue with."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from stead.core.nouns import NewJob
from stead.core.states import Lane
from stead.store.sqlite import SqliteStore

_AT_ONCE = 500


async def fill_one(store: SqliteStore, **more: Any) -> str:
    """Queue one job; its id."""
    job_id, _ = await store.enqueue(NewJob(kind="noop", payload={"text": ""}, **more))
    return job_id


async def fill(store: SqliteStore, many: int, lane: Lane = Lane.CHAT) -> float:
    """Queue so many jobs; how many per second."""
    begun = time.perf_counter()
    job = NewJob(kind="noop", payload={"text": ""}, lane=lane)
    for start in range(0, many, _AT_ONCE):
        size = min(_AT_ONCE, many - start)
        await asyncio.gather(*(store.enqueue(job) for _ in range(size)))
    return many / (time.perf_counter() - begun)
