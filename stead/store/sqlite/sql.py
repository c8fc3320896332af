"""What all the SQL here shares: the clock, and looks with plain row types."""

from __future__ import annotations

from typing import Any

import apsw

#: The database's clock in milliseconds (invariant 6).
NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

Row = tuple[Any, ...]


def rows(c: apsw.Connection, sql: str, args: tuple[Any, ...] = ()) -> list[Row]:
    return c.execute(sql, args).fetchall()


def maybe(c: apsw.Connection, sql: str, args: tuple[Any, ...] = ()) -> Row | None:
    """The first row, if there is one."""
    return c.execute(sql, args).fetchone()


def row(c: apsw.Connection, sql: str, args: tuple[Any, ...] = ()) -> Row:
    """The row that is surely there."""
    found = maybe(c, sql, args)
    if found is None:
        raise LookupError(f"no row for {args!r}")
    return found
