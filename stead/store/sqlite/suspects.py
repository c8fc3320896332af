"""Jobs whose worker vanished: which of them brought it down, and how the others stay unharmed.

A worker that vanishes counts against every job that it held, for nobody can tell which
of them it was. From then on these are suspects, and a suspect is tried apart:

* a node holds one suspect at a time; others that have harmed nobody run beside it;
* a background suspect with one crash left runs beside no other background job, so that
  nobody else's crash is the one that ends it;
* a crash never ends a job if its worker also held another that is as likely the cause.

A worker that is heard of again had not vanished, and what it counted is taken back.
See docs/decisions/0007-which-job-brings-its-worker-down.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import apsw
import msgspec

from stead.core.nouns import Job
from stead.core.states import Lane, StepState
from stead.store.sqlite.sql import NOW, Row, maybe, row, rows

#: Why a job was taken back whose worker may yet turn out to be alive.
SILENT = "its worker went silent and the lease ran out"

_AROUND = f"""
SELECT id, lane, demand, rank, state = 'running', node_id, crashes + 1 >= max_crashes,
       state = 'queued' AND hold = -1 AND NOT (deadline_at > 0 AND deadline_at < {NOW})
FROM job WHERE crashes > 0 AND state IN ('queued', 'running')
"""


#: Whether there are any.
ANY = "SELECT EXISTS (SELECT 1 FROM job WHERE crashes > 0 AND state IN ('queued', 'running'))"


@dataclass(frozen=True, slots=True)
class _Suspect:
    id: str
    lane: str
    demand: int
    rank: int
    running: int
    node_id: str | None
    last: int
    """The next crash is its last."""
    ready: int

    @property
    def alone(self) -> bool:
        """Whether no other background job may run beside it. The owner's chat neither waits
        for background work nor is it in its way."""
        return bool(self.last) and self.lane != Lane.CHAT

    @property
    def order(self) -> tuple[int, str]:
        return self.rank, self.id


def look(c: apsw.Connection) -> Around | None:
    """The suspects there are; None, as nearly always, if there are none."""
    found = rows(c, _AROUND)
    return Around(c, found) if found else None


class Around:
    """The suspects that wait and run, and what that means for a node that asks for work."""

    def __init__(self, c: apsw.Connection, found: list[Row]) -> None:
        self._c = c
        self._all = [_Suspect(*one) for one in found]

    def pick(self, node_id: str, lane: str, met: Sequence[int]) -> tuple[str, int] | None:
        """The suspect of this lane that the node may be given now, and its demand; it is then
        taken as given."""
        if self._held(node_id):
            return None
        for one in self._ready(lane, met):
            if not (one.alone and self._busy(node_id)):
                self._all.remove(one)
                self._all.append(replace(one, running=1, node_id=node_id, ready=0))
                return one.id, one.demand
        return None

    def leave_out(self, job_id: str) -> None:
        """This one cannot be given out after all."""
        self._all = [one for one in self._all if one.id != job_id]

    def free(self, node_id: str, lane: str, met: Sequence[int]) -> bool:
        """Whether the node may be given a job of this lane that has harmed nobody.

        Not in the background, while it holds one that must be alone there, or while such a
        one waits for what the node does in the background to end.
        """
        if lane == Lane.CHAT:
            return True
        held = self._held(node_id)
        return not any(one.alone for one in held or self._ready(lane, met))

    def _held(self, node_id: str) -> list[_Suspect]:
        return [one for one in self._all if one.running and one.node_id == node_id]

    def _ready(self, lane: str, met: Sequence[int]) -> list[_Suspect]:
        fitting = (one for one in self._all if one.ready and one.lane == lane)
        return sorted((one for one in fitting if one.demand in met), key=lambda one: one.order)

    def _busy(self, node_id: str) -> bool:
        """Whether the node does anything in the background."""
        found = maybe(
            self._c,
            "SELECT 1 FROM job WHERE state = 'running' AND node_id = ? AND lane <> 'chat' LIMIT 1",
            (node_id,),
        )
        return found is not None


# --- a worker vanished ---------------------------------------------------------


def company(c: apsw.Connection, job: Job) -> int:
    """How many others its worker held that are as likely the cause as this running job.

    Two in the background are, and whoever has been on a vanished worker as often. The others
    are told of this one, for by the time they are taken back it is no longer there.
    """
    others = "state = 'running' AND id <> ?1 AND (node_id, boot) = (SELECT node_id, boot FROM job"
    others += " WHERE id = ?1)"
    as_likely = "(crashes {} ?2 OR lane = 'background' AND ?3 = 'background')"
    told = (job.id, job.crashes, job.lane)
    c.execute(
        f"UPDATE job SET beside = beside + 1 WHERE {others} AND {as_likely.format('<=')}", told
    )
    (now,) = row(c, f"SELECT count(*) FROM job WHERE {others} AND {as_likely.format('>=')}", told)
    return job.beside + int(now)


def under_way(c: apsw.Connection, job: Job) -> str:
    """In words, what is known of the moment in which this job's worker vanished."""
    node = maybe(c, "SELECT name FROM node WHERE id = ?", (job.node_id,))
    return f"on {node[0] if node else job.node_id}, {_last_step(c, job)}"


def _last_step(c: apsw.Connection, job: Job) -> str:
    last = maybe(
        c,
        "SELECT seq, name, input, output, state FROM step WHERE job_id = ? AND epoch = ?"
        " ORDER BY seq DESC LIMIT 1",
        (job.id, job.epoch),
    )
    if last is None:
        return "before any step of that attempt was in its journal"
    seq, name, asked, output, state = last
    if state == StepState.INTENT:
        return f"under way: step {seq}, {name} {_short(asked)}".rstrip()
    calls = _called(output)  # a tool without effects writes no intent
    after = f"after step {seq}, {name}"
    return f"{after}, which asked for {_short(calls)}" if calls else after


def _called(output: str) -> str:
    """The tools that a model's answer asked for, out of its journalled JSON."""
    try:
        calls = msgspec.json.decode(output or "{}").get("calls") or []
        return ", ".join(f"{call['name']} {call['arguments']}" for call in calls)
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        return ""  # another version's way of writing it


def _short(text: str, most: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def came_back(c: apsw.Connection, job_id: str, epoch: int, node_id: str) -> None:
    """The worker of an attempt that counted as crashed is there: it had only been cut off."""
    c.execute(
        "UPDATE attempt SET outcome = 'cut off' WHERE job_id = ? AND epoch = ? AND node_id = ?"
        " AND outcome = 'crashed' AND error = ?",
        (job_id, epoch, node_id, SILENT),
    )
    if c.changes():
        c.execute(
            "UPDATE job SET crashes = crashes - 1,"
            " hold = CASE WHEN crashes = 1 AND hold < 0 THEN 0 ELSE hold END"
            " WHERE id = ? AND crashes > 0 AND state IN ('queued', 'running', 'waiting')",
            (job_id,),
        )
