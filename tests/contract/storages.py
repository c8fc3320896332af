"""The storages that the contract holds for, and short ways to work them in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stead.core.ids import uuid7
from stead.core.nouns import Inbound, Job, NewJob, Step, Trouble, Usage
from stead.core.states import Failure, JobState, Lane, OnUnknown, StepState
from stead.core.storage import Ended, Granted, Ruling, Store
from stead.core.wire import Finish
from stead.store.sqlite import SqliteStore

Opener = Callable[..., Store]

#: Each opens the storage that lies in a folder, again and again the same one.
STORAGES: dict[str, Opener] = {
    "sqlite": lambda folder, **more: SqliteStore(folder / "state.db", folder / "copies", **more),
}

LANES = ("chat", "background")


class House:
    """A storage that can be closed and opened again."""

    def __init__(self, opener: Opener, folder: Path) -> None:
        self._opener = opener
        self._folder = folder
        self.store = opener(folder)

    def reopen(self, **more: Any) -> Store:
        """``more``: what its maker takes, such as ``age_ms``."""
        self.store.close()
        self.store = self._opener(self._folder, **more)
        return self.store


def inbound(text: str = "hello", **more: Any) -> Inbound:
    more.setdefault("channel", "cli")
    more.setdefault("external_id", uuid7())
    return Inbound(text=text, **more)


def chat(session: str = "main", **more: Any) -> NewJob:
    more.setdefault("conc_key", f"session:{session}")
    return NewJob("chat", {"text": "hello"}, session=session, **more)


def background(**more: Any) -> NewJob:
    return NewJob("noop", {"n": 1}, lane=Lane.BACKGROUND, **more)


async def claim(store: Store, node: str = "n1", **more: Any) -> Granted | None:
    more.setdefault("request_id", uuid7())
    more.setdefault("boot", f"{node}-boot")
    more.setdefault("lanes", LANES)
    more.setdefault("labels", ())
    more.setdefault("lease_ms", 30_000)
    return await store.claim(node_id=node, **more)


async def claimed(store: Store, node: str = "n1", **more: Any) -> Job:
    granted = await claim(store, node, **more)
    assert granted is not None, "there should have been a job to claim"
    return granted.job


def rule(job: Job, report: Finish) -> Ruling:
    """A plain rule: done, waiting, cancelled; failed is tried again at once until it is dead."""
    if report.outcome == "done":
        return Ruling(JobState.DONE, reply=report.text, line=f"answered {job.id[-8:]}")
    if report.outcome == "waiting":
        ask = report.waiting_for
        return Ruling(JobState.WAITING, reply=ask, role="notice", waiting_for=ask)
    if report.outcome == "cancelled" or job.cancel_req:
        return Ruling(JobState.CANCELLED, error="cancelled", reply="Cancelled.", role="notice")
    why = report.trouble.message if report.trouble else "it failed"
    permanent = report.trouble is not None and report.trouble.permanent
    if permanent or job.tries + 1 >= job.max_tries:
        return Ruling(JobState.DEAD, error=why, reply=f"Sorry: {why}", role="notice")
    return Ruling(JobState.QUEUED, error=why)


def crash_rule(job: Job, why: str) -> Ruling:
    """Cancelled when asked to be, dead when ``max_crashes`` are used up or too late."""
    if why == "cancel" or job.cancel_req:
        return Ruling(JobState.CANCELLED, error="cancelled", reply="Cancelled.", role="notice")
    if why == "deadline" or (job.crashes >= job.max_crashes and not job.beside):
        return Ruling(JobState.DEAD, error=why, reply=f"Sorry: {why}", role="notice")
    return Ruling(JobState.QUEUED, error=why)


def report(job: Job, outcome: str = "done", text: str = "", **more: Any) -> Finish:
    return Finish(uuid7(), job.id, job.epoch, outcome, text, **more)


def trouble(why: str, *, permanent: bool = False) -> Trouble:
    return Trouble(Failure.CODE, why, permanent)


async def finish(
    store: Store, job: Job, outcome: str = "done", text: str = "", **more: Any
) -> Ended:
    assert job.node_id is not None
    return await store.finish(job.node_id, report(job, outcome, text, **more), rule)


async def converse(store: Store, text: str, answer: str | None, session: str = "main") -> Job:
    """A message, and its answer (None: it fails for good)."""
    await store.accept(inbound(text, session=session), chat(session), "")
    job = await claimed(store)
    if answer is None:
        await finish(store, job, "failed", trouble=trouble("broken", permanent=True))
    else:
        await finish(store, job, "done", answer)
    return job


def step(seq: int, state: StepState = StepState.INTENT, **more: Any) -> Step:
    return Step(seq, more.pop("name", "tool:clock"), f"{seq:064x}", state, **more)


async def journal(store: Store, job: Job, *steps: Step) -> bool:
    assert job.node_id is not None
    return await store.journal(job.id, job.epoch, job.node_id, steps, ["" for _ in steps])


async def until_lease_is_over(store: Store, job: Job) -> None:
    """Wait, in short looks, until the database says that this job's lease has run out."""
    for _ in range(200):
        held = {held for held, _, _ in await store.leases()}
        if job.id not in held:
            return
        ended = await store.reap(crash_rule)
        if any(one.job.id == job.id for one in ended):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("the lease never ran out")


async def now_of(store: Store) -> int:
    """The time on the storage's clock, told by a job that is then cancelled."""
    job_id, _ = await store.enqueue(background(prio=10**6, needs="clock"))
    return (await store.cancel(job_id, crash_rule)).job.created_at


async def until(store: Store, when: int) -> None:
    """Until the storage's clock is past this time."""
    for _ in range(1000):
        now = await now_of(store)
        if now > when:
            return
        await asyncio.sleep((when - now + 1) / 1000)
    raise AssertionError("the storage's clock stands still")


async def state_of(store: Store, job_id: str) -> str:
    return str((await store.view_why(job_id))["job"]["state"])


__all__ = [
    "LANES", "STORAGES", "House", "OnUnknown", "Usage", "background", "chat", "claim", "claimed",
    "converse", "crash_rule", "finish", "inbound", "journal", "now_of", "report", "rule",
    "state_of", "step", "trouble", "until", "until_lease_is_over",
]  # fmt: skip
