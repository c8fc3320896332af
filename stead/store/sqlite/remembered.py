"""The part of the SQLite storage that keeps what jobs were shown of memory, and forgets what was
said off the record."""

from __future__ import annotations

import asyncio
import logging

from stead.core.recall import Recall
from stead.store.sqlite import recall
from stead.store.sqlite.forgetting import Forgetting

log = logging.getLogger(__name__)

#: A file larger than this is not made anew for a few words: nobody could write meanwhile.
_MOST_REWRITTEN = 300_000_000


class Remembered(Forgetting):
    """``stead.core.recall.RecallStore``, over the storage's own ways to write and read."""

    async def keep_recall(self, job_id: str, found: Recall) -> Recall:
        return await self.write(lambda c: recall.keep(c, job_id, found))

    async def recalled(self, job_id: str) -> Recall | None:
        return await self.read(lambda c: recall.get(c, job_id))

    async def last_recalled(self) -> dict[str, int]:
        return dict(await self.read(recall.last))

    async def end_off_the_record(self, session: str) -> bool:
        return await self.write(lambda c: recall.end(c, session))

    async def off_the_record_jobs(self) -> list[str]:
        return await self.read(recall.jobs_off)

    async def erase_off_the_record(self, idle_ms: int) -> tuple[int, int]:
        if not await self.read(recall.any_left):
            return 0, 0
        many, said, left = await self.write(lambda c: recall.erase(c, idle_ms))
        if many:
            await self._out_of_the_file(said)
        return many, left

    async def _out_of_the_file(self, said: list[str]) -> None:
        """Off the log of writes too; where SQLite has left a copy when it moved something, the
        file is made anew."""
        size = self.path.stat().st_size  # one look
        for rewrite in (False, True) if size <= _MOST_REWRITTEN else (False,):
            clean = await self.forget_clean(rewrite=rewrite)
            if clean and not await asyncio.to_thread(recall.left_in, self.path, said):
                return
        log.error("words said off the record may still lie in the free space of %s", self.path)
