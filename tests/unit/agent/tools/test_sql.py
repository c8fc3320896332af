"""Databases: what is asked, what cannot be changed, and what the model never sees."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stead.agent.named import Database
from stead.agent.tools.base import Context, Toolbox, ToolError
from stead.agent.tools.more_tools import with_more
from stead.agent.tools.sql import SqlArgs, server_of, touches
from stead.agent.tools.sql_change import ChangeArgs
from stead.agent.tools.sql_change import preview as change_preview
from stead.agent.tools.sql_change import touches as change_touches
from stead.agent.tools.sql_run import first_word, table
from tests import postgres
from tests.unit.agent.tools.hands import Hands, with_hands


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A workspace with a database of a small shop."""
    (tmp_path / "workspace").mkdir()
    file = tmp_path / "workspace" / "shop.db"
    with sqlite3.connect(file) as connection:
        connection.executescript(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price REAL, photo BLOB);"
            "INSERT INTO item VALUES (1, 'tea', 2.5, x'0102'), (3, 'é' , 1e3, NULL),"
            " (2, 'line' || char(10) || 'two', NULL, NULL);"
        )
    return tmp_path


def test_questions(shop: Path) -> None:
    """Rows come as a table in which nothing is taken for something else; parameters are values;
    without a query it tells tables and their columns."""

    async def work(hands: Hands) -> None:
        async def ask(query: str, *params: object) -> str:
            return await hands.text("sql", database="shop.db", query=query, params=list(params))

        said = await ask("SELECT id, name, price, photo FROM item WHERE id <= ? ORDER BY id", 2)
        head, one, two, count = said.split("\n")
        assert (head, count) == ("id | name | price | photo", "[2 rows]")
        assert (one, two) == ("1 | tea | 2.5 | <2 bytes>", "2 | line\\ntwo | NULL | NULL")
        assert "[0 rows]" in await ask("SELECT * FROM item WHERE name = ?", "' OR 1=1 --")
        assert await ask("") == "table item: id INTEGER key, name TEXT, price REAL, photo BLOB"

    with_hands(shop, work)


CHANGING = (
    "DELETE FROM item",
    "UPDATE item SET price = 0",
    "CREATE TABLE x (a)",
    "DROP TABLE item",
    "PRAGMA query_only = 0",
    "PRAGMA writable_schema = 1",
    "PRAGMA journal_mode = delete",
    "PRAGMA user_version = 7",
    "ATTACH 'other.db' AS other",
    "ATTACH '/etc/passwd' AS p",
    "VACUUM INTO 'copy.db'",
    "SELECT load_extension('x')",
    "WITH a AS (SELECT 1) INSERT INTO item (id) SELECT * FROM a",
    "SELECT 1; DELETE FROM item",
    "BEGIN; DELETE FROM item; COMMIT",
)


def test_asking_changes_nothing(shop: Path) -> None:
    """Whatever is asked, the file stays as it was and none comes to be beside it."""
    file = shop / "workspace" / "shop.db"
    before = file.read_bytes()

    async def work(hands: Hands) -> None:
        for query in CHANGING:
            assert await hands.error("sql", database="shop.db", query=query)
            assert file.read_bytes() == before, query
            assert [path.name for path in file.parent.iterdir()] == ["shop.db"], query

    with_hands(shop, work)


def test_a_change(shop: Path) -> None:
    """A change is made as a whole or not at all; how much it changed is told."""

    async def work(hands: Hands) -> None:
        async def change(query: str, database: str = "shop.db") -> str:
            return (await hands.use("sql_change", database=database, query=query)).text

        told = await change("UPDATE item SET price = 9 WHERE id < 3")
        assert told == "[done; 2 rows changed]"
        both = "INSERT INTO item (id) VALUES (7); INSERT INTO item (id) VALUES (1)"
        assert "UNIQUE" in await change(both)
        count = "SELECT count(*) FROM item WHERE id = 7"
        assert "\n0\n" in await hands.text("sql", database="shop.db", query=count)
        assert "not authorized" in await change("ATTACH 'b.db' AS b")
        assert "changed" in await change("CREATE TABLE n (a)", "new.sqlite")
        assert await hands.text("sql", database="new.sqlite") == "table n: a"

    with_hands(shop, work)


def test_a_database_with_a_log_beside_it(shop: Path) -> None:
    """One that another program has open, with what it wrote last still in its log, is read."""
    other = sqlite3.connect(shop / "workspace" / "shop.db")
    other.execute("PRAGMA journal_mode = wal")
    other.execute("UPDATE item SET name = 'new' WHERE id = 1")
    other.commit()

    async def work(hands: Hands) -> None:
        query = "SELECT name FROM item WHERE id = 1"
        assert "\nnew\n" in await hands.text("sql", database="shop.db", query=query)
        assert await hands.error("sql", database="shop.db", query="DELETE FROM item")

    with_hands(shop, work)
    assert other.execute("SELECT count(*) FROM item").fetchone() == (3,)
    other.close()


def test_without_end(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that never ends is stopped, one that gives too much is cut; memory has a limit."""
    monkeypatch.setattr("stead.agent.tools.sql.SECONDS", 3.0)
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT {} FROM n"

    async def work(hands: Hands) -> None:
        async def ask(query: str, rows: int = 100) -> str:
            return (await hands.use("sql", database="shop.db", query=query, rows=rows)).text

        assert "stopped after 3 s" in await ask(forever.format("max(i)"))
        said = await ask(forever.format("i, 'xxxxxxxxxx'"), 1000)
        assert len(said) <= 8000 and "the rest does not fit" in said
        assert "there are more" in await ask(forever.format("i"), 5)
        assert "memory" in await ask("SELECT zeroblob(900000000)")

    with_hands(shop, work)


def test_what_is_no_database_of_the_workspace(shop: Path) -> None:
    """Neither other files nor links that lead out are opened."""
    (shop / "workspace" / "note.txt").write_text("just some text, and no database at all")
    (shop / "secret.db").write_bytes((shop / "workspace" / "shop.db").read_bytes())
    (shop / "workspace" / "out.db").symlink_to(shop / "secret.db")

    async def work(hands: Hands) -> None:
        for name in ("../shop.db", "missing.txt", "note.txt", "/etc/passwd", "out.db"):
            for tool in ("sql", "sql_change"):
                assert await hands.error(tool, database=name, query="SELECT 1")

    with_hands(shop, work)


def test_a_table_that_fits() -> None:
    """Long values and many rows are cut with words on it."""
    said = table(["a"], [["x" * 1000], [None]], 10, 10_000)
    assert "... (1000 characters)" in said and said.endswith("NULL\n[2 rows]")
    assert first_word("/* drop */ -- x\n (SELECT 1") == "select"


# --- PostgreSQL ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    """A server with a table, and a user who may read and write it."""
    with postgres.running(tmp_path_factory.mktemp("sql")) as server:
        server.do(
            "CREATE TABLE visit (id int PRIMARY KEY, who text, at timestamptz, paid numeric(10,2));"
            "INSERT INTO visit VALUES (1, 'Ann', '2026-01-02 03:04:05+00', 12.30);"
            "INSERT INTO visit VALUES (2, 'Bob', NULL, 5);"
            "CREATE ROLE clerk LOGIN PASSWORD 'clerks-secret-word';"
            "GRANT ALL ON visit TO clerk;"
        )
        yield server


def asked(place: Path, dsn: str, *queries: str, tool: str = "sql", params: Any = ()) -> list[str]:
    """What calls give for a database named ``desk``, errors marked as such."""

    async def work(hands: Hands) -> list[str]:
        context = replace(hands.tools.context, databases={"desk": Database("desk", lambda: dsn)})
        hands.tools = Toolbox(with_more(hands.tools), context)
        said = []
        for query in queries:
            outcome = await hands.use(tool, database="desk", query=query, params=list(params))
            said.append(outcome.text if outcome.ok else f"error: {outcome.text}")
        return said

    return with_hands(place, work)


def test_postgres_is_asked(tmp_path: Path, server: postgres.Server) -> None:
    """Rows, with values as the server writes them; tables; parameters of any kind."""
    dsn = server.dsn("clerk", "clerks-secret-word")
    query = "SELECT id, who, at, paid FROM visit WHERE id = $1 AND paid > $2"
    (said,) = asked(tmp_path, dsn, query, params=[1, 3.5])
    assert said == "id | who | at | paid\n1 | Ann | 2026-01-02 03:04:05+00 | 12.30\n[1 row]"
    (said,) = asked(tmp_path, dsn, "")
    assert "public.visit: id integer, who text" in said


PG_CHANGING = (
    "DELETE FROM visit",
    "WITH gone AS (DELETE FROM visit RETURNING *) SELECT * FROM gone",
    "SELECT 1; DELETE FROM visit",
    "SET default_transaction_read_only = off",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "EXPLAIN ANALYZE DELETE FROM visit",
    "COPY visit TO STDOUT",
    "DO $$ BEGIN DELETE FROM visit; END $$",
    "CREATE TABLE y (a int)",
    "SELECT pg_read_file('/etc/passwd')",
)


def test_asking_postgres_changes_nothing(tmp_path: Path, server: postgres.Server) -> None:
    """The server itself refuses; the user's rights would have allowed it."""
    dsn = server.dsn("clerk", "clerks-secret-word")
    for query, said in zip(PG_CHANGING, asked(tmp_path, dsn, *PG_CHANGING), strict=True):
        assert said.startswith("error: "), (query, said)
        assert "clerks-secret-word" not in said
    assert server.do("SELECT count(*) FROM visit") == "2"


def test_postgres_without_end(
    tmp_path: Path, server: postgres.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A query that takes too long is ended by the server; one that gives too much is cut."""
    monkeypatch.setattr("stead.agent.tools.sql.SECONDS", 5.0)
    endless = "SELECT repeat('x', 90) FROM generate_series(1, 10000000)"
    dsn = server.dsn("clerk", "clerks-secret-word")
    slow, large = asked(tmp_path, dsn, "SELECT pg_sleep(600)", endless)
    assert "timeout" in slow or "gave up" in slow
    assert "timeout" in large or "rest does not fit" in large
    assert len(large) <= 12_000


def test_postgres_is_changed_when_asked_to(tmp_path: Path, server: postgres.Server) -> None:
    """``sql_change`` changes, all or nothing, and tells how much."""
    query = "INSERT INTO visit VALUES ($1, $2) RETURNING id, who"
    dsn = server.dsn("clerk", "clerks-secret-word")
    (said,) = asked(tmp_path, dsn, query, tool="sql_change", params=[3, "Cy"])
    assert "3 | Cy" in said and "[done: INSERT 0 1]" in said
    assert server.do("DELETE FROM visit WHERE id = 3 RETURNING who") == "Cy"


def test_a_superuser_is_not_taken(tmp_path: Path, server: postgres.Server) -> None:
    """Whom no transaction can bind is refused, with what to do."""
    (said,) = asked(tmp_path, server.dsn(), "SELECT 1")
    assert "GRANT pg_read_all_data" in said and postgres.ADMIN_PASSWORD not in said


def test_what_cannot_be_reached(tmp_path: Path, server: postgres.Server) -> None:
    """A wrong password or port is told, without how to connect."""
    (said,) = asked(tmp_path, server.dsn("clerk", "wrong-secret"), "SELECT 1")
    assert "authentication failed" in said and "wrong-secret" not in said
    (said,) = asked(tmp_path, "postgresql://u:hidden@127.0.0.1:1/x", "SELECT 1")
    assert said.startswith("error: ") and "hidden" not in said
    (said,) = asked(tmp_path, "host=db password=hidden", "SELECT 1")
    assert "hidden" not in said and "stead secret set" in said


def test_where_a_server_is() -> None:
    """Out of a URL; what is none is refused."""
    assert server_of("postgresql://u:p@DB.home/x") == "db.home:5432"
    assert server_of("postgres:///x?host=/run/postgresql") == "/run/postgresql"
    assert server_of("postgresql://u@[::1]:99/x") == "::1:99"
    for dsn in ("mysql://h/x", "postgresql:///x", "postgresql://a,b/x", "postgresql://h:port/x"):
        with pytest.raises(ToolError):
            server_of(dsn)


def test_what_rules_and_owner_are_told(shop: Path) -> None:
    """Asking touches the file alone; changing is asked about, word for word."""
    context = Context(shop / "workspace", databases={"desk": Database("desk", lambda: "")})
    file = shop / "workspace" / "shop.db"
    assert touches(SqlArgs("shop.db", "SELECT 1"), context).reads == (file,)
    told = touches(SqlArgs("desk", "SELECT 1"), context)
    assert told.credentials == ("desk",) and told.foreign and told.private
    change = ChangeArgs("shop.db", "DELETE FROM item")
    assert change_touches(change, context).writes == (file,)
    assert "DELETE FROM item" in change_preview(change, context)
