"""The queue's SQL that gives jobs to workers.

A claim is a conditional update whose effect is checked. It costs a few looks
into an index that holds what is ready and nothing else, however many jobs wait
for their time, for their key, for another kind of worker, or are over.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, NamedTuple

import apsw
import msgspec

from stead.core.nouns import Job, Step
from stead.core.storage import Granted
from stead.store.sqlite import holds, poison, suspects
from stead.store.sqlite.budget import Budget
from stead.store.sqlite.demands import Asker, Demands
from stead.store.sqlite.jobs import COLUMNS, NUMBER, get, made, steps
from stead.store.sqlite.running import Grant, Running, write_in
from stead.store.sqlite.sql import NOW, Row, Those, encoded, row, rows

_decode = msgspec.json.decode


class Asked(NamedTuple):
    """A claim: who asks, for which lanes in which order, and what it can meet."""

    request_id: str
    node_id: str
    boot: str
    lanes: tuple[str, ...]
    asker: Asker
    lease_ms: int

    @property
    def key(self) -> tuple[str, str]:
        return self.request_id, self.node_id


#: What was given to these requests before, whether anything has become due, and whether there
#: are suspects: nearly always nothing of all that.
_FIRST = Those(f"""
SELECT
    (SELECT json_group_array(json_array(id, claim_req, node_id)) FROM job
     WHERE claim_req {{those}} AND state = 'running'),
    ({holds.ANY_DUE}), ({suspects.ANY})
""")

_HEADS = """
SELECT json_group_array(json_array(rank, demand)) FROM (
    SELECT (SELECT rank FROM job WHERE state = 'queued' AND hold = 0 AND lane = ?
            AND demand = e.value ORDER BY rank, id LIMIT 1) AS rank, e.value AS demand
    FROM json_each(?) e
) WHERE rank IS NOT NULL
"""

_PICK = f"""
SELECT json_group_array(json_array(rank, id, late)) FROM (
    SELECT rank, id, deadline_at > 0 AND deadline_at < {NOW} AS late FROM job
    WHERE state = 'queued' AND hold = 0 AND lane = ? AND demand = ? AND rank <= ?
    ORDER BY rank, id LIMIT ?
)
"""

_RAW_IDS = """
SELECT CAST(id AS BLOB) FROM job
WHERE state = 'queued' AND hold = 0 AND lane = ? AND demand = ? ORDER BY rank, id LIMIT ?
"""

_ASIDE = f"""
UPDATE job SET hold = {holds.ASIDE} WHERE id IN (SELECT value FROM json_each(?))
"""

#: What is to be known of a job to give it out. The time between its attempts is not counted as
#: work on it, and nor is what its worker has not seen of an attempt (the clock jumped). The history
#: that it sees ends at what was recorded at its first claim.
_BEFORE = f"""{COLUMNS}, {NOW},
    CASE started_at WHEN 0 THEN NULL
        ELSE (SELECT CASE WHEN a.worked_ms BETWEEN 1 AND a.ended_at - a.started_at
                          THEN a.started_at + a.worked_ms ELSE a.ended_at END
              FROM attempt a WHERE a.job_id = job.id ORDER BY a.epoch DESC LIMIT 1) END,
    CASE WHEN history_upto > 0 OR message_id IS NULL THEN 0
        ELSE (SELECT coalesce(max(seq), 0) FROM message) END"""

_THESE = Those(f"SELECT {_BEFORE} FROM job WHERE id {{those}}")

_AFTER_JOB = len(NUMBER)

_GRANT = """
UPDATE job SET state = 'running', epoch = ?, node_id = ?, boot = ?, claim_req = ?,
    lease_until = ?, attempt_at = ?, started_at = ?, history_upto = ?, cancel_req = 0,
    waiting_for = '', beside = 0, hold = 0
WHERE id = ? AND state = 'queued'
"""


class _Before(NamedTuple):
    """A job before it is given out, and its row: of ``_THESE``."""

    job: Job
    steps: list[Step]
    values: Row


#: No rank is higher.
_LAST = 2**63 - 1

#: Rank, id and demand of a job that is ready: in the order in which they are.
_Ready = tuple[int, str, int]

_Given = dict[tuple[str, str], Granted | None]


class Claims:
    """Serves claims; used by the thread that writes, and nowhere else."""

    def __init__(self, demands: Demands, running: Running) -> None:
        self._demands = demands
        self._running = running

    def claim(self, c: apsw.Connection, asked: list[Asked]) -> list[Granted | None]:
        """Serve many claims in their order, those that ask for the same together."""
        again, any_due, any_suspects = _FIRST.look(c, [one.request_id for one in asked])[0]
        given = _again(c, _decode(again), asked) if again != "[]" else {}
        if any_due:
            holds.promote(c, 16 + 2 * len(asked))
        budget = Budget(c, self._demands)
        around = suspects.look(c) if any_suspects or any_due else None
        if around is not None:
            for one in asked:
                if one.key not in given:
                    given.update(self._serve_around(c, around, budget, one))
            return [given.get(one.key) for one in asked]
        for (lanes, asker), alike in groupby(asked, key=_wants):
            new = {one.key: one for one in alike if one.key not in given}
            met = self._demands.met(asker)
            given.update(self._serve(c, lanes, budget, met, list(new.values())))
        return [given.get(one.key) for one in asked]

    def _serve(
        self,
        c: apsw.Connection,
        lanes: tuple[str, ...],
        budget: Budget,
        met: tuple[int, ...],
        asked: list[Asked],
    ) -> _Given:
        given: _Given = {}
        for lane in lanes:
            # A round gives less than was asked for when there is no more, or some was unreadable.
            while len(given) < len(asked):
                ready = _next(c, lane, budget, met, len(asked) - len(given))
                if not ready:
                    break
                befores = _readable(c, [job_id for _, job_id, _ in ready])
                given.update(self._give(c, befores, asked[len(given) :]))
        return given

    def _serve_around(
        self, c: apsw.Connection, around: suspects.Around, budget: Budget, one: Asked
    ) -> _Given:
        """Serve one claim while there are jobs that must be kept apart; see ``suspects``."""
        met = self._demands.met(one.asker)
        open_ = [demand for demand in met if budget.room(demand) > 0]
        for lane in one.lanes:
            while (picked := around.pick(one.node_id, lane, open_)) is not None:
                job_id, demand = picked
                given = self._give(c, _readable(c, [job_id]), [one])
                if given:
                    budget.take(demand)
                    return given
                around.leave_out(job_id)
            if around.free(one.node_id, lane, open_):
                given = self._serve(c, (lane,), budget, met, [one])
                if given:
                    return given
        return {}

    def _give(self, c: apsw.Connection, befores: list[_Before], asked: list[Asked]) -> _Given:
        given: _Given = {}
        c.executemany(_GRANT, self._grants(c, befores, asked, given))
        return given

    def _grants(
        self, c: apsw.Connection, befores: list[_Before], asked: list[Asked], given: _Given
    ) -> Iterator[Grant]:
        """What to write into the row of each, one at a time: the one before has been written."""
        for (job, steps_, values), one in zip(befores, asked, strict=False):
            now, idle_since, recorded = values[_AFTER_JOB:]
            began = now if job.started_at == 0 else job.started_at
            if idle_since is not None:
                began += now - idle_since
            grant = Grant(
                job.epoch + 1, one.node_id, one.boot, one.request_id, now + one.lease_ms, now,
                began, job.history_upto or recorded, job.id,
            )  # fmt: skip
            yield grant
            if not c.changes():
                raise AssertionError("a job changed under its claim")
            self._running.note(values, grant)
            given[one.key] = Granted(write_in(job, grant), steps_)


def _wants(one: Asked) -> tuple[tuple[str, ...], Asker]:
    return one.lanes, one.asker


def _again(c: apsw.Connection, again: list[Any], asked: list[Asked]) -> _Given:
    """What was given to these very requests before; their leases start anew."""
    given: _Given = {}
    for job_id, request_id, node_id in again:
        for one in asked:
            if one.key == (request_id, node_id):
                c.execute(
                    f"UPDATE job SET lease_until = {NOW} + ? WHERE id = ?", (one.lease_ms, job_id)
                )
                given[one.key] = Granted(get(c, job_id), steps(c, job_id))
    return given


def _readable(c: apsw.Connection, job_ids: list[str]) -> list[_Before]:
    """Those of these jobs that can be given out, in their order; the others are set aside."""
    try:
        there = {values[0]: values for values in _THESE.look(c, job_ids)}
        return [_before(c, there[job_id]) for job_id in job_ids]
    except Exception as fault:
        if not poison.is_poison(fault):
            raise
    found = []
    for job_id in job_ids:
        try:
            (values,) = _THESE.look(c, [job_id])
            found.append(_before(c, values))
        except Exception as fault:
            if not poison.is_poison(fault):
                raise
            poison.set_aside(c, job_id.encode(), fault)
    return found


def _before(c: apsw.Connection, values: Row) -> _Before:
    """A job with its journal, if it has one. Raises ``ValueError`` for what no job can have."""
    job = made(values)
    if not (0 <= job.epoch < 2**53 and 0 <= job.started_at < 2**53):
        raise ValueError(f"epoch {job.epoch} and started_at {job.started_at} cannot be")
    return _Before(job, steps(c, job.id) if job.epoch > 0 else [], values)


def _next(
    c: apsw.Connection, lane: str, budget: Budget, met: tuple[int, ...], most: int
) -> list[_Ready]:
    """The next jobs of a lane, in order, of all the demands that are met and have room."""
    rooms = {demand: room for demand in met if (room := min(most, budget.room(demand))) > 0}
    heads = [(_LAST, demand) for demand in rooms]
    if len(heads) > 1:
        heads = sorted(_array(row(c, _HEADS, (lane, encoded(list(rooms))))[0]))
    found: list[_Ready] = []
    upto = _LAST
    for head, demand in heads:
        if head > upto:
            break  # with enough found, those whose heads come later (not with it) give nothing
        found += _of(c, lane, demand, upto, rooms[demand])
        found = sorted(found)[:most]
        if len(found) == most:
            upto = found[-1][0]
    taken = []
    for one in found:
        if budget.room(one[2]) > 0:  # demands may share a limit
            budget.take(one[2])
            taken.append(one)
    return taken


def _of(c: apsw.Connection, lane: str, demand: int, upto: int, most: int) -> list[_Ready]:
    """The next jobs of one demand, up to a rank. Those too late are set aside: each is met once."""
    while True:
        found: list[_Ready] = []
        late = []
        for rank, job_id, is_late in _pick(c, lane, demand, upto, most):
            if is_late:
                late.append(job_id)
            else:
                found.append((rank, job_id, demand))
        if not late:
            return found
        c.execute(_ASIDE, (encoded(late),))


def _pick(c: apsw.Connection, lane: str, demand: int, upto: int, most: int) -> list[Any]:
    try:
        return _array(row(c, _PICK, (lane, demand, upto, most))[0])
    except UnicodeDecodeError as fault:  # not even an id can be read
        ids = rows(c, _RAW_IDS, (lane, demand, most))
        for job_id in [one for (one,) in ids if not poison.is_text(one)]:
            poison.set_aside(c, job_id, fault)
        return _array(row(c, _PICK, (lane, demand, upto, most))[0])


def _array(text: str) -> list[Any]:
    array: list[Any] = _decode(text)
    return array
