"""The distinct demands of jobs, and which of them a worker can meet."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import apsw

from stead.core.limits import Limit, is_key, parse
from stead.core.nouns import NewJob
from stead.core.placement import may_take
from stead.store.sqlite.sql import rows

#: Whoever makes up labels or names must not fill the memory.
_MOST_ASKERS = 1000


class Demand(NamedTuple):
    """What jobs ask of whoever takes them."""

    needs: str
    prefer: str
    avoid: str
    limits: str
    """The keys that it counts against, as ``stead.core.limits.parse`` reads them."""

    @property
    def id(self) -> int:
        """Made from what it says, so that it need not be given out by anyone: a transaction that
        is undone cannot leave a number behind that later means something else."""
        text = "\n".join(self).encode()
        return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


class Asker(NamedTuple):
    """What a worker can meet. ``there``: the nodes to which others leave what prefers them."""

    name: str
    labels: tuple[str, ...]
    there: frozenset[str]


class Demands:
    """All that are known. Used by the thread that writes, and nowhere else."""

    def __init__(self, c: apsw.Connection, limits: Sequence[Limit] = ()) -> None:
        """``limits``: what holds for keys whatever a job says itself."""
        self._general = limits
        self._known: dict[Demand, int] = {}
        self._keys: dict[int, frozenset[str]] = {}
        self._limits: dict[int, tuple[Limit, ...]] = {}
        self._longest_ms: dict[str, int] = {}
        self._met: dict[Asker, tuple[int, ...]] = {}
        for known, *found in rows(c, "SELECT id, needs, prefer, avoid, limits FROM demand"):
            self._learn(known, Demand(*found))
        self._written = set(self._known)

    def _learn(self, known: int, demand: Demand) -> None:
        own = parse(demand.limits)
        keys = frozenset(one.key for one in own)
        limits = (*own, *(one for one in self._general if one.key in keys))
        narrow = tuple(one for one in limits if one.at_once or one.starts)
        for one in narrow:
            self._longest_ms[one.key] = max(one.period_ms, self._longest_ms.get(one.key, 0))
        self._keys[known], self._limits[known] = keys, narrow
        self._known[demand] = known
        self._met.clear()

    def of(self, c: apsw.Connection, job: NewJob, channel: str) -> int:
        """The demand of a new job, written down if it is the first of its kind.

        Raises ``BadRequest`` when its limits are none.
        """
        keys = [key for key in (f"kind:{job.kind}", f"channel:{channel}") if is_key(key)]
        limits = ",".join([*keys, job.limits] if job.limits else keys)
        demand = Demand(job.needs, job.prefer, job.avoid, limits)
        if demand not in self._known:
            self._learn(demand.id, demand)
        known = self._known[demand]
        if demand not in self._written:
            c.execute("INSERT OR IGNORE INTO demand VALUES (?, ?, ?, ?, ?)", (known, *demand))
            self._written.add(demand)
        return known

    def keys(self, demand: int) -> frozenset[str]:
        """The keys that jobs of this demand count against."""
        return self._keys.get(demand, frozenset())

    def limits(self, demand: int) -> tuple[Limit, ...]:
        """The limits that hold for jobs of this demand; nearly always none."""
        return self._limits.get(demand, ())

    def longest_ms(self, key: str) -> int:
        """How long the starts of this key are to be remembered."""
        return self._longest_ms[key]

    def undone(self) -> None:
        """A transaction was undone: what was written may not be there."""
        self._written.clear()

    def met(self, asker: Asker) -> tuple[int, ...]:
        """The demands that a worker can meet."""
        met = self._met.get(asker)
        if met is None:
            met = tuple(
                known
                for one, known in self._known.items()
                if may_take(*one[:3], name=asker.name, labels=asker.labels, there=asker.there)
            )
            if len(self._met) >= _MOST_ASKERS:
                self._met.clear()
            self._met[asker] = met
        return met
