"""What the limits still leave room for, counted anew from the rows for each batch of claims."""

from __future__ import annotations

from collections import Counter

import apsw

from stead.core.limits import Limit
from stead.store.sqlite.demands import Demands
from stead.store.sqlite.sql import NOW, row, rows

_RUNNING = "SELECT demand, count(*) FROM job WHERE state = 'running' GROUP BY demand"

# A start that lies in the future was noted before the clock was put back; it no longer counts.
_STARTED = (
    f"SELECT coalesce(sum(many), 0) FROM start WHERE key = ?1 AND at > {NOW} - ?2 AND at <= {NOW}"
)
_NOTE = f"""
INSERT INTO start (key, at, many) VALUES (?1, {NOW}, 1)
ON CONFLICT (key, at) DO UPDATE SET many = many + 1
"""
_FORGET = f"DELETE FROM start WHERE key = ?1 AND (at <= {NOW} - ?2 OR at > {NOW})"

#: More room than any batch can use.
PLENTY = 1_000_000


class Budget:
    """The room there is under the limits, less what is taken of it."""

    def __init__(self, c: apsw.Connection, demands: Demands) -> None:
        self._c = c
        self._demands = demands
        self._running: Counter[str] | None = None
        self._started: dict[tuple[str, int], int] = {}

    def room(self, demand: int) -> int:
        """How many jobs of this demand may be started now."""
        limits = self._demands.limits(demand)
        return min(self._left(one) for one in limits) if limits else PLENTY

    def take(self, demand: int) -> None:
        """One of them is started."""
        limits = self._demands.limits(demand)
        if not limits:
            return
        for key in {one.key for one in limits if one.at_once}:
            self._runs()[key] += 1
        for one in limits:
            if one.starts:
                self._starts(one)
        for key in {one.key for one in limits if one.starts}:
            for of in self._started:
                self._started[of] += of[0] == key
            self._c.execute(_FORGET, (key, self._demands.longest_ms(key)))
            self._c.execute(_NOTE, (key,))

    def _left(self, limit: Limit) -> int:
        left = PLENTY
        if limit.at_once:
            left = limit.at_once - self._runs()[limit.key]
        if limit.starts:
            left = min(left, limit.starts - self._starts(limit))
        return left

    def _runs(self) -> Counter[str]:
        if self._running is None:
            self._running = Counter()
            for demand, many in rows(self._c, _RUNNING):
                for key in self._demands.keys(demand):
                    self._running[key] += many
        return self._running

    def _starts(self, limit: Limit) -> int:
        of = (limit.key, limit.period_ms)
        if of not in self._started:
            (self._started[of],) = row(self._c, _STARTED, of)
        return self._started[of]
