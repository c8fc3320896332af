"""Processes that a job has started and goes on without: they live between its calls.

They are known by the call that started them (``p7``: step 7), belong to one job on one worker, and
end with its attempt, so that none is left behind by anyone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable


class Kept(Protocol):
    """A process that goes on by itself."""

    def about(self) -> str:
        """In a line: what it is, and how it is."""
        ...

    async def stop(self) -> None:
        """End it with all it has started; returns when none is left."""
        ...


@runtime_checkable
class Patient(Kept, Protocol):
    """One that stays while its job waits for an answer of the owner's, since what he is asked about
    is a thing of its own: a page that would be another one if it were opened again."""

    def linger(self) -> None:
        """The job waits. To end by itself if that takes too long."""
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

    def drop(self, job: str, handle: str, process: Kept) -> None:
        """It has ended by itself and is not to be told of any more."""
        kept = self._kept.get(job, {})
        if kept.get(handle) is process:
            del kept[handle]
            if not kept:
                del self._kept[job]

    def all(self) -> Iterator[Kept]:
        """Those of all jobs."""
        for kept in self._kept.values():
            yield from kept.values()

    async def end(self, job: str, *, waits: bool = False) -> None:
        """The job's attempt is over; ``waits``: it goes on when the owner has answered."""
        kept = self._kept.pop(job, {})
        for handle, one in list(kept.items()):
            if waits and isinstance(one, Patient):
                one.linger()
                self.keep(job, handle, kept.pop(handle))
        await asyncio.gather(*(one.stop() for one in kept.values()), return_exceptions=True)

    async def aclose(self) -> None:
        for job in list(self._kept):
            await self.end(job)
