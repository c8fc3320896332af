"""The states of a job and the only ways between them.

::

             +-------------------------- retry (backoff) ---------------------+
             v                                                                |
 queued -> running -> done            running -> waiting (approval, timer) -> queued
             |  \\---> cancelled       running -> dead (tries or crashes used up, or permanent)
             +-- lease ran out: crashes+1 -> queued
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    """Where a job stands. Code, database, pages and commands use these words."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    CANCELLED = "cancelled"
    DEAD = "dead"


#: From each state, the states a job may enter next.
TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.DEAD}),
    JobState.RUNNING: frozenset(
        {JobState.QUEUED, JobState.WAITING, JobState.DONE, JobState.CANCELLED, JobState.DEAD}
    ),
    JobState.WAITING: frozenset({JobState.QUEUED, JobState.CANCELLED, JobState.DEAD}),
    JobState.DONE: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.DEAD: frozenset({JobState.QUEUED}),  # only by the owner's hand: `stead jobs retry`
}

#: A job in one of these is over (a dead one until the owner revives it).
ENDED = frozenset({JobState.DONE, JobState.CANCELLED, JobState.DEAD})


class Lane(StrEnum):
    """What waits for what: a ready chat job always goes before a background one."""

    CHAT = "chat"
    BACKGROUND = "background"


class StepState(StrEnum):
    """What the journal knows of one step.

    ``intent`` is written before the call, ``done`` or ``failed`` after it.
    ``unknown`` marks an intent whose worker vanished before its outcome was
    known; it is set when a later worker meets the intent on resume.
    ``replayed`` is what a later worker reports when it has used an outcome
    again: never the state of a step, kept beside the steps.
    """

    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REPLAYED = "replayed"


class OnUnknown(StrEnum):
    """What to do with an intent that has no outcome (invariant 3)."""

    REPEAT = "repeat"
    ASK = "ask"
    FAIL = "fail"


class Effects(StrEnum):
    """What a tool may change."""

    NONE = "none"
    WORKSPACE = "workspace"
    OUTSIDE = "outside"


class Failure(StrEnum):
    """The class of a failure; each has its own way of going on.

    Permanent classes are not tried again: the same call would fail the same way.
    """

    NETWORK = "network"
    TIMEOUT = "timeout"
    RATE_LIMIT = "rate_limit"
    UNAVAILABLE = "unavailable"
    CODE = "code"
    AUTH = "auth"
    SCHEMA = "schema"
    LIMIT = "limit"
    BUDGET = "budget"
    UNKNOWN_OUTCOME = "unknown_outcome"
    AWAY = "away"
    """Gateway or worker stopped in mid-work. Not the job's doing, so it costs no try; the
    wall-time limit of the job bounds how often that may happen."""

    @property
    def permanent(self) -> bool:
        """Whether trying again without a change is pointless."""
        return self in _PERMANENT


_PERMANENT = frozenset(
    {Failure.AUTH, Failure.SCHEMA, Failure.LIMIT, Failure.BUDGET, Failure.UNKNOWN_OUTCOME}
)
