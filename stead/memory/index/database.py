"""The file of the index: its tables, opening it, and whether it is one that may be used.

One file holds all: what was read out of which file, the full text (FTS5) and the vectors. A text
has its vector by the hash of its words, so that words that were moved, and a rebuild, cost no
embedding; another model's vectors are thrown away as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Any

import apsw

log = logging.getLogger("stead.memory")

SCHEMA = "2"
"""Raised with every change of the tables: an index with another one is made anew."""

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE file (
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL UNIQUE,
  size INTEGER NOT NULL DEFAULT -1,   -- -1: it must be read
  mtime INTEGER NOT NULL DEFAULT 0,   -- nanoseconds, as the file system says
  ctime INTEGER NOT NULL DEFAULT 0,
  inode INTEGER NOT NULL DEFAULT 0,
  seen INTEGER NOT NULL DEFAULT 0,    -- when it was read, by the wall clock, nanoseconds
  digest BLOB,                        -- of all its bytes
  upto INTEGER NOT NULL DEFAULT 0,    -- where its last entry begins: byte and line
  line INTEGER NOT NULL DEFAULT 0,
  head BLOB                           -- digest of the bytes before that
);
CREATE TABLE chain (id INTEGER PRIMARY KEY, file INTEGER NOT NULL, session TEXT NOT NULL);
CREATE UNIQUE INDEX chain_of ON chain (file, session);
CREATE TABLE entry (
  id INTEGER PRIMARY KEY,
  file INTEGER NOT NULL,
  line1 INTEGER NOT NULL,
  line2 INTEGER NOT NULL,
  chain INTEGER NOT NULL,
  layer INTEGER NOT NULL,
  at INTEGER NOT NULL,
  until INTEGER NOT NULL,
  words INTEGER NOT NULL,
  key INTEGER NOT NULL,               -- hash of its key
  content INTEGER NOT NULL,           -- hash of all of it but its lines
  meaning INTEGER NOT NULL,           -- hash of what is embedded; 0: nothing is
  terms TEXT NOT NULL,                -- a line for each column of the full text
  body BLOB NOT NULL
);
CREATE TABLE term (term TEXT PRIMARY KEY, df INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE vector (meaning INTEGER PRIMARY KEY, code BLOB NOT NULL, numbers BLOB NOT NULL);
"""
_INDEXES = """
CREATE INDEX entry_of ON entry (file, line1);
CREATE INDEX entry_key ON entry (key);
CREATE INDEX entry_meaning ON entry (meaning);
"""


class Unfit(Exception):
    """This file is no index that may be used; the text says why."""


def connect(path: Path, *, write: bool) -> apsw.Connection:
    """A connection to an index that is there. Raises ``apsw.Error``."""
    flags = apsw.SQLITE_OPEN_READWRITE if write else apsw.SQLITE_OPEN_READONLY
    c = apsw.Connection(str(path), flags=flags)
    c.set_busy_timeout(5000)
    c.execute("PRAGMA cache_size = -8000; PRAGMA mmap_size = 0; PRAGMA temp_store = MEMORY")
    if write:
        c.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        c.execute("PRAGMA journal_size_limit = 4000000; PRAGMA wal_autocheckpoint = 1000")
    _vocabulary(c)
    return c


def create(path: Path, columns: tuple[str, ...], marks: dict[str, str]) -> apsw.Connection:
    """A new, empty one, not safe from a crash: it is of no use until it is whole."""
    c = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
    c.execute("PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000")
    c.execute("PRAGMA temp_store = MEMORY")
    c.execute(_TABLES)
    # The terms are ready-made: whatever stands between blanks is one. Where in a text a term stands
    # is not kept (detail = column): phrases are compared with the text itself.
    c.execute(
        f"CREATE VIRTUAL TABLE words USING fts5({', '.join(columns)}, content = '',"
        " contentless_delete = 1, detail = column, tokenize ="
        " \"unicode61 remove_diacritics 0 categories 'L* M* N* P* S* Co'\")"
    )
    c.executemany("INSERT INTO meta VALUES (?, ?)", marks.items())
    _vocabulary(c)
    return c


def finish(c: apsw.Connection) -> int:
    """What is cheaper at the end than on the way. Returns how many entries there are."""
    c.execute(_INDEXES)
    total: int = ask(c, "SELECT count(*) FROM entry").fetchone()[0]
    return total


def proven(c: apsw.Connection, total: int) -> None:
    """Raises ``apsw.CorruptError`` where a new index is not what was written into it."""
    (said,) = ask(c, "PRAGMA quick_check(1)").fetchone()
    if said != "ok":
        raise apsw.CorruptError(str(said))
    c.execute("INSERT INTO words (words) VALUES ('integrity-check')")
    (counted,) = ask(c, "SELECT count(*) FROM words_docsize").fetchone()
    if counted != total:
        raise apsw.CorruptError(f"{counted} texts of {total} entries")


def _vocabulary(c: apsw.Connection) -> None:
    c.execute("CREATE VIRTUAL TABLE temp.posting USING fts5vocab(main, words, instance)")


def check(c: apsw.Connection, marks: dict[str, str]) -> None:
    """Raises ``Unfit`` where what it was made by differs, or it is not whole."""
    try:
        found = dict(c.execute("SELECT name, value FROM meta"))
    except apsw.Error as error:
        raise Unfit(f"the index could not be read ({error})") from error
    for name, value in marks.items():
        if found.get(name) != value:
            raise Unfit(f"the index was made by another {name} ({found.get(name)}, now {value})")


def ask(c: apsw.Connection, sql: str, values: Any = ()) -> Any:
    """A cursor over rows of whatever type; the one of apsw knows none for a column."""
    return c.execute(sql, values)


def meta(c: apsw.Connection, name: str) -> Any:
    row = ask(c, "SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def set_meta(c: apsw.Connection, name: str, value: object) -> None:
    c.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


def hash63(data: bytes) -> int:
    """A number for some bytes, never 0."""
    found = hashlib.blake2b(data, digest_size=8).digest()
    return (int.from_bytes(found, "big") >> 1) or 1


def inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def size(path: Path) -> int:
    total = 0
    for end in ("", "-wal"):
        with contextlib.suppress(OSError):
            total += path.with_name(path.name + end).stat().st_size
    return total


def remove(path: Path) -> None:
    for end in ("", "-journal"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + end).unlink()


def keep_vectors(c: apsw.Connection, path: Path) -> None:
    """Take over what was computed for the same words from the index at ``path``; a damaged file
    has none to give."""
    if not path.exists():
        return
    try:
        c.execute("ATTACH ? AS old", (str(path),))
    except apsw.Error:
        return
    try:
        with c:
            c.execute(
                "INSERT OR IGNORE INTO main.vector SELECT * FROM old.vector WHERE meaning IN"
                " (SELECT meaning FROM main.entry)"
            )
            c.execute(
                "INSERT INTO main.meta SELECT * FROM old.meta"
                " WHERE name IN ('model', 'middle', 'middle_of')"
            )
    except apsw.Error as error:
        log.warning("the vectors of the old index cannot be kept: %s", error)
        with contextlib.suppress(apsw.Error):
            c.execute("DELETE FROM main.vector")
    finally:
        c.execute("DETACH old")
