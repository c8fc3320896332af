"""SQL of people, and of whose a conversation is."""

from __future__ import annotations

import apsw
import msgspec

from stead.core.errors import BadRequest, NotFound
from stead.core.ids import uuid7
from stead.core.people import OWNER, Person
from stead.core.scope import KeyScope
from stead.store.sqlite.sql import NOW, Row, encoded, maybe, row, rows

_COLUMNS = "id, name, called, scope, tools, created_at, removed_at"
_tools = msgspec.json.Decoder(tuple[str, ...]).decode
_scope = msgspec.json.Decoder(KeyScope).decode


def _person(found: Row) -> Person:
    ident, name, called, scope, tools, created_at, removed_at = found
    return Person(ident, name, called, _scope(scope), _tools(tools), created_at, removed_at)


def add(
    c: apsw.Connection, name: str, called: str, scope: KeyScope, tools: tuple[str, ...]
) -> Person:
    _free(c, name)
    insert = f"INSERT INTO person ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, {NOW}, 0)"
    given = uuid7(), name, called, encoded(scope), encoded(tools)
    return _person(row(c, f"{insert} RETURNING {_COLUMNS}", given))


def every(c: apsw.Connection) -> list[Person]:
    order = f"removed_at > 0, id <> '{OWNER}', name, removed_at, id"
    return [_person(one) for one in rows(c, f"SELECT {_COLUMNS} FROM person ORDER BY {order}")]


def one(c: apsw.Connection, ident: str) -> Person:
    found = maybe(
        c,
        # Nobody is named as another's id is: names have at most 63 signs, and are not UUIDs.
        f"SELECT {_COLUMNS} FROM person WHERE (id = ?1 OR name = ?1) AND removed_at = 0",
        (ident,),
    )
    if found is None:
        raise NotFound(what=f"person {ident[:80]!r}")
    return _person(found)


def change(
    c: apsw.Connection, ident: str, name: str | None, called: str | None,
    scope: KeyScope | None, tools: tuple[str, ...] | None,
) -> Person:  # fmt: skip
    known = one(c, ident)
    if known.is_owner and not (name is None and scope is None and tools is None):
        raise BadRequest(
            "The owner is named so and has no limits of his own: what he may spend is in the"
            " settings (budget). Only how he is addressed can be changed.",
            param="name" if name is not None else "scope" if scope is not None else "tools",
        )
    if name is not None and name != known.name:
        _free(c, name)
    update = (
        "UPDATE person SET name = coalesce(?, name), called = coalesce(?, called),"
        " scope = coalesce(?, scope), tools = coalesce(?, tools) WHERE id = ?"
        f" RETURNING {_COLUMNS}"
    )
    given = (None if value is None else encoded(value) for value in (scope, tools))
    return _person(row(c, update, (name, called, *given, known.id)))


def remove(c: apsw.Connection, ident: str) -> Person:
    known = one(c, ident)
    if known.is_owner:
        raise BadRequest("The owner cannot be removed: whose would the house be?", param="name")
    # Not before the person was added, wherever the clock was put meanwhile.
    update = f"UPDATE person SET removed_at = max({NOW}, created_at, 1) WHERE id = ?"
    return _person(row(c, f"{update} RETURNING {_COLUMNS}", (known.id,)))


def _free(c: apsw.Connection, name: str) -> None:
    if maybe(c, "SELECT 1 FROM person WHERE name = ? AND removed_at = 0", (name,)):
        raise BadRequest(
            f"There is somebody named {name!r} already; take another name.", param="name"
        )
