"""What the queue promises, in plain Python: lists, sorting, and no SQL.

Written from docs/ARCHITECTURE.md (states, promises, "One conversation, one order") and the
docstrings of ``stead.core.storage`` and ``stead.core.nouns``, so that a fault of the storage is not
in here too. It answers what a storage should have answered and keeps what it should then show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from stead.core.nouns import NewJob, Step
from stead.core.states import OnUnknown, StepState

OVER = ("done", "cancelled", "dead")
#: The waiting that counts as much as one prio.
AGE_MS = 600_000
#: What the storage says of a worker that may yet be alive.
SILENT = "its worker went silent and the lease ran out"


@dataclass
class Attempt:
    """One worker's go at a job."""

    epoch: int
    node: str
    began: int
    ended: int = 0
    outcome: str = ""
    error: str = ""
    worked_ms: int = 0
    report_id: str = ""
    answered: str = ""
    """The state its report was answered with."""


@dataclass
class Noted:
    """One line of the journal."""

    name: str
    state: str
    rule: str
    output: str


@dataclass
class Work:
    """A job as it should be. ``place`` is its number in the order of arrival."""

    id: str
    place: int
    new: NewJob
    created: int
    due: int
    deadline: int
    payload: dict[str, Any]
    state: str = "queued"
    hold: str = "ready"
    """While it is queued: ``ready``, in ``line`` behind others of its key, wanted ``later``, or
    ``paused`` until its next try."""
    epoch: int = 0
    tries: int = 0
    crashes: int = 0
    node: str | None = None
    boot: str = ""
    request: str = ""
    lease: int = 0
    cancel: bool = False
    error: str = ""
    waiting_for: str = ""
    question: tuple[int, str] = (0, "")
    """The open question about a call: until when, and its id."""
    ended: int = 0
    worked: int = 0
    """Milliseconds that somebody worked on it, those of the present attempt apart."""
    idle: int = 0
    """Milliseconds of the present attempt in which nobody can have worked on it."""
    attempts: list[Attempt] = field(default_factory=list)
    steps: dict[tuple[int, int], Noted] = field(default_factory=dict)
    replays: set[tuple[int, int]] = field(default_factory=set)
    beside: int = 0
    """How many others its worker held that may as well have brought it down."""

    @property
    def open(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def rank(self) -> int:
        """Its place in a lane: when it is due; each prio counts as much as ten minutes."""
        return self.due + self.new.prio * AGE_MS

    @property
    def keeps_turn(self) -> bool:
        return self.new.conc_key is None or self.new.conc_limit <= 1

    @property
    def suspect(self) -> bool:
        return self.crashes > 0 and self.open

    @property
    def alone(self) -> bool:
        """One crash from its end, in the background."""
        last = self.crashes + 1 >= self.new.max_crashes
        return self.suspect and last and self.new.lane == "background"

    @property
    def resumes(self) -> dict[int, tuple[str, int]]:
        """For each step its outcome if it has one, else what was last noted of it."""
        last: dict[int, tuple[str, int]] = {}
        for seq, epoch in sorted(self.steps):
            if last.get(seq, ("", 0))[0] != "done":
                last[seq] = (self.steps[seq, epoch].state, epoch)
        return last


@dataclass(frozen=True)
class Verdict:
    """What an end means for its job; the storage is given the same by the machine's rules."""

    state: str
    delay_ms: int = 0
    error: str = ""
    waiting_for: str = ""
    counts: bool = True
    reply: str | None = None
    line: str = ""


@dataclass
class End:
    """What a storage should answer to the end of an attempt."""

    id: str
    state: str
    ready: tuple[str, str, str, str] | None = None


class Jobs:
    """All jobs, and the lines for the daily log."""

    def __init__(self) -> None:
        self.now = 0
        self.all: dict[str, Work] = {}
        self.lines: Counter[str] = Counter()

    def of(self, *states: str) -> list[Work]:
        return [job for job in self.all.values() if job.state in states]

    # --- in ----------------------------------------------------------------------------

    def known(self, idem: str | None) -> str | None:
        """The job that has this key already."""
        same = [job.id for job in self.all.values() if idem and job.new.idem_key == idem]
        return same[0] if same else None

    def enqueue(self, job_id: str, new: NewJob) -> Work:
        assert job_id not in self.all, "an id came twice"
        due = max(new.run_at, self.now)
        job = Work(job_id, len(self.all), new, self.now, due, new.deadline_at, dict(new.payload))
        self._arrive(job)
        self.all[job_id] = job
        return job

    # --- whose turn it is ----------------------------------------------------------------

    def _line(self, key: str) -> list[Work]:
        waits = [job for job in self.of("queued") if job.hold == "line"]
        return sorted((j for j in waits if j.new.conc_key == key), key=lambda job: job.place)

    def _has_place(self, job: Work) -> bool:
        """Whether fewer of its key are at it than may be. Who is paused keeps its place."""
        taken = [
            one
            for one in self.of("queued", "running")
            if one is not job and one.new.conc_key == job.new.conc_key
            if one.state == "running" or one.hold not in ("line", "later")
        ]
        return len(taken) < max(1, job.new.conc_limit)

    def _arrive(self, job: Work) -> None:
        """One that is wanted later holds up nobody; others stand behind who came before them."""
        key = job.new.conc_key
        if job.due > self.now:
            job.hold = "later"
        elif key is None or (not self._line(key) and self._has_place(job)):
            job.hold = "ready"
        else:
            job.hold = "line"

    def _let_next(self, key: str | None) -> Work | None:
        """Those next in line for whom there are places; the first of them."""
        first = None
        while key is not None:
            line = self._line(key)
            if not line or not self._has_place(line[0]):
                break
            line[0].hold = "ready"
            first = first or line[0]
        return first

    def promote(self, most: int = 10**9) -> None:
        """Somebody looks: what has become due is no longer held back, the longest due first."""
        due = [job for job in self.of("queued") if job.hold in ("later", "paused")]
        due = [job for job in due if job.due <= self.now]
        for job in sorted(due, key=lambda job: (job.due, job.place))[:most]:
            if job.hold == "later" and job.new.conc_key is not None:
                job.hold = "line"
                self._let_next(job.new.conc_key)
            else:
                job.hold = "ready"

    def is_ready(self, job: Work) -> bool:
        late = 0 < job.deadline < self.now
        return job.state == "queued" and job.hold == "ready" and not late

    # --- claim -------------------------------------------------------------------------

    def pick(
        self, node: str, lanes: Sequence[str], labels: Iterable[str], there: Collection[str] = ()
    ) -> Work | None:
        """The next job for a worker: lanes as wanted, in each those that must be kept apart
        first, then the rank, then who came first."""
        have = set(labels)
        held = [job for job in self.of("running") if job.node == node]
        busy = any(job.new.lane == "background" for job in held)
        for lane in lanes:
            fit = sorted(
                (
                    job
                    for job in self.all.values()
                    if self.is_ready(job) and job.new.lane == lane
                    if _may(job.new, node, have, there)
                ),
                key=lambda job: (job.rank, job.place),
            )
            suspects = [job for job in fit if job.suspect]
            mine = [job for job in held if job.suspect]
            if not mine:
                for job in suspects:
                    if not (job.alone and busy):
                        return job
            if lane == "background" and any(job.alone for job in mine or suspects):
                continue
            fit = [job for job in fit if not job.suspect]
            if fit:
                return fit[0]
        return None

    def asked_before(self, node: str, request: str) -> Work | None:
        """What this very request of the node was given, if it still has it."""
        for job in self.of("running"):
            if (job.node, job.request) == (node, request):
                return job
        return None

    def give(self, job: Work, node: str, boot: str, request: str, lease_ms: int) -> None:
        job.state, job.epoch = "running", job.epoch + 1
        job.node, job.boot, job.request = node, boot, request
        job.cancel, job.waiting_for, job.idle, job.beside = False, "", 0, 0
        job.attempts.append(Attempt(job.epoch, node, self.now))
        job.lease = self.now + lease_ms

    # --- while it runs -----------------------------------------------------------------

    def owns(self, job_id: str, epoch: int, node: str) -> bool:
        job = self.all.get(job_id)
        return job is not None and (job.state, job.epoch, job.node) == ("running", epoch, node)

    def heartbeat(
        self, node: str, held: Sequence[tuple[str, int]], lease_ms: int
    ) -> tuple[list[str], list[str]]:
        """(to cancel, lost)"""
        cancel, lost = [], []
        for job_id, epoch in held:
            if not self.owns(job_id, epoch, node):
                lost.append(job_id)
                self._came_back(job_id, epoch, node)
                continue
            self.all[job_id].lease = self.now + lease_ms
            if self.all[job_id].cancel:
                cancel.append(job_id)
        return cancel, lost

    def _came_back(self, job_id: str, epoch: int, node: str) -> None:
        """It was only cut off, so what its silence counted is taken back."""
        job = self.all.get(job_id)
        for one in job.attempts if job else ():
            if (one.epoch, one.node, one.outcome, one.error) == (epoch, node, "crashed", SILENT):
                one.outcome = "cut off"
                if job and job.crashes and job.state in ("queued", "running", "waiting"):
                    job.crashes -= 1

    def extend(self, lease_ms: int) -> int:
        for job in self.of("running"):
            job.idle += max(0, self.now - job.lease)
            job.lease = self.now + lease_ms
        return len(self.of("running"))

    def journal(self, job_id: str, epoch: int, steps: Sequence[Step], lines: Sequence[str]) -> bool:
        """Whether to cancel. The caller has looked whether the worker owns the job."""
        job = self.all[job_id]
        for step, line in zip(steps, lines, strict=True):
            if step.state == "replayed":
                if (step.seq, epoch) not in job.replays:
                    job.replays.add((step.seq, epoch))
                    self.lines[line] += 1
                continue
            before = job.steps.get((step.seq, epoch))
            if before is not None and (before.state != "intent" or step.state == "intent"):
                continue
            told = Noted(step.name, step.state.value, step.rule.value, step.output)
            job.steps[step.seq, epoch] = told
            if line:
                self.lines[line] += 1
            for (seq, earlier), noted in job.steps.items():
                if seq == step.seq and earlier < epoch and noted.state == "intent":
                    noted.state = "unknown"
        return job.cancel

    # --- out ---------------------------------------------------------------------------

    def repeats(self, job_id: str, epoch: int, node: str, report_id: str) -> str | None:
        """What this very report was answered with before."""
        job = self.all.get(job_id)
        for attempt in job.attempts if job else ():
            if (attempt.epoch, attempt.node, attempt.report_id) == (epoch, node, report_id):
                return attempt.answered
        return None

    def finish(
        self,
        job: Work,
        verdict: Verdict,
        *,
        outcome: str,
        error: str,
        report_id: str,
        worked_ms: int,
    ) -> End:
        job.tries += outcome == "failed" and verdict.counts
        self._end_attempt(job, outcome, error, worked_ms)
        last = job.attempts[-1]
        last.report_id, last.answered, last.worked_ms = report_id, verdict.state, worked_ms
        return self.become(job, verdict)

    def count_crash(self, job: Work) -> None:
        """Before anybody judges. Others of its worker may as well be the cause: those that were
        in as many crashes, and in the background any other; each is told of the others."""
        for one in self.of("running"):
            if one is job or (one.node, one.boot) != (job.node, job.boot):
                continue
            both = one.new.lane == job.new.lane == "background"
            job.beside += both or one.crashes >= job.crashes
            one.beside += both or one.crashes <= job.crashes
        job.crashes += 1

    def crash(self, job: Work, verdict: Verdict, why: str) -> End:
        """Its worker is gone; the crash was counted before."""
        self._end_attempt(job, "crashed", why)
        return self.become(job, verdict)

    def _end_attempt(self, job: Work, outcome: str, error: str, worked_ms: int = 0) -> None:
        """It took as long as its worker says, but for more than there was time for."""
        last = job.attempts[-1]
        last.outcome, last.error, last.ended = outcome, error, self.now
        took = self.now - last.began
        job.worked += (worked_ms if 0 < worked_ms <= took else took) - job.idle
        job.idle = 0

    def become(self, job: Work, verdict: Verdict) -> End:
        job.state, job.error, job.waiting_for = verdict.state, verdict.error, verdict.waiting_for
        job.request, job.question = "", (0, "")
        if verdict.state == "queued":
            job.due = self.now + verdict.delay_ms
            later = "paused" if job.keeps_turn else "later"
            job.hold = later if verdict.delay_ms > 0 else "ready"
        job.ended = self.now if verdict.state in OVER else 0
        if verdict.line:
            self.lines[verdict.line] += 1
        gone = job.state != "queued" or not job.keeps_turn
        after = self._let_next(job.new.conc_key) if gone else None
        return End(job.id, job.state, None if after is None else ready(after.new))

    def silent(self) -> list[Work]:
        """Those whose lease has run out."""
        return [job for job in self.of("running") if job.lease < self.now]

    def too_late(self) -> list[Work]:
        return [job for job in self.of("queued", "waiting") if 0 < job.deadline < self.now]

    # --- by hand -----------------------------------------------------------------------

    def requeue(self, job: Work) -> None:
        job.question = (0, "")
        job.state, job.due, job.ended = "queued", self.now, 0
        job.waiting_for = job.error = ""
        self._arrive(job)

    def revive(self, job: Work) -> None:
        job.tries = job.crashes = job.deadline = 0
        self.requeue(job)

    def answer(self, job: Work, words: str) -> None:
        unknown = [
            (epoch, seq)
            for (seq, epoch), noted in job.steps.items()
            if noted.state in ("unknown", "intent")
        ]
        about = str(max(unknown, default=(0, 0))[1])  # by the last attempt that left any
        job.payload["answers"] = {**job.payload.get("answers", {}), about: words}
        self.requeue(job)

    # --- what is shown -----------------------------------------------------------------

    def shown(self, job: Work) -> dict[str, Any]:
        """A job as ``view_jobs`` shows it."""
        began = job.attempts[0].began if job.attempts else 0
        waits = self.now - job.created if job.state == "queued" else 0
        return {
            "id": job.id, "state": job.state, "lane": job.new.lane, "kind": job.new.kind,
            "needs": job.new.needs, "session": job.new.session, "route": job.new.route,
            "created_at": job.created, "run_at": job.due, "started_at": began,
            "ended_at": job.ended, "epoch": job.epoch, "tries": job.tries,
            "crashes": job.crashes, "node": job.node, "error": job.error,
            "waiting_for": job.waiting_for, "cancel_req": job.cancel,
            "waited_ms": began - job.created if job.attempts else waits,
            "worked_ms": sum((one.ended or self.now) - one.began for one in job.attempts),
            "max_tries": job.new.max_tries, "max_crashes": job.new.max_crashes,
        }  # fmt: skip

    @staticmethod
    def told_attempts(job: Work) -> list[dict[str, Any]]:
        """The attempts as ``view_why`` shows them."""

        def of(epoch: int, all_: Iterable[tuple[int, int]]) -> list[int]:
            return sorted(seq for seq, at in all_ if at == epoch)

        return [
            {
                "epoch": one.epoch, "node": one.node, "started_at": one.began,
                "ended_at": one.ended, "outcome": one.outcome, "error": one.error,
                "worked_ms": one.worked_ms, "ran": of(one.epoch, job.steps),
                "replayed": of(one.epoch, job.replays),
            }
            for one in job.attempts
        ]  # fmt: skip

    @staticmethod
    def told_steps(job: Work) -> list[tuple[int, int, str, str, str, str]]:
        return [
            (seq, epoch, noted.name, noted.state, noted.rule, noted.output)
            for (seq, epoch), noted in sorted(job.steps.items())
        ]

    def counts(self) -> dict[str, int]:
        oldest = [job.created for job in self.of("queued")]
        return {
            **{state: len(self.of(state)) for state in ("queued", "running", "waiting", "dead")},
            "oldest_ms": self.now - min(oldest) if oldest else 0,
        }

    def next_due(self) -> int | None:
        """0 if one is ready, else the time until one is due that nothing else holds back."""
        queued = self.of("queued")
        if any(job.hold == "ready" for job in queued):
            return 0
        later = [max(0, job.due - self.now) for job in queued if job.hold != "line"]
        return min(later, default=None)


def ready(new: NewJob) -> tuple[str, str, str, str]:
    return new.needs, str(new.lane), new.prefer, new.avoid


def _may(new: NewJob, node: str, labels: set[str], there: Collection[str]) -> bool:
    """Whether a node may have a job: its labels, and where the job would rather be or never is."""
    needs, prefer, avoid = (
        set(filter(None, text.split(","))) for text in (new.needs, new.prefer, new.avoid)
    )
    if ("@gateway" in labels) != (needs == {"@gateway"}):
        return False
    better = prefer & set(there)
    return needs <= labels and node not in avoid and (node in prefer or not better)


def a_step(seq: int, state: str, output: str = "") -> Step:
    """A step as a worker journals it; what it is called follows from its place."""
    rule = (OnUnknown.REPEAT, OnUnknown.ASK, OnUnknown.FAIL)[seq % 3]
    return Step(seq, f"tool:t{seq}", f"{seq:064x}", StepState(state), rule, output=output)
