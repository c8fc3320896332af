"""Changes of databases, each of which the owner is asked about."""

from __future__ import annotations

from stead.agent.tools.base import Context, Tool, ToolError
from stead.agent.tools.sql import SQL, SqlArgs, ask, box_of, place
from stead.core.errors import SteadError
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches, Word
from stead.sandbox.box import Box


class ChangeArgs(SqlArgs, frozen=True):
    """The same arguments; the query changes something."""


def box(args: ChangeArgs, context: Context) -> Box:
    return box_of(context, place(context, args.database, new=True), write=True)


def touches(args: ChangeArgs, context: Context) -> Touches:
    """The file, or the database by its name."""
    where = place(context, args.database, new=True)
    if where.file is not None:
        return Touches(reads=(where.file,), writes=(where.file,), private=True)
    return Touches(credentials=(where.name,), private=True, foreign=where.foreign)


def preview(args: ChangeArgs, context: Context) -> str:
    values = f"\nwith {args.params}" if args.params else ""
    return f"Change the database {args.database!r}; this cannot be undone:\n{args.query}{values}"


async def change(args: ChangeArgs, context: Context) -> str:
    """How much was changed: all of it or nothing."""
    if not args.query.strip():
        raise ToolError("the query is empty; sql shows which tables there are")
    try:
        return await ask(context, place(context, args.database, new=True), args, write=True)
    except SteadError as problem:
        raise ToolError(problem.message) from problem


SQL_CHANGE = Tool(
    name="sql_change",
    about="Change an SQLite or PostgreSQL database, in one transaction; the owner is asked.",
    short="change a database",
    args=ChangeArgs,
    run=change,
    effects=Effects.OUTSIDE,
    on_unknown=OnUnknown.ASK,
    permission=Word.ASK,
    touches=touches,
    preview=preview,
    box=box,
    time_limit_s=SQL.time_limit_s,
    output_limit=SQL.output_limit,
    group=SQL.group,
)
