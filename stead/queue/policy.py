"""What an end of an attempt means: the state machine of ``core.states`` with its numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from stead.core.nouns import Job
from stead.core.states import Failure, JobState
from stead.core.storage import UNREADABLE
from stead.core.wire import Finish


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in milliseconds."""

    lease_ms: int = 30_000
    backoff_ms: int = 2_000
    backoff_max_ms: int = 300_000


@dataclass(slots=True)
class Verdict:
    """The state a job goes to, after how long, and why in words."""

    state: JobState
    delay_ms: int = 0
    why: str = ""
    counts: bool = True
    """Whether this failure uses up a try."""


def backoff(policy: Policy, tries: int) -> int:
    """Exponential with full-range jitter of a quarter, so that many do not return at once.

    ``tries`` counts the failures so far, from 1.
    """
    plain = min(policy.backoff_max_ms, policy.backoff_ms * 2 ** min(tries - 1, 30))
    return int(plain * random.uniform(0.75, 1.25))


def after_report(policy: Policy, job: Job, report: Finish) -> Verdict:
    """What a worker's report means for its job; ``job.tries`` does not count this one yet."""
    if report.outcome == "done":
        return Verdict(JobState.DONE)
    if report.outcome == "cancelled" or job.cancel_req:
        return Verdict(JobState.CANCELLED, why="cancelled by the owner")
    if report.outcome == "waiting":
        return Verdict(JobState.WAITING, why=report.waiting_for)
    trouble = report.trouble
    words = trouble.message if trouble else "it failed without saying why"
    permanent = trouble is not None and (trouble.permanent or trouble.failure.permanent)
    if trouble is not None and trouble.failure is Failure.AWAY:
        return Verdict(JobState.QUEUED, backoff(policy, 1) // 4, words, counts=False)
    tries = job.tries + 1
    if permanent:
        return Verdict(JobState.DEAD, why=words)
    if tries >= job.max_tries:
        return Verdict(JobState.DEAD, why=f"{words} (tried {tries} times)")
    return Verdict(JobState.QUEUED, backoff(policy, tries), words)


def after_crash(policy: Policy, job: Job, why: str) -> Verdict:
    """What a vanished worker means; ``job.crashes`` counts this one already.

    It never ends a job beside which another ran that is as likely the cause (``job.beside``):
    those are tried again apart from each other.
    """
    if why == "cancel" or job.cancel_req:
        return Verdict(JobState.CANCELLED, why="cancelled by the owner")
    if why == "deadline":
        return Verdict(JobState.DEAD, why="its deadline passed before anyone could do it")
    if why.startswith(UNREADABLE):
        return Verdict(JobState.DEAD, why=why)
    if job.crashes >= job.max_crashes and not job.beside:
        return Verdict(
            JobState.DEAD,
            why=f"its worker vanished {job.crashes} times ({why}); it may be what brings it down",
        )
    # The first retry after a crash is at once: the worker, not the job, is the likely cause.
    delay = 0 if job.crashes <= 1 else backoff(policy, job.crashes - 1)
    return Verdict(JobState.QUEUED, delay, why)
