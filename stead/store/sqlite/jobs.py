"""The queue's SQL on a job's way in and while it runs; its end is in ``ends``.

Claiming and ending are conditional updates whose effect is checked; nothing
here trusts what a worker says about itself but ``(job id, epoch, node)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import apsw
import msgspec

from stead.core.errors import NotFound, StaleEpoch
from stead.core.ids import uuid7
from stead.core.nouns import Job, NewJob, Step, Usage
from stead.core.states import Effects, OnUnknown, StepState
from stead.core.storage import Beat, Granted
from stead.core.wire import Held
from stead.store.sqlite import suspects
from stead.store.sqlite.sql import NOW, Row, maybe, row, rows

# Jobs go to the database and come from it as JSON, many in one statement: each statement costs
# the writer a turn at the interpreter's lock, and msgspec makes a Job four times as quickly as
# its constructor does.

_AS_IT_IS = {
    "payload": "json(payload)",
    "cancel_req": "json(CASE cancel_req WHEN 0 THEN 'false' ELSE 'true' END)",
}

#: SQL for a job as a JSON object with the fields of ``Job``.
OBJECT = "json_object({})".format(
    ", ".join(f"'{one.name}', {_AS_IT_IS.get(one.name, one.name)}" for one in fields(Job))
)

_decode = msgspec.json.decode
_job = msgspec.json.Decoder(Job).decode
_jobs = msgspec.json.Decoder(list[Job]).decode


def encoded(value: Any) -> str:
    """JSON text for a parameter of a statement."""
    return msgspec.json.encode(value).decode()


def get(c: apsw.Connection, job_id: str) -> Job:
    """Raises ``NotFound``."""
    found = maybe(c, f"SELECT {OBJECT} FROM job WHERE id = ?", (job_id,))
    if found is None:
        raise NotFound(what=f"job {job_id}")
    return _job(found[0])


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
            new_id, job.lane, job.prio, job.kind, job.needs, encoded(job.payload),
            job.run_at, job.deadline_at, job.max_tries, job.max_crashes, job.conc_key,
            job.idem_key, job.message_id, job.session, turn, job.route,
        ),
    )  # fmt: skip
    return new_id


def by_idem_key(c: apsw.Connection, key: str) -> str | None:
    found = c.execute("SELECT id FROM job WHERE idem_key = ?", (key,)).fetchone()
    return str(found[0]) if found else None


# --- claim -------------------------------------------------------------------


class Asked(NamedTuple):
    """A claim: who asks, for which lanes in which order, and which needs it can meet."""

    request_id: str
    node_id: str
    boot: str
    lanes: tuple[str, ...]
    needs: tuple[str, ...]
    lease_ms: int

    @property
    def key(self) -> tuple[str, str]:
        return self.request_id, self.node_id


_AGAIN = """
SELECT json_group_array(json_array(id, claim_req, node_id)) FROM job
WHERE claim_req IN (SELECT value FROM json_each(?)) AND state = 'running'
"""

_PICK = f"""
SELECT json_group_array(json_array(prio, run_at, id, due)) FROM (
    SELECT prio, run_at, id, run_at <= {NOW} AS due FROM job
    WHERE state = 'queued' AND blocked = 0 AND lane = ? AND needs = ? AND prio > ?
    ORDER BY prio, run_at, id LIMIT ?
)
"""

_GRANT = f"""
UPDATE job SET state = 'running', epoch = epoch + 1, node_id = e.value ->> 1,
    boot = e.value ->> 2, claim_req = e.value ->> 3, lease_until = {NOW} + (e.value ->> 4),
    cancel_req = 0, waiting_for = '', attempt_at = {NOW}, beside = 0,
    started_at = CASE started_at WHEN 0 THEN {NOW} ELSE started_at + {NOW} - coalesce(
        (SELECT max(ended_at) FROM attempt WHERE attempt.job_id = job.id), {NOW}) END,
    history_upto = CASE WHEN history_upto > 0 OR message_id IS NULL THEN history_upto
        ELSE (SELECT coalesce(max(seq), 0) FROM message) END
FROM json_each(?) e WHERE job.id = e.value ->> 0 AND state = 'queued'
"""

_THESE = f"""
SELECT json_group_array({OBJECT}) FROM job WHERE id IN (SELECT value FROM json_each(?))
"""

_FIRST_PRIO = -(2**63)

#: Prio, due time and id of a job that may be claimed: in the order in which they are.
_Ready = tuple[int, int, str]


def claim(c: apsw.Connection, asked: list[Asked]) -> list[Granted | None]:
    """Serve many claims in their order, those that ask for the same together."""
    given = _again(c, asked)
    around = suspects.look(c)
    if around is not None:
        for one in asked:
            if one.key not in given:
                given.update(_serve_around(c, around, one))
        return [given.get(one.key) for one in asked]
    for (lanes, needs), alike in groupby(asked, key=lambda one: (one.lanes, one.needs)):
        new = {one.key: one for one in alike if one.key not in given}
        given.update(_serve(c, lanes, needs, list(new.values())))
    return [given.get(one.key) for one in asked]


def _again(c: apsw.Connection, asked: list[Asked]) -> dict[tuple[str, str], Granted | None]:
    """What was given to these very requests before; their leases start anew."""
    requests = encoded([one.request_id for one in asked])
    given: dict[tuple[str, str], Granted | None] = {}
    for job_id, request_id, node_id in _array(row(c, _AGAIN, (requests,))):
        for one in asked:
            if one.key == (request_id, node_id):
                c.execute(
                    f"UPDATE job SET lease_until = {NOW} + ? WHERE id = ?", (one.lease_ms, job_id)
                )
                given[one.key] = Granted(get(c, job_id), steps(c, job_id))
    return given


def _serve(
    c: apsw.Connection, lanes: tuple[str, ...], needs: tuple[str, ...], asked: list[Asked]
) -> dict[tuple[str, str], Granted | None]:
    found: list[_Ready] = []
    for lane in lanes:
        left = len(asked) - len(found)
        if left <= 0:
            break
        found += sorted(one for need in needs for one in _due(c, lane, need, left))[:left]
    # Fewer jobs than askers: those who asked last get nothing.
    return _give(c, [(one, job_id) for one, (_, _, job_id) in zip(asked, found, strict=False)])


def _serve_around(
    c: apsw.Connection, around: suspects.Around, one: Asked
) -> dict[tuple[str, str], Granted | None]:
    """Serve one claim while there are jobs that must be kept apart; see ``suspects``."""
    for lane in one.lanes:
        job_id = around.pick(one.node_id, lane, one.needs)
        if job_id is not None:
            return _give(c, [(one, job_id)])
        if around.free(one.node_id, lane, one.needs):
            given = _serve(c, (lane,), one.needs, [one])
            if given:
                return given
    return {}


def _give(
    c: apsw.Connection, pairs: list[tuple[Asked, str]]
) -> dict[tuple[str, str], Granted | None]:
    if not pairs:
        return {}
    grants = [
        (job_id, one.node_id, one.boot, one.request_id, one.lease_ms) for one, job_id in pairs
    ]
    c.execute(_GRANT, (encoded(grants),))
    if c.changes() != len(pairs):
        raise AssertionError("a job changed under its claim")
    jobs = {job.id: job for job in _jobs(row(c, _THESE, (encoded([id for _, id in pairs]),))[0])}
    return {
        one.key: Granted(jobs[job_id], steps(c, job_id) if jobs[job_id].epoch > 1 else [])
        for one, job_id in pairs
    }


def _due(c: apsw.Connection, lane: str, need: str, most: int) -> list[_Ready]:
    """The next jobs of a lane. Within a prio those due come first, so one look for each prio is
    enough, however many jobs are there for later."""
    found: list[_Ready] = []
    after = _FIRST_PRIO
    while len(found) < most:
        looked = _array(row(c, _PICK, (lane, need, after, most - len(found))))
        for prio, run_at, job_id, due in looked:
            if not due:
                after = prio
                break
            found.append((prio, run_at, job_id))
        else:
            break
    return found


def _array(found: Row) -> list[Any]:
    """The JSON array that is the only cell of a row."""
    array: list[Any] = _decode(found[0])
    return array


def queued_needs(c: apsw.Connection) -> set[str]:
    """Which sets of labels are asked for by jobs that are not over."""
    found = rows(
        c,
        "SELECT needs FROM job WHERE state = 'queued' UNION SELECT needs FROM job"
        " WHERE state = 'running' UNION SELECT needs FROM job WHERE state IN ('waiting', 'dead')",
    )
    return {str(row[0]) for row in found}


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
