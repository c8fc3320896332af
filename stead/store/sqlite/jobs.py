"""The queue's SQL on a job's way in and while it runs; its end is in ``ends``.

Claiming and ending are conditional updates whose effect is checked; nothing
here trusts what a worker says about itself but ``(job id, epoch, node)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

import apsw
import msgspec

from stead.core.errors import NotFound, StaleEpoch
from stead.core.ids import uuid7
from stead.core.nouns import Job, NewJob, Step, Usage
from stead.core.states import JobState, Lane, OnUnknown, StepState
from stead.core.storage import Beat, Granted
from stead.core.wire import Held
from stead.store.sqlite.sql import NOW

#: The columns of a job are the fields of ``Job``, in its order.
FIELDS = tuple(field.name for field in fields(Job))
COLUMNS = ", ".join(FIELDS)
AT = {name: place for place, name in enumerate(FIELDS)}

_WIDTH = len(FIELDS)
_LANES = {lane.value: lane for lane in Lane}
_STATES = {state.value: state for state in JobState}

_decode = msgspec.json.decode
_encode = msgspec.json.encode


def cells(row: Sequence[Any]) -> list[Any]:
    """The arguments of a ``Job`` from a row of ``COLUMNS`` (and perhaps more behind them)."""
    found = list(row[:_WIDTH])
    found[AT["lane"]] = _LANES[found[AT["lane"]]]
    found[AT["payload"]] = _decode(found[AT["payload"]])
    found[AT["state"]] = _STATES[found[AT["state"]]]
    found[AT["cancel_req"]] = bool(found[AT["cancel_req"]])
    return found


def get(c: apsw.Connection, job_id: str) -> Job:
    """Raises ``NotFound``."""
    row = c.execute(f"SELECT {COLUMNS} FROM job WHERE id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound(what=f"job {job_id}")
    return Job(*cells(row))


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
    return str(found[0]) if found else None


# --- claim -------------------------------------------------------------------

_AGAIN = "SELECT id FROM job WHERE claim_req = ? AND state = 'running' AND node_id = ?"

_PICK = f"""
SELECT {COLUMNS}, {NOW} FROM job
WHERE state = 'queued' AND blocked = 0 AND lane = ? AND needs = ? AND prio > ?
ORDER BY prio, run_at, id LIMIT 1
"""

_GRANT = """
UPDATE job SET state = 'running', epoch = ?2, node_id = ?3, boot = ?4, claim_req = ?5,
    lease_until = ?6, cancel_req = 0, waiting_for = '', started_at = ?7, attempt_at = ?8,
    history_upto = ?9
WHERE id = ?1 AND state = 'queued'
"""

_FIRST_PRIO = -(2**63)


def claim(
    c: apsw.Connection,
    request_id: str,
    node_id: str,
    boot: str,
    lanes: Sequence[str],
    needs: Iterable[str],
    lease_ms: int,
) -> Granted | None:
    again = c.execute(_AGAIN, (request_id, node_id)).fetchone()
    if again is not None:
        c.execute(f"UPDATE job SET lease_until = {NOW} + ?2 WHERE id = ?1", (again[0], lease_ms))
        return Granted(get(c, again[0]), steps(c, again[0]))
    wanted = list(needs)
    for lane in lanes:
        ready = [row for need in wanted if (row := _first_due(c, lane, need)) is not None]
        if ready:
            row = ready[0] if len(ready) == 1 else min(ready, key=_order)
            return _grant(c, row, request_id, node_id, boot, lease_ms)
    return None


def _first_due(c: apsw.Connection, lane: str, need: str) -> tuple[Any, ...] | None:
    """The next job of a lane. The first of each prio is the first one due, so one look a prio
    is enough, however many jobs are there for later."""
    prio = _FIRST_PRIO
    while True:
        row = c.execute(_PICK, (lane, need, prio)).fetchone()
        if row is None or row[_RUN_AT] <= row[_WIDTH]:
            return row
        prio = row[_PRIO]


_PRIO, _RUN_AT = AT["prio"], AT["run_at"]


def _order(row: tuple[Any, ...]) -> tuple[int, int, str]:
    return row[_PRIO], row[_RUN_AT], row[0]


def _grant(
    c: apsw.Connection,
    row: tuple[Any, ...],
    request_id: str,
    node_id: str,
    boot: str,
    lease_ms: int,
) -> Granted:
    now = row[_WIDTH]
    found = cells(row)
    found[AT["state"]] = JobState.RUNNING
    found[AT["epoch"]] += 1
    found[AT["node_id"]] = node_id
    found[AT["lease_until"]] = now + lease_ms
    found[AT["cancel_req"]] = False
    found[AT["waiting_for"]] = ""
    found[AT["started_at"]] = found[AT["started_at"]] or now
    if not found[AT["history_upto"]] and found[AT["message_id"]] is not None:
        found[AT["history_upto"]] = c.execute("SELECT coalesce(max(seq), 0) FROM message").get
    job = Job(*found)
    c.execute(
        _GRANT,
        (
            job.id, job.epoch, node_id, boot, request_id, job.lease_until, job.started_at, now,
            job.history_upto,
        ),
    )  # fmt: skip
    if c.changes() != 1:
        raise AssertionError(f"job {job.id} changed under its claim")
    return Granted(job, steps(c, job.id) if job.epoch > 1 else [])


def queued_needs(c: apsw.Connection) -> set[str]:
    """Which sets of labels are asked for by jobs that are not over."""
    rows = c.execute(
        "SELECT needs FROM job WHERE state = 'queued' UNION SELECT needs FROM job"
        " WHERE state = 'running' UNION SELECT needs FROM job WHERE state IN ('waiting', 'dead')"
    )
    return {str(row[0]) for row in rows}


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

    A known outcome is never overwritten. An intent of an earlier epoch at the
    same place is marked: its own outcome will never be known.
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
    if news and epoch > 1:
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
    for row in c.execute(
        f"SELECT {_STEP_COLUMNS} FROM step WHERE job_id = ? ORDER BY seq, epoch", (job_id,)
    ):
        step = step_of(row)
        if step.seq not in best or best[step.seq].state is not StepState.DONE:
            best[step.seq] = step
    return list(best.values())
