"""Questions to databases, which change nothing."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.sql_ask import Answer, Ask, Value
from stead.agent.tools.workspace import locate
from stead.core.errors import SteadError
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Bounds, Box, Host, Mount
from stead.sandbox.egress_relay import PORT
from stead.sandbox.view import interpreter

SECONDS = 30.0
"""Of one statement."""
MOST_ROWS = 1000
_SPARE_S = 30.0
_RUNNER = "stead.agent.tools.sql_run"
_WAL = b"\x02\x02"
"""Bytes 18 and 19 of a file that keeps a log beside it (sqlite.org/fileformat2.html)."""
_MOST_ANSWER = 1_000_000


class SqlArgs(Args, frozen=True):
    database: Annotated[
        str, Meta(description="An SQLite file of the workspace, or the name of a database")
    ]
    query: Annotated[str, Meta(description="One SELECT; empty: which tables there are")] = ""
    params: Annotated[list[Value], Meta(description="For ? (SQLite) or $1 (PostgreSQL)")] = []
    rows: Annotated[int, Meta(description="At most", ge=1, le=MOST_ROWS)] = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Which database is meant: a file, or one with a name."""

    file: Path | None = None
    name: str = ""
    foreign: bool = False


def place(context: Context, database: str, *, new: bool = False) -> Place:
    """Find it. ``new``: a file that is not there yet may be made. Raises ``ToolError``."""
    named = context.databases.get(database)
    if named is not None:
        return Place(name=named.name, foreign=named.foreign)
    try:
        real, _ = locate(context, database)
    except ToolError as problem:
        if new and Path(database).suffix in (".db", ".sqlite", ".sqlite3"):
            folder, _ = locate(context, str(Path(database).parent))
            real = folder / Path(database).name
            if not real.is_symlink() and not real.exists():
                return Place(file=real)
        known = f"; by name there are: {', '.join(context.databases)}" if context.databases else ""
        raise ToolError(f"{problem}{known}") from problem
    if not real.is_file():
        raise ToolError(f"{database!r} is not a file")
    with real.open("rb") as file:
        head = file.read(16)
    if head and head != b"SQLite format 3\0":
        raise ToolError(f"{database!r} is not an SQLite database")
    return Place(file=real)


def box_of(context: Context, where: Place, *, write: bool) -> Box:
    """The workspace for a file (a database with a log beside it must be written to be read), and
    for one with a name its host and nothing else."""
    bounds = Bounds(memory_mb=1024, processes=16, wall_s=SECONDS + _SPARE_S)
    mounts = [*interpreter()]
    hosts: tuple[Host, ...] = ()
    env = {
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": ":".join(path for path in sys.path if path),
    }
    if where.file is not None:
        mounts.append(Mount(context.workspace.resolve(), write=write or _logs(where.file)))
    else:
        known = context.databases[where.name]
        server = server_of(known.dsn())
        if server.startswith("/"):
            mounts.append(Mount(Path(server)))
        else:
            host, _, port = server.rpartition(":")
            hosts = (Host(host, int(port), private=True),)
        if known.ca_file is not None:
            mounts.append(Mount(known.ca_file))
            env["PGSSLROOTCERT"] = str(known.ca_file)
    return Box(
        name="sql",
        mounts=tuple(mounts),
        hosts=hosts,
        env=env,
        bounds=bounds,
        low=context.low,
        job=context.job,
    )


def server_of(dsn: str) -> str:
    """``host:port``, or the folder of a socket. Raises ``ToolError`` that names no part of it."""
    try:
        url = urlsplit(dsn)
        asked = parse_qs(url.query)
        host = unquote(url.hostname or "") or asked.get("host", [""])[0]
        port = url.port or int(asked.get("port", ["5432"])[0])
    except ValueError:
        host = ""
    if not dsn.startswith(("postgresql://", "postgres://")) or not host or "," in dsn:
        raise ToolError(
            "how to connect is not said as postgresql://user:password@host:port/database;"
            " the owner can set it anew with `stead secret set`"
        )
    return host if host.startswith("/") else f"{host.lower()}:{port}"


def _logs(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(20)[18:20] == _WAL
    except OSError:
        return False


async def ask(context: Context, where: Place, args: SqlArgs, *, write: bool) -> str:
    """Have it asked in a sandbox. Raises ``ToolError`` with what the database says."""
    if context.walls is None:
        raise ToolError("there are no sandboxes on this worker, so no database may be asked here")
    box = box_of(context, where, write=write)
    known = context.databases.get(where.name)
    asked = Ask(
        query=args.query,
        params=args.params,
        write=write,
        rows=args.rows,
        room=context.limit - 300,
        seconds=SECONDS,
        file=str(where.file or ""),
        dsn=known.dsn() if known is not None else "",
        proxy=PORT if box.hosts else 0,
    )
    pipe = asyncio.subprocess.PIPE
    boxed = await context.walls.start(
        box, [sys.executable, "-P", "-m", _RUNNER], stdin=pipe, stdout=pipe
    )
    try:
        assert boxed.stdin is not None and boxed.stdout is not None
        boxed.stdin.write(msgspec.json.encode(asked))
        await boxed.stdin.drain()
        boxed.stdin.close()
        said = b""
        while len(said) < _MOST_ANSWER and (more := await boxed.stdout.read(65_536)):
            said += more
        ended = await boxed.wait()
    except OSError as problem:
        raise ToolError("the process that asks the database ended") from problem
    finally:
        await boxed.kill()
    try:
        told = msgspec.json.decode(said, type=Answer)
    except msgspec.DecodeError:
        why = ended.why or f"it ended with code {ended.code}"
        raise ToolError(f"the process that asks the database fell: {why}") from None
    if not told.ok:
        raise ToolError(told.text)
    return told.text


def box(args: SqlArgs, context: Context) -> Box:
    return box_of(context, place(context, args.database), write=False)


def touches(args: SqlArgs, context: Context) -> Touches:
    """The file, or the database by its name."""
    where = place(context, args.database)
    if where.file is not None:
        return Touches(reads=(where.file,), private=True)
    return Touches(credentials=(where.name,), private=True, foreign=where.foreign)


def preview(args: SqlArgs, context: Context) -> str:
    values = f"\nwith {args.params}" if args.params else ""
    return f"Ask the database {args.database!r}, changing nothing:\n{args.query}{values}"


async def sql(args: SqlArgs, context: Context) -> str:
    """The rows as a table, or the tables and their columns."""
    try:
        return await ask(context, place(context, args.database), args, write=False)
    except SteadError as problem:
        raise ToolError(problem.message) from problem


SQL = Tool(
    name="sql",
    about="Ask an SQLite or PostgreSQL database; nothing can be changed.",
    short="ask a database",
    args=SqlArgs,
    run=sql,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    time_limit_s=SECONDS + _SPARE_S + 10,
    output_limit=8000,
    touches=touches,
    preview=preview,
    box=box,
    group="data",
)
