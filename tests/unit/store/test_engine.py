"""Opening the database: fresh, older, newer, another program's, damaged, locked, read-only."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from stead.core.errors import NewerSchema, StoreUnusable
from stead.store.sqlite import SqliteStore, engine
from stead.store.sqlite.engine import APPLICATION_ID, Migration, migrate

ONE = Migration(1, "one", "CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (1);")
TWO = Migration(2, "two", "CREATE TABLE b (x INTEGER); INSERT INTO b SELECT x FROM a;")
#: With a statement that gives rows in its midst, which must not be the last one run.
THREE = Migration(
    3, "three", "ALTER TABLE a ADD COLUMN y TEXT; SELECT x FROM a; UPDATE a SET y = 'new';"
)
BROKEN = Migration(3, "broken", "DELETE FROM a; CREATE TABLE b (x INTEGER);")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "backups" / "schema"


def foreign(path: Path, sql: str) -> bytes:
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()
    return path.read_bytes()


def ask(path: Path, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_a_fresh_file(path: Path, copies: Path) -> None:
    """A new database is ours, at the newest schema, for its owner alone, and has no copy."""
    migrate(path, copies)
    assert ask(path, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert ask(path, "PRAGMA user_version") == [(engine.shipped()[-1].number,)]
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not copies.exists()


def test_an_empty_file_is_a_fresh_one(path: Path, copies: Path) -> None:
    """A file of no bytes, as a crash at the very first start may leave it, is begun anew."""
    path.touch()
    migrate(path, copies, [ONE])
    assert ask(path, "SELECT x FROM a") == [(1,)]


def test_every_connection_is_durable(path: Path, copies: Path) -> None:
    """The pragmas that durability hangs on are set on a connection that writes."""
    migrate(path, copies)
    connection = engine.connect(path)
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2  # FULL
    assert connection.pragma("foreign_keys") == 1
    connection.close()


def test_the_shipped_migrations_are_numbered_without_gaps() -> None:
    """Migrations are 1, 2, 3 ... so that a number says which came before."""
    assert [one.number for one in engine.shipped()] == list(range(1, len(engine.shipped()) + 1))


def test_migrations_run_in_order_with_a_copy_before(path: Path, copies: Path) -> None:
    """An older file gets what it lacks, once, and a whole copy of it is kept before."""
    migrate(path, copies, [ONE])
    migrate(path, copies, [ONE, TWO, THREE])
    migrate(path, copies, [ONE, TWO, THREE])
    assert ask(path, "SELECT x, y FROM a") == [(1, "new")]
    assert ask(path, "SELECT x FROM b") == [(1,)]
    assert ask(path, "PRAGMA user_version") == [(3,)]
    (copy,) = copies.iterdir()
    assert copy.name.startswith("before-schema-0002-")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert ask(copy, "PRAGMA user_version") == [(1,)]
    assert ask(copy, "SELECT x FROM a") == [(1,)]


def test_a_copy_can_be_put_back(path: Path, copies: Path) -> None:
    """The copy taken before an upgrade is a database that the older program opens."""
    migrate(path, copies, [ONE])
    migrate(path, copies, [ONE, TWO])
    (copy,) = copies.iterdir()
    copy.replace(path)
    migrate(path, copies, [ONE])
    assert ask(path, "SELECT x FROM a") == [(1,)]


def test_a_failing_migration_leaves_the_file_as_it_was(path: Path, copies: Path) -> None:
    """All pending steps or none: a step that fails undoes those before it too."""
    migrate(path, copies, [ONE])
    with pytest.raises(StoreUnusable, match=r"schema failed and was undone.*already exists"):
        migrate(path, copies, [ONE, TWO, BROKEN])
    assert ask(path, "SELECT x FROM a") == [(1,)]
    assert ask(path, "PRAGMA user_version") == [(1,)]
    assert ask(path, "SELECT count(*) FROM sqlite_schema") == [(1,)]
    migrate(path, copies, [ONE, TWO, THREE])
    assert ask(path, "PRAGMA user_version") == [(3,)]


def test_a_copy_that_does_not_fit_stops_the_upgrade(path: Path, tmp_path: Path) -> None:
    """Without its copy no schema is changed: the reason is told, and nothing half is left."""
    migrate(path, tmp_path, [ONE])
    nowhere = tmp_path / "a-file"
    nowhere.touch()
    with pytest.raises(StoreUnusable, match="a-file"):
        migrate(path, nowhere, [ONE, TWO])
    assert ask(path, "PRAGMA user_version") == [(1,)]


def test_a_newer_schema_is_refused(path: Path, copies: Path) -> None:
    """A file from a newer stead is left alone, and both numbers are told."""
    migrate(path, copies, [ONE, TWO, THREE])
    before = path.read_bytes()
    with pytest.raises(NewerSchema, match=r"schema 3, this program knows 1") as refused:
        migrate(path, copies, [ONE])
    assert "newer stead" in refused.value.message
    assert path.read_bytes() == before and not copies.exists()


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)",
        "CREATE TABLE theirs (x); PRAGMA user_version = 99",
        "CREATE TABLE theirs (x); PRAGMA application_id = 7; PRAGMA user_version = 1",
    ],
)
def test_another_programs_database_is_refused(path: Path, copies: Path, sql: str) -> None:
    """A database that is not ours is named as such, and not one byte of it is changed."""
    before = foreign(path, sql)
    with pytest.raises(StoreUnusable, match="another program"):
        migrate(path, copies)
    assert path.read_bytes() == before
    assert {one.name for one in path.parent.iterdir()} == {"state.db", "state.db.lock"}


def test_a_schema_without_tables_is_refused(path: Path, copies: Path) -> None:
    """A file that claims a schema but is empty has lost something; nobody builds on it."""
    foreign(path, f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 1")
    with pytest.raises(StoreUnusable, match="holds no tables"):
        migrate(path, copies)


@pytest.mark.parametrize("damage", ["text", "header", "cut"])
def test_a_damaged_file(path: Path, copies: Path, damage: str) -> None:
    """A damaged file is refused in one sentence that says what to do, and is left as it is."""
    migrate(path, copies)
    whole = path.read_bytes()
    path.write_bytes(
        {
            "text": b"this is no database at all, but it is long enough to look at " * 100,
            "header": whole[:100] + b"\xff" * 4000 + whole[4100:],
            "cut": whole[: len(whole) // 3],
        }[damage]
    )
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=r"damaged or is no database.*backups/"):
        SqliteStore(path, copies)
    assert path.read_bytes() == before


def test_a_file_that_is_locked(path: Path, copies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that another program holds for itself is told as that."""
    monkeypatch.setattr(engine, "_BUSY_MS", 20)
    migrate(path, copies, [ONE])
    other = apsw.Connection(str(path))
    other.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    other.execute("BEGIN EXCLUSIVE; INSERT INTO a VALUES (2)")
    try:
        with pytest.raises(StoreUnusable, match="another program holds it locked"):
            migrate(path, copies, [ONE, TWO])
    finally:
        other.close()
    migrate(path, copies, [ONE, TWO])
    assert ask(path, "PRAGMA user_version") == [(2,)]


def test_two_that_migrate_at_once(path: Path, copies: Path) -> None:
    """Of two programs that start together one migrates and the other finds it done."""
    slow = Migration(
        2, "slow",
        "CREATE TABLE b AS WITH RECURSIVE n(x) AS"
        " (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000) SELECT x FROM n;",
    )  # fmt: skip
    migrate(path, copies, [ONE])
    errors: list[Exception] = []

    def work() -> None:
        try:
            migrate(path, copies, [ONE, slow])
        except StoreUnusable as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert ask(path, "SELECT count(*) FROM b") == [(100000,)]
    assert len(list(copies.iterdir())) == 1


@pytest.mark.parametrize("case", ["no folder", "a folder itself", "below a file"])
def test_a_path_that_cannot_be(tmp_path: Path, case: str) -> None:
    """Where no file can be made, one sentence says so."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    path = {
        "no folder": tmp_path / "nowhere" / "state.db",
        "a folder itself": tmp_path / "folder",
        "below a file": tmp_path / "file" / "state.db",
    }[case]
    with pytest.raises(StoreUnusable, match="cannot be used"):
        migrate(path, tmp_path / "copies")


def as_nobody(path: Path) -> str:
    """What a program of another user is told that opens this file."""
    reading, writing = os.pipe()
    child = os.fork()  # not a new interpreter: another user might not be able to read it
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            SqliteStore(path, path.parent / "copies")
            told = "it opened"
        except StoreUnusable as error:
            told = error.message
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return told


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_not_be_written(open_folder: Path, what: str) -> None:
    """A home that may only be read is told in words, whether its folder or its file is meant."""
    home = open_folder / "home"
    home.mkdir()
    path = home / "state.db"
    if what == "file":
        migrate(path, open_folder / "copies")
        path.chmod(0o444)
        (home / "state.db.lock").chmod(0o666)
    home.chmod(0o555 if what == "folder" else 0o777)
    told = as_nobody(path)
    home.chmod(0o755)
    assert told.startswith(f"The database {path} cannot be used: ")
    assert "Permission denied" in told or "cannot be written" in told
