"""The queue's SQL: one function a statement of intent, all within the caller's transaction.

Claiming and ending are conditional updates whose effect is checked; nothing
here trusts what a worker says about itself but ``(job id, epoch, node)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import apsw
import msgspec

from stead.core.errors import NotFound, StaleEpoch, WrongState
from stead.core.ids import uuid7
from stead.core.nouns import Job, NewJob, Step, Usage
from stead.core.states import ENDED, JobState, Lane, OnUnknown, StepState
from stead.core.storage import Beat, CrashRule, Ended, Granted, Rule, Ruling
from stead.core.wire import Finish, Held
from stead.store.sqlite import record

#: The database's clock in milliseconds (invariant 6).
NOW = "CAST(unixepoch('subsec') * 1000 AS INTEGER)"

_COLUMNS = (
    "id, lane, prio, kind, needs, payload, state, created_at, run_at, deadline_at, epoch, tries,"
    " crashes, max_tries, max_crashes, node_id, lease_until, cancel_req, conc_key, idem_key,"
    " message_id, session, route, started_at, ended_at, error, waiting_for, history_upto"
)

_decode = msgspec.json.decode
_encode = msgspec.json.encode


def _job(row: Sequence[Any]) -> Job:
    return Job(
        row[0], Lane(row[1]), row[2], row[3], row[4], _decode(row[5]), JobState(row[6]),
        *row[7:17], bool(row[17]), *row[18:],
    )  # fmt: skip


def get(c: apsw.Connection, job_id: str) -> Job:
    """Raises ``NotFound``."""
    row = c.execute(f"SELECT {_COLUMNS} FROM job WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound(what=f"job {job_id}")
    return _job(row)


def now(c: apsw.Connection) -> int:
    return int(c.execute(f"SELECT {NOW}").get)


# --- in ----------------------------------------------------------------------

_INSERT = f"""
INSERT INTO job (id, lane, prio, kind, needs, payload, state, blocked, created_at, run_at,
                 deadline_at, max_tries, max_crashes, conc_key, idem_key, message_id, session,
                 turn, route)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'queued',
        ?11 IS NOT NULL AND EXISTS (SELECT 1 FROM job WHERE conc_key = ?11
                                    AND state IN ('queued', 'running')),
        {NOW}, max(?7, {NOW}), ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
"""


def insert(c: apsw.Connection, job: NewJob, turn: int = 0, job_id: str | None = None) -> str:
    new_id = job_id or uuid7()
    c.execute(
        _INSERT,
        (
            new_id, job.lane, job.prio, job.kind, job.needs, _encode(job.payload).decode(),
            job.run_at, job.deadline_at, job.max_tries, job.max_crashes, job.conc_key,
            job.idem_key, job.message_id, job.session, turn, job.route,
        ),
    )  # fmt: skip
    return new_id


def by_idem_key(c: apsw.Connection, key: str) -> str | None:
    found = c.execute("SELECT id FROM job WHERE idem_key = ?", (key,)).fetchone()
    return found[0] if found else None


# --- claim -------------------------------------------------------------------

_PICK = f"""
SELECT id, prio, run_at FROM job
WHERE state = 'queued' AND blocked = 0 AND lane = ? AND needs = ? AND run_at <= {NOW}
ORDER BY prio, run_at, id LIMIT 1
"""

_GRANT = f"""
UPDATE job SET state = 'running', epoch = epoch + 1, node_id = ?2, boot = ?3, claim_req = ?4,
    lease_until = {NOW} + ?5, cancel_req = 0, waiting_for = '',
    started_at = CASE started_at WHEN 0 THEN {NOW} ELSE started_at END,
    history_upto = CASE history_upto WHEN 0 THEN
        (SELECT coalesce(max(seq), 0) FROM message) ELSE history_upto END
WHERE id = ?1 AND state = 'queued'
RETURNING {_COLUMNS}
"""


def claim(
    c: apsw.Connection,
    request_id: str,
    node_id: str,
    boot: str,
    lanes: Sequence[str],
    needs: Iterable[str],
    lease_ms: int,
) -> Granted | None:
    again = c.execute(
        f"SELECT {_COLUMNS} FROM job WHERE claim_req = ? AND state = 'running' AND node_id = ?",
        (request_id, node_id),
    ).fetchone()
    if again is not None:
        return Granted(_job(again), steps(c, again[0]))
    wanted = list(needs)
    for lane in lanes:
        ready = [
            row for need in wanted if (row := c.execute(_PICK, (lane, need)).fetchone()) is not None
        ]
        if ready:
            job_id = min(ready, key=lambda row: (row[1], row[2], row[0]))[0]
            granted = c.execute(_GRANT, (job_id, node_id, boot, request_id, lease_ms)).fetchone()
            job = _job(granted)
            c.execute(
                "INSERT INTO attempt (job_id, epoch, node_id, started_at)"
                f" VALUES (?, ?, ?, {NOW})",
                (job_id, job.epoch, node_id),
            )
            return Granted(job, steps(c, job_id) if job.epoch > 1 else [])
    return None


def queued_needs(c: apsw.Connection) -> set[str]:
    """Which sets of labels are asked for by jobs that are not over."""
    rows = c.execute(
        "SELECT needs FROM job WHERE state = 'queued' UNION SELECT needs FROM job"
        " WHERE state = 'running' UNION SELECT needs FROM job WHERE state IN ('waiting', 'dead')"
    )
    return {row[0] for row in rows}


# --- while it runs -----------------------------------------------------------


def heartbeat(c: apsw.Connection, node_id: str, held: Sequence[Held], lease_ms: int) -> Beat:
    cancel, lost = [], []
    for item in held:
        row = c.execute(
            f"UPDATE job SET lease_until = {NOW} + ?4"
            " WHERE id = ?1 AND epoch = ?2 AND node_id = ?3 AND state = 'running'"
            " RETURNING cancel_req",
            (item.job_id, item.epoch, node_id, lease_ms),
        ).fetchone()
        if row is None:
            lost.append(item.job_id)
        elif row[0]:
            cancel.append(item.job_id)
    return Beat(cancel, lost)


def fence(c: apsw.Connection, job_id: str, epoch: int, node_id: str) -> bool:
    """Raise ``StaleEpoch`` unless this worker owns the job; return whether to cancel."""
    row = c.execute(
        "SELECT cancel_req FROM job"
        " WHERE id = ? AND epoch = ? AND node_id = ? AND state = 'running'",
        (job_id, epoch, node_id),
    ).fetchone()
    if row is None:
        raise StaleEpoch(job_id=job_id, epoch=epoch)
    return bool(row[0])


_STEP_COLUMNS = (
    "seq, epoch, name, input_hash, state, rule, input, output, prompt_tokens, cached_tokens,"
    " completion_tokens, cost_micro, started_at, ended_at, note"
)


def step_of(row: Sequence[Any]) -> Step:
    """A step from a row of ``_STEP_COLUMNS``."""
    return Step(
        seq=row[0], epoch=row[1], name=row[2], input_hash=row[3], state=StepState(row[4]),
        rule=OnUnknown(row[5]), input=row[6], output=row[7], usage=Usage(*row[8:12]),
        started_at=row[12], ended_at=row[13], note=row[14],
    )  # fmt: skip


def journal(c: apsw.Connection, job_id: str, epoch: int, step: Step) -> bool:
    """Write one step of the present epoch; True if it was news.

    A known outcome is never overwritten. An intent of an earlier epoch that is
    now taken up again is marked: its own outcome will never be known.
    """
    usage = step.usage
    c.execute(
        f"INSERT INTO step (job_id, {_STEP_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (job_id, seq, epoch) DO UPDATE SET state = excluded.state,"
        " output = excluded.output, prompt_tokens = excluded.prompt_tokens,"
        " cached_tokens = excluded.cached_tokens, completion_tokens = excluded.completion_tokens,"
        " cost_micro = excluded.cost_micro, ended_at = excluded.ended_at,"
        " note = CASE excluded.note WHEN '' THEN note ELSE excluded.note END"
        " WHERE step.state = 'intent' AND excluded.state <> 'intent'",
        (
            job_id, step.seq, epoch, step.name, step.input_hash, step.state, step.rule, step.input,
            step.output, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens,
            usage.cost_micro, step.started_at, step.ended_at, step.note,
        ),
    )  # fmt: skip
    news = c.changes() > 0
    if news and step.state is StepState.INTENT and epoch > 1:
        c.execute(
            "UPDATE step SET state = 'unknown',"
            " note = 'in flight when its worker died; ' || CASE rule WHEN 'repeat'"
            " THEN 'repeated by its rule' ELSE 'settled by the owner' END"
            " WHERE job_id = ? AND seq = ? AND epoch < ? AND state = 'intent'",
            (job_id, step.seq, epoch),
        )
    return news


def steps(c: apsw.Connection, job_id: str) -> list[Step]:
    """What a worker needs to resume: for each place the outcome, else the last that is known."""
    best: dict[int, Step] = {}
    known = (StepState.DONE,)
    for row in c.execute(
        f"SELECT {_STEP_COLUMNS} FROM step WHERE job_id = ? ORDER BY seq, epoch", (job_id,)
    ):
        step = step_of(row)
        if step.seq not in best or best[step.seq].state not in known:
            best[step.seq] = step
    return list(best.values())


# --- the end -----------------------------------------------------------------


def finish(c: apsw.Connection, node_id: str, report: Finish, rule: Rule) -> Ended:
    earlier = c.execute(
        "SELECT reply FROM attempt WHERE job_id = ? AND epoch = ? AND node_id = ?"
        " AND report_id = ? AND report_id <> ''",
        (report.job_id, report.epoch, node_id, report.id),
    ).fetchone()
    if earlier is not None:
        return Ended(get(c, report.job_id), JobState(earlier[0]), repeat=True)
    fence(c, report.job_id, report.epoch, node_id)
    job = get(c, report.job_id)
    ruling = rule(job, report)
    error = report.trouble.message if report.trouble else ""
    c.execute(
        f"UPDATE attempt SET ended_at = {NOW}, outcome = ?3, error = ?4, worked_ms = ?5,"
        " report_id = ?6, reply = ?7 WHERE job_id = ?1 AND epoch = ?2",
        (
            report.job_id, report.epoch, report.outcome, error, report.worked_ms, report.id,
            ruling.state,
        ),
    )  # fmt: skip
    return _move(c, job, ruling, tries=1 if report.outcome == "failed" and ruling.counts else 0)


def _move(c: apsw.Connection, job: Job, ruling: Ruling, tries: int = 0, crashes: int = 0) -> Ended:
    """Put a job into the state ruled, with its reply, outbox row and log line."""
    over = ruling.state in ENDED
    c.execute(
        "UPDATE job SET state = ?2, tries = tries + ?3, crashes = crashes + ?4, error = ?5,"
        f" run_at = CASE ?2 WHEN 'queued' THEN {NOW} + ?6 ELSE run_at END,"
        f" ended_at = CASE ?7 WHEN 1 THEN {NOW} ELSE 0 END, lease_until = 0, waiting_for = ?8,"
        " claim_req = NULL WHERE id = ?1",
        (
            job.id, ruling.state, tries, crashes, ruling.error, ruling.delay_ms, int(over),
            ruling.waiting_for,
        ),
    )  # fmt: skip
    message_id = None
    if job.message_id is not None and ruling.reply is not None:
        message_id = record.reply(c, job, ruling.reply, ruling.role)
    if ruling.line:
        record.day_line(c, ruling.line)
    if job.conc_key is not None and ruling.state is not JobState.QUEUED:
        unblock(c, job.conc_key)
    return Ended(get(c, job.id), ruling.state, message_id=message_id)


def unblock(c: apsw.Connection, conc_key: str) -> None:
    """Let the next job of a key become ready, once none of that key is running."""
    c.execute(
        "UPDATE job SET blocked = 0 WHERE blocked = 1 AND id ="
        " (SELECT id FROM job WHERE conc_key = ?1 AND state IN ('queued', 'running')"
        "  ORDER BY state = 'queued', id LIMIT 1)",
        (conc_key,),
    )


def crashed(c: apsw.Connection, job: Job, why: str, rule: CrashRule) -> Ended:
    """A worker vanished with this job: count the crash first, then decide."""
    c.execute("UPDATE job SET crashes = crashes + 1 WHERE id = ?", (job.id,))
    counted = get(c, job.id)
    c.execute(
        f"UPDATE attempt SET ended_at = {NOW}, outcome = 'crashed', error = ?3"
        " WHERE job_id = ?1 AND epoch = ?2 AND outcome = ''",
        (job.id, job.epoch, why),
    )
    return _move(c, counted, rule(counted, why))


def expired(c: apsw.Connection, limit: int) -> list[Job]:
    rows = c.execute(
        f"SELECT {_COLUMNS} FROM job WHERE state = 'running' AND lease_until < {NOW}"
        " ORDER BY lease_until LIMIT ?",
        (limit,),
    ).fetchall()
    return [_job(row) for row in rows]


def past_deadline(c: apsw.Connection, limit: int) -> list[Job]:
    rows = c.execute(
        f"SELECT {_COLUMNS} FROM job WHERE deadline_at > 0 AND deadline_at < {NOW}"
        " AND state IN ('queued', 'waiting') LIMIT ?",
        (limit,),
    ).fetchall()
    return [_job(row) for row in rows]


def reap(c: apsw.Connection, rule: CrashRule, limit: int) -> list[Ended]:
    ended = [
        crashed(c, job, "its worker went silent and the lease ran out", rule)
        for job in expired(c, limit)
    ]
    for job in past_deadline(c, limit):
        ended.append(_move(c, job, rule(job, "deadline")))
    return ended


def release(c: apsw.Connection, node_id: str, boot: str, rule: CrashRule) -> list[Ended]:
    rows = c.execute(
        f"SELECT {_COLUMNS} FROM job WHERE state = 'running' AND node_id = ? AND boot <> ?",
        (node_id, boot),
    ).fetchall()
    return [crashed(c, _job(row), "its worker restarted", rule) for row in rows]


def cancel(c: apsw.Connection, job_id: str, rule: CrashRule) -> Ended:
    job = get(c, job_id)
    if job.state in ENDED:
        raise WrongState(job_id=job_id, state=job.state)
    if job.state is JobState.RUNNING:
        c.execute("UPDATE job SET cancel_req = 1 WHERE id = ?", (job_id,))
        return Ended(get(c, job_id), job.state)
    return _move(c, job, rule(job, "cancel"))


def revive(c: apsw.Connection, job_id: str) -> Job:
    job = get(c, job_id)
    if job.state is not JobState.DEAD:
        raise WrongState(job_id=job_id, state=job.state)
    _requeue(c, job)
    c.execute("UPDATE job SET tries = 0, crashes = 0 WHERE id = ?", (job_id,))
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
    payload = _encode({**job.payload, "answers": answers}).decode()
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
