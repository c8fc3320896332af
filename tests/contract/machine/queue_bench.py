"""What the queue's machine works with: its workers, its rules of judging, and what it compares."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from stead.core.ids import uuid7
from stead.core.nouns import Job, NewJob, Trouble
from stead.core.permits import Approval
from stead.core.placement import Ready
from stead.core.states import Failure, JobState, Lane
from stead.core.storage import Ended, Granted, Ruling
from stead.core.wire import Finish
from stead.queue import queue as queue_room
from stead.queue.policy import Policy
from stead.queue.queue import Queue
from tests.contract.machine.jobs import SILENT, End, Jobs, Verdict, Work
from tests.contract.machine.lab import LABS, Lab

LEASE_MS = 30_000
EXPIRES_MS = 12_000
NODES: dict[str, tuple[str, ...]] = {"n1": (), "n2": ("gpu", "home-lan"), "gw": ("@gateway",)}
LANES = ("chat", "background")
#: How many jobs of a key may run at a time.
PLACES = {"a": 1, "b": 1, "c": 2}
#: Nobody is woken by the backstop here: a lost wake-up is a claim that never comes back.
NEVER_S = 36_000.0
PATIENCE_S = 20.0


@dataclass(frozen=True)
class Spec:
    """A job to be queued; ``wait`` and ``left`` are milliseconds from now, 0 for none."""

    lane: str = "chat"
    prio: int = 0
    needs: str = ""
    key: str | None = None
    idem: str | None = None
    most: int = 2
    wait: int = 0
    left: int = 0
    prefer: str = ""
    avoid: str = ""


@dataclass
class Asked:
    """A claim as it was sent."""

    request: str
    node: str
    boot: str
    lanes: tuple[str, ...]


def verdict_of_report(
    job_id: str, report: Finish, *, cancel: bool, tries: int, most: int
) -> Verdict:
    """What the machine has the storage write for a report."""
    line, trouble = f"{report.outcome} {job_id}", report.trouble
    why = trouble.message if trouble else ""
    if report.outcome == "done":
        return Verdict("done", line=line)
    if report.outcome == "cancelled" or cancel:
        return Verdict("cancelled", error="cancelled", line=line)
    if report.outcome == "waiting":
        return Verdict("waiting", waiting_for=report.waiting_for)
    if trouble is not None and trouble.failure is Failure.AWAY:
        return Verdict("queued", 500, why, counts=False)
    if (trouble is not None and trouble.permanent) or tries + 1 >= most:
        return Verdict("dead", error=why, line=line)
    return Verdict("queued", 1_000 * (tries + 1), why)


def verdict_of_crash(
    job_id: str, why: str, *, cancel: bool, crashes: int, most: int, beside: int
) -> Verdict:
    why = why.partition(";")[0]  # what it was at, in words, is not this machine's
    line = f"lost {job_id}: {why}"
    if why == "cancel" or cancel:
        return Verdict("cancelled", error="cancelled", line=line)
    if why == "deadline" or (crashes >= most and not beside):
        return Verdict("dead", error=why, line=line)
    return Verdict("queued", 0 if crashes <= 1 else 2_000, why, line=line)


def _ruling(verdict: Verdict) -> Ruling:
    return Ruling(
        JobState(verdict.state), verdict.delay_ms, verdict.error, waiting_for=verdict.waiting_for,
        line=verdict.line, counts=verdict.counts, expires_ms=EXPIRES_MS,
    )  # fmt: skip


def report_rule(job: Job, report: Finish) -> Ruling:
    return _ruling(
        verdict_of_report(
            job.id, report, cancel=job.cancel_req, tries=job.tries, most=job.max_tries
        )
    )


def crash_rule(job: Job, why: str) -> Ruling:
    return _ruling(
        verdict_of_crash(
            job.id, why, cancel=job.cancel_req, crashes=job.crashes, most=job.max_crashes,
            beside=job.beside,
        )
    )  # fmt: skip


def report_of(job_id: str, epoch: int, outcome: str, worked_ms: int = 7) -> Finish:
    """A worker's report; ``away`` and ``permanent`` are kinds of failure."""
    kind, trouble, asks = outcome, None, None
    if outcome == "asks":
        kind, asks = "waiting", Approval(1, "mail", f"write {job_id}", "{}", "d", "a rule")
    if outcome in ("failed", "away", "permanent"):
        failure = Failure.AWAY if outcome == "away" else Failure.CODE
        kind, trouble = "failed", Trouble(failure, f"{outcome}!", outcome == "permanent")
    return Finish(
        uuid7(), job_id, epoch, kind, f"text of {job_id}", trouble, worked_ms=worked_ms,
        waiting_for="Did it happen?" if kind == "waiting" else "", approval=asks,
    )  # fmt: skip


class QueueBench(RuleBasedStateMachine):
    """A queue, its model, and the comparison of the two."""

    storage = "sqlite"

    def __init__(self) -> None:
        super().__init__()
        self.backstop = queue_room._BACKSTOP_S
        queue_room._BACKSTOP_S = NEVER_S
        self.lab: Lab = LABS[self.storage]()
        self.jobs = Jobs()
        self.jobs.now = self.lab.clock.now
        self.boots = dict.fromkeys(NODES, 1)
        self.there = set(NODES)
        self.asked: list[Asked] = []
        self.reports: list[tuple[str, Finish]] = []
        self.past: list[tuple[str, int, str]] = []
        self.waiting: list[tuple[Asked, asyncio.Task[Granted | None]]] = []
        self.taken_back: list[Ended] = []
        self.start_queue()

    def start_queue(self) -> None:
        self.queue = Queue(self.lab.store, Policy(lease_ms=LEASE_MS), lambda: self.there)
        self.queue.on_ended(self.taken_back.append)
        self.lab.run(self.queue.start())

    def teardown(self) -> None:
        try:
            self.hang_up()
            for job in self.jobs.all.values():
                self.compare_story(job)
        finally:
            queue_room._BACKSTOP_S = self.backstop
            self.lab.close()

    def boot(self, node: str) -> str:
        return f"{node}-{self.boots[node]}"

    def any_of(self, n: int, *states: str) -> Work | None:
        fit = self.jobs.of(*states) if states else list(self.jobs.all.values())
        return fit[n % len(fit)] if fit else None

    def has(self, *states: str) -> bool:
        return bool(self.jobs.of(*states))

    def new_job(self, spec: Spec) -> NewJob:
        now = self.jobs.now
        return NewJob(
            "noop", {"n": len(self.jobs.all)}, lane=Lane(spec.lane), prio=spec.prio,
            needs=spec.needs, prefer=spec.prefer, avoid=spec.avoid, conc_key=spec.key,
            conc_limit=PLACES.get(spec.key or "", 1), idem_key=spec.idem, max_tries=spec.most,
            max_crashes=spec.most, run_at=now + spec.wait if spec.wait else 0,
            deadline_at=now + spec.left if spec.left else 0, session=spec.key,
            route="node: a rule",
        )  # fmt: skip

    def a_worker(self, n: int, who: str) -> tuple[str, int, str]:
        """Who has a running job, had it before, or never did; or anyone who ever had any."""
        if who == "anyone":
            return self.past[n % len(self.past)]
        running = self.jobs.of("running")
        job = running[n % len(running)]
        assert job.node is not None
        if who == "another":
            return job.id, job.epoch, "n2" if job.node == "n1" else "n1"
        if who == "before":
            return job.id, job.epoch - 1, job.node
        return job.id, job.epoch, job.node

    # --- claims --------------------------------------------------------------------------

    def one_claim(self, one: Asked, wait_s: float) -> Coroutine[Any, Any, Granted | None]:
        return self.queue.claim(
            request_id=one.request, node_id=one.node, boot=one.boot, lanes=one.lanes,
            labels=NODES[one.node], wait_s=wait_s, name=one.node,
        )  # fmt: skip

    def claim_all(self, asked: list[Asked]) -> None:
        async def work() -> list[Granted | None]:
            return await asyncio.gather(*(self.one_claim(one, 0.0) for one in asked))

        answers = self.lab.run(work())
        self.jobs.promote(16 + 2 * len(asked))
        for one, granted in zip(asked, answers, strict=True):
            self.compare_grant(one, granted)
        self.asked += asked

    def next_for(self, one: Asked) -> Work | None:
        return self.jobs.pick(one.node, one.lanes, NODES[one.node], self.there)

    def compare_grant(self, one: Asked, granted: Granted | None) -> None:
        job = self.jobs.asked_before(one.node, one.request)
        if job is not None:
            job.lease = self.jobs.now + LEASE_MS
        else:
            job = self.next_for(one)
            if job is not None:
                self.jobs.give(job, one.node, one.boot, one.request, LEASE_MS)
        assert (granted.job.id if granted else None) == (job.id if job else None), "the wrong job"
        if granted is None or job is None:
            return
        given = granted.job
        assert (given.state, given.epoch, given.node_id) == ("running", job.epoch, job.node)
        assert (given.lease_until, given.payload) == (job.lease, job.payload)
        assert (given.tries, given.crashes) == (job.tries, job.crashes)
        assert given.cancel_req == job.cancel
        now_at = self.jobs.now - job.attempts[-1].began - job.idle
        assert self.jobs.now - given.started_at == job.worked + now_at, "its time of work"
        steps = {step.seq: (step.state.value, step.epoch) for step in granted.steps}
        assert steps == job.resumes
        self.past.append((job.id, job.epoch, one.node))

    # --- claims that wait ----------------------------------------------------------------

    def hang_up(self) -> None:
        """The waiting claims go away, and what they had under way comes to its end."""
        for _, task in self.waiting:
            task.cancel()
        for _, task in self.waiting:
            self.lab.run(_ended(task))
        self.waiting.clear()
        self.lab.run(self.lab.store.set_fact("drained", "yes"))

    def look_again(self) -> None:
        """All who wait look at the rows, as they do once a second."""
        for waiter in list(self.queue._waiters):
            if not waiter.future.done():
                waiter.future.set_result(Ready("", ""))
        self.serve_waiting()

    def after_an_event(self) -> None:
        """Who waits was woken for what is ready now; but what must be kept apart may have to wait
        until somebody looks."""
        if any(job.suspect for job in self.jobs.all.values()):
            self.look_again()
        else:
            self.serve_waiting()

    def serve_waiting(self) -> None:
        """Of those who wait for what is ready now one must have been woken for it, then the next.

        Which one is not promised: who was woken in vain stands at the end of the line again.
        """
        while fit := [one for one in self.waiting if self.next_for(one[0]) is not None]:
            done = self.lab.run(_first(task for _, task in fit))
            assert done, "a claim that waits was not woken for a job that it can take"
            # Two may be through; first comes the one who got what is first.
            for entry in (one for one in fit if one[1] in done):
                asked, task = entry
                granted, job = task.result(), self.next_for(asked)
                if granted is not None and job is not None and granted.job.id == job.id:
                    break
            self.waiting.remove(entry)
            self.compare_grant(asked, granted)

    # --- ends ----------------------------------------------------------------------------

    def expected_end(self, node: str, report: Finish) -> tuple[End, bool] | None:
        """What a report should be answered, and whether as a repeat; None if it is stale."""
        before = self.jobs.repeats(report.job_id, report.epoch, node, report.id)
        if before is not None:
            return End(report.job_id, before), True
        if not self.jobs.owns(report.job_id, report.epoch, node):
            return None
        job, trouble = self.jobs.all[report.job_id], report.trouble
        verdict = verdict_of_report(
            job.id, report, cancel=job.cancel, tries=job.tries, most=job.new.max_tries
        )
        end = self.jobs.finish(
            job, verdict, outcome=report.outcome, error=trouble.message if trouble else "",
            report_id=report.id, worked_ms=report.worked_ms,
        )  # fmt: skip
        if report.approval is not None and end.state == "waiting":
            job.question = self.jobs.now + EXPIRES_MS, report.id
        return end, False

    def compare_questions(self) -> None:
        """Which questions wait for the owner, and which is the next to run out."""
        asked = sorted((job.question, job.id) for job in self.jobs.of("waiting") if job.question[1])
        run, store = self.lab.run, self.lab.store
        page = run(store.view_approvals(limit=500))["approvals"]
        told = sorted(((one["expires_at"], one["id"]), one["job_id"]) for one in page)
        assert told == asked
        soonest = max(0, asked[0][0][0] - self.jobs.now) if asked else None
        assert run(store.next_expiry_ms()) == soonest

    def goes_on(self, job: Work, word: str, by: str = "owner") -> None:
        """A question is over, and its job has what was said."""
        said = {"seq": 1, "digest": "d", "word": word, "text": "", "scope": ""}
        job.payload["answered"] = [*job.payload.get("answered", []), said]
        self.jobs.lines[f"asked: write {job.id}: {word} by {by} [job {job.id[-8:]}]"] += 1
        self.jobs.requeue(job)

    def compare_end(self, ended: Ended, end: End) -> None:
        job = self.jobs.all[end.id]
        assert (ended.job.id, ended.state, ended.job.state) == (end.id, end.state, end.state)
        assert ended.ready == end.ready, "who became ready by it"
        assert (ended.job.tries, ended.job.crashes) == (job.tries, job.crashes)
        assert (ended.job.epoch, ended.job.error) == (job.epoch, job.error)
        assert (ended.job.run_at, ended.job.ended_at) == (job.due, job.ended)

    def compare_taken_back(self, due: list[tuple[Work, str]]) -> None:
        told = {ended.job.id: ended for ended in self.taken_back}
        assert sorted(told) == sorted(job.id for job, _ in due), "others were taken back"
        assert len(self.taken_back) == len(due), "one was taken back twice"
        order = [ended.job.id for ended in self.taken_back]
        self.taken_back.clear()
        for job, why in sorted(due, key=lambda one: order.index(one[0].id)):
            words = {"silent": SILENT, "restarted": "its worker restarted"}.get(why, why)
            if why != "deadline":
                self.jobs.count_crash(job)
            verdict = verdict_of_crash(
                job.id, words, cancel=job.cancel, crashes=job.crashes, most=job.new.max_crashes,
                beside=job.beside,
            )  # fmt: skip
            if why == "deadline":
                end = self.jobs.become(job, verdict)
            else:
                end = self.jobs.crash(job, verdict, words)
            self.compare_end(told[job.id], end)

    # --- all that can be seen ------------------------------------------------------------

    def compare_all(self) -> None:
        run, store = self.lab.run, self.lab.store
        page = run(store.view_jobs(limit=500))["jobs"]
        newest_first = sorted(self.jobs.all.values(), key=lambda job: job.place, reverse=True)
        shown = [self.jobs.shown(job) for job in newest_first]
        assert [{name: row[name] for name in shown[0]} for row in page] == shown
        counts = run(store.view_counts())
        told = self.jobs.counts()
        assert {name: counts["queue"][name] for name in told} == told
        running = self.jobs.of("running")
        assert counts["running_by_node"] == Counter(job.node for job in running)
        assert sorted(run(store.leases())) == sorted((j.id, j.epoch, j.node) for j in running)
        if not self.jobs.too_late():  # they are ready until somebody comes upon them
            assert run(store.next_due_ms()) == self.jobs.next_due()
        assert Counter(text for _, _, text in run(store.day_lines(9_999))) == self.jobs.lines
        self.compare_questions()
        for job in self.jobs.all.values():
            assert self.queue.holds(job.id, job.epoch, job.node) is (job.state == "running")
        for node in NODES:
            assert self.queue.running(node) == sum(job.node == node for job in running)

    def compare_story(self, job: Work) -> None:
        story = self.lab.run(self.lab.store.view_why(job.id))
        told = self.jobs.told_attempts(job)
        names = list(told[0]) if told else []
        assert [{name: one[name] for name in names} for one in story["attempts"]] == told
        fields = ("seq", "epoch", "name", "state", "rule", "output")
        steps = [tuple(step[name] for name in fields) for step in story["steps"]]
        assert steps == self.jobs.told_steps(job)


async def _ended(task: asyncio.Task[Any]) -> None:
    await asyncio.wait((task,))


async def _first(tasks: Iterable[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    done, _ = await asyncio.wait(
        list(tasks), timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED
    )
    return done
