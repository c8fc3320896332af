"""The queue against a model of it, through whatever order of events chance finds."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from stead.core.errors import StaleEpoch, WrongState
from stead.core.ids import uuid7
from stead.core.nouns import NewJob
from stead.core.states import Lane
from stead.core.wire import Finish, Held
from stead.queue.policy import Policy
from stead.queue.queue import Queue
from stead.store.sqlite import SqliteStore
from tests.contract.storages import crash_rule, trouble
from tests.contract.storages import rule as end_rule
from tests.unit.queue.model import ENDED, LANES, Job, Model

T = TypeVar("T")

NODES = {"n1": (), "n2": ("gpu",)}
nodes = st.sampled_from(sorted(NODES))
picks = st.integers(0, 10_000)


class QueueMachine(RuleBasedStateMachine):
    """Two nodes, two conversations and loose jobs; every event that the queue knows."""

    def __init__(self) -> None:
        super().__init__()
        # In memory where there is such a place: the events are many, and no power is cut here.
        shm = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self.open()
        self.model = Model()
        self.boots = dict.fromkeys(NODES, 1)
        self.reports: list[tuple[str, Finish, str]] = []
        self.past: set[tuple[str, int, str]] = set()
        self.last_request = ""

    def open(self) -> None:
        self.store = SqliteStore(self.folder / "state.db", self.folder / "copies")
        self.queue = Queue(self.store, Policy(lease_ms=600_000, backoff_ms=0))
        self.run(self.queue.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.store.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    def pick(self, n: int, *states: str) -> Job | None:
        fit = [job for job in self.model.jobs.values() if job.state in states]
        return fit[n % len(fit)] if fit else None

    def has(self, *states: str) -> bool:
        return any(job.state in states for job in self.model.jobs.values())

    def boot(self, node: str) -> str:
        return f"{node}-{self.boots[node]}"

    async def ended(self, ended: Any) -> None:
        self.queue.ended(ended)

    # --- in and out ----------------------------------------------------------------

    @rule(
        lane=st.sampled_from(LANES), prio=st.integers(0, 1), needs=st.sampled_from(["", "", "gpu"]),
        key=st.sampled_from(["a", "a", "b", None]), most=st.integers(1, 3),
    )  # fmt: skip
    def enqueue(self, lane: str, prio: int, needs: str, key: str | None, most: int) -> None:
        job_id, new = self.run(
            self.queue.enqueue(
                NewJob(
                    "noop", {}, lane=Lane(lane), prio=prio, needs=needs, conc_key=key,
                    max_tries=most, max_crashes=most,
                )
            )
        )  # fmt: skip
        assert new and job_id not in self.model.jobs
        run_at = self.run(self.store.job(job_id)).run_at
        self.model.enqueue(Job(job_id, lane, prio, needs, key, most, most, run_at))

    @precondition(lambda self: not self.has("queued"))
    @rule(n=st.integers(2, 4))
    def a_conversation(self, n: int) -> None:
        for _ in range(n):
            self.enqueue("chat", 0, "", "a", 3)

    @precondition(lambda self: self.has("queued"))
    @rule()
    def claim_what_is_there(self) -> None:
        for node in (*NODES, *NODES):
            self.claim(node, LANES, False)

    @precondition(lambda self: self.has("running"))
    @rule(n=picks, outcome=st.sampled_from(["done", "failed", "waiting", "waiting"]))
    def finish_well(self, n: int, outcome: str) -> None:
        self.finish(n, outcome, False)

    @rule(
        node=nodes,
        lanes=st.sampled_from([LANES, LANES, ("chat",), LANES[::-1]]),
        again=st.booleans(),
    )
    def claim(self, node: str, lanes: tuple[str, ...], again: bool) -> None:
        request = self.last_request if again and self.last_request else uuid7()
        self.last_request = request
        expected = self.model.expected(node, lanes, set(NODES[node]), request)
        granted = self.run(
            self.queue.claim(
                request_id=request, node_id=node, boot=self.boot(node), lanes=lanes,
                labels=NODES[node], wait_s=0.0,
            )
        )  # fmt: skip
        assert (granted.job.id if granted else "") == expected
        if granted is None:
            return
        before = self.model.jobs[expected].epoch
        was_running = self.model.jobs[expected].state == "running"
        job = self.model.claim(expected, node, self.boot(node), request)
        assert granted.job.epoch == job.epoch
        assert was_running or granted.job.epoch == before + 1
        self.past.add((job.id, job.epoch, node))

    @rule(node=nodes, n=picks, what=st.sampled_from(["beat", "restart", "stop", "repeat"]))
    def now_and_then(self, node: str, n: int, what: str) -> None:
        if what == "beat":
            self.heartbeat(node)
        elif what == "restart":
            self.restart_node(node)
        elif what == "stop":
            self.restart_gateway()
        elif self.reports:
            self.finish_again(n)
            self.finish_stale(n)

    def heartbeat(self, node: str) -> None:
        held = sorted(self.past)
        cancel, lost = self.run(self.queue.heartbeat(node, [Held(j, e) for j, e, _ in held]))
        mine = {(job.id, job.epoch) for job in self.model.running() if job.node == node}
        assert lost == [job for job, epoch, _ in held if (job, epoch) not in mine]
        stop = {job.id for job in self.model.running() if job.node == node and job.cancel}
        assert cancel == [j for j, e, _ in held if j in stop and (j, e) in mine]

    # --- ends ----------------------------------------------------------------------

    @precondition(lambda self: self.has("running"))
    @rule(
        n=picks, outcome=st.sampled_from(["done", "failed", "failed", "waiting", "cancelled"]),
        permanent=st.booleans(),
    )  # fmt: skip
    def finish(self, n: int, outcome: str, permanent: bool) -> None:
        job = self.pick(n, "running")
        if job is None:
            return
        assert job.node is not None
        why = trouble("why", permanent=permanent) if outcome == "failed" else None
        report = Finish(uuid7(), job.id, job.epoch, outcome, trouble=why, waiting_for="?")
        ended = self.run(self.store.finish(job.node, report, end_rule))
        self.run(self.ended(ended))
        assert not ended.repeat
        assert ended.state == self.model.finish(job, outcome, permanent)
        job.run_at = ended.job.run_at
        self.reports.append((job.node, report, ended.state))

    def finish_again(self, n: int) -> None:
        node, report, state = self.reports[n % len(self.reports)]
        ended = self.run(self.store.finish(node, report, end_rule))
        assert ended.repeat and ended.state == state

    def finish_stale(self, n: int) -> None:
        job_id, epoch, node = sorted(self.past)[n % len(self.past)]
        job = self.model.jobs[job_id]
        if (job.state, job.epoch, job.node) == ("running", epoch, node):
            node = "n2" if node == "n1" else "n1"
        with pytest.raises(StaleEpoch):
            self.run(self.store.finish(node, Finish(uuid7(), job_id, epoch, "done"), end_rule))

    def restart_node(self, node: str) -> None:
        self.boots[node] += 1
        crashed = [job for job in self.model.running() if job.node == node]
        told: dict[str, Any] = {}
        self.queue.on_ended(lambda ended: told.update({ended.job.id: ended}))
        self.run(self.queue.restarted(node, self.boot(node), crash_rule))
        assert set(told) == {job.id for job in crashed}
        self.model.crash(sorted(crashed, key=lambda job: job.id))
        for job in crashed:
            assert told[job.id].state == job.state
            job.run_at = told[job.id].job.run_at

    # --- the owner's hand ------------------------------------------------------------

    @rule(n=picks, what=st.sampled_from(["answer", "revive", "cancel"]))
    def by_hand(self, n: int, what: str) -> None:
        {"answer": self.answer, "revive": self.revive, "cancel": self.cancel}[what](n)

    @precondition(lambda self: self.has("waiting", "dead"))
    @rule(n=picks)
    def bring_back(self, n: int) -> None:
        (self.answer if self.has("waiting") else self.revive)(n)

    def cancel(self, n: int) -> None:
        job = self.pick(n, "queued", "running", "waiting", *ENDED)
        if job is None:
            return
        if job.state in ENDED:
            with pytest.raises(WrongState):
                self.run(self.store.cancel(job.id, crash_rule))
            return
        ended = self.run(self.store.cancel(job.id, crash_rule))
        self.run(self.ended(ended))
        assert ended.state == self.model.cancel(job)

    def revive(self, n: int) -> None:
        job = self.pick(n, "dead") or self.pick(n, "queued", "running", "waiting", "done")
        if job is None:
            return
        if job.state != "dead":
            with pytest.raises(WrongState):
                self.run(self.store.revive(job.id))
            return
        job.run_at = self.run(self.store.revive(job.id)).run_at
        self.model.revive(job)

    def answer(self, n: int) -> None:
        job = self.pick(n, "waiting") or self.pick(n, "queued", "running", *ENDED)
        if job is None:
            return
        if job.state != "waiting":
            with pytest.raises(WrongState):
                self.run(self.store.answer(job.id, "done"))
            return
        job.run_at = self.run(self.store.answer(job.id, "done")).run_at
        self.model.answer(job)

    def restart_gateway(self) -> None:
        self.store.close()
        self.open()

    # --- what must hold ----------------------------------------------------------------

    @invariant()
    def the_rows_agree(self) -> None:
        rows = self.run(self.store.view_jobs(limit=1000))["jobs"]
        there = {
            row["id"]: (
                row["state"], row["epoch"], row["tries"], row["crashes"],
                row["node"] if row["state"] == "running" else None,
            )
            for row in rows
        }  # fmt: skip
        thought = {
            job.id: (
                job.state, job.epoch, job.tries, job.crashes,
                job.node if job.state == "running" else None,
            )
            for job in self.model.jobs.values()
        }  # fmt: skip
        assert there == thought

    @invariant()
    def who_holds_what_is_known(self) -> None:
        for job in self.model.jobs.values():
            running = job.state == "running"
            assert self.queue.holds(job.id, job.epoch, job.node) is running
            assert not self.queue.holds(job.id, job.epoch + 1)
        for node in NODES:
            assert self.queue.running(node) == sum(job.node == node for job in self.model.running())

    @invariant()
    def one_at_a_time(self) -> None:
        keys = [job.key for job in self.model.running() if job.key is not None]
        assert len(keys) == len(set(keys))


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=80,
    stateful_step_count=50,
    deadline=None,
    database=None,
    # A found fault is shown as it was found: narrowing it down takes minutes (add Phase.shrink).
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
