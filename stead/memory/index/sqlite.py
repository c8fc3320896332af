"""The index of a home directory, in one file: ``index/memory.db``.

One process at a time writes it (a lock beside it says which); another one may search meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw

from stead.memory.index import Progress, Report, database, ranking
from stead.memory.index.database import ask
from stead.memory.index.intake import Intake, Seen
from stead.memory.index.look import Look, Words, plain_stats
from stead.memory.index.slots import Slots
from stead.memory.index.sources import Source
from stead.memory.index.vectors import Codes, code_of, middle_from, middle_of, numbers_of, rows_of
from stead.memory.index.writer import entry_of, key_of
from stead.memory.nouns import Entry, Found, Question

log = logging.getLogger("stead.memory")

FILE = "memory.db"
_FIRST_MIDDLE = 256
_MIDDLE_OF = 4000
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.IOError, apsw.SchemaChangeError)


class SqliteIndex:
    """An :class:`~stead.memory.index.Index`."""

    def __init__(self, home: Path, sources: Sequence[Source]) -> None:
        self._home = home
        self._folder = home / "index"
        self._path = self._folder / FILE
        self._sources = list(sources)
        self._writing = threading.RLock()
        self._reading = threading.RLock()
        self._lock: int | None = None
        self._read: apsw.Connection | None = None
        self._write: apsw.Connection | None = None
        self._inode = 0
        self._slots = Slots()
        self._codes: Codes | None = None
        self._no_codes = ""
        self._reader: Intake | None = None
        self._model = ""
        self._version = 0
        self._seen: list[str] = []
        self._wanted = "it was never made"
        """Why it must be made anew; empty: it need not."""
        self._progress = (0, 0)
        self._tell: Progress = _nobody
        self._closed = False
        self._open()

    # --- for everybody -----------------------------------------------------------------------

    @property
    def wanted(self) -> str:
        """Why a rebuild is needed, in words; empty: none is."""
        if not self._wanted and self._inode and database.inode(self._path) != self._inode:
            self._wanted = "its file was deleted or replaced"
        return self._wanted

    @property
    def stale(self) -> str:
        """Why what is found may not be all."""
        said = list(self._seen)
        if why := self.wanted:
            done = f"; {self._progress[0]:,} entries so far" if self._progress[0] else ""
            said.insert(0, f"the index is being made anew ({why}){done}")
        return "; ".join(said)

    def meant(self, question: Question) -> str:
        with self._reading:
            if self._read is None:
                return question.text
            try:
                return ranking.meant(question.text, Words(self._read, self._slots.count))
            except _DAMAGED as error:
                self._damaged(error)
                return question.text

    def search(self, question: Question, vector: Sequence[float] | None = None) -> Found:
        with self._reading:
            if self._read is None:
                return Found(stale=self.stale)
            try:
                if self._write is None:
                    self._catch_up()
                if self._read is None:
                    return Found(stale=self.stale)
                codes = self._vectors() if vector is not None else None
                self._read.execute("BEGIN")
                try:
                    found = Look(self._read, self._slots, codes, question, vector).found()
                finally:
                    self._read.execute("ROLLBACK")
            except _DAMAGED as error:
                self._damaged(error)
                return Found(stale=self.stale)
        return Found(found.hits, self.stale, found.meant, found.took_ms)

    def entries(self, keys: Sequence[str]) -> list[Entry]:
        found: list[Entry] = []
        with self._reading:
            if self._read is None:
                return found
            try:
                for key in keys:
                    rows = ask(
                        self._read,
                        "SELECT line1, line2, body FROM entry WHERE key = ?",
                        (key_of(key),),
                    ).fetchall()
                    whole = [entry_of(body, (first, last)) for first, last, body in rows]
                    found += [entry for entry in whole if entry.key == key][:1]
            except _DAMAGED as error:
                self._damaged(error)
        return found

    def refresh(self) -> Report:
        with self._writing:
            if self._closed or not self._own():
                return Report(stale=self.stale)
            if self.wanted or self._write is None:
                return self.rebuild()
            began = time.perf_counter()
            try:
                if self._reader is None:
                    self._reader = self._intake(self._write, self._slots)
                seen = self._reader.look()
                self._seen = seen.troubles
            except _DAMAGED as error:
                self._damaged(error)
                return self.rebuild()
            except apsw.Error as error:
                seen = Seen(troubles=[_unwritten(error)])
                self._seen = seen.troubles
            return self._report(seen, began)

    def rebuild(self, progress: Progress = lambda done, total: None) -> Report:
        with self._writing:
            if self._closed or not self._own():
                return Report(stale=self.stale)
            began = time.perf_counter()
            self._wanted = self._wanted or "you asked for it"
            fresh = self._folder / f"{FILE}.new-{secrets.token_hex(4)}"
            try:
                seen = self._make(fresh, progress)
            except (apsw.Error, OSError) as error:
                database.remove(fresh)
                said = _unwritten(error)
                if self._read is not None:
                    self._wanted = ""
                self._seen = [said]
                log.warning("the index could not be made anew: %s", error)
                return Report(total=self._slots.count, stale=self.stale)
            finally:
                self._progress = (0, 0)
            return self._report(seen, began, rebuilt=True)

    def brief(self) -> dict[str, Any]:
        """How it is, as far as that costs nothing."""
        return {"entries": self._slots.count, "stale": self.stale, "model": self._model}

    def stats(self) -> dict[str, Any]:
        with self._reading:
            told: dict[str, Any] = {
                "entries": self._slots.count,
                "by_layer": self._slots.by_layer(),
                "bytes": database.size(self._path),
                "stale": self.stale,
                "writable": self._lock is not None,
                "files": 0, "terms": 0, "meanings": 0, "to_embed": 0, "model": "", "built": 0,
            }  # fmt: skip
            if self._read is not None:
                try:
                    told |= plain_stats(self._read)
                    told["model"] = self._model
                    told["built"] = database.meta(self._read, "built") or 0
                except _DAMAGED as error:
                    self._damaged(error)
                    told["stale"] = self.stale
            return told

    def close(self) -> None:
        with self._writing, self._reading:
            self._closed = True
            self._drop()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    # --- meanings ----------------------------------------------------------------------------

    def model(self) -> str:
        return self._model

    def use_model(self, name: str) -> None:
        with self._writing:
            c = self._write
            if c is None or self._model == name:
                return
            try:
                with c:
                    c.execute("DELETE FROM vector; DELETE FROM meta WHERE name LIKE 'middle%'")
                    database.set_meta(c, "model", name)
            except _DAMAGED as error:
                self._damaged(error)
                return
            except apsw.Error as error:
                self._seen = [_unwritten(error)]
                return
            with self._reading:
                self._model, self._codes = name, None

    def without_meaning(self, limit: int) -> list[tuple[int, str]]:
        with self._reading:
            if self._read is None:
                return []
            try:
                rows = ask(
                    self._read,
                    "SELECT id, line1, line2, meaning, body FROM entry WHERE meaning != 0 AND"
                    " meaning NOT IN (SELECT meaning FROM vector) ORDER BY id DESC LIMIT ?",
                    (limit,),
                ).fetchall()
                found: dict[int, str] = {}
                for ident, first, last, meaning, body in rows:
                    entry = entry_of(body, (first, last))
                    found[meaning] = ranking.passage(entry, self._before(ident))
            except _DAMAGED as error:
                self._damaged(error)
                return []
        return list(found.items())

    def add_meanings(self, model: str, rows: Sequence[tuple[int, Sequence[float]]]) -> None:
        with self._writing:
            c = self._write
            if c is None or not rows or model != self._model:
                return
            numbers = {meaning: numbers_of(vector) for meaning, vector in rows}
            try:
                with c:
                    middle = self._middle(c, list(numbers.values()))
                    c.executemany(
                        "INSERT OR REPLACE INTO vector VALUES (?, ?, ?)",
                        [
                            (meaning, code_of(vector, middle), numbers[meaning])
                            for meaning, vector in rows
                        ],
                    )
            except _DAMAGED as error:
                self._damaged(error)
                return
            except apsw.Error as error:
                self._seen = [_unwritten(error)]
                return
            self._coded(c, list(numbers))

    def _middle(self, c: apsw.Connection, more: list[bytes]) -> Any:
        """The middle of all vectors; found anew when there are many more than it was made of."""
        kept = database.meta(c, "middle")
        made_of = database.meta(c, "middle_of") or 0
        count = ask(c, "SELECT count(*) FROM vector").fetchone()[0] + len(more)
        if kept is None or (made_of < _MIDDLE_OF and count >= max(_FIRST_MIDDLE, 4 * made_of)):
            some = [row[0] for row in ask(c, "SELECT numbers FROM vector LIMIT ?", (_MIDDLE_OF,)
            )] + more  # fmt: skip
            kept = middle_of(some)
            database.set_meta(c, "middle", kept)
            database.set_meta(c, "middle_of", len(some))
            middle = middle_from(kept)
            for meaning, numbers in ask(c, "SELECT meaning, numbers FROM vector").fetchall():
                code = code_of(rows_of([numbers])[0], middle)
                c.execute("UPDATE vector SET code = ? WHERE meaning = ?", (code, meaning))
            self._codes = None
        return middle_from(kept)

    def _coded(self, c: apsw.Connection, meanings: list[int]) -> None:
        codes = self._codes
        if codes is None:
            return
        marks = ", ".join("?" * len(meanings))
        rows = ask(
            c,
            "SELECT e.id, v.code FROM entry e JOIN vector v ON v.meaning = e.meaning"
            f" WHERE v.meaning IN ({marks})",
            meanings,
        ).fetchall()
        with self._reading:
            codes.put(rows)

    def _catch_up(self) -> None:
        """Another process writes: what it has changed since the last look is taken over."""
        assert self._read is not None
        same = ask(self._read, "PRAGMA data_version").fetchone()[0] == self._version
        if not same or database.inode(self._path) != self._inode:
            self._open()

    def _vectors(self) -> Codes | None:
        """The codes; read when first asked for."""
        assert self._read is not None
        if self._codes is None and not self._no_codes:
            kept = database.meta(self._read, "middle")
            if kept is None:
                return None
            try:
                codes = Codes(middle_from(kept))
            except ImportError as error:
                self._no_codes = str(error)
                return None
            codes.load(self._read)
            self._codes = codes
        return self._codes

    def _before(self, ident: int) -> list[Entry]:
        assert self._read is not None
        found = []
        for one in self._slots.around(ident, 2)[0]:
            row = ask(
                self._read, "SELECT line1, line2, body FROM entry WHERE id = ?", (one,)
            ).fetchone()
            if row:
                found.append(entry_of(row[2], (row[0], row[1])))
        return found

    # --- opening, making, dropping -----------------------------------------------------------

    def _marks(self) -> dict[str, str]:
        """What it is made by. Another one of these: another index."""
        return {
            "schema": database.SCHEMA,
            "ranker": ranking.VERSION,
            "parser": " ".join(source.version for source in self._sources),
        }

    def _own(self) -> bool:
        """Whether this process may write it."""
        if self._lock is not None:
            return True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._seen = [_unwritten(error)]
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            self._seen = ["another process of stead keeps the index up to date"]
            return False
        self._lock = fd
        self._seen = []
        for left in self._folder.glob(f"{FILE}.new-*"):  # by one that was killed
            database.remove(left)
        if self._read is not None and self._write is None:
            self._open()
        return True

    def _open(self) -> None:
        """What there is, if it is of use."""
        with self._reading:
            self._drop()
            if not self._path.exists():
                return
            try:
                inode = database.inode(self._path)
                write = self._lock is not None
                self._read = database.connect(self._path, write=False)
                database.check(self._read, self._marks())
                if write:
                    self._write = database.connect(self._path, write=True)
                slots = Slots()
                self._version = ask(self._read, "PRAGMA data_version").fetchone()[0]
                slots.load(self._read)
                self._model = database.meta(self._read, "model") or ""
            except (apsw.Error, database.Unfit) as error:
                self._wanted = str(error)
                self._drop()
                return
            self._slots, self._inode, self._wanted = slots, inode, ""

    def _drop(self) -> None:
        for c in (self._read, self._write):
            if c is not None:
                with contextlib.suppress(apsw.Error):
                    c.close()
        self._read = self._write = self._reader = None
        self._codes = None
        self._inode = 0

    def _damaged(self, error: Exception) -> None:
        log.warning("the index is damaged and will be made anew: %s", error)
        self._wanted = f"it was damaged: {error}"

    def _intake(self, c: apsw.Connection, slots: Slots | None) -> Intake:
        def changed(came: list[int], gone: list[int]) -> None:
            codes = self._codes
            if codes is None or c is not self._write:
                return
            with self._reading:
                codes.drop(gone)
                for start in range(0, len(came), 500):
                    some = came[start : start + 500]
                    codes.put(
                        ask(
                            c,
                            "SELECT e.id, v.code FROM entry e JOIN vector v ON"
                            f" v.meaning = e.meaning WHERE e.id IN ({', '.join('?' * len(some))})",
                            some,
                        ).fetchall()
                    )

        return Intake(self._home, self._sources, c, slots, changed, self._counted)

    def _counted(self, count: int) -> None:
        self._progress = (count, self._progress[1])
        self._tell(*self._progress)

    def _make(self, fresh: Path, progress: Progress) -> Seen:
        """A whole index in a file beside the old one, checked, then put in its place."""
        self._tell = progress
        self._progress = (0, self._slots.count)
        c = database.create(fresh, ranking.COLUMNS, self._marks())
        try:
            intake = self._intake(c, None)
            seen = intake.look()
            if self._read is not None and seen.troubles:
                with self._reading, contextlib.suppress(*_DAMAGED):
                    intake.keep(self._read, seen)
            total = database.finish(c)
            database.keep_vectors(c, self._path)
            database.set_meta(c, "built", time.time_ns() // 1_000_000)
            database.proven(c, total)
        finally:
            c.close()
        fd = os.open(fresh, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        with self._reading:
            self._drop()
            for end in ("-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    (self._folder / f"{FILE}{end}").unlink()
            fresh.rename(self._path)
            self._seen = seen.troubles
            self._open()
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        progress(self._slots.count, self._slots.count)
        return seen

    def _report(self, seen: Seen, began: float, *, rebuilt: bool = False) -> Report:
        return Report(
            seen.files, seen.added, seen.removed, self._slots.count, rebuilt, self.stale,
            (time.perf_counter() - began) * 1000,
        )  # fmt: skip


def _nobody(done: int, total: int) -> None:
    pass


def _unwritten(error: Exception) -> str:
    if isinstance(error, apsw.FullError):
        return "the index cannot be brought up to date: the disk is full"
    return f"the index cannot be brought up to date ({error})"
