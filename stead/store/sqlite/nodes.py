"""SQL of the nodes, their keys, and the small facts stead keeps about itself."""

from __future__ import annotations

import json
from typing import Any

import apsw

from stead.core.errors import BadRequest
from stead.core.ids import uuid7
from stead.core.storage import NodeRow
from stead.store.sqlite.sql import NOW as _NOW

_COLUMNS = "id, name, labels, last_seen, boot, revoked_at, draining_at, facts"


def _node(row: tuple[Any, ...]) -> NodeRow:
    return NodeRow(
        row[0], row[1], tuple(json.loads(row[2])), row[3], row[4], bool(row[5]), bool(row[6]),
        json.loads(row[7] or "{}"),
    )  # fmt: skip


def add(c: apsw.Connection, name: str, key_hash: str) -> str:
    """A new node; a revoked name may be used again and keeps its history."""
    row = c.execute("SELECT id, revoked_at FROM node WHERE name = ?", (name,)).fetchone()
    if row and not row[1]:
        raise BadRequest(f"There is a node named {name!r} already; revoke it or take another name.")
    if row:
        c.execute(
            "UPDATE node SET key_hash = ?, revoked_at = 0, draining_at = 0, boot = '' WHERE id = ?",
            (key_hash, row[0]),
        )
        return str(row[0])
    node_id = uuid7()
    c.execute(
        f"INSERT INTO node (id, name, key_hash, created_at) VALUES (?, ?, ?, {_NOW})",
        (node_id, name, key_hash),
    )
    return node_id


def by_key(c: apsw.Connection, key_hash: str, revoked: bool) -> NodeRow | None:
    row = c.execute(
        f"SELECT {_COLUMNS} FROM node WHERE key_hash = ? AND (? OR revoked_at = 0)",
        (key_hash, revoked),
    ).fetchone()
    return _node(row) if row else None


def every(c: apsw.Connection) -> list[NodeRow]:
    return [_node(row) for row in c.execute(f"SELECT {_COLUMNS} FROM node ORDER BY name")]


def revoke(c: apsw.Connection, name: str) -> bool:
    c.execute(f"UPDATE node SET revoked_at = {_NOW} WHERE name = ? AND revoked_at = 0", (name,))
    return c.changes() > 0


def drain(c: apsw.Connection, name: str, draining: bool) -> bool:
    c.execute(
        f"UPDATE node SET draining_at = CASE WHEN NOT ?2 THEN 0 WHEN draining_at > 0"
        f" THEN draining_at ELSE {_NOW} END WHERE name = ?1 AND revoked_at = 0",
        (name, draining),
    )
    return c.changes() > 0


def saw(
    c: apsw.Connection,
    node_id: str,
    boot: str | None,
    labels: list[str] | None,
    version: str | None,
    facts: dict[str, Any] | None,
) -> None:
    c.execute(
        f"UPDATE node SET last_seen = {_NOW}, boot = coalesce(?2, boot),"
        " labels = coalesce(?3, labels), version = coalesce(?4, version),"
        " facts = coalesce(?5, facts) WHERE id = ?1",
        (
            node_id, boot, None if labels is None else json.dumps(labels), version,
            None if facts is None else json.dumps(facts),
        ),
    )  # fmt: skip


def note_given(c: apsw.Connection, job_id: str, epoch: int, why: str) -> None:
    c.execute(
        "INSERT INTO given (job_id, epoch, why) VALUES (?, ?, ?)"
        " ON CONFLICT (job_id, epoch) DO NOTHING",
        (job_id, epoch, why),
    )


def fact(c: apsw.Connection, name: str) -> str | None:
    row = c.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def set_fact(c: apsw.Connection, name: str, value: str | None) -> None:
    if value is None:
        c.execute("DELETE FROM fact WHERE name = ?", (name,))
    else:
        c.execute(
            "INSERT INTO fact (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )
