"""Taking in what has changed in the files: only that, and never more than the files say."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import apsw

from stead.memory.index.database import ask, hash63
from stead.memory.index.slots import Slots
from stead.memory.index.sources import (
    Source,
    Stamp,
    Unit,
    byte_of_line,
    digest_of,
    digests_of,
    more_of,
)
from stead.memory.index.writer import Writer, body_of, entry_of, key_of
from stead.memory.nouns import Entry

_BATCH = 2000
"""Entries to a transaction."""


@dataclass
class Seen:
    """What a look at the files has found."""

    files: int = 0
    added: int = 0
    removed: int = 0
    troubles: list[str] = field(default_factory=list)
    unread: set[str] = field(default_factory=set)
    """Paths of what could not be read."""
    whole: bool = True
    """Everything could be listed: what was not found is gone."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A file as it was read last."""

    id: int
    stamp: Stamp
    seen: int
    digest: bytes | None
    upto: int
    line: int
    head: bytes | None


class Intake:
    """Looks at the files of some sources, and writes what is new into one index."""

    def __init__(
        self,
        home: Path,
        sources: list[Source],
        c: apsw.Connection,
        slots: Slots | None,
        changed: Callable[[list[int], list[int]], None] = lambda came, gone: None,
        done: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._home = home
        self._sources = sources
        self._c = c
        self._slots = slots
        self._writer = Writer(c, slots)
        self._changed = changed
        self._done = done
        self._in_batch = 0
        self._files: dict[str, _Known] = {}
        """By their paths, as the index has them."""
        self._head = hashlib.blake2b(digest_size=16)
        """Of what stands before the place where a growing file is read on."""
        self._starts: deque[int] = deque(maxlen=32)
        """Lines on which the last entries of a file begin."""

    def look(self) -> Seen:
        """All of them. Raises ``apsw.Error`` where the index cannot be written: what was there
        before goes on being found."""
        self._writer.added = self._writer.removed = 0
        seen = Seen()
        there: set[str] = set()
        for source in self._sources:
            for unit in self._units(source, seen):
                there.add(unit.path)
                try:
                    seen.files += self._take(source, unit)
                except OSError as error:
                    self._undo()
                    if not isinstance(error, FileNotFoundError):  # gone since it was listed
                        seen.unread.add(unit.path)
                        seen.troubles.append(_words(error, f"{unit.path} cannot be read"))
                except BaseException:
                    self._undo()
                    raise
        if seen.whole:
            self._leave(there)
        seen.added, seen.removed = self._writer.added, self._writer.removed
        return seen

    def _units(self, source: Source, seen: Seen) -> list[Unit]:
        units: list[Unit] = []
        try:
            for unit in source.units():
                units.append(unit)
        except OSError as error:
            seen.whole = False
            seen.troubles.append(_words(error, "not all that is remembered can be listed"))
        return units

    def keep(self, old: apsw.Connection, seen: Seen) -> None:
        """Take over, from an index that was, what cannot be read now: that is not gone."""
        for ident, path in ask(old, "SELECT id, path FROM file ORDER BY id").fetchall():
            known = self._known(path)
            if not (path in seen.unread or (not seen.whole and known is None)):
                continue
            self._begin()
            file = known.id if known is not None else self._new(path)
            for (one,) in ask(self._c, "SELECT id FROM entry WHERE file = ?", (file,)).fetchall():
                self._writer.remove(one)
            for first, last, chain, body in ask(
                old,
                "SELECT line1, line2, chain, body FROM entry WHERE file = ? ORDER BY line1, id",
                (ident,),
            ):
                self._writer.add(file, entry_of(body, (first, last)), chained=chain > 0)
            self._commit()

    # --- one file ------------------------------------------------------------------------------

    def _take(self, source: Source, unit: Unit) -> bool:
        """Whether it had to be read."""
        known = self._known(unit.path)
        stamp = Stamp.of(self._home, unit)
        if known is not None and stamp == known.stamp and stamp.sure(known.seen):
            return False
        self._files.pop(unit.path, None)
        now = time.time_ns()
        start, line, digest = self._where(unit, known)
        if known is not None and digest == known.digest:
            self._begin()
            self._stamp(known.id, stamp, now)
            self._commit()
            return False
        self._begin()
        file = known.id if known is not None else self._new(unit.path)
        # Should it be cut off between two commits, it is read whole the next time.
        self._c.execute("UPDATE file SET size = -1, digest = NULL, upto = 0 WHERE id = ?", (file,))
        self._compare(file, source.entries(unit, start, line), line, start > 0, unit.chained)
        self._mark(file, unit, (start, line))
        if Stamp.of(self._home, unit) == stamp:
            self._c.execute("UPDATE file SET digest = ? WHERE id = ?", (digest, file))
            self._stamp(file, stamp, now)
        else:  # it was written to meanwhile: what was read is no whole state of it
            self._c.execute("UPDATE file SET upto = 0 WHERE id = ?", (file,))
        self._commit()
        return True

    def _where(self, unit: Unit, known: _Known | None) -> tuple[int, int, bytes]:
        """From which byte and line on it must be read, and its digest."""
        if unit.grows and not unit.parts and known is not None and known.upto:
            head, whole = digests_of(self._home / unit.path, known.upto)
            if head.digest() == known.head:
                self._head = head
                return known.upto, known.line, whole
        else:
            whole = digest_of(self._home, unit)
        self._head = hashlib.blake2b(digest_size=16)
        return 0, 1, whole

    def _compare(
        self, file: int, entries: Iterator[Entry], line: int, tail: bool, chained: bool
    ) -> None:
        """Put the index of a file right from a line on."""
        fresh = self._fresh(file)
        self._starts.clear()
        new = self._writer.next
        seen = bytearray(0 if fresh else new)
        before: dict[str, int] = {}
        last, reached, added, mixed = 0, 0, False, False
        for entry in entries:
            if entry.lines[0] != last:
                last = entry.lines[0]
                self._starts.append(last)
            if tail:
                entry = self._numbered(file, entry, line, before)
            found = None if fresh else self._find(file, entry)
            if found is None:
                self._writer.add(file, entry, chained=chained)
                added = True
                self._count()
                continue
            ident, lines = found
            if ident < new:
                seen[ident] = 1
            mixed = mixed or added or lines[0] < reached
            reached = lines[0]
            if lines != entry.lines:
                self._writer.move(ident, entry.lines)
        gone = [] if fresh else self._unseen(file, line, seen)
        for ident in gone:
            self._writer.remove(ident)
            self._count()
        if gone or mixed:
            self._writer.relink(file)

    def _find(self, file: int, entry: Entry) -> tuple[int, tuple[int, int]] | None:
        """The same entry as it is indexed: its number, and the lines it stood on."""
        rows = ask(
            self._c,
            "SELECT id, line1, line2, content FROM entry WHERE key = ? AND file = ?",
            (key_of(entry.key), file),
        ).fetchall()
        content = hash63(body_of(entry)) if rows else 0
        for ident, first, last, had in rows:
            if had == content:
                return ident, (first, last)
        return None

    def _numbered(self, file: int, entry: Entry, line: int, before: dict[str, int]) -> Entry:
        """An entry of the end of a file, read without what stands before: where the same words
        stand there too, it is numbered on from those."""
        base, dot, count = entry.key.rpartition(".")
        if not dot or not count.isdigit() or "#" not in base:
            base, count = entry.key, "1"
        if base not in before:
            before[base] = self._count_before(file, base, line)
        if not before[base]:
            return entry
        return replace(entry, key=f"{base}.{before[base] + int(count)}")

    def _count_before(self, file: int, base: str, line: int) -> int:
        """How often these words stand before a line, as they are numbered without a gap."""

        def there(count: int) -> bool:
            key = base if count == 1 else f"{base}.{count}"
            row = ask(
                self._c,
                "SELECT 1 FROM entry WHERE key = ? AND file = ? AND line1 < ?",
                (key_of(key), file, line),
            ).fetchone()
            return row is not None

        low, high = 0, 1
        while there(high):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if there(middle) else (low, middle)
        return low

    def _fresh(self, file: int) -> bool:
        if self._slots is None:  # a new index, which has each file once
            return True
        row = ask(self._c, "SELECT 1 FROM entry WHERE file = ? LIMIT 1", (file,)).fetchone()
        return row is None

    def _unseen(self, file: int, line: int, seen: bytearray) -> list[int]:
        """What stood there before and does not any more."""
        rows = ask(self._c, "SELECT id FROM entry WHERE file = ? AND line1 >= ?", (file, line))
        return [ident for (ident,) in rows if ident < len(seen) and not seen[ident]]

    def _mark(self, file: int, unit: Unit, start: tuple[int, int]) -> None:
        """Remember where the last entry of a growing file begins. A long one comes in pieces: only
        its first line is one that reading may begin with."""
        if not unit.grows or unit.parts or not self._starts:
            return
        path = self._home / unit.path
        at = byte_of_line(path, *start, self._starts[0])
        line = self._starts[0]
        found: tuple[int, int] | None = None
        with open(path, "rb") as f:
            for one in self._starts:
                at, line = byte_of_line(path, at, line, one), one
                if at < 0:
                    break
                f.seek(at)
                if f.read(2) == b"- ":
                    found = at, line
            if found is not None:
                f.seek(start[0])
                more_of(self._head, f, found[0] - start[0])
                self._c.execute(
                    "UPDATE file SET upto = ?, line = ?, head = ? WHERE id = ?",
                    (*found, self._head.digest(), file),
                )

    # --- what is gone ----------------------------------------------------------------------------

    def _leave(self, there: set[str]) -> None:
        """Take out the files that are no longer there."""
        for file, path in ask(self._c, "SELECT id, path FROM file").fetchall():
            if path in there:
                continue
            self._begin()
            for (ident,) in ask(self._c, "SELECT id FROM entry WHERE file = ?", (file,)).fetchall():
                self._writer.remove(ident)
                self._count()
            self._c.execute("DELETE FROM chain WHERE file = ?", (file,))
            self._c.execute("DELETE FROM file WHERE id = ?", (file,))
            self._files.pop(path, None)
            self._commit()

    # --- rows of files -----------------------------------------------------------------------

    def _known(self, path: str) -> _Known | None:
        known = self._files.get(path)
        if known is not None:
            return known
        row = ask(
            self._c,
            "SELECT id, size, mtime, ctime, inode, seen, digest, upto, line, head FROM file"
            " WHERE path = ?",
            (path,),
        ).fetchone()
        if row is None:
            return None
        known = _Known(row[0], Stamp(*row[1:5]), *row[5:])
        if known.stamp.size >= 0:
            self._files[path] = known
        return known

    def _new(self, path: str) -> int:
        self._c.execute("INSERT INTO file (path) VALUES (?)", (path,))
        return self._c.last_insert_rowid()

    def _stamp(self, file: int, stamp: Stamp, now: int) -> None:
        self._c.execute(
            "UPDATE file SET size = ?, mtime = ?, ctime = ?, inode = ?, seen = ? WHERE id = ?",
            (stamp.size, stamp.mtime, stamp.ctime, stamp.inode, now, file),
        )

    # --- transactions ------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._c.in_transaction:
            self._c.execute("BEGIN IMMEDIATE")

    def _count(self) -> None:
        self._in_batch += 1
        if self._in_batch >= _BATCH:
            self._commit()
            self._begin()
            self._done(self._writer.added)

    def _commit(self) -> None:
        self._in_batch = 0
        self._writer.flush()
        if self._c.in_transaction:
            self._c.execute("COMMIT")
        self._changed(*self._writer.settle())

    def _undo(self) -> None:
        self._in_batch = 0
        self._writer.forget()
        self._files.clear()
        if self._c.in_transaction:
            self._c.execute("ROLLBACK")


def _words(error: OSError, what: str) -> str:
    """``memory/cards cannot be read (permission denied)``."""
    return f"{what} ({(error.strerror or str(error)).lower()}); what was known of it is kept"
