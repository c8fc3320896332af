"""Asks a database, inside a sandbox: ``python -m`` this module.

It is told on its standard input what to ask (an ``Ask`` as JSON) and answers on its standard
output (an ``Answer``). It has a process of its own so that no result, however large, weighs on
the worker, and so that how to connect is known here alone.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

import apsw
import msgspec

from stead.agent.tools.sql_ask import Answer, Ask, Value

CELL = 400
"""Characters of one value that are shown."""
_READING = ("select", "with", "values", "table", "show", "explain", "pragma")
_PRAGMAS = frozenset(
    (
        "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo",
        "foreign_key_list", "foreign_key_check", "database_list", "collation_list", "encoding",
        "user_version", "schema_version", "application_id", "page_count", "page_size",
        "freelist_count", "compile_options", "function_list", "integrity_check", "quick_check",
    )
)  # fmt: skip
_SILENT = frozenset(
    ("encoding", "user_version", "schema_version", "application_id", "page_size")
)  # with a value these change something
#: What makes a role more than one who asks: with it a query reaches the server's own files and
#: programs, and no transaction is read-only to those.
_MIGHTY = ("pg_execute_server_program", "pg_read_server_files", "pg_write_server_files")


class Refused(Exception):
    """It cannot be done; the text goes to the model."""


# --- tables as text --------------------------------------------------------------------


def table(names: Sequence[str], rows: Iterable[Sequence[Any]], most: int, room: int) -> str:
    """One line a row, values apart by `` | ``, as many as fit."""
    lines = [" | ".join(names)]
    used, shown, why = len(lines[0]), 0, ""
    for row in rows:
        if shown >= most:
            why = "there are more; ask for fewer, or for the next ones with LIMIT and OFFSET"
            break
        line = " | ".join(map(_cell, row))
        if used + len(line) + 1 > room and shown:
            why = "the rest does not fit; name the columns that matter, or use LIMIT and OFFSET"
            break
        lines.append(line[:room])
        used += len(line) + 1
        shown += 1
    count = f"{shown} row{'' if shown == 1 else 's'}"
    return "\n".join([*lines, f"[{count}{'; ' if why else ''}{why}]"])


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    text = str(value)
    text = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return text if len(text) <= CELL else f"{text[:CELL]}... ({len(text)} characters)"


# --- SQLite ----------------------------------------------------------------------------


def sqlite(ask: Ask) -> str:
    """Raises ``Refused`` and ``apsw.Error``."""
    mode = "rwc" if ask.write else "ro"
    flags = apsw.SQLITE_OPEN_URI
    if ask.write:
        flags |= apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    else:
        flags |= apsw.SQLITE_OPEN_READONLY
    apsw.hard_heap_limit(512_000_000)
    connection = apsw.Connection(f"file:{quote(ask.file)}?mode={mode}", flags=flags)
    try:
        connection.set_busy_timeout(int(min(ask.seconds, 10.0) * 1000))
        until = time.monotonic() + ask.seconds
        connection.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        if not ask.write:
            connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA trusted_schema = 0")
        connection.authorizer = _may_write if ask.write else _may_read
        if not ask.query.strip():
            return "\n".join(_schema(connection)) or "[no tables]"
        return _change(connection, ask) if ask.write else _read(connection, ask)
    except apsw.InterruptError:
        raise Refused(f"stopped after {ask.seconds:g} s") from None
    finally:
        connection.authorizer = None
        connection.close()


def _read(connection: apsw.Connection, ask: Ask) -> str:
    names: list[str] = []

    def look(cursor: apsw.Cursor, statement: str, bindings: object) -> bool:
        names[:] = [column[0] for column in cursor.get_description()]
        return True

    cursor = connection.cursor()
    cursor.exec_trace = look  # without rows there is nothing to ask it for afterwards
    cursor.execute(ask.query, tuple(ask.params))
    return table(names, cursor, ask.rows, ask.room) if names else "[no rows]"


def _change(connection: apsw.Connection, ask: Ask) -> str:
    """All statements or none of them."""
    before = connection.total_changes()
    with connection:
        cursor = connection.execute(ask.query, tuple(ask.params))
        rows = [row for row, _ in zip(cursor, range(ask.rows + 1), strict=False)]
        for _ in cursor:
            pass
    changed = connection.total_changes() - before
    told = f"[done; {changed} row{'' if changed == 1 else 's'} changed]"
    if not rows:
        return told
    names = [f"column{n}" for n in range(1, len(rows[0]) + 1)]
    return f"{table(names, rows, ask.rows, ask.room - len(told))}\n{told}"


def _may_read(
    action: int, one: str | None, two: str | None, database: str | None, trigger: str | None
) -> int:
    allowed = (
        action in (apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_RECURSIVE)
        or (action == apsw.SQLITE_FUNCTION and _harmless(two))
        or (action == apsw.SQLITE_PRAGMA and _looks(one, two))
    )
    return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY


def _may_write(
    action: int, one: str | None, two: str | None, database: str | None, trigger: str | None
) -> int:
    """All but what reaches other files or makes the file itself unsafe."""
    if action in (apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH):
        return apsw.SQLITE_DENY
    if action == apsw.SQLITE_FUNCTION and not _harmless(two):
        return apsw.SQLITE_DENY
    if action == apsw.SQLITE_PRAGMA and not _looks(one, two) and one not in ("user_version",):
        return apsw.SQLITE_DENY
    return apsw.SQLITE_OK


def _harmless(function: str | None) -> bool:
    return (function or "").lower() not in ("load_extension", "fts3_tokenizer", "edit", "writefile")


def _looks(pragma: str | None, value: str | None) -> bool:
    name = (pragma or "").lower()
    return name in _PRAGMAS and not (name in _SILENT and value is not None)


def _schema(connection: apsw.Connection) -> Iterator[str]:
    query = (
        "SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view')"
        " AND name NOT LIKE 'sqlite_%' ORDER BY name"
    )
    for kind, name in list(connection.execute(query)):
        quoted = str(name).replace('"', '""')
        columns = [
            f"{row[1]} {row[2]}".strip() + (" key" if row[5] else "")
            for row in connection.execute(f'PRAGMA table_info("{quoted}")')
        ]
        yield f"{kind} {name}: {', '.join(columns)}"


# --- PostgreSQL ------------------------------------------------------------------------


class _Loop(asyncio.SelectorEventLoop):
    """Connects through the proxy of the sandbox (RFC 9110, 9.3.6), whoever asks it to."""

    proxy = 0

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **how: Any
    ) -> Any:
        if how.get("sock") is None and self.proxy:
            how["sock"] = await self._through(str(host), int(port))
            host = port = None
        return await super().create_connection(factory, host, port, **how)

    async def _through(self, host: str, port: int) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        try:
            await self.sock_connect(sock, ("127.0.0.1", self.proxy))
            name = f"[{host}]" if ":" in host else host
            await self.sock_sendall(sock, f"CONNECT {name}:{port} HTTP/1.1\r\n\r\n".encode())
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = await self.sock_recv(sock, 1)
                if not byte or len(head) > 16_384:
                    raise OSError("the way out was shut")
                head += byte
            if head.split(b" ")[1:2] != [b"200"]:
                why = await self.sock_recv(sock, 2000)
                raise OSError(f"the way out refused it: {why.decode('utf-8', 'replace').strip()}")
        except BaseException:
            sock.close()
            raise
        return sock


async def postgres(ask: Ask) -> str:
    """Raises ``Refused``, ``OSError`` and what asyncpg raises."""
    import asyncpg  # late: an extra, and needed here alone

    if not ask.write and ask.query.strip() and first_word(ask.query) not in _READING:
        raise Refused("only queries are allowed here; sql_change is for what changes something")
    limit = str(int(ask.seconds * 1000))
    connection = await asyncpg.connect(
        ask.dsn,
        timeout=min(20.0, ask.seconds),
        command_timeout=ask.seconds + 2,
        statement_cache_size=0,
        server_settings={
            "default_transaction_read_only": "off" if ask.write else "on",
            "statement_timeout": limit,
            "lock_timeout": limit,
            "idle_in_transaction_session_timeout": limit,
            "application_name": "stead",
        },
    )
    try:
        if not ask.write:
            await _not_mighty(connection)
        for name in _AS_TEXT:
            await connection.set_type_codec(
                name, schema="pg_catalog", encoder=str, decoder=str, format="text"
            )
        async with connection.transaction(readonly=not ask.write):
            if not ask.query.strip():
                return await _pg_schema(connection, ask)
            return await _pg_ask(connection, ask)
    finally:
        connection.terminate()


#: Handed over as the server writes them, so that no value is rounded or guessed.
_AS_TEXT = (
    "int2", "int4", "int8", "oid", "float4", "float8", "numeric", "money", "date", "time",
    "timetz", "timestamp", "timestamptz", "interval", "uuid", "json", "jsonb", "inet", "cidr",
    "bool",
)  # fmt: skip


async def _not_mighty(connection: Any) -> None:
    for role in _MIGHTY:
        if await connection.fetchval("SELECT pg_has_role(current_user, $1, 'member')", role):
            raise Refused(
                "its user is a superuser or may reach the server's own files and programs, and no"
                " query of such a one is read-only. The owner should give stead a plain one:"
                " CREATE ROLE stead LOGIN PASSWORD '...'; GRANT pg_read_all_data TO stead;"
            )


async def _pg_ask(connection: Any, ask: Ask) -> str:
    statement = await connection.prepare(ask.query)
    params = [None if one is None else _param(one) for one in ask.params]
    names = [column.name for column in statement.get_attributes()]
    if ask.write:
        rows = await statement.fetch(*params)
        told = f"[done: {statement.get_statusmsg()}]"
        if not names:
            return told
        return f"{table(names, rows, ask.rows, ask.room - len(told))}\n{told}"
    if not names:
        raise Refused("this gives no rows; only queries are allowed here")
    cursor = await statement.cursor(*params)
    rows = await cursor.fetch(ask.rows + 1)
    return table(names, rows, ask.rows, ask.room)


def _param(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _pg_schema(connection: Any, ask: Ask) -> str:
    rows = await connection.fetch(
        "SELECT table_schema || '.' || table_name AS name,"
        " string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position) AS columns"
        " FROM information_schema.columns"
        " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        " GROUP BY 1 ORDER BY 1 LIMIT 500"
    )
    lines = [f"{row['name']}: {row['columns']}" for row in rows]
    return "\n".join(lines)[: ask.room] or "[no tables that this user can see]"


def first_word(query: str) -> str:
    """The first word of a statement, behind comments and brackets, in lower case."""
    text = re.sub(r"^(\s+|--[^\n]*(\n|$)|/\*.*?\*/|\()+", "", query, flags=re.DOTALL)
    found = re.match(r"[A-Za-z]+", text)
    return found.group().lower() if found else ""


# --- in and out ------------------------------------------------------------------------


def answer(ask: Ask) -> Answer:
    """Whatever goes wrong is an answer."""
    try:
        if ask.file:
            return Answer(sqlite(ask))
        loop = _Loop()
        _Loop.proxy = ask.proxy
        try:
            return Answer(loop.run_until_complete(postgres(ask)))
        finally:
            loop.close()
    except ImportError:
        return Answer("asyncpg is not installed here: pip install 'stead[postgres]'", ok=False)
    except TimeoutError:
        return Answer(f"gave up after {ask.seconds:g} s", ok=False)
    except MemoryError:
        return Answer("the result takes too much memory; ask for less", ok=False)
    except Exception as problem:  # noqa: BLE001 - edge of a process: drivers raise what they like
        said = str(problem).strip() or type(problem).__name__
        detail = getattr(problem, "hint", None) or getattr(problem, "detail", None)
        return Answer(f"{said}{f' ({detail})' if detail else ''}"[:2000], ok=False)


def main() -> int:
    told = sys.stdin.buffer.read()
    ask = msgspec.json.decode(told, type=Ask)
    sys.stdout.buffer.write(msgspec.json.encode(answer(ask)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
