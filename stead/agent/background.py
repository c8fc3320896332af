"""Processes that a job has started and goes on without: they live between its calls.

They are known by the call that started them (``p7``: step 7), belong to one job on one worker, and
end with its attempt, so that none is left behind by anyone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol


class Kept(Protocol):
    """A process that goes on by itself."""

    def about(self) -> str:
        """In a line: what it is, and how it is."""
        ...

    async def stop(self) -> None:
        """End it with all it has started; returns when none is left."""
        ...


class Background:
    """What goes on in the background, by job and handle; of all jobs of one worker."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Kept]] = {}

    def of(self, job: str) -> Mapping[str, Kept]:
        """Those of one job, also those that have ended, in the order of their start."""
        return self._kept.get(job, {})

    def keep(self, job: str, handle: str, process: Kept) -> None:
        self._kept.setdefault(job, {})[handle] = process

    async def end(self, job: str) -> None:
        """The job's attempt is over."""
        kept = self._kept.pop(job, {})
        await asyncio.gather(*(one.stop() for one in kept.values()), return_exceptions=True)

    async def aclose(self) -> None:
        for job in list(self._kept):
            await self.end(job)
