"""Read-only looks at the database, in the shapes that the API, the pages and the commands show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import apsw

from stead.core.errors import BadRequest, NotFound
from stead.core.people import OWNER
from stead.core.states import JobState
from stead.core.storage import View
from stead.store.sqlite import approvals, discarded, ledger, outbox, prune, recall, sessions
from stead.store.sqlite import calls as audit
from stead.store.sqlite import messages as said
from stead.store.sqlite.sql import NOW as _NOW
from stead.store.sqlite.sql import Row, maybe, row, rows, shown
from stead.store.sqlite.whose import theirs

#: Characters of a discarded text that a story shows.
_SHORT = 300

_JOB_FIELDS = (
    "id", "state", "lane", "kind", "needs", "session", "route", "created_at", "run_at",
    "started_at", "ended_at", "epoch", "tries", "crashes", "node", "error", "waiting_for",
    "cancel_req", "waited_ms", "worked_ms", "text", "message_id", "max_tries", "max_crashes",
    "prefer", "avoid",
)  # fmt: skip

#: When the first attempt began; `job.started_at` may have been moved on since.
_BEGAN = "coalesce(f.started_at, CASE j.epoch WHEN 1 THEN j.attempt_at ELSE j.started_at END)"

_JOB_SELECT = f"""
SELECT j.id, j.state, j.lane, j.kind, j.needs, j.session, j.route, j.created_at, j.run_at,
       {_BEGAN}, j.ended_at, j.epoch, j.tries, j.crashes,
       coalesce(n.name, j.node_id), j.error, j.waiting_for, j.cancel_req,
       CASE WHEN j.started_at > 0 THEN {_BEGAN} - j.created_at
            WHEN j.state = 'queued' THEN {_NOW} - j.created_at ELSE 0 END,
       (SELECT coalesce(sum(a.ended_at - a.started_at), 0) FROM attempt a WHERE a.job_id = j.id)
           + CASE j.state WHEN 'running' THEN {_NOW} - j.attempt_at ELSE 0 END,
       substr(coalesce(m.text, ''), 1, 200), j.message_id, j.max_tries, j.max_crashes,
       j.prefer, j.avoid
FROM job j LEFT JOIN node n ON n.id = j.node_id LEFT JOIN message m ON m.id = j.message_id
     LEFT JOIN attempt f ON f.job_id = j.id AND f.epoch = 1
"""


def _rows(found: list[Row], fields: tuple[str, ...]) -> list[View]:
    return [dict(zip(fields, row, strict=True)) for row in found]


def jobs(
    c: apsw.Connection,
    *,
    state: str = "",
    lane: str = "",
    session: str = "",
    person: str = "",
    limit: int = 20,
    before: str = "",
    ids: Sequence[str] | None = None,
) -> View:
    """The newest jobs first; ``before`` is the id of the last one seen, ``person`` the id of who
    asked for them; ``ids``: only of these."""
    if state and state not in set(JobState):
        raise BadRequest(f"There is no job state {state!r}; there are {', '.join(JobState)}.")
    where: list[str] = []
    args: list[str] = []
    if state:
        where.append(_in_state(JobState(state)))
    for column, value in (("j.lane", lane), ("j.session", session)):
        if value:
            where.append(f"{column} = ?")
            args.append(value)
    if person:
        whose, names = theirs("j.session" if person == OWNER else "session", person)
        if person != OWNER:  # by what they said, which is little beside all jobs there are
            whose = f"j.id IN (SELECT job_id FROM message WHERE {whose})"
        where.append(whose)
        args += names
    if before:
        where.append("j.id < ?")
        args.append(before)
    if ids is not None:
        where.append(f"j.id IN ({', '.join('?' * len(ids))})")
        args += ids
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    # With a state the few jobs in it are sorted, instead of looking for them among all by id.
    order = "+j.id" if state in (JobState.QUEUED, JobState.RUNNING) else "j.id"
    these = f"SELECT j.id FROM job j {condition} ORDER BY {order} DESC LIMIT ?"
    found = _rows(
        shown(c, f"{_JOB_SELECT} WHERE j.id IN ({these}) ORDER BY j.id DESC", (*args, limit + 1)),
        _JOB_FIELDS,
    )
    return {"jobs": found[:limit], "more": len(found) > limit}


def find(c: apsw.Connection, ident: str) -> str:
    """The job that an id, or a piece of at least 6 characters of one, of a job or message means."""
    exact = maybe(
        c,
        "SELECT id FROM job WHERE id = ?1 UNION SELECT job_id FROM message WHERE id = ?1"
        " AND job_id IS NOT NULL UNION SELECT job_id FROM pruned WHERE job_id = ?1",
        (ident,),
    )
    if exact:
        return str(exact[0])
    if len(ident) < 6:
        raise NotFound(what=f"job or message {ident!r} (at least 6 characters of an id are needed)")
    text = ident.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found = rows(
        c,
        "SELECT id FROM job WHERE id LIKE ?1 ESCAPE '\\' OR id LIKE ?2 ESCAPE '\\'"
        " UNION SELECT job_id FROM message WHERE job_id IS NOT NULL"
        " AND (id LIKE ?1 ESCAPE '\\' OR id LIKE ?2 ESCAPE '\\')"
        " UNION SELECT job_id FROM pruned"
        " WHERE job_id LIKE ?1 ESCAPE '\\' OR job_id LIKE ?2 ESCAPE '\\' LIMIT 5",
        (f"{text}%", f"%{text}"),
    )
    if not found:
        raise NotFound(what=f"job or message {ident!r}")
    if len(found) > 1:
        names = ", ".join(entry[0] for entry in found)
        raise BadRequest(f"{ident!r} could mean several jobs: {names}. Give more of the id.")
    return str(found[0][0])


def why(c: apsw.Connection, ident: str) -> View:
    """The whole story of a message: route, attempts, steps, calls, reply, delivery, cost."""
    job_id = find(c, ident)
    found = _rows(shown(c, f"{_JOB_SELECT} WHERE j.id = ?", (job_id,)), _JOB_FIELDS)
    pruned = None if found else prune.known(c, job_id)
    job = found[0] if found else _pruned(job_id, pruned)
    messages = said.some(c, "WHERE job_id = ? ORDER BY seq", (job_id,))
    attempts = _attempts(c, job_id, _SHORT)
    calls = audit.of_job(c, job_id)
    owner = [m for m in messages if m["role"] == "owner"]
    replies = [m for m in messages if m["role"] != "owner"]
    return {
        "message": owner[0] if owner else None,
        "job": job,
        "pruned": pruned and {"at": pruned["pruned_at"], "rule": pruned["rule"]},
        "route": _route(job),
        "attempts": attempts,
        "steps": _steps(c, job_id, attempts),
        "calls": calls,
        "approvals": approvals.of_job(c, job_id),
        "recall": _recall(c, job_id),
        "reply": replies[-1] if replies else None,
        "delivery": outbox.of_job(c, job_id),
        "cost": {
            "calls": len(calls),
            "prompt_tokens": sum(call["prompt_tokens"] for call in calls),
            "cached_tokens": sum(call["cached_tokens"] for call in calls),
            "completion_tokens": sum(call["completion_tokens"] for call in calls),
            "cost_micro": sum(call["cost_micro"] for call in calls),
        },
        "times": {
            "received_at": owner[0]["at"] if owner else job["created_at"],
            "queued_at": job["created_at"],
            "started_at": job["started_at"],
            "ended_at": job["ended_at"],
            "waited_ms": job["waited_ms"],
            "worked_ms": job["worked_ms"],
        },
    }


def _recall(c: apsw.Connection, job_id: str) -> View | None:
    found = recall.get(c, job_id)
    return None if found is None else asdict(found)


def _pruned(job_id: str, known: View | None) -> View:
    """What can still be said of a job whose detail is gone. Raises ``NotFound``."""
    if known is None:
        raise NotFound(what=f"job {job_id}")
    text = dict.fromkeys(
        ("lane", "kind", "needs", "session", "route", "error", "waiting_for", "text"), ""
    )
    made = int(job_id.replace("-", "")[:12], 16)  # an id begins with the time of its making
    return {
        **dict.fromkeys(_JOB_FIELDS, 0), **text, "id": job_id, "state": known["state"],
        "node": None, "message_id": None, "created_at": made, "run_at": made,
        "ended_at": known["ended_at"],
    }  # fmt: skip


def attempts(c: apsw.Connection, ident: str) -> View:
    """The attempts at a job, with all that is kept of those that were discarded."""
    job_id = find(c, ident)
    there = maybe(c, "SELECT state FROM job WHERE id = ?", (job_id,))
    state = there[0] if there else _pruned(job_id, prune.known(c, job_id))["state"]
    found = _attempts(c, job_id)
    _steps(c, job_id, found)
    return {"job_id": job_id, "state": state, "attempts": found}


def _attempts(c: apsw.Connection, job_id: str, most: int = 0) -> list[View]:
    found = _rows(
        shown(
            c,
            "SELECT a.epoch, coalesce(n.name, a.node_id), a.started_at, a.ended_at, a.outcome,"
            " a.error, a.worked_ms, a.under_way,"
            " a.discarded_at FROM attempt a LEFT JOIN node n ON n.id = a.node_id"
            " WHERE a.job_id = ?1"
            " UNION ALL SELECT j.epoch, coalesce(n.name, j.node_id), j.attempt_at, 0, '', '', 0,"
            " '', 0 FROM job j LEFT JOIN node n ON n.id = j.node_id"
            " WHERE j.id = ?1 AND j.state = 'running' ORDER BY 1",
            (job_id,),
        ),
        (
            "epoch", "node", "started_at", "ended_at", "outcome", "error", "worked_ms",
            "under_way", "discarded_at",
        ),
    )  # fmt: skip
    kept = discarded.of_job(c, job_id, most)
    given = rows(c, "SELECT epoch, why FROM given WHERE job_id = ?", (job_id,))
    why = {one[0]: one[1] for one in given}
    for attempt in found:
        attempt["given"] = why.get(attempt["epoch"], "")
        attempt["discarded"] = kept.get(attempt["epoch"], [])
    return found


def _route(job: View) -> View:
    """Where it went and by which rule, from the words stored with the job (``to: rule``)."""
    to, _, rule = str(job["route"]).partition(": ")
    return {
        "to": to,
        "rule": rule,
        "needs": job["needs"],
        "prefer": job["prefer"],
        "avoid": job["avoid"],
        "lane": job["lane"],
    }


def _steps(c: apsw.Connection, job_id: str, attempts: list[View]) -> list[View]:
    """The journal. Each attempt is told which steps it ran and which it replayed."""
    fields = (
        "seq", "epoch", "name", "state", "rule", "input", "output", "prompt_tokens",
        "cached_tokens", "completion_tokens", "cost_micro", "started_at", "ended_at", "note",
        "input_hash", "effects",
    )  # fmt: skip
    found = _rows(
        shown(
            c,
            f"SELECT {', '.join(fields)} FROM step WHERE job_id = ? ORDER BY seq, epoch",
            (job_id,),
        ),
        fields,
    )
    replays = _rows(
        shown(
            c,
            "SELECT seq, epoch, at, note FROM replay WHERE job_id = ? ORDER BY seq, epoch",
            (job_id,),
        ),
        ("seq", "epoch", "at", "note"),
    )
    for attempt in attempts:
        epoch = attempt["epoch"]
        attempt["ran"] = [step["seq"] for step in found if step["epoch"] == epoch]
        attempt["replayed"] = [replay["seq"] for replay in replays if replay["epoch"] == epoch]
    late = {
        (attempt["epoch"], part.get("seq")) for attempt in attempts for part in attempt["discarded"]
    }
    for step in found:
        done = step["state"] == "done"
        # Its outcome came after all, with an attempt that was discarded.
        step["came_late"] = not done and (step["epoch"], step["seq"]) in late
        of_it = [
            one for one in replays if one["seq"] == step["seq"] and one["epoch"] > step["epoch"]
        ]
        step["replays"] = of_it if done else []
        step["replayed"] = bool(step["replays"])
    return found


def calls(c: apsw.Connection, *, job: str = "", **filters: Any) -> View:
    """The newest calls first; ``job``: an id, or a piece of one, of a job or message."""
    return audit.listed(c, job_id=find(c, job) if job else "", **filters)


def messages(c: apsw.Connection, session: str, after: int, limit: int) -> View:
    """A conversation's messages after a sequence number; with ``after`` < 0, the newest."""
    if after < 0:
        return {"messages": sessions.older(c, session, 0, limit)["messages"]}
    where = "WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?"
    return {"messages": said.some(c, where, (session, after, limit))}


def counts(c: apsw.Connection) -> View:
    """What `status` shows of the queue, the outbox and today's calls."""
    queue: dict[str, int] = {}
    for state in (JobState.QUEUED, JobState.RUNNING, JobState.WAITING, JobState.DEAD):
        (queue[state],) = row(c, f"SELECT count(*) FROM job WHERE {_in_state(state)}")
    oldest = maybe(
        c,
        # Ids are in the order of queueing, and an index of the queued ones holds them.
        f"SELECT {_NOW} - created_at FROM job"
        " WHERE id = (SELECT min(id) FROM job WHERE state = 'queued')",
    )
    backends = audit.today(c)
    calls, tokens, cost = (
        sum(one[name] for one in backends) for name in ("calls", "tokens", "cost_micro")
    )
    total, channels = outbox.counts(c)
    running = rows(c, "SELECT node_id, count(*) FROM job WHERE state = 'running' GROUP BY node_id")
    return {
        "queue": {**queue, "oldest_ms": oldest[0] if oldest else 0},
        "today": {"calls": calls, "tokens": tokens, "cost_micro": cost},
        "backends": backends,
        "spent": ledger.spent_today(c),
        "outbox": total,
        "channels": channels,
        "running_by_node": dict(running),
    }


def _in_state(state: JobState) -> str:
    """In the words of the partial indexes, else SQLite cannot use them."""
    stuck = state in (JobState.WAITING, JobState.DEAD)
    return f"state = '{state}'" + " AND state IN ('waiting', 'dead')" * stuck
