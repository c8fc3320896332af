"""The distinct demands of jobs, and which of them a worker can meet."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import apsw

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

    def __init__(self, c: apsw.Connection) -> None:
        known = [Demand(*found) for found in rows(c, "SELECT needs, prefer, avoid FROM demand")]
        self._known = {demand: demand.id for demand in known}
        self._written = set(self._known)
        self._met: dict[Asker, tuple[int, ...]] = {}

    def of(self, c: apsw.Connection, job: NewJob) -> int:
        """The demand of a new job, written down if it is the first of its kind."""
        demand = Demand(job.needs, job.prefer, job.avoid)
        known = self._known.get(demand)
        if known is None:
            known = self._known[demand] = demand.id
            self._met.clear()
        if demand not in self._written:
            c.execute("INSERT OR IGNORE INTO demand VALUES (?, ?, ?, ?)", (known, *demand))
            self._written.add(demand)
        return known

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
                if may_take(*one, name=asker.name, labels=asker.labels, there=asker.there)
            )
            if len(self._met) >= _MOST_ASKERS:
                self._met.clear()
            self._met[asker] = met
        return met
