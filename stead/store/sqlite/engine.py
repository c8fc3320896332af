"""Opening a SQLite file the one right way: pragmas, migrations, newer schemas refused."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import apsw

from stead.core.errors import NewerSchema, StoreUnusable
from stead.store.sqlite.writer import why

log = logging.getLogger(__name__)

#: "stea" in ASCII; tells `file` and us that this database is stead's.
APPLICATION_ID = 0x73746561

_BUSY_MS = 5000
_TRIM_MS = 50


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema. Never changed once released."""

    number: int
    name: str
    sql: str


def shipped() -> list[Migration]:
    """The migrations that come with this program, in order."""
    folder = resources.files("stead.store.sqlite") / "migrations"
    found = []
    for entry in folder.iterdir():
        match = re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name)
        if match:
            found.append(Migration(int(match[1]), match[2], entry.read_text("utf-8")))
    return sorted(found, key=lambda migration: migration.number)


def connect(path: Path, *, readonly: bool = False) -> apsw.Connection:
    """A connection with the pragmas every one of ours has. Raises ``StoreUnusable``."""
    connection = _open(path, readonly=readonly)
    try:
        if not readonly:
            # Only before the first table: pages that become free can be given back to the disk.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # A WAL that a long reader let grow is cut back at the next checkpoint.
            connection.execute("PRAGMA journal_size_limit = 67108864")
            # What is deleted is overwritten where that writes no page more; who erases does more.
            connection.execute("PRAGMA secure_delete = FAST").fetchall()
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -4096")
        # A plan once made is kept. Without this SQLite plans anew at each new parameter of a
        # statement that a partial index could serve, which costs five times the statement.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.Error as error:
        connection.close()
        raise StoreUnusable(path=path, why=why(error)) from error
    return connection


def _open(path: Path, *, readonly: bool) -> apsw.Connection:
    """A bare connection, which changes nothing of the file by itself."""
    flags = (
        apsw.SQLITE_OPEN_READONLY
        if readonly
        else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    )
    try:
        connection = apsw.Connection(str(path), flags=flags, statementcachesize=200)
        if not readonly and connection.readonly("main"):  # SQLite takes less without a word
            connection.close()
            raise apsw.ReadOnlyError
    except apsw.Error as error:
        raise StoreUnusable(path=path, why=why(error)) from error
    connection.set_busy_timeout(_BUSY_MS)
    return connection


def log_size(path: Path) -> int:
    """Bytes of the write-ahead log."""
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0


def trim(path: Path) -> None:
    """Put the write-ahead log into the file and cut it short, if nobody is in the way just now."""
    connection = connect(path)
    try:
        connection.set_busy_timeout(_TRIM_MS)
        # Most of the work is done without keeping anybody from writing; the rest is little.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except apsw.BusyError:
        pass  # it is shortened at the next checkpoint
    finally:
        connection.close()


def schema_version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))


def migrate(path: Path, copies: Path, migrations: list[Migration] | None = None) -> None:
    """Bring the file up to this program's schema, alone, with a copy taken before.

    Raises ``NewerSchema`` if the file is ahead of the program, ``StoreUnusable``
    if it cannot be opened, is another program's, or a migration fails; the file
    is then as it was.
    """
    steps = shipped() if migrations is None else migrations
    try:
        with _alone(path):
            found = _look(path, steps[-1].number if steps else 0)
            pending = [step for step in steps if step.number > found]
            if not pending:
                return
            connection = connect(path)
            try:
                if found:
                    _copy(connection, copies, found)
                _apply(connection, path, pending)
            finally:
                connection.close()
            path.chmod(0o600)
    except apsw.Error as error:
        raise StoreUnusable(path=path, why=why(error)) from error
    except OSError as error:
        raise StoreUnusable(path=path, why=f"{error.strerror} ({error.filename})") from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time looks at the schema and changes it."""
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _look(path: Path, known: int) -> int:
    """The schema the file has now, 0 for none. Touches nothing of a file that is not ours."""
    connection = _open(path, readonly=False)
    try:
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
        found = schema_version(connection)
        mine = connection.pragma("application_id") == APPLICATION_ID
    finally:
        connection.close()
    if tables and not mine:
        raise StoreUnusable(path=path, why="it is a database of another program; move it away")
    if found > known:
        raise NewerSchema(path=path, found=found, known=known)
    if found and not tables:
        raise StoreUnusable(path=path, why="it says it has a schema, but holds no tables")
    return found


def _copy(connection: apsw.Connection, copies: Path, found: int) -> Path:
    """A consistent copy before the schema changes (``VACUUM INTO``), fsynced."""
    copies.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target = copies / f"before-schema-{found + 1:04d}-{stamp}-{time.time_ns() % 1000:03d}.db"
    try:
        connection.execute("VACUUM INTO ?", (str(target),))
    except apsw.Error:
        target.unlink(missing_ok=True)  # half a copy is none
        raise
    target.chmod(0o600)
    for kept in (target, copies):
        fd = os.open(kept, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    log.info("kept a copy of the database before its schema changes: %s", target)
    return target


def _apply(connection: apsw.Connection, path: Path, pending: list[Migration]) -> None:
    try:
        connection.execute("BEGIN EXCLUSIVE")
        for step in pending:
            # To the last row: a statement that gives rows would else end the script there.
            connection.execute(step.sql).fetchall()
            connection.execute(f"PRAGMA user_version = {step.number:d}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except apsw.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreUnusable(
            path=path, why=f"the change of its schema failed and was undone: {why(error)}"
        ) from error
