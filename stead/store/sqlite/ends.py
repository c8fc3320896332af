"""The queue's SQL on a job's way out: finish, crash, cancel, and the ways back in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from stead.core.errors import NotFound, StaleEpoch, WrongState
from stead.core.nouns import Job
from stead.core.states import ENDED, JobState
from stead.core.storage import CrashRule, Ended, Rule, Ruling
from stead.core.wire import Finish
from stead.store.sqlite import record
from stead.store.sqlite.jobs import AT, COLUMNS, FIELDS, cells, get
from stead.store.sqlite.sql import NOW

#: A row of these: a job, when its present attempt began, and the time now.
_SELECT = f"SELECT {COLUMNS}, attempt_at, {NOW} FROM job"
_BEGAN, _CLOCK = len(FIELDS), len(FIELDS) + 1

_MINE = f"{_SELECT} WHERE id = ? AND epoch = ? AND node_id = ? AND state = 'running'"


def finish(c: apsw.Connection, node_id: str, report: Finish, rule: Rule) -> Ended:
    row = c.execute(_MINE, (report.job_id, report.epoch, node_id)).fetchone()
    if row is None:
        return _repeated(c, node_id, report)
    found = cells(row)
    job = Job(*found)
    ruling = rule(job, report)
    _note_attempt(
        c, row, report.outcome, report.trouble.message if report.trouble else "",
        report.worked_ms, report.id, ruling.state,
    )  # fmt: skip
    if report.outcome == "failed" and ruling.counts:
        found[AT["tries"]] += 1
    return _move(c, found, ruling, row[_CLOCK])


def _repeated(c: apsw.Connection, node_id: str, report: Finish) -> Ended:
    """The answer that this very report had before (invariant 4). Raises ``StaleEpoch``."""
    earlier = c.execute(
        "SELECT reply FROM attempt WHERE job_id = ? AND epoch = ? AND node_id = ?"
        " AND report_id = ? AND report_id <> ''",
        (report.job_id, report.epoch, node_id, report.id),
    ).fetchone()
    if earlier is None:
        raise StaleEpoch(job_id=report.job_id, epoch=report.epoch)
    return Ended(get(c, report.job_id), JobState(earlier[0]), repeat=True)


def _note_attempt(
    c: apsw.Connection,
    row: Sequence[Any],
    outcome: str,
    error: str,
    worked_ms: int = 0,
    report_id: str = "",
    reply: str = "",
) -> None:
    """An attempt gets its row when it ends; until then it is told by the job's own row."""
    c.execute(
        "INSERT INTO attempt (job_id, epoch, node_id, started_at, ended_at, outcome, error,"
        " worked_ms, report_id, reply) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row[0], row[AT["epoch"]], row[AT["node_id"]], row[_BEGAN], row[_CLOCK], outcome, error,
            worked_ms, report_id, reply,
        ),
    )  # fmt: skip


_MOVE = """
UPDATE job SET state = ?2, tries = ?3, crashes = ?4, error = ?5, run_at = ?6, ended_at = ?7,
    lease_until = 0, waiting_for = ?8, claim_req = NULL
WHERE id = ?1
"""


def _move(c: apsw.Connection, found: list[Any], ruling: Ruling, now: int) -> Ended:
    """Put a job into the state ruled, with its reply, outbox row and log line."""
    found[AT["state"]] = ruling.state
    found[AT["error"]] = ruling.error
    if ruling.state is JobState.QUEUED:
        found[AT["run_at"]] = now + ruling.delay_ms
    found[AT["ended_at"]] = now if ruling.state in ENDED else 0
    found[AT["lease_until"]] = 0
    found[AT["waiting_for"]] = ruling.waiting_for
    job = Job(*found)
    c.execute(
        _MOVE,
        (
            job.id, job.state, job.tries, job.crashes, job.error, job.run_at, job.ended_at,
            job.waiting_for,
        ),
    )  # fmt: skip
    message_id = None
    if job.message_id is not None and ruling.reply is not None:
        message_id = record.reply(c, job, ruling.reply, ruling.role)
    if ruling.line:
        record.day_line(c, ruling.line)
    ready = None
    if job.conc_key is not None and job.state is not JobState.QUEUED:
        ready = _unblock(c, job.conc_key)
    return Ended(job, job.state, message_id=message_id, ready=ready)


def _unblock(c: apsw.Connection, conc_key: str) -> tuple[str, str] | None:
    """Let the next job of a key become ready; returns its needs and lane.

    None becomes ready while another of the key is: the unblocked one sorts first.
    """
    row = c.execute(
        "UPDATE job SET blocked = 0 WHERE blocked = 1 AND id ="
        " (SELECT id FROM job WHERE conc_key = ?1 AND state IN ('queued', 'running')"
        "  ORDER BY blocked, id LIMIT 1) RETURNING needs, lane",
        (conc_key,),
    ).fetchone()
    return None if row is None else (str(row[0]), str(row[1]))


# --- a worker vanished ---------------------------------------------------------


def _crashed(c: apsw.Connection, row: Sequence[Any], why: str, rule: CrashRule) -> Ended:
    """A worker vanished with this job: count the crash first, then decide."""
    found = cells(row)
    found[AT["crashes"]] += 1
    _note_attempt(c, row, "crashed", why)
    return _move(c, found, rule(Job(*found), why), row[_CLOCK])


def expired(c: apsw.Connection, limit: int) -> list[str]:
    """The running jobs whose lease has run out, those that ran out first before others."""
    rows = c.execute(
        f"SELECT id FROM job WHERE state = 'running' AND lease_until < {NOW}"
        " ORDER BY lease_until LIMIT ?",
        (limit,),
    )
    return [str(row[0]) for row in rows]


def past_deadline(c: apsw.Connection, limit: int) -> list[str]:
    """The jobs that nobody took up, or that still wait, after their time."""
    rows = c.execute(
        f"SELECT id FROM job WHERE deadline_at > 0 AND deadline_at < {NOW}"
        " AND state IN ('queued', 'waiting') LIMIT ?",
        (limit,),
    )
    return [str(row[0]) for row in rows]


def reap(c: apsw.Connection, job_id: str, rule: CrashRule) -> Ended | None:
    """Take one of those back; None if it has gone on by itself meanwhile."""
    row = c.execute(f"{_SELECT} WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        return None
    state, now = row[AT["state"]], row[_CLOCK]
    if state == JobState.RUNNING and row[AT["lease_until"]] < now:
        return _crashed(c, row, "its worker went silent and the lease ran out", rule)
    if state in (JobState.QUEUED, JobState.WAITING) and 0 < row[AT["deadline_at"]] < now:
        return _move(c, cells(row), rule(Job(*cells(row)), "deadline"), now)
    return None


def left_behind(c: apsw.Connection, node_id: str, boot: str) -> list[str]:
    """The jobs that other boots of this node still hold."""
    rows = c.execute(
        "SELECT id FROM job WHERE state = 'running' AND node_id = ? AND boot <> ? ORDER BY id",
        (node_id, boot),
    )
    return [str(row[0]) for row in rows]


def release(
    c: apsw.Connection, job_id: str, node_id: str, boot: str, rule: CrashRule
) -> Ended | None:
    """Take one of those back; None if it has gone on by itself meanwhile."""
    row = c.execute(
        f"{_SELECT} WHERE id = ? AND state = 'running' AND node_id = ? AND boot <> ?",
        (job_id, node_id, boot),
    ).fetchone()
    return None if row is None else _crashed(c, row, "its worker restarted", rule)


# --- by the owner's hand ---------------------------------------------------------


def cancel(c: apsw.Connection, job_id: str, rule: CrashRule) -> Ended:
    row = c.execute(f"{_SELECT} WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound(what=f"job {job_id}")
    job = Job(*cells(row))
    if job.state in ENDED:
        raise WrongState(job_id=job_id, state=job.state)
    if job.state is JobState.RUNNING:
        c.execute("UPDATE job SET cancel_req = 1 WHERE id = ?", (job_id,))
        return Ended(get(c, job_id), job.state)
    return _move(c, cells(row), rule(job, "cancel"), row[_CLOCK])


def revive(c: apsw.Connection, job_id: str) -> Job:
    """The owner wants it done now, so a deadline that has passed does not count either."""
    job = get(c, job_id)
    if job.state is not JobState.DEAD:
        raise WrongState(job_id=job_id, state=job.state)
    _requeue(c, job)
    c.execute("UPDATE job SET tries = 0, crashes = 0, deadline_at = 0 WHERE id = ?", (job_id,))
    return get(c, job_id)


def answer(c: apsw.Connection, job_id: str, words: str) -> Job:
    """Hand the owner's answer to a waiting job: it goes into the payload, under the step asked."""
    job = get(c, job_id)
    if job.state is not JobState.WAITING:
        raise WrongState(job_id=job_id, state=job.state)
    asked = c.execute(
        "SELECT max(seq) FROM step WHERE job_id = ? AND state IN ('unknown', 'intent')", (job_id,)
    ).get
    answers = {**job.payload.get("answers", {}), str(asked or 0): words}
    payload = msgspec.json.encode({**job.payload, "answers": answers}).decode()
    c.execute("UPDATE job SET payload = ? WHERE id = ?", (payload, job_id))
    _requeue(c, job)
    return get(c, job_id)


def _requeue(c: apsw.Connection, job: Job) -> None:
    c.execute(
        f"UPDATE job SET state = 'queued', run_at = {NOW}, ended_at = 0, waiting_for = '',"
        " error = '', blocked = conc_key IS NOT NULL AND EXISTS (SELECT 1 FROM job o WHERE"
        " o.conc_key = job.conc_key AND o.state IN ('queued', 'running')) WHERE id = ?",
        (job.id,),
    )
