"""The queue: wakes waiting workers in milliseconds, keeps leases, takes back what was lost.

The rows are the truth; what is in memory here (who waits, who holds what) is
only there to be quick, and is built anew from the rows at start.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stead.core.nouns import NewJob
from stead.core.states import JobState
from stead.core.storage import Ended, Granted, JobStore, Ruling
from stead.core.wire import Held
from stead.queue.policy import Policy

log = logging.getLogger(__name__)

#: A waiting claim looks at the rows this often even if nobody woke it (seconds).
_BACKSTOP_S = 1.0


@dataclass(slots=True)
class _Waiter:
    gateway: bool
    future: asyncio.Future[None]


class Queue:
    """Claims, leases and rescue over a :class:`~stead.core.storage.JobStore`."""

    def __init__(self, store: JobStore, policy: Policy) -> None:
        self._store = store
        self.policy = policy
        self._waiters: deque[_Waiter] = deque()
        self._held: dict[str, tuple[int, str]] = {}
        self._on_ended: list[Callable[[Ended], None]] = []
        self._closed = False

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
            self.wake(job.needs)
        return job_id, new

    def wake(self, needs: str = "", many: int = 1) -> None:
        """Something became ready: let as many waiting claims look as there are jobs."""
        gateway = needs == "@gateway"
        for waiter in list(self._waiters):
            if many <= 0:
                return
            # Labels are checked by the claim itself, so a job with needs wakes every node.
            if waiter.gateway is gateway and not waiter.future.done():
                waiter.future.set_result(None)
                if not needs or gateway:
                    many -= 1

    async def claim(
        self,
        *,
        request_id: str,
        node_id: str,
        boot: str,
        lanes: Sequence[str],
        labels: Sequence[str],
        wait_s: float,
    ) -> Granted | None:
        """The next ready job for this worker, or None after ``wait_s`` seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        gateway = "@gateway" in labels
        while True:
            # Waiting is set up before looking, so that nothing slips in between the two.
            waiter = _Waiter(gateway, loop.create_future())
            self._waiters.append(waiter)
            try:
                # Shielded: a caller that hangs up must not undo our knowledge of what it got.
                granted = await asyncio.shield(
                    self._grant(request_id, node_id, boot, lanes, labels)
                )
                if granted is not None:
                    if waiter.future.done():  # this wake-up was for another job
                        self._pass_on(gateway)
                    return granted
                left = until - loop.time()
                if left <= 0 or self._closed:
                    return None
                await asyncio.wait((waiter.future,), timeout=min(left, _BACKSTOP_S))
            except asyncio.CancelledError:
                if waiter.future.done():
                    self._pass_on(gateway)
                raise
            finally:
                self._waiters.remove(waiter)

    async def _grant(
        self,
        request_id: str,
        node_id: str,
        boot: str,
        lanes: Sequence[str],
        labels: Sequence[str],
    ) -> Granted | None:
        granted = await self._store.claim(
            request_id=request_id,
            node_id=node_id,
            boot=boot,
            lanes=lanes,
            labels=labels,
            lease_ms=self.policy.lease_ms,
        )
        if granted is not None:
            self._held[granted.job.id] = (granted.job.epoch, node_id)
        return granted

    def _pass_on(self, gateway: bool) -> None:
        """A wake-up that this claim cannot use goes to the next one that waits."""
        for other in self._waiters:
            if other.gateway is gateway and not other.future.done():
                other.future.set_result(None)
                return

    def close(self) -> None:
        """Let every waiting claim return with nothing, so that a stop need not wait for them."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.future.done():
                waiter.future.set_result(None)

    # --- leases --------------------------------------------------------------------

    def holds(self, job_id: str, epoch: int, node_id: str | None = None) -> bool:
        """Whether this epoch of a job is the living one (from memory, for unrecorded events)."""
        held = self._held.get(job_id)
        return held is not None and held[0] == epoch and node_id in (None, held[1])

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
        if ended.state is not JobState.RUNNING:
            held = self._held.get(job.id)
            if held is not None and held[0] <= job.epoch:
                del self._held[job.id]
        if ended.state is JobState.QUEUED:
            self.wake(job.needs)  # one that must wait is found at its time by the slow look
        if job.conc_key is not None:
            # The next one of its session may go to either kind of worker.
            self.wake("")
            self.wake("@gateway")

    # --- rescue --------------------------------------------------------------------

    async def rescue(self, rule: Callable[..., Ruling]) -> None:
        """One round of taking back what has lost its worker."""
        for ended in await self._store.reap(rule):
            log.warning(
                "job %s was taken back", ended.job.id, extra={"fields": {"state": ended.state}}
            )
            self._tell(ended)

    async def restarted(self, node_id: str, boot: str, rule: Callable[..., Ruling]) -> None:
        """A node came up anew: what its earlier process held is free at once."""
        for ended in await self._store.release(node_id, boot, rule):
            self._tell(ended)

    def _tell(self, ended: Ended) -> None:
        self.ended(ended)
        for call in self._on_ended:
            call(ended)

    async def run_rescue(self, rule: Callable[..., Ruling], every_s: float = 1.0) -> None:
        """Rescue for ever; a failing round is logged and tried again at the next."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.rescue(rule)
            except Exception:  # the edge of a service: one bad round must not end the rescue
                log.exception("a round of rescue failed")
