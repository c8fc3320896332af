"""The SQL of retention: what is over is taken out in small batches, its identity stays known.

Each batch is one short operation of the writer, so that whoever else writes goes between two of
them. A pruned job leaves a row in ``pruned`` (its state and its idempotency key), a call its part
of the sum of its day in ``call_day``; a message stays, unless the owner wants its words gone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import apsw
import msgspec

from stead.core.pruning import Batch, PruneRule
from stead.core.storage import View
from stead.store.sqlite import calls as audit
from stead.store.sqlite import files
from stead.store.sqlite.sql import NOW, Row, maybe, row, rows

#: Tables whose rows are a job's own and go with it; `discarded` and `replay` follow by themselves.
DETAIL = ("attempt", "step")

_SPARE = 512
"""Pages that stay free in the file: they will soon be wanted again."""

_OVER = "('sent', 'left', 'dropped')"
"""States of a delivery that needs nobody any more."""


def begin(c: apsw.Connection, words: str) -> int:
    """Note that a rule is being applied; the number that its pruned rows carry."""
    return int(
        c.execute(f"INSERT INTO pruning (at, rule) VALUES ({NOW}, ?) RETURNING id", (words,)).get
    )


def jobs(c: apsw.Connection, rule: PruneRule, pruning: int, after: str, most: int) -> Batch:
    """Prune those of the next ``most`` jobs behind ``after`` that the rule covers."""
    begun = time.perf_counter()
    looked = rows(c, *_jobs(rule, after, most))
    ids = msgspec.json.encode([job_id for job_id, covered in looked if covered]).decode()
    these = "(SELECT value FROM json_each(?))"
    c.execute(
        "INSERT INTO pruned (job_id, pruning, state, ended_at, idem_key)"
        f" SELECT id, ?, state, ended_at, idem_key FROM job WHERE id IN {these}",
        (pruning, ids),
    )
    many = c.changes()
    if many:
        for table in DETAIL:
            c.execute(f"DELETE FROM {table} WHERE job_id IN {these}", (ids,))
        c.execute(f"DELETE FROM outbox WHERE job_id IN {these} AND state IN {_OVER}", (ids,))
        c.execute(f"DELETE FROM job WHERE id IN {these}", (ids,))
        c.execute("UPDATE pruning SET jobs = jobs + ? WHERE id = ?", (many, pruning))
    last = looked[-1][0] if len(looked) == most else ""
    return Batch(many, last, (time.perf_counter() - begun) * 1000)


def _jobs(rule: PruneRule, after: str, most: int) -> tuple[str, tuple[object, ...]]:
    """The next jobs, and whether the rule covers each. An id begins with its time of making, so
    one that may be covered lies before the id of the rule's moment."""
    states = ", ".join(f"'{state}'" for state in rule.states)
    sql = (
        f"SELECT id, state IN ({states}) AND ended_at > 0 AND ended_at < {NOW} - ?1 FROM job"
        f" WHERE id > ?2 AND id < {_id_of(f'{NOW} - ?1')} ORDER BY id LIMIT ?3"
    )
    return sql, (rule.older_ms, after, most)


def _id_of(ms: str) -> str:
    """SQL for the lowest id that is made at a time."""
    hexed = f"printf('%012x', {ms})"
    return f"(substr({hexed}, 1, 8) || '-' || substr({hexed}, 9))"


def calls(c: apsw.Connection, older_ms: int, most: int) -> Batch:
    """Add the next old calls to the sums of their days and prune them."""
    begun = time.perf_counter()
    found = rows(
        c,
        f"SELECT id FROM call WHERE at < {NOW} - ? AND state <> 'reserved' ORDER BY at LIMIT ?",
        (older_ms, most),
    )
    ids = msgspec.json.encode([one[0] for one in found]).decode()
    these = "(SELECT value FROM json_each(?))"
    told = ", ".join(audit.SUMMED)
    adding = ", ".join(f"{name} = {name} + excluded.{name}" for name in audit.SUMMED)
    c.execute(
        f"INSERT INTO call_day (day, {audit.KINDS}, {told})"
        f" SELECT {audit.DAY} AS d, {audit.KINDS}, {audit.SUMS}"
        f" FROM call WHERE id IN {these} GROUP BY d, {audit.KINDS}"
        f" ON CONFLICT (day, {audit.KINDS}) DO UPDATE SET {adding}",
        (ids,),
    )
    c.execute(f"DELETE FROM call WHERE id IN {these}", (ids,))
    more = "more" if len(found) == most else ""
    return Batch(len(found), more, (time.perf_counter() - begun) * 1000)


def call_days(c: apsw.Connection) -> list[View]:
    """The sums of calls that were pruned."""
    fields = ("day", *audit.KINDS.split(", "), *audit.SUMMED)
    found = rows(c, f"SELECT {', '.join(fields)} FROM call_day ORDER BY day, {audit.KINDS}")
    return [dict(zip(fields, one, strict=True)) for one in found]


def _next(looked: list[Row], most: int) -> str:
    """Where to go on; nowhere behind a whole batch of what is not old enough."""
    return str(looked[-1][0]) if len(looked) == most and any(one[2] for one in looked) else ""


def notices(c: apsw.Connection, older_ms: int, after: str, most: int) -> Batch:
    """Prune deliveries that belong to no job and are over; their messages stay."""
    begun = time.perf_counter()
    looked = rows(
        c,
        f"SELECT id, job_id IS NULL AND state IN {_OVER} AND next_at < {NOW} - ?1,"
        f" next_at < {NOW} - ?1 FROM outbox WHERE id > ?2 ORDER BY id LIMIT ?3",
        (older_ms, int(after or 0), most),
    )
    ids = [one[0] for one in looked if one[1]]
    c.execute(
        "DELETE FROM outbox WHERE id IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(ids).decode(),),
    )
    last = _next(looked, most)
    return Batch(len(ids), last, (time.perf_counter() - begun) * 1000)


#: Messages that are part of nothing which is still under way.
_SETTLED = """
NOT EXISTS (SELECT 1 FROM job j WHERE j.id = m.job_id
            AND j.state IN ('queued', 'running', 'waiting'))
AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.message_id = m.id
                AND o.state IN ('pending', 'sending', 'ambiguous', 'failed'))
"""


def messages(c: apsw.Connection, before: int, after: str, most: int) -> Batch:
    """Take the words out of the next old messages. That they were said, when and by which way
    stays, so that one that comes again is still known."""
    begun = time.perf_counter()
    looked = rows(
        c,
        f"SELECT seq, pruned_at = 0 AND at < ?1 AND {_SETTLED}, at < ?1 FROM message m"
        " WHERE seq > ?2 ORDER BY seq LIMIT ?3",
        (before, int(after or 0), most),
    )
    ids = msgspec.json.encode([one[0] for one in looked if one[1]]).decode()
    c.pragma("secure_delete", True)  # else the words would still lie in the file's free space
    c.execute(
        f"UPDATE message SET text = '', body_hash = '', pruned_at = {NOW}"
        " WHERE seq IN (SELECT value FROM json_each(?))",
        (ids,),
    )
    many = c.changes()
    gone = rows(c, "SELECT id FROM message WHERE seq IN (SELECT value FROM json_each(?))", (ids,))
    files.take_off(c, msgspec.json.encode([one[0] for one in gone]).decode())
    c.pragma("secure_delete", "FAST")
    last = _next(looked, most)
    return Batch(many, last, (time.perf_counter() - begun) * 1000)


def plan(c: apsw.Connection, rules: Sequence[PruneRule], calls_ms: int, before: int | None) -> View:
    """How many rows each rule would prune now. Changes nothing."""
    found: View = {"jobs": []}
    for rule in rules:
        sql, args = _jobs(rule, "", -1)
        counted = f"WITH l (id, covered) AS ({sql}) SELECT count(*) FROM l WHERE covered"
        (many,) = row(c, counted, args)
        found["jobs"].append({"rule": rule.words, "jobs": many})
    (found["calls"],) = row(
        c, f"SELECT count(*) FROM call WHERE at < {NOW} - ? AND state <> 'reserved'", (calls_ms,)
    )
    if before is not None:
        (found["messages"],) = row(
            c,
            f"SELECT count(*) FROM message m WHERE at < ? AND pruned_at = 0 AND {_SETTLED}",
            (before,),
        )
    return found


# --- space ---------------------------------------------------------------------


def size(c: apsw.Connection) -> View:
    """Bytes of the database that are in use, and that are free within it."""
    page, pages, free = (c.pragma(name) for name in ("page_size", "page_count", "freelist_count"))
    return {"used": (pages - free) * page, "free": free * page}


def give_back(c: apsw.Connection, pages: int) -> Batch:
    """Return free pages to the disk, but for some that will soon be wanted again."""
    begun = time.perf_counter()
    free = int(c.pragma("freelist_count"))
    many = max(0, min(pages, free - _SPARE))
    if many:
        c.execute(f"PRAGMA incremental_vacuum({many:d})").fetchall()
    left = int(c.pragma("freelist_count"))
    more = "more" if left < free and left > _SPARE else ""
    return Batch(free - left, more, (time.perf_counter() - begun) * 1000)


# --- what was pruned -------------------------------------------------------------


def known(c: apsw.Connection, job_id: str) -> View | None:
    """When and by which rule a job was pruned; None if it was not."""
    found = maybe(
        c,
        "SELECT d.job_id, d.state, d.ended_at, p.at, p.rule FROM pruned d"
        " JOIN pruning p ON p.id = d.pruning WHERE d.job_id = ?",
        (job_id,),
    )
    if found is None:
        return None
    return dict(zip(("id", "state", "ended_at", "pruned_at", "rule"), found, strict=True))


def by_idem_key(c: apsw.Connection, key: str) -> str | None:
    found = maybe(c, "SELECT job_id FROM pruned WHERE idem_key = ?", (key,))
    return str(found[0]) if found else None
