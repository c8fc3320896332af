"""The queue's SQL on a job's way in and while it runs.

How it is given out is in ``claims``, its end in ``ends``. Nothing here trusts
what a worker says about itself but ``(job id, epoch, node)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

import apsw
import msgspec

from stead.core.errors import NotFound, StaleEpoch, Unreadable
from stead.core.ids import uuid7
from stead.core.nouns import Job, NewJob, Step, Usage
from stead.core.states import Effects, JobState, Lane, OnUnknown, StepState
from stead.core.storage import Beat
from stead.core.wire import Held
from stead.store.sqlite import holds, poison, suspects
from stead.store.sqlite.demands import Demands
from stead.store.sqlite.sql import NOW, Row, encoded, maybe, rows

_NAMES = [one.name for one in fields(Job)]

#: SQL for what ``made`` makes a job of.
COLUMNS = ", ".join(_NAMES)
#: The place of each among them.
NUMBER = {name: n for n, name in enumerate(_NAMES)}

_LANES: dict[str, Lane] = {one.value: one for one in Lane}
_STATES: dict[str, JobState] = {one.value: one for one in JobState}
_payload = msgspec.json.Decoder(dict[str, Any]).decode


def made(values: Row) -> Job:
    """A job of its row, whatever follows there. Raises ``ValueError`` (or, of the payload,
    ``DecodeError`` or ``RecursionError``) for what no job can be."""
    job = Job(*values[: len(_NAMES)])
    job.lane = _LANES.get(job.lane) or Lane(job.lane)
    job.state = _STATES.get(job.state) or JobState(job.state)
    job.payload = _payload(job.payload)  # type: ignore[arg-type]  # it is text till here
    job.cancel_req = bool(job.cancel_req)
    return job


def get(c: apsw.Connection, job_id: str) -> Job:
    """Raises ``NotFound``, ``Unreadable``."""
    try:
        found = maybe(c, f"SELECT {COLUMNS} FROM job WHERE id = ?", (job_id,))
        if found is not None:
            return made(found)
    except Exception as fault:
        if poison.is_poison(fault):
            raise Unreadable(job_id=job_id, why=fault) from fault
        raise
    raise NotFound(what=f"job {job_id}")


# --- in ----------------------------------------------------------------------

_INSERT = f"""
INSERT INTO job (id, lane, prio, kind, needs, prefer, avoid, payload, state, hold, demand, rank,
                 created_at, run_at, deadline_at, max_tries, max_crashes, conc_key, conc_limit,
                 idem_key, message_id, session, turn, route)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'queued', {holds.on_arrival("?10", "?14", "?15", "0")}, ?9,
        max(?10, {NOW}) + ?11, {NOW}, max(?10, {NOW}), ?12, ?13, ?21, ?14, ?15, ?16, ?17, ?18,
        ?19, ?20)
"""

#: A prio beyond this counts as this, so that no rank is too large a number.
_MOST_PRIO = 1_000_000


class Inserter:
    """Puts jobs in the queue. ``age_ms``: the waiting that counts as much as one prio."""

    def __init__(self, demands: Demands, age_ms: int) -> None:
        self._demands = demands
        self._age_ms = age_ms

    def insert(
        self,
        c: apsw.Connection,
        job: NewJob,
        turn: int = 0,
        job_id: str | None = None,
        channel: str = "",
    ) -> str:
        new_id = job_id or uuid7()
        head_start = max(-_MOST_PRIO, min(job.prio, _MOST_PRIO)) * self._age_ms
        c.execute(
            _INSERT,
            (
                new_id, job.lane, job.prio, job.kind, job.needs, job.prefer, job.avoid,
                encoded(job.payload), self._demands.of(c, job, channel), job.run_at, head_start,
                job.deadline_at, job.max_tries, job.conc_key, job.conc_limit, job.idem_key,
                job.message_id, job.session, turn, job.route, job.max_crashes,
            ),
        )  # fmt: skip
        return new_id


def by_idem_key(c: apsw.Connection, key: str) -> str | None:
    found = c.execute("SELECT id FROM job WHERE idem_key = ?", (key,)).fetchone()
    return str(found[0]) if found else None


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
            suspects.came_back(c, item.job_id, item.epoch, node_id)
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
    " completion_tokens, cost_micro, started_at, ended_at, note, effects, parts"
)


def step_of(row: Sequence[Any]) -> Step:
    """A step from a row of ``_STEP_COLUMNS``."""
    return Step(
        seq=row[0], epoch=row[1], name=row[2], input_hash=row[3], state=StepState(row[4]),
        rule=OnUnknown(row[5]), input=row[6], output=row[7], usage=Usage(*row[8:12]),
        started_at=row[12], ended_at=row[13], note=row[14], effects=Effects(row[15]),
        parts=row[16],
    )  # fmt: skip


def journal(c: apsw.Connection, job_id: str, epoch: int, step: Step) -> bool:
    """Write one step of the present epoch; True if it was news.

    A known outcome is never overwritten. An intent of an earlier epoch at the
    same place is marked: its own outcome will never be known. That an outcome was
    used again is kept beside the steps.
    """
    if step.state is StepState.REPLAYED:
        c.execute(
            f"INSERT INTO replay (job_id, seq, epoch, at, note) VALUES (?, ?, ?, {NOW}, ?)"
            " ON CONFLICT (job_id, seq, epoch) DO NOTHING",
            (job_id, step.seq, epoch, step.note),
        )
        return c.changes() > 0
    usage = step.usage
    c.execute(
        f"INSERT INTO step (job_id, {_STEP_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (job_id, seq, epoch) DO UPDATE SET state = excluded.state,"
        " output = excluded.output, prompt_tokens = excluded.prompt_tokens,"
        " cached_tokens = excluded.cached_tokens, completion_tokens = excluded.completion_tokens,"
        " cost_micro = excluded.cost_micro, ended_at = excluded.ended_at,"
        " note = CASE excluded.note WHEN '' THEN note ELSE excluded.note END"
        " WHERE step.state = 'intent' AND excluded.state <> 'intent'",
        (
            job_id, step.seq, epoch, step.name, step.input_hash, step.state, step.rule, step.input,
            step.output, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens,
            usage.cost_micro, step.started_at, step.ended_at, step.note, step.effects, step.parts,
        ),
    )  # fmt: skip
    news = c.changes() > 0
    if news and epoch > 1:
        c.execute(
            "UPDATE step SET state = 'unknown',"
            " note = CASE WHEN ?4 LIKE 'in flight%' THEN ?4"
            " ELSE 'in flight when its worker died; ' || CASE WHEN ?4 <> '' THEN ?4"
            " WHEN rule = 'repeat' THEN 'repeated by its rule' ELSE 'settled by the owner' END END"
            " WHERE job_id = ?1 AND seq = ?2 AND epoch < ?3 AND state = 'intent'",
            (job_id, step.seq, epoch, step.note),
        )
    return news


def steps(c: apsw.Connection, job_id: str) -> list[Step]:
    """What a worker needs to resume: for each place the outcome, else the last that is known."""
    found = rows(
        c, f"SELECT {_STEP_COLUMNS} FROM step WHERE job_id = ? ORDER BY seq, epoch", (job_id,)
    )
    best: dict[int, Step] = {}
    for step in _in_force([step_of(one) for one in found]):
        if step.seq not in best or best[step.seq].state is not StepState.DONE:
            best[step.seq] = step
    return list(best.values())


def _in_force(steps: list[Step]) -> list[Step]:
    """Without those that a later attempt set aside: it took another step in the same place."""
    anew = [
        (after.seq, after.epoch)
        for before, after in pairwise(steps)
        if before.seq == after.seq and before.name != after.name
    ]
    return [
        step
        for step in steps
        if not any(step.seq >= seq and step.epoch < epoch for seq, epoch in anew)
    ]
