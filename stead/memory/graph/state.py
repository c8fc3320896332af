"""``index/graph.db``: what the journal comes to, made ready for questions. Disposable.

Each entity and fact has a row for each span of operations through which it was the same
(``seq_from`` <= seq < ``seq_to``), so that what was known at a time is found like what is
known now.
All SQL of the graph is here and in ``queries.py``.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from stead.memory.graph.fold import EntityState, FactState, fold, targets
from stead.memory.graph.journal import Line, Mark, Stamp
from stead.memory.graph.names import plain
from stead.memory.graph.nouns import Operation

log = logging.getLogger(__name__)

PATH = "index/graph.db"
FOREVER = 1 << 62
SCHEMA = 4
"""Raised with every change of what is written here; another number is made anew."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE op (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL, line INTEGER NOT NULL,
  batch TEXT NOT NULL, verb TEXT NOT NULL, body BLOB NOT NULL, undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX op_batch ON op (batch) WHERE batch != '';
CREATE INDEX op_at ON op (at);
CREATE TABLE undo (of_seq INTEGER, seq INTEGER, PRIMARY KEY (of_seq, seq)) WITHOUT ROWID;
CREATE TABLE touch (id TEXT, seq INTEGER, PRIMARY KEY (id, seq)) WITHOUT ROWID;
CREATE TABLE entity (
  id TEXT, seq_from INTEGER, seq_to INTEGER NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL,
  aliases TEXT NOT NULL, cards TEXT NOT NULL, parent TEXT NOT NULL, retracted INTEGER NOT NULL,
  PRIMARY KEY (id, seq_from)
) WITHOUT ROWID;
CREATE INDEX entity_parent ON entity (parent) WHERE parent != '';
CREATE TABLE fact (
  id TEXT, seq_from INTEGER, seq_to INTEGER NOT NULL, subject TEXT NOT NULL,
  predicate TEXT NOT NULL, value TEXT NOT NULL, object TEXT NOT NULL, since INTEGER NOT NULL,
  until INTEGER NOT NULL, asserted INTEGER NOT NULL, closed INTEGER NOT NULL,
  closed_by TEXT NOT NULL, retracted INTEGER NOT NULL, confidence REAL NOT NULL,
  single INTEGER NOT NULL, source TEXT NOT NULL, foreign_ INTEGER NOT NULL, due INTEGER NOT NULL,
  PRIMARY KEY (id, seq_from)
) WITHOUT ROWID;
CREATE INDEX fact_subject ON fact (subject, predicate);
CREATE INDEX fact_object ON fact (object) WHERE object != '';
CREATE INDEX fact_predicate ON fact (predicate, seq_to);
CREATE TABLE name (plain TEXT, entity TEXT, PRIMARY KEY (plain, entity)) WITHOUT ROWID;
CREATE VIRTUAL TABLE spelt USING fts5(plain, tokenize='trigram', detail='none');
CREATE TABLE card (path TEXT, entity TEXT, PRIMARY KEY (path, entity)) WITHOUT ROWID;
CREATE TABLE trouble (line INTEGER, told TEXT NOT NULL);
"""

_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.IOError, apsw.CantOpenError)

_decode = msgspec.json.Decoder(Operation).decode
_encode = msgspec.json.Encoder().encode


class Derived:
    """The database, open. Not for two threads at once."""

    def __init__(self, path: Path, lock: Callable[[], AbstractContextManager[None]]) -> None:
        """``lock``: held while the file is made, so that no two processes do that at once."""
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self.connection = self._opened()
        except _DAMAGED:
            with lock():
                self.connection = self._sound()
        self.inode = path.stat().st_ino

    def _opened(self) -> apsw.Connection:
        """The file as it is. Raises one of ``_DAMAGED`` when it is no graph of this version."""
        connection = apsw.Connection(str(self.path))
        try:
            connection.set_busy_timeout(60_000)
            if connection.pragma("user_version") != SCHEMA:
                raise apsw.NotADBError("it is empty, or of another version")
            connection.pragma("synchronous", 1)
            connection.pragma("cache_size", -4_000)
        except BaseException:
            connection.close()
            raise
        return connection

    def _sound(self) -> apsw.Connection:
        """The file, made anew where it cannot be used; under the lock."""
        try:
            return self._opened()
        except _DAMAGED as error:
            if self.path.exists() and self.path.stat().st_size:
                log.warning("%s is made anew (%s)", self.path, error)
            self._remove()
        connection = apsw.Connection(str(self.path))
        try:
            # No write-ahead log: who closes a file that was replaced would unlink the log of the
            # new one by its name.
            with connection:
                connection.execute(_TABLES)
                connection.pragma("user_version", SCHEMA)
            self.path.chmod(0o600)
        finally:
            connection.close()
        return self._opened()

    def _remove(self) -> None:
        for end in ("", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                self.path.with_name(self.path.name + end).unlink()

    def close(self) -> None:
        self.connection.close()

    def anew(self) -> None:
        """Away with the file; begin with an empty one. Under the lock."""
        self.connection.close()
        self._remove()
        self.connection = self._sound()
        self.inode = self.path.stat().st_ino

    def again(self) -> None:
        """Open what is there now. Under the lock."""
        self.connection.close()
        self.connection = self._sound()
        self.inode = self.path.stat().st_ino

    def replaced(self) -> bool:
        """Whether somebody took the file away, or put another in its place."""
        try:
            return self.path.stat().st_ino != self.inode
        except FileNotFoundError:
            return True

    # --- how far it got

    def read_to(self) -> tuple[Mark, Stamp]:
        rows: dict[str, Any] = {
            str(name): value
            for name, value in self.connection.execute("SELECT name, value FROM meta")
        }
        mark = Mark(rows.get("end", 0), rows.get("lines", 0), rows.get("chain", b""))
        return mark, Stamp(*(rows.get(name, 0) for name in ("size", "changed_ns", "inode")))

    def note(self, mark: Mark, stamp: Stamp) -> None:
        """Within a transaction: the journal was read up to ``mark``, and looked like ``stamp``."""
        values = {
            "end": mark.end, "lines": mark.lines, "chain": mark.chain, "size": stamp.size,
            "changed_ns": stamp.changed_ns, "inode": stamp.inode,
        }  # fmt: skip
        self.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def empty(self) -> None:
        """Within a transaction: forget all, to read the journal from its beginning."""
        for table in (
            "meta",
            "op",
            "undo",
            "touch",
            "entity",
            "fact",
            "name",
            "spelt",
            "card",
            "trouble",
        ):
            self.connection.execute(f"DELETE FROM {table}")

    # --- taking in

    def take(self, lines: Iterable[Line], mark: Mark) -> Mark:
        """Within a transaction: take in lines; return how far that got."""
        for line in lines:
            mark = Mark(line.end, line.number, line.chain)
            if line.operation is not None:
                self.apply(line.operation, line.number)
            elif line.trouble:
                self.complain(line.trouble, line.number)
        return mark

    def complain(self, told: str, line: int = 0) -> None:
        self.connection.execute("INSERT INTO trouble VALUES (?, ?)", (line, told))

    def apply(self, operation: Operation, line: int) -> None:
        """Within a transaction: one operation."""
        execute = self.connection.execute
        if execute("SELECT 1 FROM op WHERE id = ?", (operation.id,)).fetchone():
            self.complain(f"line {line}: the operation {operation.id} stands here again", line)
            return
        execute(
            "INSERT INTO op (id, at, line, batch, verb, body) VALUES (?, ?, ?, ?, ?, ?)",
            (operation.id, operation.at, line, operation.batch, operation.op, _encode(operation)),
        )
        seq = self.connection.last_insert_rowid()
        if operation.op == "undo":
            self._undo(operation, seq)
            return
        for ident in dict.fromkeys(targets(operation)):
            execute("INSERT INTO touch VALUES (?, ?)", (ident, seq))
            self._settle(ident, seq)

    def _undo(self, operation: Operation, seq: int) -> None:
        execute = self.connection.execute
        undone: list[int] = []
        for ident in operation.ids:
            undone += [s for (s,) in execute("SELECT seq FROM op WHERE id = ?", (ident,))]
        if operation.batch:
            undone += [
                s
                for (s,) in execute(
                    "SELECT seq FROM op WHERE batch = ? AND batch != '' AND verb != 'undo'",
                    (operation.batch,),
                )
            ]
        changed: dict[str, None] = {}
        for of in dict.fromkeys(undone):
            if of != seq:
                execute("INSERT OR IGNORE INTO undo VALUES (?, ?)", (of, seq))
                self._turn(of, changed)
        for ident in changed:
            self._settle(ident, seq)

    def _turn(self, seq: int, changed: dict[str, None]) -> None:
        """Whether ``seq`` counts may have changed; an undo hands that on to what it undid."""
        execute = self.connection.execute
        waiting = [seq]
        while waiting:
            seq = waiting.pop()
            row = execute("SELECT undone, verb, body FROM op WHERE seq = ?", (seq,)).fetchone()
            now = execute(
                "SELECT 1 FROM undo JOIN op ON op.seq = undo.seq"
                " WHERE undo.of_seq = ? AND NOT op.undone LIMIT 1",
                (seq,),
            ).fetchone()
            undone = 1 if now else 0
            if row is None or row[0] == undone:
                continue
            execute("UPDATE op SET undone = ? WHERE seq = ?", (undone, seq))
            if row[1] == "undo":
                waiting += [s for (s,) in execute("SELECT of_seq FROM undo WHERE seq = ?", (seq,))]
            else:
                changed.update(dict.fromkeys(targets(_decode(row[2]))))

    def _settle(self, ident: str, seq: int) -> None:
        """Work out anew what is known of ``ident``; from ``seq`` on that holds."""
        rows = self.connection.execute(
            "SELECT op.seq, op.body FROM touch JOIN op ON op.seq = touch.seq"
            " WHERE touch.id = ? AND NOT op.undone ORDER BY op.seq",
            (ident,),
        )
        entity, fact = fold(ident, ((number, _decode(body)) for number, body in rows))
        self._put("entity", ident, seq, None if entity is None else _entity_row(entity))
        self._put("fact", ident, seq, None if fact is None else _fact_row(fact))
        for name in () if entity is None else (entity.name, *entity.aliases):
            self._spell(name, ident)
        for path in () if entity is None else entity.cards:
            self.connection.execute("INSERT OR IGNORE INTO card VALUES (?, ?)", (path, ident))

    def _put(self, table: str, ident: str, seq: int, row: tuple[object, ...] | None) -> None:
        execute = self.connection.execute
        last = execute(
            f"SELECT * FROM {table} WHERE id = ? AND seq_to = {FOREVER}", (ident,)
        ).fetchone()
        if last is not None:
            if row is not None and tuple(last[3:]) == row:
                return
            execute(
                f"UPDATE {table} SET seq_to = ? WHERE id = ? AND seq_from = ?",
                (seq, ident, last[1]),
            )
        if row is not None:
            marks = ", ".join("?" * (len(row) + 3))
            execute(f"INSERT INTO {table} VALUES ({marks})", (ident, seq, FOREVER, *row))

    def _spell(self, name: str, ident: str) -> None:
        spelt = plain(name)
        if not spelt:
            return
        execute = self.connection.execute
        known = execute("SELECT 1 FROM name WHERE plain = ? LIMIT 1", (spelt,)).fetchone()
        execute("INSERT OR IGNORE INTO name VALUES (?, ?)", (spelt, ident))
        if not known:
            execute("INSERT INTO spelt (plain) VALUES (?)", (spelt,))


def _entity_row(state: EntityState) -> tuple[object, ...]:
    return (
        state.kind, state.name, json.dumps(state.aliases), json.dumps(state.cards), state.into,
        int(state.retracted),
    )  # fmt: skip


def _fact_row(state: FactState) -> tuple[object, ...]:
    words = state.words
    return (
        state.subject, words.predicate, words.value, words.object, words.since, state.valid_to,
        state.seq, state.closed_seq, state.closed_by, state.retracted_seq, state.confidence,
        int(words.single), json.dumps(state.source), int(state.foreign), words.due,
    )  # fmt: skip
