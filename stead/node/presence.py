"""Whether the gateway is there: said once in words, and waited for with back-off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable

from stead.core.errors import SteadError, WrongKey

log = logging.getLogger("stead.node")

FIRST_S = 0.2
LONGEST_S = 5.0
REFUSED_S = 15.0
REFUSALS = 5
"""A node whose key is refused so often in a row, for ``REFUSED_S`` at least, is not wanted any
more: a gateway whose database is being restored may not know it for a moment."""
_QUIET_S = 5.0
"""A gateway that comes and goes faster than this is not told of each time."""


class Presence:
    """What all parts of a node know together about their gateway.

    Whoever could not reach it calls :meth:`away` and :meth:`pause`; whoever is
    answered calls :meth:`back`, which ends the pauses of all the others.
    """

    def __init__(
        self,
        url: str,
        *,
        first_s: float = FIRST_S,
        longest_s: float = LONGEST_S,
        refused_s: float = REFUSED_S,
    ) -> None:
        self.there = True
        self.url = url
        self._first_s = first_s
        self._longest_s = longest_s
        self._returned = asyncio.Event()
        self._since = 0.0
        self._told = False
        self._back_at = float("-inf")
        self._on_back: list[Callable[[], None]] = []
        self._refused_s = refused_s
        self._refusals = 0
        self._refused_since = 0.0
        self.unwanted = asyncio.Event()
        """Set once it is sure that the gateway wants this node no more."""

    def _refused(self, error: SteadError) -> None:
        """Count the answers in a row that our key is not known."""
        if not isinstance(error, WrongKey):
            self._refusals = 0
            return
        now = time.monotonic()
        if not self._refusals:
            self._refused_since = now
        self._refusals += 1
        if self._refusals >= REFUSALS and now - self._refused_since >= self._refused_s:
            self.unwanted.set()

    def on_back(self, call: Callable[[], None]) -> None:
        """Be told when a gateway that was away answers again."""
        self._on_back.append(call)

    def away(self, error: SteadError) -> None:
        """The gateway did not answer, or answered that it cannot work now."""
        self._refused(error)
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
                self.url,
                error.details.get("why") or error.message,
            )

    def back(self) -> None:
        """The gateway answered."""
        self._refusals = 0
        if self.there:
            return
        self.there = True
        self._back_at = time.monotonic()
        self._returned.set()
        if self._told:
            log.warning(
                "the gateway at %s is back after %.1f s", self.url, self._back_at - self._since
            )
        for call in self._on_back:
            call()

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
