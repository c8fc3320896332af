"""The queue's SQL on a job's way out: finish, crash, cancel, and the ways back in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import apsw

from stead.core.approvals import OPEN, Decided
from stead.core.errors import NotFound, StaleEpoch, Unreadable, WaitsForApproval, WrongState
from stead.core.nouns import Job
from stead.core.permits import Answered
from stead.core.recall import is_off_the_record
from stead.core.states import ENDED, JobState
from stead.core.storage import CrashRule, Ended, Rule, Ruling, View
from stead.core.wire import Finish
from stead.store.sqlite import approvals, holds, poison, record, suspects
from stead.store.sqlite.jobs import COLUMNS, NUMBER, get, made
from stead.store.sqlite.running import Running
from stead.store.sqlite.sql import NOW, Row, Those, encoded, maybe, row, rows


class _Look(NamedTuple):
    """A job as it is, when its present attempt began, and the time of looking."""

    job: Job
    began: int
    now: int


_BEHIND = len(NUMBER)
_LOOK = f"SELECT {COLUMNS}, attempt_at, {NOW} FROM job WHERE id"
_THESE = Those(_LOOK + " {those}")


def _looked(values: Row) -> _Look:
    return _Look(made(values), *values[_BEHIND:])


class Reported(NamedTuple):
    """A report, who sends it, and the rule that judges it."""

    node_id: str
    report: Finish
    rule: Rule


class Ends:
    """Ends attempts; used by the thread that writes, and nowhere else."""

    def __init__(self, running: Running) -> None:
        self._running = running

    def finish(self, c: apsw.Connection, reported: list[Reported]) -> list[Ended | Exception]:
        """End many attempts. Each stands or falls alone."""
        ended: list[Ended | Exception] = []
        part: dict[str, Reported] = {}
        for one in reported:
            if one.report.job_id in part:  # the second must find what the first has done
                ended += self._finish(c, part)
                part = {}
            part[one.report.job_id] = one
        return ended + self._finish(c, part)

    def _finish(self, c: apsw.Connection, part: dict[str, Reported]) -> list[Ended | Exception]:
        batch = _Batch(c, part)
        known = self._running.look(c, part)
        if known:
            (now,) = row(c, f"SELECT {NOW}")
            looks = {job_id: _Look(*one, now) for job_id, one in known.items()}
            c.executemany(_MOVE_KNOWN, batch.moves(looks, fenced=True))
        rest = [job_id for job_id in part if job_id not in batch.ended]
        if rest:
            there = _at_these(c, rest)
            looked = {job_id: there.get(job_id) for job_id in rest}
            c.executemany(_MOVE, batch.moves(looked))
        c.executemany(_NOTE, batch.attempts)
        return batch.answers()


class _Batch:
    """Reports of as many jobs, and what has become of them."""

    def __init__(self, c: apsw.Connection, part: dict[str, Reported]) -> None:
        self._c = c
        self._part = part
        self.ended: dict[str, tuple[Job, Ruling] | Ended | Exception] = {}
        self.attempts: list[Row] = []

    def moves(
        self, looks: Mapping[str, _Look | Unreadable | None], *, fenced: bool = False
    ) -> Iterator[Row]:
        """What to write into the row of each, one at a time: the one before has been written.

        ``fenced``: unless its row says that it was found otherwise; then nothing has ended yet.
        """
        for job_id, look in looks.items():
            one = self._part[job_id]
            report = one.report
            try:
                if isinstance(look, Unreadable):
                    raise look
                if look is None or not _owns(look.job, one):
                    if not fenced:
                        self.ended[job_id] = _repeated(self._c, one.node_id, report)
                    continue
                if abs(report.worked_ms) >= 2**63:
                    raise OverflowError(f"worked_ms {report.worked_ms}")
                ruling = one.rule(look.job, report)
            except Exception as fault:  # noqa: BLE001 - the edge of a report: its reporter gets it
                self.ended[job_id] = fault
                continue
            error = report.trouble.message if report.trouble else ""
            attempt = _attempt(
                look, report.outcome, error, report.worked_ms, report.id, ruling.state
            )
            found = look.job.epoch, look.job.node_id, look.job.started_at
            job = _ruled(look, ruling)
            job.tries += report.outcome == "failed" and ruling.counts
            move = _move_of(job, look.now)
            yield move + found if fenced else move
            if fenced and not self._c.changes():
                continue
            self.attempts.append(attempt)
            self.ended[job_id] = job, ruling

    def answers(self) -> list[Ended | Exception]:
        """In the order of the reports, with all that the ends bring with them."""
        return [self._answer(job_id) for job_id in self._part]

    def _answer(self, job_id: str) -> Ended | Exception:
        ended = self.ended[job_id]
        if not isinstance(ended, tuple):
            return ended
        job, ruling = ended
        report = self._part[job_id].report
        if report.approval is not None and ruling.state is JobState.WAITING:
            approvals.ask(self._c, report.id, job_id, report.approval, ruling.expires_ms)
        return _after(self._c, job, ruling)


def _at_these(c: apsw.Connection, job_ids: list[str]) -> dict[str, _Look | Unreadable]:
    """The jobs that are there, each as it is; one that cannot be read spoils no other."""
    try:
        return {values[0]: _looked(values) for values in _THESE.look(c, job_ids)}
    except Exception as fault:
        if not poison.is_poison(fault):
            raise
    there: dict[str, _Look | Unreadable] = {}
    for job_id in job_ids:
        try:
            look = _at(c, job_id)
        except Unreadable as fault:
            there[job_id] = fault
        else:
            if look is not None:
                there[job_id] = look
    return there


def _owns(job: Job, one: Reported) -> bool:
    owner = (job.epoch, job.node_id) == (one.report.epoch, one.node_id)
    return owner and job.state is JobState.RUNNING


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


_NOTE = """
INSERT INTO attempt (job_id, epoch, node_id, started_at, ended_at, outcome, error, worked_ms,
                     report_id, reply, under_way)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


def _attempt(
    look: _Look,
    outcome: str,
    error: str,
    worked_ms: int = 0,
    report_id: str = "",
    reply: str = "",
    under_way: str = "",
) -> tuple[Any, ...]:
    """An attempt gets its row when it ends; until then it is told by the job's own row."""
    job = look.job
    return (
        job.id, job.epoch, job.node_id, look.began, look.now, outcome, error, worked_ms, report_id,
        reply, under_way,
    )  # fmt: skip


_MOVE = """
UPDATE job SET state = ?2, tries = ?3, crashes = ?4, error = ?5, rank = rank - run_at + ?6,
    run_at = ?6, ended_at = ?7, waiting_for = ?8, hold = ?9, lease_until = 0, claim_req = NULL
WHERE id = ?1
"""

#: The same, if it is as it was given out in all that can change while it runs.
_MOVE_KNOWN = (
    _MOVE + " AND epoch = ?10 AND node_id = ?11 AND started_at = ?12 AND crashes = ?4"
    " AND state = 'running' AND cancel_req = 0 AND beside = 0"
)


def _ruled(look: _Look, ruling: Ruling) -> Job:
    """The job in the state ruled. It was read here and nobody else has it yet; a rule that saw it
    is done with it."""
    job = look.job
    job.state = ruling.state
    job.error = ruling.error
    if ruling.state is JobState.QUEUED:
        job.run_at = look.now + ruling.delay_ms
    job.ended_at = look.now if ruling.state in ENDED else 0
    job.lease_until = 0
    job.waiting_for = ruling.waiting_for
    return job


def _move_of(job: Job, now: int) -> tuple[Any, ...]:
    hold = holds.READY
    if job.state is JobState.QUEUED and job.run_at > now:
        hold = holds.PAUSED if _keeps_turn(job) else holds.LATER
    elif job.state is JobState.QUEUED and job.crashes > 0:
        hold = holds.APART
    return (
        job.id, job.state, job.tries, job.crashes, job.error, job.run_at, job.ended_at,
        job.waiting_for, hold,
    )  # fmt: skip


def _keeps_turn(job: Job) -> bool:
    """Of a key with one place the order is promised, so who is tried again is not overtaken."""
    return job.conc_key is None or job.conc_limit <= 1


def _move(c: apsw.Connection, look: _Look, ruling: Ruling) -> Ended:
    if look.job.state is JobState.WAITING:
        approvals.void(c, look.job.id)
    job = _ruled(look, ruling)
    c.execute(_MOVE, _move_of(job, look.now))
    return _after(c, job, ruling)


def _after(c: apsw.Connection, job: Job, ruling: Ruling) -> Ended:
    """What an end brings with it: reply, outbox row, log line, the next of its key."""
    message_id = None
    if job.message_id is not None and ruling.reply is not None:
        message_id = record.reply(c, job, ruling.reply, ruling.role, ruling.read)
    elif ruling.tell and ruling.reply is not None:
        message_id = record.tell(c, f"job:{job.id}:{job.epoch}", ruling.reply)
    if ruling.aside:
        record.tell(c, f"job:{job.id}:{job.epoch}:aside", ruling.aside, first=("cli", "main"))
    if ruling.line and not is_off_the_record(job.session):
        record.day_line(c, ruling.line)
    ready = None
    if job.conc_key is not None and (job.state is not JobState.QUEUED or not _keeps_turn(job)):
        ready = holds.let_next(c, job.conc_key)
    return Ended(job, job.state, message_id=message_id, ready=ready)


# --- a worker vanished ---------------------------------------------------------


def _crashed(c: apsw.Connection, look: _Look, why: str, rule: CrashRule) -> Ended:
    """A worker vanished with this job: count the crash first, then decide."""
    job = look.job
    under_way = suspects.under_way(c, job)
    beside = suspects.company(c, job)
    c.execute(_NOTE, _attempt(look, "crashed", why, under_way=under_way))
    job.crashes, job.beside = job.crashes + 1, beside
    return _move(c, look, rule(job, f"{why}; {under_way}"))


def expired(c: apsw.Connection, limit: int) -> list[str]:
    """The running jobs whose lease has run out, those that ran out first before others."""
    found = rows(
        c,
        f"SELECT id FROM job WHERE state = 'running' AND lease_until < {NOW}"
        " ORDER BY lease_until LIMIT ?",
        (limit,),
    )
    return [one[0] for one in found]


def past_deadline(c: apsw.Connection, limit: int) -> list[str]:
    """The jobs that nobody took up, or that still wait, after their time."""
    found = rows(
        c,
        f"SELECT id FROM job WHERE deadline_at > 0 AND deadline_at < {NOW}"
        " AND state IN ('queued', 'waiting') LIMIT ?",
        (limit,),
    )
    return [one[0] for one in found]


def reap(c: apsw.Connection, job_id: str, rule: CrashRule) -> Ended | None:
    """Take one of those back; None if it has gone on by itself meanwhile."""
    try:
        look = _at(c, job_id)
    except Unreadable as fault:
        return poison.bury(c, job_id.encode(), fault.__cause__, rule)
    if look is None:
        return None
    job = look.job
    if job.state is JobState.RUNNING and job.lease_until < look.now:
        return _crashed(c, look, suspects.SILENT, rule)
    unclaimed = job.state in (JobState.QUEUED, JobState.WAITING)
    if unclaimed and 0 < job.deadline_at < look.now:
        return _move(c, look, rule(job, "deadline"))
    return None


def left_behind(c: apsw.Connection, node_id: str, boot: str) -> list[str]:
    """The jobs that other boots of this node still hold."""
    found = rows(
        c,
        # "+id": the few that run are sorted, instead of looking for them among all by id.
        "SELECT id FROM job WHERE state = 'running' AND node_id = ? AND boot <> ? ORDER BY +id",
        (node_id, boot),
    )
    return [one[0] for one in found]


def release(
    c: apsw.Connection, job_id: str, node_id: str, boot: str, rule: CrashRule
) -> Ended | None:
    """Take one of those back; None if it has gone on by itself meanwhile."""
    try:
        look = _at(c, job_id, "AND state = 'running' AND node_id = ? AND boot <> ?", node_id, boot)
    except Unreadable as fault:
        return poison.bury(c, job_id.encode(), fault.__cause__, rule)
    return None if look is None else _crashed(c, look, "its worker restarted", rule)


def _at(c: apsw.Connection, job_id: str, more: str = "", *args: str) -> _Look | None:
    """Raises ``Unreadable``."""
    try:
        found = maybe(c, f"{_LOOK} = ? {more}", (job_id, *args))
        return None if found is None else _looked(found)
    except Exception as fault:
        if poison.is_poison(fault):
            raise Unreadable(job_id=job_id, why=fault) from fault
        raise


# --- by the owner's hand ---------------------------------------------------------


def cancel(c: apsw.Connection, job_id: str, rule: CrashRule) -> Ended:
    look = _at(c, job_id)
    if look is None:
        raise NotFound(what=f"job {job_id}")
    job = look.job
    if job.state in ENDED:
        raise WrongState(job_id=job_id, state=job.state)
    if job.state is JobState.RUNNING:
        c.execute("UPDATE job SET cancel_req = 1 WHERE id = ?", (job_id,))
        return Ended(get(c, job_id), job.state)
    return _move(c, look, rule(job, "cancel"))


def revive(c: apsw.Connection, job_id: str) -> Job:
    """The owner wants it done now, so a deadline that has passed does not count either."""
    job = get(c, job_id)
    if job.state is not JobState.DEAD:
        raise WrongState(job_id=job_id, state=job.state)
    if row(c, "SELECT forgotten_at FROM job WHERE id = ?", (job_id,))[0]:
        raise WrongState(job_id=job_id, state="forgotten: its words are gone")
    c.execute("UPDATE job SET tries = 0, crashes = 0, deadline_at = 0 WHERE id = ?", (job_id,))
    _requeue(c, job)
    return get(c, job_id)


def answer(c: apsw.Connection, job_id: str, words: str) -> Job:
    """Hand the owner's answer to a waiting job: it goes into the payload, under the step asked."""
    job = get(c, job_id)
    if job.state is not JobState.WAITING:
        raise WrongState(job_id=job_id, state=job.state)
    if question := approvals.open_of(c, job_id):
        raise WaitsForApproval(job_id=job_id, ident=question[-8:])
    asked = c.execute(  # by the last attempt: an earlier one may have left later intents
        "SELECT seq FROM step WHERE job_id = ? AND state IN ('unknown', 'intent')"
        " ORDER BY epoch DESC, seq DESC LIMIT 1",
        (job_id,),
    ).get
    answers = {**job.payload.get("answers", {}), str(asked or 0): words}
    return _back(c, job, {**job.payload, "answers": answers})


def decide(c: apsw.Connection, ident: str, word: str, text: str, by: str) -> Decided:
    """The owner's word on a question about a call; its job goes on with it."""
    question = approvals.one(c, ident)
    job = get(c, question["job_id"])
    if question["state"] == OPEN and job.state is not JobState.WAITING:
        approvals.void(c, job.id)  # nobody waits for it
        question = approvals.one(c, question["id"])
    said = approvals.answer(c, question, word, text, by)
    record.day_line(c, _told(question, word, text, by))
    return _decided(c, job, question["id"], said)


def expire(c: apsw.Connection, ident: str) -> Decided | None:
    """End a question whose time is over; None if it was answered meanwhile."""
    question = approvals.expire(c, ident)
    if question is None:
        return None
    job = get(c, question["job_id"])
    if job.state is not JobState.WAITING:
        return None
    record.day_line(c, _told(question, "expired", "", "time"))
    said = Answered(question["seq"], question["digest"], "expired")
    return _decided(c, job, question["id"], said)


def _decided(c: apsw.Connection, job: Job, ident: str, said: Answered) -> Decided:
    answered = [*job.payload.get("answered", []), asdict(said)]
    job = _back(c, job, {**job.payload, "answered": answered})
    return Decided(approvals.one(c, ident), job)


def _told(question: View, word: str, text: str, by: str) -> str:
    what = " ".join(question["preview"].split())[:160]
    why = f" ({text})" if text else ""
    return f"asked: {what}: {word} by {by}{why} [job {question['job_id'][-8:]}]"


def _back(c: apsw.Connection, job: Job, payload: View) -> Job:
    """Queue a job that waited, with what was said."""
    c.execute("UPDATE job SET payload = ? WHERE id = ?", (encoded(payload), job.id))
    _requeue(c, job)
    return get(c, job.id)


_REQUEUE = f"""
UPDATE job SET state = 'queued', rank = rank - run_at + {NOW}, run_at = {NOW}, ended_at = 0,
    waiting_for = '', error = '', hold = {holds.on_arrival(NOW, "?2", "?3")}
WHERE id = ?1
"""


def _requeue(c: apsw.Connection, job: Job) -> None:
    c.execute(_REQUEUE, (job.id, job.conc_key, job.conc_limit))
