"""The heartbeat: from a thread of its own, in its time, whatever the event loop does."""

from __future__ import annotations

import asyncio
import threading
import time

from stead.agent.loop import Result
from stead.core.errors import GatewayAway
from stead.core.wire import Heartbeat, HeartbeatReply
from stead.node.heart import Heart
from stead.node.kinds import Work
from tests.unit.node.gateway import Gateway
from tests.unit.node.parts import running


class Pulse:
    """Remembers what the heart told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.change = threading.Condition()

    def _say(self, what: str) -> None:
        with self.change:
            self.told.append(what)
            self.change.notify_all()

    def alive(self, boot: str) -> None:
        self._say("alive")

    def failed(self, error: Exception) -> None:
        self._say("failed")

    def cancel(self, job_id: str, epoch: int) -> None:
        self._say(f"cancel {job_id} {epoch}")

    def lost(self, job_id: str, epoch: int) -> None:
        self._say(f"lost {job_id} {epoch}")

    def until(self, *words: str) -> None:
        with self.change:
            assert self.change.wait_for(lambda: set(words) <= set(self.told), 60), self.told


class Beats:
    """Stands for the gateway: answers what it is told to."""

    def __init__(self, pulse: Pulse) -> None:
        self.seen: list[tuple[float, Heartbeat]] = []
        self.reply = HeartbeatReply()
        self.away = 0
        self._pulse = pulse

    def __call__(self, body: Heartbeat) -> HeartbeatReply:
        self.seen.append((time.monotonic(), body))
        if self.away > 0:
            self.away -= 1
            raise GatewayAway(url="http://x", why="test")
        return self.reply


def test_a_third_of_the_lease() -> None:
    """With a lease of 150 ms it beats about every 50 ms, and names the jobs held."""
    pulse = Pulse()
    beats = Beats(pulse)
    heart = Heart(beats, "boot", pulse)
    begun = time.monotonic()
    heart.hold("a", 1, 150)
    while len(beats.seen) < 4:
        pulse.told.clear()
        pulse.until("alive")
    heart.stop()
    assert 0.18 <= beats.seen[3][0] - begun < 1.0
    assert beats.seen[0][1].boot == "boot"
    assert [(job.job_id, job.epoch) for job in beats.seen[0][1].jobs] == [("a", 1)]


def test_silent_without_jobs_and_quick_for_a_shorter_lease() -> None:
    """No job, no beat; a job with a short lease is not kept waiting by one with a long one."""
    pulse = Pulse()
    beats = Beats(pulse)
    heart = Heart(beats, "boot", pulse)
    heart.hold("short", 1, 30)
    pulse.until("alive")
    heart.release("short", 1)
    heart.hold("long", 1, 60_000)
    count = len(beats.seen)
    heart.hold("short", 2, 60)
    while len(beats.seen) < count + 2:
        pulse.told.clear()
        pulse.until("alive")
    heart.release("short", 2)
    heart.release("long", 1)
    silent_from = len(beats.seen)
    time.sleep(0.1)
    heart.stop()
    assert len(beats.seen) <= silent_from + 1


def test_cancels_and_losses_name_the_epoch_that_was_held() -> None:
    """A reply about a job speaks of the epoch that was asked about, not of a later one."""
    pulse = Pulse()
    beats = Beats(pulse)
    beats.reply = HeartbeatReply(cancel=["a", "unknown"], lost=["b"])
    heart = Heart(beats, "boot", pulse)
    heart.hold("a", 3, 30)
    heart.hold("b", 4, 30)
    pulse.until("cancel a 3", "lost b 4")
    heart.stop()
    assert not any("unknown" in what for what in pulse.told)


def test_it_goes_on_while_the_gateway_is_away() -> None:
    """Longer than the lease: it only goes on trying, and says when there is an answer."""
    pulse = Pulse()
    beats = Beats(pulse)
    beats.away = 5
    heart = Heart(beats, "boot", pulse)
    heart.hold("a", 1, 60)
    pulse.until("failed", "alive")
    heart.stop()
    assert pulse.told[:6] == ["failed"] * 5 + ["alive"]


async def test_a_busy_event_loop_does_not_stop_it() -> None:
    """A job that computes for two seconds without giving way keeps its lease."""
    with Gateway(lease_ms=300) as gateway:
        when: list[float] = []

        async def busy(work: Work) -> Result:
            when.append(time.monotonic())
            while time.monotonic() < when[0] + 2.0:
                sum(range(1000))
            when.append(time.monotonic())
            return Result(outcome="done")

        job = gateway.add("busy")
        async with running(gateway, None, {"busy": busy}):
            await gateway.until(lambda: gateway.finishes(job))
        beats = [at for at, _ in gateway.record.heartbeats if when[0] < at < when[1]]
        gaps = [b - a for a, b in zip([when[0], *beats], [*beats, when[1]], strict=False)]
        assert len(beats) >= 10
        assert max(gaps) < 0.3
        assert gateway.finishes(job)[0].outcome == "done"


async def test_a_stuck_gateway_is_survived() -> None:
    """Heartbeats answered with an error do not end the job they are for."""
    with Gateway(lease_ms=150) as gateway:
        go = asyncio.Event()

        async def wait(work: Work) -> Result:
            await go.wait()
            return Result(outcome="done")

        job = gateway.add("wait")
        gateway.fault("heartbeat", 500, times=1)
        gateway.fault("heartbeat", "drop", times=2)
        gateway.fault("heartbeat", 503, times=1)
        async with running(gateway, None, {"wait": wait}):
            await gateway.until(lambda: len(gateway.record.heartbeats) > 3)
            go.set()
            await gateway.until(lambda: gateway.finishes(job))
        assert gateway.finishes(job)[0].outcome == "done"
