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
    beside: int = 0

    @property
    def alone(self) -> bool:
        """In the background, and one crash from its end."""
        return self.lane == "background" and 0 < self.crashes >= self.max_crashes - 1


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
        here = [job for job in self.running() if job.node == node]
        suspect_here = any(job.crashes for job in here)
        background_here = any(job.lane == "background" for job in here)
        for lane in lanes:
            fit = [
                job for job in self.jobs.values()
                if self.ready(job) and job.lane == lane
                and (not job.needs or set(job.needs.split(",")) <= labels)
            ]  # fmt: skip
            suspects = [job for job in fit if job.crashes]
            innocent = [job for job in fit if not job.crashes]
            if any(job.alone for job in (here if suspect_here else suspects)):
                innocent = [job for job in innocent if job.lane == "chat"]
            may = [job for job in suspects if not (job.alone and background_here)]
            for some in ([] if suspect_here else may, innocent):
                if some:
                    return min(some, key=lambda job: (job.prio, job.run_at, job.id)).id
        return ""

    def claim(self, job_id: str, node: str, boot: str, request: str) -> Job:
        job = self.jobs[job_id]
        if job.state != "running":
            job.state, job.node, job.boot, job.request = "running", node, boot, request
            job.epoch += 1
            job.cancel = False
            job.beside = 0
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

    def crash(self, held: list[Job]) -> None:
        """A worker vanished with all of these at once."""
        for job in held:
            job.beside = sum(
                other.crashes >= job.crashes or (other.lane == job.lane == "background")
                for other in held
                if other is not job
            )
        for job in held:
            job.crashes += 1
            if job.cancel:
                self._leave(job, "cancelled")
            elif job.crashes >= job.max_crashes and not job.beside:
                self._leave(job, "dead")
            else:
                job.state = "queued"

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
