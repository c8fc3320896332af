"""The queue as plain Python, thought out anew: what the storage must agree with."""

from __future__ import annotations

from dataclasses import dataclass, field

LANES = ("chat", "background")
ENDED = ("done", "cancelled", "dead")


@dataclass
class Job:
    id: str
    lane: str
    prio: int
    needs: str
    key: str | None
    max_tries: int
    max_crashes: int
    run_at: int
    state: str = "queued"
    epoch: int = 0
    tries: int = 0
    crashes: int = 0
    node: str | None = None
    boot: str = ""
    request: str = ""
    cancel: bool = False


@dataclass
class Model:
    """Jobs, and for each key whose turn it is and who stands in line."""

    jobs: dict[str, Job] = field(default_factory=dict)
    turn: dict[str, str] = field(default_factory=dict)
    line: dict[str, set[str]] = field(default_factory=dict)

    # --- turns -----------------------------------------------------------------

    def _arrive(self, job: Job) -> None:
        job.state = "queued"
        if job.key is None:
            return
        if job.key in self.turn:
            self.line.setdefault(job.key, set()).add(job.id)
        else:
            self.turn[job.key] = job.id

    def _leave(self, job: Job, state: str) -> None:
        job.state = state
        if job.key is None:
            return
        line = self.line.setdefault(job.key, set())
        line.discard(job.id)
        if self.turn.get(job.key) == job.id:
            del self.turn[job.key]
            if line:
                self.turn[job.key] = min(line)
                line.remove(self.turn[job.key])

    def ready(self, job: Job) -> bool:
        return job.state == "queued" and (job.key is None or self.turn[job.key] == job.id)

    # --- what happens ------------------------------------------------------------

    def enqueue(self, job: Job) -> None:
        self.jobs[job.id] = job
        self._arrive(job)

    def expected(self, node: str, lanes: tuple[str, ...], labels: set[str], request: str) -> str:
        """The job that a claim must get, or nothing."""
        for job in self.jobs.values():
            if job.state == "running" and job.request == request and job.node == node:
                return job.id
        for lane in lanes:
            fit = [
                job for job in self.jobs.values()
                if self.ready(job) and job.lane == lane
                and (not job.needs or set(job.needs.split(",")) <= labels)
            ]  # fmt: skip
            if fit:
                return min(fit, key=lambda job: (job.prio, job.run_at, job.id)).id
        return ""

    def claim(self, job_id: str, node: str, boot: str, request: str) -> Job:
        job = self.jobs[job_id]
        if job.state != "running":
            job.state, job.node, job.boot, job.request = "running", node, boot, request
            job.epoch += 1
            job.cancel = False
        return job

    def finish(self, job: Job, outcome: str, permanent: bool) -> str:
        if outcome == "failed" and not job.cancel:
            job.tries += 1
            if not permanent and job.tries < job.max_tries:
                job.state = "queued"  # it keeps its turn
            else:
                self._leave(job, "dead")
        elif outcome == "failed":
            job.tries += 1
            self._leave(job, "cancelled")
        else:
            self._leave(job, outcome)
        return job.state

    def crash(self, job: Job) -> str:
        job.crashes += 1
        if job.cancel:
            self._leave(job, "cancelled")
        elif job.crashes >= job.max_crashes:
            self._leave(job, "dead")
        else:
            job.state = "queued"
        return job.state

    def cancel(self, job: Job) -> str:
        if job.state == "running":
            job.cancel = True
        else:
            self._leave(job, "cancelled")
        return job.state

    def revive(self, job: Job) -> None:
        job.tries = job.crashes = 0
        self._arrive(job)

    def answer(self, job: Job) -> None:
        self._arrive(job)

    def running(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == "running"]
