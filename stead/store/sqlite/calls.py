"""Looks at the audit: the requests at the model door, one by one and in sums."""

from __future__ import annotations

import json
import re
from typing import Any

import apsw

from stead.core.errors import BadRequest, NotFound
from stead.core.storage import View
from stead.store.sqlite.ledger import COLUMNS
from stead.store.sqlite.sql import rows, shown

#: What sums are kept by, beside the day, and what is summed.
KINDS = "caller, lane, share, model, backend"
SUMMED = (
    "calls", "errors", "estimated", "prompt_tokens", "cached_tokens", "cache_write_tokens",
    "completion_tokens", "reasoning_tokens", "cost_micro",
)  # fmt: skip

_BAD = "outcome NOT IN ('ok', 'left', '')"
DAY = "strftime('%Y-%m-%d', at / 1000, 'unixepoch')"
SUMS = f"count(*), sum({_BAD}), " + ", ".join(f"sum({name})" for name in SUMMED[2:])

#: What sums are shown by; a day and a month are those of UTC.
_BY = {
    "model": "model",
    "backend": "backend",
    "lane": "lane",
    "key": "caller",
    "share": "share",
    "day": "day",
    "month": "substr(day, 1, 7)",
    "session": "session",
}
#: The conversation whose job a call belongs to; nothing where none, or where the job was pruned.
_SESSION = "coalesce((SELECT session FROM job WHERE job.id = call.job_id), '')"  # fmt: skip

_SELECT = f"SELECT {', '.join(f'call.{name}' for name in COLUMNS)} FROM call"

#: By how much the time of an id may be later than that of its row (they are taken one after
#: the other), in milliseconds.
_SLACK = 60_000


def _view(row: tuple[Any, ...]) -> View:
    view = dict(zip(COLUMNS, row, strict=True))
    view["tried"] = _tried(view["tried"])
    for name in ("stream", "estimated"):
        view[name] = bool(view[name])
    for name in ("waited_ms", "first_ms", "total_ms"):
        view[name] = round(view[name], 3)
    return view


def _tried(text: str) -> list[str]:
    try:
        found = json.loads(text or "[]")
    except ValueError:  # a damaged row shows what it has
        return [text]
    return [str(one) for one in found] if isinstance(found, list) else [text]


def of_job(c: apsw.Connection, job_id: str) -> list[View]:
    """The calls of a job, the oldest first."""
    return [_view(one) for one in shown(c, f"{_SELECT} WHERE job_id = ? ORDER BY id", (job_id,))]


def listed(
    c: apsw.Connection,
    *,
    limit: int = 50,
    before: str = "",
    job_id: str = "",
    key: str = "",
    status: str = "",
    outcome: str = "",
    since: int = 0,
    until: int = 0,
    slow_ms: float = 0.0,
    cost_over: int = -1,
    ended_after: int = 0,
    **same: str,
) -> View:
    """The newest calls first; ``before`` is the id of the last one seen. ``same``: columns that
    have to be as given (lane, model, backend, api)."""
    where: list[str] = []
    args: list[Any] = []

    def that(condition: str, *values: Any) -> None:
        where.append(condition)
        args.extend(values)

    for name in sorted(same):
        if name not in ("lane", "model", "backend", "api"):
            raise BadRequest(f"Calls cannot be filtered by {name!r}.", param=name)
        if same[name]:
            that(f"{name} = ?", same[name])
    if before:
        that("id < ?", before)
    if job_id:
        that("job_id = ?", job_id)
    if key:
        that("(caller = ? OR key_id = ?)", key, key)
    if status:
        that(*_status(status))
    if outcome == "error":
        that(_BAD)
    elif outcome:
        that("outcome = ?", outcome)
    if since:  # an id is made of its time, so that nothing older has to be looked at
        that("at >= ? AND id >= ?", since, _id_of(since - _SLACK))
    if until:
        that("at < ?", until)
    if slow_ms > 0:
        that("total_ms >= ?", slow_ms)
    if cost_over >= 0:
        that("cost_micro > ?", cost_over)
    if ended_after:
        that("state <> 'reserved' AND at + total_ms >= ?", ended_after)
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    found = shown(c, f"{_SELECT}{condition} ORDER BY id DESC LIMIT ?", (*args, limit + 1))
    return {"calls": [_view(one) for one in found[:limit]], "more": len(found) > limit}


def _status(text: str) -> tuple[Any, ...]:
    if re.fullmatch(r"[1-5]xx", text):
        low = int(text[0]) * 100
        return "status BETWEEN ? AND ?", low, low + 99
    if re.fullmatch(r"[0-9]{1,3}", text):
        return "status = ?", int(text)
    raise BadRequest(f"{text!r} is not a status: say 429, or 4xx.", param="status")


def _id_of(ms: int) -> str:
    """The lowest id that is made at a time."""
    text = f"{max(0, ms):012x}"
    return f"{text[:8]}-{text[8:]}"


def shown_one(c: apsw.Connection, ident: str) -> View:
    """A call with its shadows, and what it is the shadow of."""
    view = _view(shown(c, f"{_SELECT} WHERE id = ?", (_find(c, ident),))[0])
    shadows = shown(c, f"{_SELECT} WHERE shadow_of = ? ORDER BY id", (view["id"],))
    view["shadows"] = [_view(one) for one in shadows]
    return view


def _find(c: apsw.Connection, ident: str) -> str:
    """The call that an id, or a piece of at least 6 characters of its beginning or end, means."""
    if rows(c, "SELECT 1 FROM call WHERE id = ?", (ident,)):
        return ident
    if len(ident) < 6:
        raise NotFound(what=f"call {ident!r} (at least 6 characters of an id are needed)")
    if not re.fullmatch(r"[0-9a-f-]+", ident):
        raise NotFound(what=f"call {ident!r}")
    found = rows(
        c,
        "SELECT id FROM call WHERE id >= ?1 AND id < ?1 || 'g'"
        " UNION SELECT id FROM call WHERE substr(id, -length(?1)) = ?1 LIMIT 5",
        (ident,),
    )
    if not found:
        raise NotFound(what=f"call {ident!r}")
    if len(found) > 1:
        names = ", ".join(entry[0] for entry in found)
        raise BadRequest(f"{ident!r} could mean several calls: {names}. Give more of the id.")
    return str(found[0][0])


def sums(
    c: apsw.Connection,
    *,
    by: str = "model",
    since: int = 0,
    until: int = 0,
    **same: str,
) -> View:
    """The sums of calls by one of ``_BY``, also of calls whose rows were pruned."""
    if by not in _BY:
        raise BadRequest(f"There are no sums by {by!r}; there are {', '.join(_BY)}.", param="by")
    where, pruned, args = ["at >= ?1", "at < ?2"], [f"day >= {_day(1)}", f"day <= {_day(2)}"], []
    for name in sorted(same):
        if name not in ("lane", "model", "backend", "key"):
            raise BadRequest(f"Sums cannot be filtered by {name!r}.", param=name)
        if same[name]:
            args.append(same[name])
            condition = f"{'caller' if name == 'key' else name} = ?{len(args) + 2}"
            where.append(condition)
            pruned.append(condition)
    session = _SESSION if by == "session" else "''"  # a look at each job takes its time
    told = ", ".join(SUMMED)
    total = ", ".join(f"sum({name})" for name in SUMMED)
    order = "1" if by in ("day", "month") else f"{len(SUMMED) + 1} DESC, 2 DESC, 1"
    found = rows(
        c,
        f"WITH live (day, session, {KINDS}, {told}) AS (SELECT {DAY}, {session}, {KINDS}, {SUMS}"
        f" FROM call WHERE {' AND '.join(where)} GROUP BY 1, 2, {KINDS}),"
        f" every AS (SELECT day, session, {KINDS}, {told} FROM live UNION ALL"
        f" SELECT day, '', {KINDS}, {told} FROM call_day WHERE {' AND '.join(pruned)})"
        f" SELECT {_BY[by]}, {total} FROM every GROUP BY 1 ORDER BY {order}",
        (since, until or 2**62, *args),
    )
    fields = (by, *SUMMED)
    return {"by": by, "sums": [dict(zip(fields, one, strict=True)) for one in found]}


def _day(parameter: int) -> str:
    return f"strftime('%Y-%m-%d', min(?{parameter}, 99999999999999) / 1000, 'unixepoch')"


def today(c: apsw.Connection) -> list[View]:
    """What each backend was asked today (UTC); what came to none counts under an empty name."""
    found = rows(
        c,
        f"SELECT backend, count(*), sum({_BAD}), sum(prompt_tokens + completion_tokens),"
        " sum(cost_micro) FROM call"
        " WHERE at >= CAST(unixepoch('now', 'start of day') AS INTEGER) * 1000 GROUP BY backend",
    )
    fields = ("backend", "calls", "errors", "tokens", "cost_micro")
    return [dict(zip(fields, one, strict=True)) for one in found]
