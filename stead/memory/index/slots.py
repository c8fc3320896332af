"""What is kept in memory of every entry: some 25 bytes each, by its number.

Candidates are chosen among all entries that have a term, which may be thousands: their length,
time and neighbours must not cost a look into the file each.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import apsw

from stead.memory.index.database import ask
from stead.memory.nouns import Layer

LAYERS: tuple[Layer, ...] = tuple(Layer)
_NUMBER = {layer: number for number, layer in enumerate(LAYERS)}
LAYER = {layer.value: layer for layer in Layer}
_GONE = 255
_SECOND = 1000
_MOST = 2**39


def layer_number(layer: Layer) -> int:
    return _NUMBER[layer]


class Slots:
    """By number of an entry, from 1. Times are seconds since 1970, 0 where unknown or open."""

    def __init__(self) -> None:
        self.layer = bytearray(b"\xff")
        """:data:`LAYERS`; 255: there is no such entry."""
        self.words = array("H", [0])
        self.at = array("q", [0])
        self.until = array("q", [0])
        self.chain = array("I", [0])
        """Entries of one conversation in one file are a chain; 0: it is in none."""
        self.before = array("I", [0])
        """The one before it in its chain; 0: none."""
        self.after = array("I", [0])
        self.count = 0

    def __len__(self) -> int:
        """One more than the highest number."""
        return len(self.layer)

    def load(self, c: apsw.Connection) -> None:
        """All that the index has."""
        rows = ask(
            c, "SELECT id, chain, layer, words, at, until, file FROM entry ORDER BY file, line1, id"
        )
        last: dict[int, int] = {}
        of = 0
        for ident, chain, layer, words, at, until, file in rows:
            if file != of:  # chains do not reach over files
                last.clear()
                of = file
            self.put(ident, chain, layer, words, at, until)
            self._follow(last, ident, chain)

    def put(self, ident: int, chain: int, layer: int, words: int, at: int, until: int) -> None:
        """An entry. Times in milliseconds."""
        missing = ident + 1 - len(self.layer)
        if missing > 0:
            self.layer.extend(b"\xff" * missing)
            self.words.extend([0] * missing)
            for one in (self.at, self.until):
                one.extend([0] * missing)
            for other in (self.chain, self.before, self.after):
                other.extend([0] * missing)
        self.count += self.layer[ident] == _GONE
        self.layer[ident] = layer
        self.words[ident] = min(words, 65535)
        self.at[ident] = _seconds(at)
        self.until[ident] = _seconds(until)
        self.chain[ident] = chain

    def drop(self, ident: int) -> None:
        if ident < len(self.layer) and self.layer[ident] != _GONE:
            self.count -= 1
            self.layer[ident] = _GONE

    def alive(self, ident: int) -> bool:
        return 0 < ident < len(self.layer) and self.layer[ident] != _GONE

    def link(self, rows: Iterable[tuple[int, int]]) -> None:
        """The entries of one file, ``(number, chain)`` in their order: who is whose neighbour."""
        last: dict[int, int] = {}
        for ident, chain in rows:
            self._follow(last, ident, chain)

    def append(self, ident: int, last: int) -> None:
        """``ident`` comes after ``last`` (0: nothing) in its chain."""
        self.before[ident] = last
        self.after[ident] = 0
        if last:
            self.after[last] = ident

    def _follow(self, last: dict[int, int], ident: int, chain: int) -> None:
        self.append(ident, last.get(chain, 0) if chain else 0)
        last[chain] = ident

    def around(self, ident: int, reach: int) -> tuple[list[int], list[int]]:
        """The numbers of those before and after it, the nearest first."""
        return self._way(self.before, ident, reach), self._way(self.after, ident, reach)

    def _way(self, step: array[int], ident: int, reach: int) -> list[int]:
        found: list[int] = []
        for _ in range(reach):
            ident = step[ident]
            if not ident:
                break
            found.append(ident)
        return found

    def by_layer(self) -> dict[str, int]:
        return {
            layer: count
            for number, layer in enumerate(LAYERS)
            if (count := self.layer.count(number))
        }


def _seconds(ms: int) -> int:
    return max(-_MOST, min(_MOST, ms // _SECOND))
