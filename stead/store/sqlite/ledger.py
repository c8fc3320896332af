"""The ledger's SQL: reserve before, book after, and know the day's sum at once."""

from __future__ import annotations

import apsw

from stead.core.nouns import Call, Usage
from stead.store.sqlite.sql import NOW as _NOW
from stead.store.sqlite.sql import maybe, row

_TODAY = "strftime('%Y-%m-%d', 'now')"


def _add(c: apsw.Connection, at: int, lane: str, micro: int) -> None:
    """Move the sum of the day of a call (its time in ms) by some micro-dollars."""
    c.execute(
        "INSERT INTO spent (day, lane, micro)"
        " VALUES (strftime('%Y-%m-%d', ? / 1000, 'unixepoch'), ?, ?)"
        " ON CONFLICT (day, lane) DO UPDATE SET micro = micro + excluded.micro",
        (at, lane, micro),
    )


def spent_today(c: apsw.Connection) -> dict[str, int]:
    """Micro-dollars spent or set aside today (UTC), by lane."""
    rows = c.execute(f"SELECT lane, micro FROM spent WHERE day = {_TODAY}")
    return {str(lane): int(micro) for lane, micro in rows}


def insert(c: apsw.Connection, call: Call) -> int:
    """Write a call; returns its time."""
    usage = call.usage
    (at,) = row(
        c,
        "INSERT INTO call (id, at, model, backend, caller, job_id, lane, prompt_tokens,"
        " cached_tokens, completion_tokens, cost_micro, reserved_micro, state, status, first_ms,"
        f" total_ms, reason) VALUES (?, {_NOW}, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " RETURNING at",
        (
            call.id, call.model, call.backend, call.caller, call.job_id, call.lane,
            usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.cost_micro,
            call.reserved_micro, call.state, call.status, call.first_ms, call.total_ms, call.reason,
        ),
    )  # fmt: skip
    return int(at)


def record(c: apsw.Connection, call: Call) -> None:
    at = insert(c, call)
    if call.usage.cost_micro:
        _add(c, at, call.lane, call.usage.cost_micro)


def reserve(c: apsw.Connection, call: Call, limit_micro: int, lane_limit_micro: int) -> bool:
    spent = spent_today(c)
    wanted = call.reserved_micro
    if sum(spent.values()) + wanted > limit_micro:
        return False
    if spent.get(call.lane, 0) + wanted > lane_limit_micro:
        return False
    _add(c, insert(c, call), call.lane, wanted)
    return True


def book(
    c: apsw.Connection, call_id: str, usage: Usage, status: int, first_ms: float, total_ms: float
) -> None:
    """Replace the reservation by what was used; only the first booking counts."""
    found = maybe(
        c,
        "SELECT at, lane, reserved_micro FROM call WHERE id = ? AND state = 'reserved'",
        (call_id,),
    )
    if found is None:
        return
    at, lane, reserved = found
    c.execute(
        "UPDATE call SET state = 'settled', prompt_tokens = ?, cached_tokens = ?,"
        " completion_tokens = ?, cost_micro = ?, status = ?, first_ms = ?, total_ms = ?"
        " WHERE id = ?",
        (
            usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens, usage.cost_micro,
            status, first_ms, total_ms, call_id,
        ),
    )  # fmt: skip
    if usage.cost_micro != reserved:
        _add(c, at, lane, usage.cost_micro - reserved)


def close_open(c: apsw.Connection) -> int:
    """Calls cut off by a crash count at what was set aside: never too little."""
    c.execute(
        "UPDATE call SET state = 'unknown', cost_micro = reserved_micro,"
        " reason = reason || '; cut off by a stop of the gateway' WHERE state = 'reserved'"
    )
    return c.changes()
