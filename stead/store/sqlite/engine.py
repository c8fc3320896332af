"""Opening a SQLite file the one right way: pragmas, migrations, newer schemas refused."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
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
    flags = (
        apsw.SQLITE_OPEN_READONLY
        if readonly
        else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    )
    try:
        connection = apsw.Connection(str(path), flags=flags, statementcachesize=200)
        connection.set_busy_timeout(_BUSY_MS)
        if not readonly:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # A WAL that a long reader let grow is cut back at the next checkpoint.
            connection.execute("PRAGMA journal_size_limit = 67108864")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -4096")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except apsw.Error as error:
        raise StoreUnusable(path=path, why=why(error)) from error
    return connection


def schema_version(connection: apsw.Connection) -> int:
    return int(connection.pragma("user_version"))


def migrate(path: Path, copies: Path, migrations: list[Migration] | None = None) -> None:
    """Bring the file up to this program's schema, alone, with a copy taken before.

    Raises ``NewerSchema`` if the file is ahead of the program, ``StoreUnusable``
    if it cannot be opened or a migration fails; the file is then as it was.
    """
    steps = shipped() if migrations is None else migrations
    known = steps[-1].number if steps else 0
    fd = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        connection = connect(path)
        try:
            found = schema_version(connection)
            if found > known:
                raise NewerSchema(path=path, found=found, known=known)
            _refuse_foreign(connection, path, found)
            pending = [step for step in steps if step.number > found]
            if not pending:
                return
            if found:
                _copy(connection, copies, found)
            _apply(connection, path, pending)
        finally:
            connection.close()
        path.chmod(0o600)
    finally:
        os.close(fd)


def _refuse_foreign(connection: apsw.Connection, path: Path, found: int) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").get
    mine = connection.pragma("application_id") == APPLICATION_ID
    if tables and not mine:
        raise StoreUnusable(path=path, why="it is a database of another program; move it away")
    if found and not tables:
        raise StoreUnusable(path=path, why="it says it has a schema, but holds no tables")


def _copy(connection: apsw.Connection, copies: Path, found: int) -> Path:
    """A consistent copy before the schema changes (``VACUUM INTO``), fsynced."""
    copies.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    target = copies / f"before-schema-{found + 1:04d}-{stamp}-{time.time_ns() % 1000:03d}.db"
    connection.execute("VACUUM INTO ?", (str(target),))
    target.chmod(0o600)
    fd = os.open(target, os.O_RDONLY)
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
            connection.execute(step.sql)
            connection.execute(f"PRAGMA user_version = {step.number:d}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except apsw.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreUnusable(
            path=path, why=f"the change of its schema failed and was undone: {error}"
        ) from error
