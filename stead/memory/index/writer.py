"""Putting entries into the index and taking them out, within one transaction of the caller's."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import apsw
import msgspec

from stead.memory.index import ranking
from stead.memory.index.database import ask, hash63
from stead.memory.index.slots import LAYER, Slots, layer_number
from stead.memory.nouns import Entry

_FIELDS = tuple(field.name for field in fields(Entry) if field.name != "lines")
"""What is stored of an entry as one; its lines may change without it."""
_values = attrgetter(*_FIELDS)
_LINES, _LAYER, _TAGS, _PEOPLE = (
    Entry.__match_args__.index(name) for name in ("lines", "layer", "tags", "people")
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode

_TERMS_HELD = 100_000
_CHAINS_HELD = 4096
_INT = 2**63 - 1


def body_of(entry: Entry) -> bytes:
    """All of it but its lines."""
    return _encode(_values(entry))


def entry_of(body: bytes, lines: tuple[int, int]) -> Entry:
    """An entry as it is stored, on these lines."""
    values = _decode(body)
    values.insert(_LINES, lines)
    values[_LAYER] = LAYER[values[_LAYER]]
    values[_TAGS] = tuple(values[_TAGS])
    values[_PEOPLE] = tuple(values[_PEOPLE])
    return Entry(*values)


def key_of(key: str) -> int:
    return hash63(key.encode(errors="surrogatepass"))


class Writer:
    """Writes entries through one connection; :meth:`settle` after the commit, or :meth:`forget`
    after a rollback.

    ``slots``: what searches go by; None while a new file is made that nobody searches yet.
    """

    def __init__(self, c: apsw.Connection, slots: Slots | None, first: int = 1) -> None:
        self._c = c
        self._slots = slots
        self.next = len(slots) if slots is not None else first
        """The number of the next entry."""
        self._df: Counter[str] = Counter()
        self._chains: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._last: OrderedDict[int, tuple[Entry, ...]] = OrderedDict()
        self._puts: list[tuple[int, int, int, int, int, int]] = []
        self._drops: list[int] = []
        self._relink: set[int] = set()
        self.added = 0
        self.removed = 0
        marks = ", ".join("?" * (len(ranking.COLUMNS) + 1))
        self._words = f"INSERT INTO words (rowid, {', '.join(ranking.COLUMNS)}) VALUES ({marks})"

    def add(self, file: int, entry: Entry, *, chained: bool = True) -> int:
        """Returns its number."""
        ident, self.next = self.next, self.next + 1
        chain = self._chain(file, entry.session) if chained else 0
        columns = ranking.columns(entry)
        before = self._last.get(chain, ()) if chained else ()
        passage = ranking.passage(entry, before)
        meaning = hash63(passage.encode(errors="surrogatepass")) if passage else 0
        self._last[chain] = (entry, *before[:1])
        self._last.move_to_end(chain)
        if len(self._last) > _CHAINS_HELD:
            self._last.popitem(last=False)
        split = [column.split() for column in columns]
        words = sum(map(len, split))
        layer = layer_number(entry.layer)
        body = body_of(entry)
        at, until = _bounded(entry.at), _bounded(entry.until)
        self._c.execute(
            "INSERT INTO entry (id, file, line1, line2, chain, layer, at, until, words, key,"
            " content, meaning, terms, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                ident, file, *entry.lines, chain, layer, at, until, words, key_of(entry.key),
                hash63(body), meaning, "\n".join(columns), body,
            ),
        )  # fmt: skip
        self._c.execute(self._words, (ident, *columns))
        self._df.update(set().union(*split))
        if len(self._df) > _TERMS_HELD:
            self.flush()
        if self._slots is not None:
            self._puts.append((ident, chain, layer, words, at, until))
        self.added += 1
        return ident

    def remove(self, ident: int) -> None:
        row = ask(self._c, "SELECT terms FROM entry WHERE id = ?", (ident,)).fetchone()
        if row is None:
            return
        self._c.execute("DELETE FROM entry WHERE id = ?", (ident,))
        self._c.execute("DELETE FROM words WHERE rowid = ?", (ident,))
        self._df.subtract(set(row[0].split()))
        self._drops.append(ident)
        self.removed += 1

    def move(self, ident: int, lines: tuple[int, int]) -> None:
        """The same entry stands on other lines now."""
        self._c.execute(
            "UPDATE entry SET line1 = ?, line2 = ? WHERE id = ?", (lines[0], lines[1], ident)
        )

    def relink(self, file: int) -> None:
        """Something in the midst of a file has changed: neighbours are found anew."""
        self._relink.add(file)

    def flush(self) -> None:
        """Write how frequent terms are; before a commit."""
        if self._df:
            self._c.executemany(
                "INSERT INTO term VALUES (?, ?) ON CONFLICT DO UPDATE SET df = df + excluded.df",
                sorted(self._df.items()),
            )
            if any(count < 0 for count in self._df.values()):
                self._c.execute("DELETE FROM term WHERE df <= 0")
            self._df.clear()

    def settle(self) -> tuple[list[int], list[int]]:
        """It is committed: searches may go by it. Returns the numbers that came, and that went."""
        came = [put[0] for put in self._puts]
        gone = self._drops
        if self._slots is not None:
            for ident in gone:
                self._slots.drop(ident)
            last: dict[int, int] = {}
            for put in self._puts:
                self._slots.put(*put)
            for ident, chain, *_ in self._puts:
                before = (last.get(chain) or self._before(chain, ident)) if chain else 0
                self._slots.append(ident, before)
                last[chain] = ident
            for file in self._relink:
                self._slots.link(self._rows(file))
        self._puts, self._drops = [], []
        self._relink.clear()
        return came, gone

    def forget(self) -> None:
        """It was rolled back."""
        self._puts.clear()
        self._drops.clear()
        self._relink.clear()
        self._df.clear()
        self._chains.clear()
        self._last.clear()

    def _before(self, chain: int, ident: int) -> int:
        """The last of a chain before those that have just come."""
        row = ask(
            self._c,
            "SELECT b.id FROM entry a JOIN entry b ON b.file = a.file AND b.line1 < a.line1"
            " WHERE a.id = ? AND b.chain = ? ORDER BY b.line1 DESC LIMIT 1",
            (ident, chain),
        ).fetchone()
        return row[0] if row else 0

    def _rows(self, file: int) -> Iterable[tuple[int, int]]:
        rows: Iterable[tuple[int, int]] = ask(
            self._c, "SELECT id, chain FROM entry WHERE file = ? ORDER BY line1, id", (file,)
        )
        return rows

    def _chain(self, file: int, session: str) -> int:
        known = self._chains.get((file, session))
        if known is not None:
            return known
        row = ask(
            self._c, "SELECT id FROM chain WHERE file = ? AND session = ?", (file, session)
        ).fetchone()
        if row is None:
            self._c.execute("INSERT INTO chain (file, session) VALUES (?, ?)", (file, session))
            found = self._c.last_insert_rowid()
        else:
            found = row[0]
        self._chains[(file, session)] = found
        if len(self._chains) > _CHAINS_HELD:
            self._chains.popitem(last=False)
        return found


def _bounded(ms: int) -> int:
    return max(-_INT, min(_INT, ms))
