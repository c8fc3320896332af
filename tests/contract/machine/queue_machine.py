"""The queue (a storage with ``stead.queue.Queue`` over it) against ``jobs.Jobs``.

After each event everything that can be seen through the Protocols is compared.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from stead.core.errors import (
    AlreadyAnswered,
    BadRequest,
    NotFound,
    StaleEpoch,
    WaitsForApproval,
    WrongState,
)
from stead.core.ids import uuid7
from stead.core.states import ENDED
from stead.core.storage import Ended
from stead.core.wire import Finish, Held
from tests.contract.machine.jobs import OVER, Verdict, a_step
from tests.contract.machine.queue_bench import (
    LANES,
    LEASE_MS,
    NEVER_S,
    NODES,
    Asked,
    QueueBench,
    Spec,
    crash_rule,
    report_of,
    report_rule,
)

picks = st.integers(0, 999)
nodes = st.sampled_from(["n1", "n1", "n2", "n2", "gw"])
lanes = st.sampled_from([LANES, LANES, LANES, ("chat",), ("background",), LANES[::-1]])
spans = st.sampled_from([1, 500, 1_000, 2_000, 10_000, LEASE_MS, LEASE_MS + 1, 3_600_000])
specs = st.builds(
    Spec,
    lane=st.sampled_from(LANES),
    prio=st.sampled_from([0, 0, 0, -1, 1]),
    needs=st.sampled_from(["", "", "", "gpu", "gpu,home-lan", "@gateway"]),
    key=st.sampled_from([None, None, "a", "a", "b", "c", "c"]),
    idem=st.sampled_from([None, None, None, "i", "j"]),
    most=st.integers(1, 3),
    wait=st.sampled_from([0, 0, 0, 1_000, 60_000]),
    left=st.sampled_from([0, 0, 0, 20_000, LEASE_MS + 5_000]),
    prefer=st.sampled_from(["", "", "", "n1", "n2,n9"]),
    avoid=st.sampled_from(["", "", "", "n1", "n2"]),
)
workers = st.sampled_from(["owner"] * 6 + ["another", "before", "anyone"])
outcomes = st.sampled_from(
    ["done"] * 2 + ["failed"] * 2 + ["asks"] * 2 + ["away", "permanent", "waiting", "cancelled"]
)
steps = st.tuples(
    st.integers(1, 3),
    st.sampled_from(["intent", "intent", "done", "failed", "replayed"]),
    st.sampled_from(["a", "b"]),
)


class QueueMachine(QueueBench):
    """Three workers, three keys, loose jobs, and every event that the queue knows."""

    # --- in ----------------------------------------------------------------------------

    @rule(wanted=st.lists(specs, min_size=1, max_size=3))
    def enqueue(self, wanted: list[Spec]) -> None:
        """Some at once: they share a commit."""
        new = [self.new_job(spec) for spec in wanted]

        async def work() -> list[tuple[str, bool]]:
            return await asyncio.gather(*(self.queue.enqueue(one) for one in new))

        for one, (job_id, is_new) in zip(new, self.lab.run(work()), strict=True):
            known = self.jobs.known(one.idem_key)
            assert is_new is (known is None)
            if known is None:
                self.jobs.enqueue(job_id, one)
            else:
                assert job_id == known, "the same key named another job"
        self.after_an_event()

    # --- claim -------------------------------------------------------------------------

    @rule(wanted=st.lists(st.tuples(nodes, lanes), min_size=1, max_size=3))
    def claim(self, wanted: list[tuple[str, tuple[str, ...]]]) -> None:
        """Some at once: they share a commit, and are served in their order."""
        self.claim_all([Asked(uuid7(), node, self.boot(node), lanes) for node, lanes in wanted])

    @precondition(lambda self: self.has("queued"))
    @rule(n=st.integers(1, 2))
    def claim_what_is_there(self, n: int) -> None:
        for _ in range(n):
            self.claim_all([Asked(uuid7(), node, self.boot(node), LANES) for node in NODES])

    @precondition(lambda self: bool(self.asked))
    @rule(n=picks, other=st.sampled_from([None, None, "n1", "n2"]))
    def claim_again(self, n: int, other: str | None) -> None:
        """The answer was lost and the node asks again; or another node hits on the same id."""
        before = self.asked[-1 - n % min(len(self.asked), 5)]
        node = other or before.node
        again = Asked(before.request, node, self.boot(node), before.lanes)
        self.claim_all([again, again])

    @precondition(lambda self: len(self.waiting) < 2)
    @rule(node=nodes, lanes=lanes)
    def wait_for_work(self, node: str, lanes: tuple[str, ...]) -> None:
        asked = Asked(uuid7(), node, self.boot(node), lanes)
        self.asked.append(asked)
        task = self.lab.loop.create_task(self.one_claim(asked, NEVER_S))
        self.waiting.append((asked, task))
        # It has looked once when this write, which came after it, is done.
        self.lab.settle()
        self.lab.run(self.lab.store.set_fact("looked", "yes"))
        self.jobs.promote(16 + 2)
        self.serve_waiting()

    @precondition(lambda self: bool(self.waiting))
    @rule()
    def hang_up_waiting(self) -> None:
        self.hang_up()

    @rule(node=nodes)
    def a_node_comes_or_goes(self, node: str) -> None:
        """Others get what prefers it only while it is away."""
        self.there ^= {node}
        self.look_again()

    # --- while it runs -----------------------------------------------------------------

    @precondition(lambda self: bool(self.past))
    @rule(node=nodes, sync=st.booleans())
    def heartbeat(self, node: str, sync: bool) -> None:
        """A node tells of all it ever heard of; only what is its own counts."""
        held = [(job_id, epoch) for job_id, epoch, _ in dict.fromkeys(self.past)]
        held.append((uuid7(), 1))
        told = [Held(*one) for one in held]
        if sync:
            answer = self.queue.heartbeat_sync(node, told)
        else:
            answer = self.lab.run(self.queue.heartbeat(node, told))
        assert answer == self.jobs.heartbeat(node, held, LEASE_MS)
        self.look_again()

    @precondition(lambda self: self.has("running"))
    @rule(n=picks, who=workers, told=st.lists(steps, min_size=1, max_size=2))
    def journal(self, n: int, who: str, told: list[tuple[int, str, str]]) -> None:
        job_id, epoch, node = self.a_worker(n, who)
        steps = [a_step(seq, state, out if state == "done" else "") for seq, state, out in told]
        lines = [
            f"{job_id} {s.seq} {s.state} {epoch}" if s.state != "intent" else "" for s in steps
        ]
        work = self.lab.store.journal(job_id, epoch, node, steps, lines)
        if not self.jobs.owns(job_id, epoch, node):
            self.refused(work, StaleEpoch)
            return
        assert self.lab.run(work) is self.jobs.journal(job_id, epoch, steps, lines)

    # --- ends --------------------------------------------------------------------------

    @precondition(lambda self: self.has("running"))
    @rule(ends=st.lists(st.tuples(picks, outcomes, workers), min_size=1, max_size=3))
    def finish(self, ends: list[tuple[int, str, str]]) -> None:
        """Some reports at once, good and stale ones: each stands or falls alone."""
        sent = []
        for n, outcome, who in ends:
            job_id, epoch, node = self.a_worker(n, who)
            sent.append((node, report_of(job_id, epoch, outcome, n)))
        self.report_all(sent)

    @precondition(lambda self: bool(self.reports))
    @rule(n=picks)
    def report_again(self, n: int) -> None:
        """A report whose answer was lost; twice, and once from another node."""
        node, report = self.reports[n % len(self.reports)]
        self.report_all([(node, report), (node, report), ("nobody", report)])

    def report_all(self, sent: list[tuple[str, Finish]]) -> None:
        async def work() -> list[Ended | BaseException]:
            return await asyncio.gather(
                *(self.lab.store.finish(node, report, report_rule) for node, report in sent),
                return_exceptions=True,
            )

        async def tell(ended: Ended) -> None:
            self.queue.ended(ended)

        for (node, report), ended in zip(sent, self.lab.run(work()), strict=True):
            expected = self.expected_end(node, report)
            if expected is None:
                assert isinstance(ended, StaleEpoch), f"a stale report was taken: {ended!r}"
                continue
            if isinstance(ended, BaseException):
                raise ended
            end, repeat = expected
            assert (ended.state, ended.repeat) == (end.state, repeat)
            if not repeat:
                self.compare_end(ended, end)
                self.reports.append((node, report))
            if not repeat or ended.job.state in ENDED:  # as flow does
                self.lab.run(tell(ended))
        self.after_an_event()

    # --- workers that vanish -------------------------------------------------------------

    @precondition(lambda self: self.has("queued", "running", "waiting"))
    @rule()
    def rescue(self) -> None:
        """The round that is made every second."""
        due = [(job, "silent") for job in self.jobs.silent()]
        due += [(job, "deadline") for job in self.jobs.too_late()]
        self.lab.run(self.queue.rescue(crash_rule))
        self.jobs.promote()
        self.compare_taken_back(due)
        self.look_again()

    @rule(ms=spans)
    def advance(self, ms: int) -> None:
        self.lab.clock.now += ms
        self.jobs.now = self.lab.clock.now
        if self.waiting:  # they look now and then, so it would be left open who looked when
            self.rescue()

    @precondition(lambda self: self.has("running"))
    @rule()
    def oversleep(self) -> None:
        """No heartbeat comes for longer than a lease."""
        self.advance(LEASE_MS + 1)
        self.rescue()

    @rule(node=nodes)
    def restart_node(self, node: str) -> None:
        self.boots[node] += 1
        running = [job for job in self.jobs.of("running") if job.node == node]
        left = [(job, "restarted") for job in running if job.boot != self.boot(node)]
        self.lab.run(self.queue.restarted(node, self.boot(node), crash_rule))
        self.compare_taken_back(left)
        self.look_again()

    @rule(way=st.sampled_from(["kill", "kill", "stop", "extend"]))
    def restart_gateway(self, way: str) -> None:
        """After a stop nobody could have kept a lease: all start anew."""
        if way == "extend":
            extended = self.lab.run(self.lab.store.extend_leases(LEASE_MS))
            assert extended == self.jobs.extend(LEASE_MS)
            return
        self.hang_up()
        if way == "kill":
            self.lab.kill()
        else:
            self.lab.restart()
        self.start_queue()
        self.jobs.extend(LEASE_MS)

    # --- the owner's hand ------------------------------------------------------------------

    @precondition(lambda self: bool(self.jobs.all))
    @rule(n=picks, live=st.sampled_from([True, True, False]))
    def cancel(self, n: int, live: bool) -> None:
        job = self.any_of(n, *(("queued", "running", "waiting") if live else ()))
        if job is None:
            return
        work = self.lab.store.cancel(job.id, crash_rule)
        if job.state in OVER:
            self.refused(work, WrongState)
        elif job.state == "running":
            ended = self.lab.run(work)
            job.cancel = True
            assert (ended.state, ended.job.cancel_req) == ("running", True)
        else:
            verdict = Verdict("cancelled", error="cancelled", line=f"lost {job.id}: cancel")
            self.compare_end(self.lab.run(work), self.jobs.become(job, verdict))
            self.look_again()

    @precondition(lambda self: bool(self.jobs.all))
    @rule(n=picks, right=st.sampled_from([True, True, False]))
    def revive(self, n: int, right: bool) -> None:
        job = self.any_of(n, *(("dead",) if right else ()))
        if job is None:
            return
        work = self.lab.store.revive(job.id)
        if job.state != "dead":
            self.refused(work, WrongState)
            return
        back = self.lab.run(work)
        self.jobs.revive(job)
        assert (back.state, back.tries, back.crashes, back.deadline_at) == ("queued", 0, 0, 0)
        self.look_again()

    @precondition(lambda self: bool(self.jobs.all))
    @rule(n=picks, right=st.sampled_from([True, True, False]))
    def answer(self, n: int, right: bool) -> None:
        job = self.any_of(n, *(("waiting",) if right else ()))
        if job is None:
            return
        work = self.lab.store.answer(job.id, f"answer {n}")
        if job.question[1]:
            self.refused(work, WaitsForApproval)
            return
        if job.state != "waiting":
            self.refused(work, WrongState)
            return
        back = self.lab.run(work)
        self.jobs.answer(job, f"answer {n}")
        assert (back.state, back.payload) == ("queued", job.payload)
        self.look_again()

    @precondition(lambda self: bool(self.jobs.all))
    @rule(n=picks, word=st.sampled_from(["once", "no", "once", "answer"]), live=st.booleans())
    def decide(self, n: int, word: str, live: bool) -> None:
        """The owner's word on a call; it counts once, and only while somebody waits for it."""
        job = self.any_of(n, *(("waiting",) if live else ()))
        if job is None:
            return
        work = self.lab.store.decide(job.id, word)
        if not job.question[1]:
            self.refused(work, (NotFound, AlreadyAnswered))
        elif word == "answer":
            self.refused(work, BadRequest)
        else:
            decided = self.lab.run(work)
            self.goes_on(job, word)
            assert (decided.job.state, decided.job.payload) == ("queued", job.payload)
            self.look_again()

    @rule()
    def expire(self) -> None:
        """What was not answered in time goes on with that."""
        asked = [job for job in self.jobs.of("waiting") if job.question[1]]
        late = [job for job in asked if job.question[0] <= self.jobs.now]
        late.sort(key=lambda job: job.question)
        ended = self.lab.run(self.lab.store.expire_approvals())
        assert [one.job.id for one in ended] == [job.id for job in late]
        for job in late:
            self.goes_on(job, "expired", "time")
        self.look_again()

    def refused(self, work: Any, error: type[Exception] | tuple[type[Exception], ...]) -> None:
        with pytest.raises(error):
            self.lab.run(work)

    @rule()
    def ask_for_nothing(self) -> None:
        """A job that is not there is said to be not there, and nothing comes of it."""
        store, nobody = self.lab.store, uuid7()
        for work in (store.cancel(nobody, crash_rule), store.revive(nobody)):
            self.refused(work, NotFound)
        self.refused(store.finish("n1", report_of(nobody, 1, "done"), report_rule), StaleEpoch)

    # --- what must be seen -----------------------------------------------------------------

    @invariant()
    def everything_agrees(self) -> None:
        self.compare_all()

    @precondition(lambda self: bool(self.jobs.all))
    @rule(n=picks)
    def look_at_one(self, n: int) -> None:
        job = self.any_of(n)
        assert job is not None
        self.compare_story(job)
