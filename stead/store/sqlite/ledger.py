"""The ledger's SQL: money set aside before, booked after; each request a row, written in batches.

``spent`` is moved in the transaction that writes a row, so that the sum of a day, of a key or of
a lane is known at once, however many rows there are.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

import apsw

from stead.core.nouns import Call, Cap
from stead.core.people import OTHERS
from stead.store.sqlite.sql import NOW as _NOW
from stead.store.sqlite.sql import Row, row, rows

log = logging.getLogger(__name__)

_TODAY = "strftime('%Y-%m-%d', 'now')"
_MONTH = "strftime('%Y-%m-01', 'now')"
_SHARES = "('chat', 'background')"

#: The columns of a row, in the order of :func:`written`. The second is told by the database.
COLUMNS = (
    "id", "at", "caller", "key_id", "job_id", "share", "api", "asked", "lane", "model", "backend",
    "instance", "stream", "reason", "tried", "shadow_of", "state", "status", "outcome",
    "error", "prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens",
    "reasoning_tokens", "estimated", "cost_micro", "reserved_micro", "waited_ms", "first_ms",
    "total_ms", "bytes_in", "bytes_out",
)  # fmt: skip
_AT, _RESERVED, _COST = (COLUMNS.index(name) for name in ("at", "reserved_micro", "cost_micro"))
_SHARE, _KEY, _LANE = (COLUMNS.index(name) for name in ("share", "key_id", "lane"))

#: What the end of a call may say anew; when it came and what was set aside stays as it was.
_TOLD = [name for name in COLUMNS if name not in ("id", "at", "reserved_micro")]
_END = (
    f"ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _TOLD)}"
    " WHERE call.state = 'reserved'"
)
_OPEN = "ON CONFLICT (id) DO NOTHING"

#: So many rows go in with one statement: each costs the writer a turn at the interpreter's lock.
_SIZES = (64, 8, 1)
#: Longer texts are cut: some of them come from strangers, and each request has a row.
_TEXT, _LONG, _TRIED = 200, 2000, 10
_MOST = 2**53
"""The largest whole number that every reader of JSON can hold."""


def _insert(many: int, otherwise: str) -> str:
    """A statement for so many rows: its parameters are the present time, then the rows'."""
    width = len(COLUMNS)
    lines = []
    for first in range(2, 2 + many * width, width):
        cells = [f"?{n}" for n in range(first, first + width)]
        cells[_AT] = f"?1 - {cells[_AT]}"
        lines.append(f"({', '.join(cells)})")
    return f"INSERT INTO call ({', '.join(COLUMNS)}) VALUES {', '.join(lines)} {otherwise}"


_INSERTS = {how: {many: _insert(many, how) for many in _SIZES} for how in (_OPEN, _END)}


def written(call: Call, moment: float) -> Row:
    """The row of a call as it is now (``moment`` on ``time.monotonic()``); ``at`` is its age.

    Made where the call lives, since it may change while the writer is at work.
    """
    usage, began = call.usage, call.began
    return (
        call.id, int((moment - began) * 1000) if began else 0, call.caller, call.key_id,
        call.job_id, call.share, call.api, call.asked[:_TEXT], call.lane[:_TEXT],
        call.model[:_TEXT], call.backend, call.instance[:_TEXT], call.stream, call.reason[:_LONG],
        _words(call.tried) if call.tried else "", call.shadow_of or None, call.state,
        call.status, call.outcome[:_TEXT], call.error[:_LONG], usage.prompt_tokens,
        usage.cached_tokens, usage.cache_write_tokens, usage.completion_tokens,
        usage.reasoning_tokens, call.estimated, usage.cost_micro, call.reserved_micro,
        call.waited_ms, call.first_ms, call.total_ms, call.bytes_in, call.bytes_out,
    )  # fmt: skip


def _words(tried: Sequence[str]) -> str:
    return json.dumps([one[:_TEXT] for one in tried[:_TRIED]])


def record_many(c: apsw.Connection, opened: Sequence[Row], ended: Sequence[Row]) -> None:
    """Write rows of calls that are under way and of calls that are over. Of a call that is over
    already nothing is changed."""
    now = _now(c)
    money = [one for one in (*opened, *ended) if one[_RESERVED] or one[_COST]]
    if money:
        _move(c, now, opened, ended, _standing(c, money))
    if opened:
        _write(c, now, opened, _OPEN)
    if ended:
        _write(c, now, ended, _END)


def _now(c: apsw.Connection) -> int:
    return int(row(c, f"SELECT {_NOW}")[0])


def _write(c: apsw.Connection, now: int, those: Sequence[Row], how: str) -> None:
    inserts, todo = _INSERTS[how], iter(those)
    left = len(those)
    for many in _SIZES:
        while left >= many:
            some = list(islice(todo, many))
            left -= many
            try:
                c.execute(inserts[many], (now, *chain.from_iterable(some)))
            except (UnicodeError, OverflowError, TypeError, apsw.ConstraintError):
                for one in some:  # one that cannot be written as it is holds up no other
                    _write_odd(c, inserts[1], now, one)


def _write_odd(c: apsw.Connection, sql: str, now: int, one: Row) -> None:
    try:
        c.execute(sql, (now, *map(_sound, one)))
    except (TypeError, apsw.ConstraintError) as error:
        log.error("a call cannot be recorded: %s", error, extra={"fields": {"call": str(one[0])}})


def _sound(value: Any) -> Any:
    """Text without what is no text, and numbers that a column holds."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return max(-_MOST, min(_MOST, value))
    return 0.0 if value != value else value  # what is not a number would be NULL


# --- money -------------------------------------------------------------------------------------


def _standing(c: apsw.Connection, money: Sequence[Row]) -> dict[str, Row]:
    """Of these calls those that have a row: (state, at, reserved, share, key, lane)."""
    found = rows(
        c,
        "SELECT id, state, at, reserved_micro, share, key_id, lane FROM call"
        " WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps([_sound(one[0]) for one in money]),),
    )
    return {one[0]: one[1:] for one in found}


def _move(
    c: apsw.Connection,
    now: int,
    opened: Sequence[Row],
    ended: Sequence[Row],
    standing: dict[str, Row],
) -> None:
    """Move the sums by what rows set aside and what they cost; only the first end counts."""
    moves: Counter[tuple[str, str]] = Counter()
    for one in opened:
        if one[_RESERVED] and one[0] not in standing:
            where = now - one[_AT], one[_SHARE], one[_KEY], one[_LANE]
            _count(moves, one[_RESERVED], *where)
            standing[one[0]] = ("reserved", where[0], one[_RESERVED], *where[1:])
    for one in ended:
        known = standing.get(one[0])
        if known is None:
            where = now - one[_AT], one[_SHARE], one[_KEY], one[_LANE]
            _count(moves, one[_COST], *where)
            standing[one[0]] = ("settled", where[0], 0, *where[1:])
        elif known[0] == "reserved":
            _, at, reserved, *scopes = known
            _count(moves, one[_COST] - reserved, at, *scopes)
            standing[one[0]] = ("settled", at, 0, *scopes)
    _add(c, moves)


def _count(
    moves: Counter[tuple[str, str]], micro: int, at: int, share: str, key: str, lane: str
) -> None:
    day = time.strftime("%Y-%m-%d", time.gmtime(at / 1000))
    for scope in _scopes(share, key, lane):
        moves[day, scope] += micro


def _scopes(share: str, key: str, lane: str) -> list[str]:
    """What a call's money counts in."""
    whose = key if key.startswith(OTHERS) else f"key:{key}"
    return [share, *([whose] if key else []), *([f"lane:{lane}"] if lane else [])]


def _add(c: apsw.Connection, moves: Counter[tuple[str, str]]) -> None:
    for (day, scope), micro in moves.items():
        if micro:
            c.execute(
                "INSERT INTO spent (day, scope, micro) VALUES (?, ?, ?)"
                " ON CONFLICT (day, scope) DO UPDATE SET micro = micro + excluded.micro",
                (day, scope, micro),
            )


def spent_today(c: apsw.Connection) -> dict[str, int]:
    """Micro-dollars spent or set aside today (UTC), by share."""
    found = rows(c, f"SELECT scope, micro FROM spent WHERE day = {_TODAY} AND scope IN {_SHARES}")
    return {str(scope): int(micro) for scope, micro in found}


def spent(c: apsw.Connection) -> dict[str, tuple[int, int]]:
    """Micro-dollars spent or set aside by scope: today, and in this month (UTC)."""
    found = rows(
        c,
        f"SELECT scope, sum(CASE day WHEN {_TODAY} THEN micro ELSE 0 END), sum(micro) FROM spent"
        f" WHERE day >= {_MONTH} AND day <= {_TODAY} GROUP BY scope",
    )
    return {str(scope): (int(today), int(month)) for scope, today, month in found}


def reserve(c: apsw.Connection, one: Row, caps: Sequence[Cap]) -> Cap | None:
    """Write a call that sets money aside; if that would pass a cap, write nothing: which one."""
    for cap in caps:
        scopes = f"scope IN {_SHARES}" if not cap.scope else "scope = ?"
        first = _MONTH if cap.month else _TODAY
        (there,) = row(
            c,
            "SELECT coalesce(sum(micro), 0) FROM spent"
            f" WHERE day >= {first} AND day <= {_TODAY} AND {scopes}",
            (cap.scope,) if cap.scope else (),
        )
        if there + one[_RESERVED] > cap.micro:
            return cap
    known = _standing(c, [one]).get(one[0])
    if known is None:
        record_many(c, [one], [])
    elif known[0] == "reserved":  # it took a while until it was known where it goes
        _, at, reserved, *_ = known
        where = one[_SHARE], one[_KEY], one[_LANE]
        c.execute(
            "UPDATE call SET reserved_micro = ?, share = ?, key_id = ?, lane = ? WHERE id = ?",
            (one[_RESERVED], *where, one[0]),
        )
        moves: Counter[tuple[str, str]] = Counter()
        _count(moves, -reserved, at, *known[3:])
        _count(moves, one[_RESERVED], at, *where)
        _add(c, moves)
    return None


def close_open(c: apsw.Connection) -> int:
    """Calls cut off by a crash count at what was set aside: never too little."""
    c.execute(
        "UPDATE call SET state = 'unknown', cost_micro = reserved_micro, outcome = 'cut_off',"
        " reason = reason || '; cut off by a stop of the gateway' WHERE state = 'reserved'"
    )
    return c.changes()
