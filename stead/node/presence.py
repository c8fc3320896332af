"""Whether the gateway is there: said once in words, and waited for with back-off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time

from stead.core.errors import SteadError

log = logging.getLogger("stead.node")

FIRST_S = 0.2
LONGEST_S = 5.0
_QUIET_S = 5.0
"""A gateway that comes and goes faster than this is not told of each time."""


class Presence:
    """What all parts of a node know together about their gateway.

    Whoever could not reach it calls :meth:`away` and :meth:`pause`; whoever is
    answered calls :meth:`back`, which ends the pauses of all the others.
    """

    def __init__(self, url: str, *, first_s: float = FIRST_S, longest_s: float = LONGEST_S) -> None:
        self.there = True
        self._url = url
        self._first_s = first_s
        self._longest_s = longest_s
        self._returned = asyncio.Event()
        self._since = 0.0
        self._told = False
        self._back_at = float("-inf")

    def away(self, error: SteadError) -> None:
        """The gateway did not answer, or answered that it cannot work now."""
        if not self.there:
            return
        self.there = False
        self._since = time.monotonic()
        self._returned = asyncio.Event()
        self._told = self._since - self._back_at > _QUIET_S
        if self._told:
            log.warning(
                "the gateway at %s is away (%s); trying again until it is back, "
                "what was reported meanwhile is kept",
                self._url,
                error.details.get("why") or error.message,
            )

    def back(self) -> None:
        """The gateway answered."""
        if self.there:
            return
        self.there = True
        self._back_at = time.monotonic()
        self._returned.set()
        if self._told:
            log.warning(
                "the gateway at %s is back after %.1f s", self._url, self._back_at - self._since
            )

    async def pause(self, attempt: int) -> None:
        """Wait before try ``attempt`` + 1 (from 0), less when the gateway is back sooner."""
        longest = min(self._first_s * 2 ** min(attempt, 16), self._longest_s)
        delay = longest * random.uniform(0.5, 1.0)
        # A gateway that answers others but not this one must not be asked in a hot loop.
        least = min(delay, self._first_s / 4)
        await asyncio.sleep(least)
        if self.there:
            await asyncio.sleep(delay - least)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay - least):
                await self._returned.wait()
