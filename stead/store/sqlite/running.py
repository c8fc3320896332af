"""What runs, as it was given out: so its end need not be looked up, nor read a second time.

The rows are the truth. An end that is judged by what is noted here is written under the condition
that its row says the same; else it is judged anew, by the row. What cannot change while a job runs
is not among the conditions: all of it is forgotten as soon as another program writes to the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import apsw

from stead.core.nouns import Job
from stead.core.states import JobState
from stead.store.sqlite.jobs import NUMBER, made
from stead.store.sqlite.sql import Row, row

#: As many are noted, and none that is larger (characters of its payload).
_MOST = 1000
_LARGEST = 16_000


class Grant(NamedTuple):
    """What a claim writes into the row of a job."""

    epoch: int
    node_id: str
    boot: str
    request_id: str
    lease_until: int
    at: int
    """When this attempt begins."""
    started_at: int
    history_upto: int
    job_id: str


def write_in(job: Job, grant: Grant) -> Job:
    """What the claim changes of the job."""
    job.epoch, job.node_id, _, _, job.lease_until, _, job.started_at, job.history_upto, _ = grant
    job.state, job.cancel_req, job.waiting_for, job.beside = JobState.RUNNING, False, "", 0
    return job


def _written_by_others(c: apsw.Connection) -> int:
    """A number that changes when another connection has written to the file."""
    return int(row(c, "PRAGMA data_version")[0])


class Running:
    """The jobs that were given out last. Used by the thread that writes, and nowhere else."""

    def __init__(self, c: apsw.Connection) -> None:
        self._given: dict[str, tuple[Row, Grant]] = {}
        self._version = _written_by_others(c)

    def note(self, values: Row, grant: Grant) -> None:
        """A job is given out: the row it had, and what is written into it."""
        if len(values[_PAYLOAD]) <= _LARGEST:
            if len(self._given) >= _MOST:
                self._given.clear()
            self._given[grant.job_id] = values, grant

    def look(self, c: apsw.Connection, job_ids: Iterable[str]) -> dict[str, tuple[Job, int]]:
        """Those of these jobs that are known, as they were given out, and when; they are then
        forgotten. For the beginning of a transaction."""
        version = _written_by_others(c)
        if version != self._version:
            self._version = version
            self._given.clear()
        take = self._given.pop
        found = ((job_id, take(job_id, None)) for job_id in job_ids)
        return {
            job_id: (write_in(made(one[0]), one[1]), one[1].at)
            for job_id, one in found
            if one is not None
        }


_PAYLOAD = NUMBER["payload"]
