"""SQL of the keys of programs."""

from __future__ import annotations

import apsw
import msgspec

from stead.core.errors import BadRequest, NotFound
from stead.core.ids import uuid7
from stead.core.scope import KeyRow, KeyScope
from stead.store.sqlite.sql import NOW, Row, encoded, maybe, row, rows

_COLUMNS = "id, name, key_hash, scope, created_at, revoked_at"


def _key(found: Row) -> KeyRow:
    scope = msgspec.json.decode(found[3], type=KeyScope)
    return KeyRow(found[0], found[1], found[2], scope, found[4], found[5])


def add(c: apsw.Connection, name: str, key_hash: str, scope: KeyScope) -> KeyRow:
    if maybe(c, "SELECT 1 FROM key WHERE name = ? AND revoked_at = 0", (name,)):
        raise BadRequest(
            f"There is a key named {name!r} already; revoke it or take another name.", param="name"
        )
    insert = f"INSERT INTO key ({_COLUMNS}) VALUES (?, ?, ?, ?, {NOW}, 0) RETURNING {_COLUMNS}"
    return _key(row(c, insert, (uuid7(), name, key_hash, encoded(scope))))


def every(c: apsw.Connection) -> list[KeyRow]:
    return [_key(one) for one in rows(c, f"SELECT {_COLUMNS} FROM key ORDER BY name, revoked_at")]


def change(c: apsw.Connection, name: str, scope: KeyScope) -> KeyRow:
    return _changed(c, name, "scope = ?", encoded(scope))


def revoke(c: apsw.Connection, name: str) -> KeyRow:
    # Not before it was made, wherever the clock was put meanwhile.
    return _changed(c, name, f"revoked_at = max({NOW}, created_at, ?)", 1)


def _changed(c: apsw.Connection, name: str, how: str, value: object) -> KeyRow:
    update = f"UPDATE key SET {how} WHERE name = ? AND revoked_at = 0 RETURNING {_COLUMNS}"
    found = maybe(c, update, (value, name))
    if found is None:
        raise NotFound(what=f"key {name!r}")
    return _key(found)
