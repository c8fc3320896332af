"""The queue: wakes waiting workers in milliseconds, keeps leases, takes back what was lost.

The rows are the truth; what is in memory here (who waits, who holds what) is
only there to be quick, and is built anew from the rows at start.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from stead.core.news import News
from stead.core.nouns import Job, NewJob
from stead.core.placement import Ready, may_take
from stead.core.states import JobState
from stead.core.storage import Ended, Granted, JobStore, Ruling
from stead.core.wire import Held
from stead.queue.policy import Policy

log = logging.getLogger(__name__)

#: A waiting claim looks at the rows this often even if nobody woke it (seconds).
_BACKSTOP_S = 1.0
#: Jobs that are taken back at a time.
_AT_ONCE = 100
#: A clock that goes back by less was only put right a little.
_SET_BACK_S = 1.0


@dataclass(slots=True, eq=False)
class _Waiter:
    """A claim that waits, with what it can take. It is woken with what it is woken for."""

    name: str
    lanes: Sequence[str]
    labels: frozenset[str]
    future: asyncio.Future[Ready]

    def fits(self, job: Ready, there: Collection[str]) -> bool:
        """As the store judges it."""
        return job.lane in self.lanes and may_take(
            job.needs, job.prefer, job.avoid, name=self.name, labels=self.labels, there=there
        )


def ready(job: Job | NewJob) -> Ready:
    """A job that is ready, as a worker is woken for it."""
    return Ready(job.needs, job.lane, job.prefer, job.avoid)


class Queue:
    """Claims, leases and rescue over a :class:`~stead.core.storage.JobStore`.

    ``there`` names the nodes that are there, so that others leave them the jobs that prefer them:
    neither silent for the failover time, nor drained or retired.
    """

    def __init__(
        self, store: JobStore, policy: Policy, there: Callable[[], Collection[str]] = frozenset
    ) -> None:
        self._store = store
        self.policy = policy
        self._there = there
        self._waiters: deque[_Waiter] = deque()
        self._held: dict[str, tuple[int, str]] = {}
        self._on_ended: list[Callable[[Ended], None]] = []
        self._closed = False
        self.news = News()
        """Which jobs have changed, and what else is shown to people."""

    def on_ended(self, call: Callable[[Ended], None]) -> None:
        """Be told of each end of an attempt that a rescue brought about."""
        self._on_ended.append(call)

    async def start(self) -> None:
        """After a stop nobody could keep a lease, so all start anew; who holds what is read."""
        await self._store.extend_leases(self.policy.lease_ms)
        self._held = {job: (epoch, node) for job, epoch, node in await self._store.leases()}

    # --- in and out ----------------------------------------------------------------

    async def enqueue(self, job: NewJob) -> tuple[str, bool]:
        """Queue a job (durable when this returns) and wake a worker for it."""
        job_id, new = await self._store.enqueue(job)
        if new:
            self.news.touch("job", job_id)
            self.wake(ready(job))
        return job_id, new

    def wake(self, job: Ready) -> None:
        """A job became ready: let the claim look that waits longest of those that can take it."""
        there = self._there() if job.prefer else ()
        for waiter in self._waiters:
            if not waiter.future.done() and waiter.fits(job, there):
                waiter.future.set_result(job)
                return

    async def claim(
        self,
        *,
        request_id: str,
        node_id: str,
        boot: str,
        lanes: Sequence[str],
        labels: Sequence[str],
        wait_s: float,
        name: str = "",
    ) -> Granted | None:
        """The next ready job for this worker, or None after ``wait_s`` seconds.

        ``name`` is the node's own, by which jobs prefer and avoid it.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        woken: Ready | None = None
        while True:
            # Waiting is set up before looking, so that nothing slips in between the two.
            waiter = _Waiter(name, lanes, frozenset(labels), loop.create_future())
            self._waiters.append(waiter)
            looks_again = False
            try:
                # A caller that hangs up here may have been given a job that we do not note as
                # held. Nobody works on it: its worker learns of it only by asking again under
                # the same id, and then it is noted.
                granted = await self._grant(request_id, node_id, boot, lanes, labels, name)
                if granted is not None:
                    if woken is not None and woken != ready(granted.job):
                        # It found another that goes before; what it was woken for is still there.
                        self.wake(woken)
                    return granted
                left = until - loop.time()
                if left <= 0 or self._closed:
                    return None
                await asyncio.wait((waiter.future,), timeout=min(left, _BACKSTOP_S))
                looks_again = True
                woken = waiter.future.result() if waiter.future.done() else None
            finally:
                self._waiters.remove(waiter)
                if waiter.future.done() and not looks_again:
                    # However it leaves, a wake-up that it makes no use of is another's.
                    self.wake(waiter.future.result())

    async def _grant(
        self,
        request_id: str,
        node_id: str,
        boot: str,
        lanes: Sequence[str],
        labels: Sequence[str],
        name: str,
    ) -> Granted | None:
        granted = await self._store.claim(
            request_id=request_id,
            node_id=node_id,
            boot=boot,
            lanes=lanes,
            labels=labels,
            lease_ms=self.policy.lease_ms,
            name=name,
            there=self._there(),
        )
        if granted is not None:
            self._held[granted.job.id] = (granted.job.epoch, node_id)
            self.news.touch("job", granted.job.id)
        return granted

    def close(self) -> None:
        """Let every waiting claim return with nothing, so that a stop need not wait for them."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_result(Ready("", ""))

    # --- leases --------------------------------------------------------------------

    def holds(self, job_id: str, epoch: int, node_id: str | None = None) -> bool:
        """Whether this epoch of a job is the living one (from memory, for unrecorded events)."""
        held = self._held.get(job_id)
        return held is not None and held[0] == epoch and node_id in (None, held[1])

    def holders(self) -> list[str]:
        """The nodes of all jobs that are running, one entry a job."""
        return [holder for _, holder in self._held.values()]

    def held_by(self, node_id: str, most: int = 20) -> list[str]:
        """The jobs that a node works on, the oldest first, at most so many."""
        return sorted(job for job, (_, holder) in self._held.items() if holder == node_id)[:most]

    def running(self, node_id: str) -> int:
        return sum(1 for _, holder in self._held.values() if holder == node_id)

    async def heartbeat(self, node_id: str, held: Sequence[Held]) -> tuple[list[str], list[str]]:
        beat = await self._store.heartbeat(node_id, held, self.policy.lease_ms)
        return beat.cancel, beat.lost

    def heartbeat_sync(self, node_id: str, held: Sequence[Held]) -> tuple[list[str], list[str]]:
        beat = self._store.heartbeat_sync(node_id, held, self.policy.lease_ms)
        return beat.cancel, beat.lost

    def ended(self, ended: Ended) -> None:
        """Forget a job that left ``running``; wake a worker for what became ready by it."""
        job = ended.job
        self.news.touch("job", job.id)
        if ended.state is not JobState.RUNNING:
            held = self._held.get(job.id)
            if held is not None and held[0] <= job.epoch:
                del self._held[job.id]
        if ended.state is JobState.QUEUED:
            # The row decides when it is due; this is only so that somebody looks at that time.
            wait_s = max(0.0, job.run_at / 1000 - time.time())
            asyncio.get_running_loop().call_later(wait_s, self.wake, ready(job))
        if ended.ready is not None:
            self.wake(ended.ready)

    # --- rescue --------------------------------------------------------------------

    async def rescue(self, rule: Callable[..., Ruling]) -> None:
        """Take back what has lost its worker, and end what is too late or makes no sense."""
        more = True
        while more:
            taken = await self._store.reap(rule, limit=_AT_ONCE)
            for ended in taken:
                log.warning(
                    "job %s was taken back", ended.job.id, extra={"fields": {"state": ended.state}}
                )
                self._tell(ended)
            more = len(taken) >= _AT_ONCE

    async def restarted(self, node_id: str, boot: str, rule: Callable[..., Ruling]) -> None:
        """A node came up anew: what its earlier process held is free at once."""
        for ended in await self._store.release(node_id, boot, rule):
            self._tell(ended)

    def _tell(self, ended: Ended) -> None:
        self.ended(ended)
        for call in self._on_ended:
            call(ended)

    async def run_rescue(self, rule: Callable[..., Ruling], every_s: float = 1.0) -> None:
        """Rescue for ever; a failing round is logged and tried again at the next.

        When the gateway itself stood still (a suspended machine), no heartbeat could reach it,
        so nobody is taken to have vanished: all leases start anew. So they do when the clock was
        set back: else the job of a vanished worker would be kept for as long as it was set back.
        """
        looked, passed = time.time(), time.monotonic()
        while True:
            await asyncio.sleep(every_s)
            now, passing = time.time(), time.monotonic()
            seconds, moved = now - looked, (now - looked) - (passing - passed)
            looked, passed = now, passing
            try:
                if moved < -_SET_BACK_S:
                    log.warning("the clock was set back by %.0f s; all leases start anew", -moved)
                    await self._store.extend_leases(self.policy.lease_ms, round(moved * 1000))
                elif seconds > every_s + self.policy.lease_ms / 3000:
                    log.warning("the gateway stood still for a while; all leases start anew")
                    await self._store.extend_leases(self.policy.lease_ms)
                await self.rescue(rule)
            except Exception:  # the edge of a service: one bad round must not end the rescue
                log.exception("a round of rescue failed")
