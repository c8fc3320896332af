"""What all the SQL here shares: the clock, and looks with plain row types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

#: The database's clock in milliseconds (invariant 6).
NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

Row = tuple[Any, ...]


def rows(c: apsw.Connection, sql: str, args: tuple[Any, ...] = ()) -> list[Row]:
    return c.execute(sql, args).fetchall()


def shown(c: apsw.Connection, sql: str, args: tuple[Any, ...] = ()) -> list[Row]:
    """As ``rows``, for texts that are shown, sent or read by a model: where one is no UTF-8 (a
    damaged row), the characters that cannot be read are replaced, and nothing is held up."""
    try:
        return rows(c, sql, args)
    except UnicodeDecodeError:
        names = [f"c{n}" for n, _ in enumerate(c.execute(sql, args).get_description())]
        whole = ", ".join(
            f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) ELSE {name} END"
            for name in names
        )
        found = rows(c, f"WITH said({', '.join(names)}) AS ({sql}) SELECT {whole} FROM said", args)
    return [
        tuple(one.decode(errors="replace") if isinstance(one, bytes) else one for one in entry)
        for entry in found
    ]


def maybe(c: apsw.Connection, sql: str, args: tuple[Any, ...] = ()) -> Row | None:
    """The first row, if there is one."""
    return c.execute(sql, args).fetchone()


def row(c: apsw.Connection, sql: str, args: tuple[Any, ...] = ()) -> Row:
    """The row that is surely there."""
    found = maybe(c, sql, args)
    if found is None:
        raise LookupError(f"no row for {args!r}")
    return found


def encoded(value: Any) -> str:
    """JSON text for a parameter of a statement."""
    return msgspec.json.encode(value).decode()


class Those:
    """A look at those rows that have one of some values: ``{those}`` stands for ``= ...``.

    One value or many at once, since to read a value out of JSON costs as much as a look.
    """

    def __init__(self, sql: str) -> None:
        self._one = sql.format(those="= ?")
        self._many = sql.format(those="IN (SELECT value FROM json_each(?))")

    def look(self, c: apsw.Connection, values: Sequence[str]) -> list[Row]:
        if len(values) == 1:
            return rows(c, self._one, (values[0],))
        return rows(c, self._many, (encoded(values),))
