"""What an end means: the tables of retries, deaths and cancels."""

from __future__ import annotations

from typing import Any

import pytest

from stead.core.nouns import Job, Trouble
from stead.core.states import TRANSITIONS, Failure, JobState, Lane
from stead.core.wire import Finish
from stead.queue.policy import Policy, after_crash, after_report, backoff

POLICY = Policy(lease_ms=30_000, backoff_ms=2_000, backoff_max_ms=300_000)


def job(**more: Any) -> Job:
    base: dict[str, Any] = {
        "id": "j", "lane": Lane.CHAT, "prio": 0, "kind": "chat", "needs": "", "payload": {},
        "state": JobState.RUNNING, "created_at": 1, "run_at": 1, "deadline_at": 0, "epoch": 1,
        "tries": 0, "crashes": 0, "max_tries": 3, "max_crashes": 3, "node_id": "n",
        "lease_until": 1, "cancel_req": False, "conc_key": None, "idem_key": None,
        "conc_limit": 1, "prefer": "", "avoid": "",
        "message_id": None, "session": None, "route": "", "started_at": 1, "ended_at": 0,
        "error": "", "waiting_for": "", "history_upto": 0,
    }  # fmt: skip
    return Job(**{**base, **more})


def report(outcome: str, failure: Failure | None = None, permanent: bool = False) -> Finish:
    trouble = Trouble(failure, "it broke", permanent) if failure else None
    return Finish("r", "j", 1, outcome, trouble=trouble, waiting_for="Shall I?")


@pytest.mark.parametrize(
    ("outcome", "failure", "permanent", "tries", "cancel", "state"),
    [
        ("done", None, False, 0, False, "done"),
        ("done", None, False, 2, True, "done"),  # it was quicker than the wish to cancel it
        ("waiting", None, False, 0, False, "waiting"),
        ("waiting", None, False, 0, True, "cancelled"),
        ("cancelled", None, False, 0, True, "cancelled"),
        ("cancelled", None, False, 0, False, "cancelled"),
        ("failed", Failure.NETWORK, False, 0, False, "queued"),
        ("failed", Failure.NETWORK, False, 1, False, "queued"),
        ("failed", Failure.NETWORK, False, 2, False, "dead"),
        ("failed", Failure.NETWORK, False, 0, True, "cancelled"),
        ("failed", Failure.TIMEOUT, False, 0, False, "queued"),
        ("failed", Failure.RATE_LIMIT, False, 0, False, "queued"),
        ("failed", Failure.UNAVAILABLE, False, 0, False, "queued"),
        ("failed", Failure.CODE, False, 0, False, "queued"),
        ("failed", Failure.CODE, True, 0, False, "dead"),
        ("failed", Failure.AUTH, False, 0, False, "dead"),
        ("failed", Failure.SCHEMA, False, 0, False, "dead"),
        ("failed", Failure.LIMIT, False, 0, False, "dead"),
        ("failed", Failure.BUDGET, False, 0, False, "dead"),
        ("failed", Failure.UNKNOWN_OUTCOME, False, 0, False, "dead"),
        ("failed", Failure.AWAY, False, 2, False, "queued"),
        ("failed", Failure.AWAY, False, 2, True, "cancelled"),
        ("failed", None, False, 0, False, "queued"),
        ("nonsense", None, False, 2, False, "dead"),
    ],
)
def test_reports(
    outcome: str, failure: Failure | None, permanent: bool, tries: int, cancel: bool, state: str
) -> None:
    """Each outcome and class of failure has its own way on, and each is an allowed one."""
    verdict = after_report(
        POLICY, job(tries=tries, cancel_req=cancel), report(outcome, failure, permanent)
    )
    assert verdict.state == state
    assert verdict.state in TRANSITIONS[JobState.RUNNING]


@pytest.mark.parametrize(
    ("why", "crashes", "cancel", "state"),
    [
        ("lease", 1, False, "queued"),
        ("lease", 2, False, "queued"),
        ("lease", 3, False, "dead"),
        ("lease", 4, False, "dead"),
        ("lease", 1, True, "cancelled"),
        ("lease", 3, True, "cancelled"),
        ("cancel", 0, False, "cancelled"),
        ("deadline", 0, False, "dead"),
    ],
)
def test_crashes(why: str, crashes: int, cancel: bool, state: str) -> None:
    """A vanished worker costs a crash; too many of them kill the job, not the house."""
    verdict = after_crash(POLICY, job(crashes=crashes, cancel_req=cancel), why)
    assert verdict.state == state
    assert verdict.state in TRANSITIONS[JobState.RUNNING]


def test_company_saves() -> None:
    """A crash that another job may as well have caused ends no job; it is tried once more."""
    for crashes in (3, 4, 9):
        verdict = after_crash(POLICY, job(crashes=crashes, beside=1), "lease")
        assert verdict.state == JobState.QUEUED
    cancelled = after_crash(POLICY, job(crashes=3, beside=1, cancel_req=True), "lease")
    assert cancelled.state == JobState.CANCELLED


def test_what_is_told() -> None:
    """The reason of an end is in words, with the number of tries or crashes."""
    assert after_report(POLICY, job(), report("waiting")).why == "Shall I?"
    dead = after_report(POLICY, job(tries=2), report("failed", Failure.NETWORK))
    assert dead.why == "it broke (tried 3 times)"
    assert after_report(POLICY, job(), report("failed", Failure.AUTH)).why == "it broke"
    assert "without saying why" in after_report(POLICY, job(), report("failed")).why
    assert "vanished 3 times (lease)" in after_crash(POLICY, job(crashes=3), "lease").why


def test_backoff_grows_to_its_limit() -> None:
    """Each failure doubles the pause, with a quarter of jitter, up to the longest."""
    for tries, plain in ((1, 2_000), (2, 4_000), (5, 32_000), (9, 300_000), (10_000, 300_000)):
        waits = {backoff(POLICY, tries) for _ in range(200)}
        assert plain * 0.75 <= min(waits) <= max(waits) <= plain * 1.25
        assert len(waits) > 50  # so that many do not come back at once


def test_the_pauses_of_a_job() -> None:
    """A failure waits its turn; the first crash does not, the worker is the likely cause; a stop
    of the house waits a moment and costs nothing."""
    failed = after_report(POLICY, job(tries=1), report("failed", Failure.NETWORK))
    assert 3_000 <= failed.delay_ms <= 5_000 and failed.counts
    away = after_report(POLICY, job(), report("failed", Failure.AWAY))
    assert 300 <= away.delay_ms <= 700 and not away.counts
    assert after_crash(POLICY, job(crashes=1), "lease").delay_ms == 0
    assert 1_500 <= after_crash(POLICY, job(crashes=2), "lease").delay_ms <= 2_500
