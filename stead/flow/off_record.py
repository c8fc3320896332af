"""Conversations of which nothing stays but their cost: their words are taken out when all is said.

Until then they lie in the database like any others, so that nothing of them is lost either.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from stead.core.errors import SteadError
from stead.core.recall import RecallStore

log = logging.getLogger(__name__)

_LOOK_S = 3.0
_REST_S = 600.0


class OffRecord:
    """Knows which jobs are off the record, and erases what is over. ``idle_ms``: a conversation
    that nobody ended is over when nothing was said in it for so long."""

    def __init__(self, store: RecallStore, idle_ms: int = 900_000) -> None:
        self._store = store
        self._idle_ms = idle_ms
        self._wanted = asyncio.Event()
        self._jobs: set[str] = set()
        self._left = True
        """Whether there may be any: so at a start."""
        self.on_erased: Callable[[], Awaitable[object]] | None = None
        """Removes what hung on the messages that were erased."""

    def holds(self, job_id: str | None) -> bool:
        """Whether a job is off the record: then nothing else may keep a word of it."""
        return job_id in self._jobs

    async def start(self) -> None:
        """Know those of an earlier process again."""
        self._jobs = {*await self._store.off_the_record_jobs()}

    def begin(self, job_id: str) -> None:
        self._jobs.add(job_id)
        self._left = True

    async def end(self, session: str) -> bool:
        """The owner has left; whether there is such a conversation."""
        known = await self._store.end_off_the_record(session)
        self._wanted.set()
        return known

    def nudge(self) -> None:
        """Something is over, or was delivered."""
        if self._left:
            self._wanted.set()

    async def look(self) -> int:
        """Erase what is over; how many conversations are left."""
        many, left = await self._store.erase_off_the_record(self._idle_ms)
        self._left = left > 0
        if many:
            self._jobs = {*await self._store.off_the_record_jobs()}
            if self.on_erased is not None:
                await self.on_erased()
            log.info("erased %d conversation(s) off the record", many)
        return left

    async def run(self) -> None:
        """Look for ever: soon while there are any, else when one begins."""
        while True:
            try:
                await self.look()
            except SteadError as error:  # the next look may go well
                log.warning("off the record: %s", error.message)
                self._left = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S if self._left else _REST_S):
                    await self._wanted.wait()
            self._wanted.clear()
