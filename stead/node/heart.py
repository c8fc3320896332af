"""The heartbeat: a thread that keeps the leases while the event loop may be busy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from stead.core.wire import Heartbeat, HeartbeatReply, Held

log = logging.getLogger("stead.node")

LONGEST_S = 3.0
RETRY_S = 1.0


class Pulse(Protocol):
    """What the heart tells; called from the heart's thread."""

    def alive(self, boot: str) -> None:
        """A heartbeat was answered, by this start of the gateway."""
        ...

    def failed(self, error: Exception) -> None:
        """A heartbeat was not answered; the heart goes on trying."""
        ...

    def cancel(self, job_id: str, epoch: int) -> None:
        """The owner wants this job stopped."""
        ...

    def lost(self, job_id: str, epoch: int) -> None:
        """This job is no longer this worker's."""
        ...


class Heart:
    """Beats every third of the shortest lease, at least every 3 s, while jobs are held.

    Silent when none is held. ``beat`` is ``Link.heartbeat``. However long the
    gateway is away, and whatever the leases, it only goes on trying: whether a
    job is still this worker's is the gateway's to say.
    """

    def __init__(
        self, beat: Callable[[Heartbeat], HeartbeatReply], boot: str, pulse: Pulse
    ) -> None:
        self._beat = beat
        self._boot = boot
        self._pulse = pulse
        self._held: dict[tuple[str, int], float] = {}
        self._lease_s = 0.0
        self._change = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def hold(self, job_id: str, epoch: int, lease_ms: int) -> None:
        """Keep this job's lease from now on."""
        with self._change:
            if self._stopped:
                return
            self._held[job_id, epoch] = lease_ms / 1000
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
                self._thread.start()
            self._change.notify()

    def release(self, job_id: str, epoch: int) -> None:
        """The job is over, or another's."""
        with self._change:
            self._held.pop((job_id, epoch), None)

    def stop(self) -> None:
        """Beat no more. Does not wait for a beat that is under way."""
        with self._change:
            self._stopped = True
            self._held.clear()
            self._change.notify()

    def _interval(self) -> float:
        leases = [*self._held.values(), *([self._lease_s] if self._lease_s else [])]
        return min([lease / 3 for lease in leases if lease > 0] + [LONGEST_S])

    def _wait(self, seconds: float) -> None:
        # A job that comes meanwhile and has a shorter lease must not wait for the longer one.
        self._change.wait_for(lambda: self._stopped or self._interval() < seconds, seconds)

    def _run(self) -> None:
        wait: float | None = None
        while True:
            with self._change:
                if wait is None:
                    self._change.wait_for(lambda: self._stopped or bool(self._held))
                    wait = self._interval()
                self._wait(wait)
                if self._stopped:
                    return
                jobs = list(self._held)
            wait = self._once(jobs) if jobs else None

    def _once(self, jobs: list[tuple[str, int]]) -> float:
        """One beat; how long to wait until the next."""
        try:
            reply = self._beat(Heartbeat(self._boot, [Held(*job) for job in jobs]))
        except Exception as error:  # noqa: BLE001  the edge of a thread: the heart must not stop
            self._pulse.failed(error)
            with self._change:
                return min(self._interval(), RETRY_S)
        self._pulse.alive(reply.boot)
        epochs: dict[str, list[int]] = {}
        for job_id, epoch in jobs:
            epochs.setdefault(job_id, []).append(epoch)
        for job_id in set(reply.cancel) & epochs.keys():
            self._pulse.cancel(job_id, max(epochs[job_id]))
        for job_id in set(reply.lost) & epochs.keys():
            self._pulse.lost(job_id, min(epochs[job_id]))
        with self._change:
            self._lease_s = reply.lease_ms / 1000
            return self._interval()
