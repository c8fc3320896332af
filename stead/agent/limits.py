"""What one job may use, checked before each call (invariant 7)."""

from __future__ import annotations

import time
from collections.abc import Callable

from stead.core.errors import LimitReached
from stead.core.nouns import Limits, Usage


class Meter:
    """Counts calls, tokens, money and time of one job, over all its attempts.

    Replayed steps count as they did when they were made. The wall clock runs
    from the first attempt: ``started_ago_ms`` before this object was made.
    A limit of 0 is no limit.
    """

    def __init__(
        self,
        limits: Limits,
        started_ago_ms: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self.calls = 0
        self.usage = Usage()
        self._clock = clock
        self._start = clock() - started_ago_ms / 1000

    def count(self, usage: Usage, calls: int = 1) -> None:
        """Book what a call used."""
        self.calls += calls
        self.usage += usage

    def check(self) -> None:
        """Raise ``LimitReached`` with the figures when there is no room for another call."""
        limits = self.limits
        if limits.steps and self.calls >= limits.steps:
            raise LimitReached(what="steps", used=self.calls, limit=limits.steps)
        if limits.tokens and self.usage.tokens >= limits.tokens:
            raise LimitReached(what="tokens", used=self.usage.tokens, limit=limits.tokens)
        if limits.cost_micro and self.usage.cost_micro >= limits.cost_micro:
            raise LimitReached(
                what="money",
                used=_dollars(self.usage.cost_micro),
                limit=_dollars(limits.cost_micro),
            )
        wall = self._clock() - self._start
        if limits.wall_s and wall >= limits.wall_s:
            raise LimitReached(what="time", used=f"{wall:.0f} s", limit=f"{limits.wall_s:g} s")

    def answer_tokens(self, wanted: object = None) -> int:
        """The most the next answer may be long: the least of limit, wish and what is left."""
        most = [self.limits.answer_tokens or 1 << 20]
        if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > 0:
            most.append(wanted)
        if self.limits.tokens:
            most.append(self.limits.tokens - self.usage.tokens)
        return max(1, min(most))

    @property
    def last_answer(self) -> bool:
        """Whether the next model call must be the last: a tool and an answer after it
        would not fit any more, so the model is asked to answer with what it has."""
        return bool(self.limits.steps) and self.calls + 3 > self.limits.steps

    @property
    def room_for_tool(self) -> bool:
        """Whether a tool may run now and still leave a call for the answer."""
        return not self.limits.steps or self.calls + 2 <= self.limits.steps


def _dollars(micro: int) -> str:
    return f"${micro / 1_000_000:.4f}"
