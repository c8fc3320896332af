"""A small real gateway for the node's tests: the node protocol in memory, with faults on demand.

It runs on a thread and an event loop of its own, so that a test may block or
kill its node without stopping the gateway.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from stead.core.errors import StaleEpoch, SteadError, WrongKey
from stead.core.ids import uuid7
from stead.core.nouns import Step
from stead.core.place import BEGINNING
from stead.core.wire import (
    Claim,
    ClaimedJob,
    ClaimReply,
    Events,
    EventsReply,
    Finish,
    FinishReply,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HelloReply,
)
from stead.flow.live import Live

KEY = "sn_" + "k" * 43
_WAIT_S = 60.0


@dataclass
class Fault:
    """What goes wrong with the next requests of one path.

    ``drop`` does the work and breaks the connection before the answer, ``cut``
    breaks it before the work, ``late`` answers after ``seconds``; a number is
    answered as that HTTP status.
    """

    path: str
    what: str | int
    times: int = 1
    seconds: float = 0.0


@dataclass
class Record:
    """What the gateway was told, in the order in which it took it in."""

    hellos: list[Hello] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)
    heartbeats: list[tuple[float, Heartbeat]] = field(default_factory=list)
    reports: list[Events | Finish] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    """When each of ``reports`` came, on ``time.monotonic``."""
    stale: list[Events | Finish] = field(default_factory=list)
    """Reports that were answered 409."""
    repeats: int = 0
    order: list[str] = field(default_factory=list)
    """The paths of all requests that were processed."""


class Gateway:
    """``with Gateway() as gateway:`` listens on a free port of 127.0.0.1."""

    def __init__(self, lease_ms: int = 30_000) -> None:
        self.lease_ms = lease_ms
        self.record = Record()
        self.queue: list[ClaimedJob] = []
        self.epochs: dict[str, int] = {}
        """The living epoch of each job that is running."""
        self.cancel: set[str] = set()
        self.answered: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.port = 0
        self.boot = ""
        self.live: Live | None = None
        """What watchers are shown; without one no text is asked for again."""
        self._granted: dict[str, ClaimedJob] = {}
        self._say_cancel: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    # --- what a test does -----------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._up(), self._loop).result(_WAIT_S)

    def down(self) -> None:
        """Refuse connections, and break those that are open."""
        asyncio.run_coroutine_threadsafe(self._down(), self._loop).result(_WAIT_S)

    def restarted(self) -> None:
        """As after a restart: what was said live is forgotten."""
        self.live, self.boot = Live(), uuid7()

    def shown(self, job_id: str = "j") -> list[tuple[str, str]]:
        """What a watcher who comes now is shown of a job."""
        assert self.live is not None
        feed = self.live._feeds.get(job_id)
        return [] if feed is None else [(s.type, s.text) for s in feed.since(BEGINNING)]

    def add(self, kind: str = "noop", *, lane: str = "chat", epoch: int = 1, **more: Any) -> str:
        """Queue a job; return its id."""
        id = more.pop("id", "") or uuid7()
        payload = more.pop("payload", {"text": "x"})
        job = ClaimedJob(id, epoch, kind, lane, payload, self.lease_ms, key="sj_test", **more)
        self.queue.append(job)
        self._loop.call_soon_threadsafe(self._wake.set)
        return id

    def fault(self, path: str, what: str | int, times: int = 1, seconds: float = 0.0) -> None:
        self.faults.append(Fault(path, what, times, seconds))

    def say_cancel(self, job_id: str) -> None:
        """Answer the open claim, or the next one, with the word to stop this job."""
        self._say_cancel.append(job_id)
        self._loop.call_soon_threadsafe(self._wake.set)

    def take_away(self, job_id: str) -> None:
        """The job gets another owner: raise its epoch."""
        self.epochs[job_id] += 1

    def wait(self, true: Callable[[], object], seconds: float = _WAIT_S) -> None:
        """As :meth:`until`, for a test without an event loop."""
        asyncio.run(self.until(true, seconds))

    async def until(self, true: Callable[[], object], seconds: float = _WAIT_S) -> None:
        """Wait until ``true`` is so, at the gateway or at the node."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "waited in vain"
            await asyncio.sleep(0.005)

    def finishes(self, job_id: str = "") -> list[Finish]:
        return [
            report
            for report in list(self.record.reports)
            if isinstance(report, Finish) and job_id in ("", report.job_id)
        ]

    def steps(self, job_id: str) -> list[Step]:
        """The journal of a job as the gateway has it, in the order it came."""
        return [event.step for event in self.events(job_id) if event.step is not None]

    def events(self, job_id: str) -> list[Any]:
        return [
            event
            for report in list(self.record.reports)
            if isinstance(report, Events) and report.job_id == job_id
            for event in report.events
        ]

    # --- the protocol ---------------------------------------------------------

    async def _answer(self, path: str, body: bytes) -> object:
        if path == "/node/v1/hello":
            self.record.hellos.append(msgspec.json.decode(body, type=Hello))
            return HelloReply("node-1", "test node", self.lease_ms)
        if path == "/node/v1/claim":
            return await self._claim(msgspec.json.decode(body, type=Claim))
        if path == "/node/v1/heartbeat":
            return self._heartbeat(msgspec.json.decode(body, type=Heartbeat))
        if path == "/node/v1/events":
            events = msgspec.json.decode(body, type=Events)
            self._take(events)
            have = -1
            if self.live is not None:
                self.live.publish(events.job_id, events.epoch, events.events)
                have = self.live.have(events.job_id, events.epoch)
            return EventsReply(cancel=events.job_id in self.cancel, have=have)
        if path == "/node/v1/finish":
            finish = msgspec.json.decode(body, type=Finish)
            self._take(finish)
            self.epochs.pop(finish.job_id, None)
            return FinishReply(finish.outcome)
        raise SteadError(f"no such path: {path}")

    async def _claim(self, claim: Claim) -> ClaimReply:
        self.record.claims.append(claim)
        until = time.monotonic() + claim.wait_s
        while True:
            self._wake.clear()
            if self._say_cancel:
                told, self._say_cancel = self._say_cancel, []
                return ClaimReply(again=True, cancel=told)
            again = self._granted.get(claim.request_id)
            if again is not None:
                return ClaimReply(again)
            job = next(
                (job for lane in claim.lanes for job in self.queue if job.lane == lane), None
            )
            if job is not None:
                self.queue.remove(job)
                self._granted[claim.request_id] = job
                self.epochs[job.id] = job.epoch
                return ClaimReply(job)
            left = until - time.monotonic()
            if left <= 0:
                return ClaimReply()
            try:
                await asyncio.wait_for(self._wake.wait(), min(left, 0.05))
            except TimeoutError:
                continue

    def _heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        self.record.heartbeats.append((time.monotonic(), beat))
        lost = [job.job_id for job in beat.jobs if self.epochs.get(job.job_id) != job.epoch]
        cancel = [job.job_id for job in beat.jobs if job.job_id in self.cancel]
        return HeartbeatReply(cancel, lost, self.lease_ms, self.boot)

    def _take(self, report: Events | Finish) -> None:
        if self.epochs.get(report.job_id) != report.epoch:
            self.record.stale.append(report)
            raise StaleEpoch(job_id=report.job_id, epoch=report.epoch)
        self.record.reports.append(report)
        self.record.at.append(time.monotonic())

    # --- HTTP -----------------------------------------------------------------

    async def _up(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _down(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                path = lines[0].split(" ")[1]
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                replying = asyncio.ensure_future(self._reply(path, body, headers))
                left = asyncio.ensure_future(reader.read(1))  # no pipelining: this is the end
                await asyncio.wait({replying, left}, return_when=asyncio.FIRST_COMPLETED)
                left.cancel()
                await asyncio.wait({left})
                if not replying.done():
                    # Whoever asked has left: a long poll must not take a job for nobody.
                    replying.cancel()
                    await asyncio.wait({replying})
                    return
                reply = replying.result()
                if reply is None:
                    writer.transport.abort()
                    return
                status, raw = reply
                writer.write(
                    b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n%s" % (status, len(raw), raw)
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._open.discard(task)
            writer.close()

    async def _reply(
        self, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes] | None:
        """Status and body, or None to break the connection."""
        fault = self._fault(path)
        if fault is not None and fault.what == "cut":
            return None
        if fault is not None and fault.what == "late":
            await asyncio.sleep(fault.seconds)
        if fault is not None and isinstance(fault.what, int):
            error = SteadError(f"a fault of the test: {fault.what}")
            return fault.what, msgspec.json.encode(error.as_dict())
        try:
            if headers.get("authorization") != f"Bearer {KEY}":
                raise WrongKey
            raw = await self._once(path, body)
        except SteadError as error:
            return error.status, msgspec.json.encode(error.as_dict())
        return None if fault is not None and fault.what == "drop" else (200, raw)

    async def _once(self, path: str, body: bytes) -> bytes:
        """A report that was answered before is answered the same (invariant 4)."""
        id = ""
        if path in ("/node/v1/events", "/node/v1/finish"):
            id = msgspec.json.decode(body)["id"]
        if id and id in self.answered:
            self.record.repeats += 1
            return self.answered[id]
        raw = msgspec.json.encode(await self._answer(path, body))
        self.record.order.append(path)
        if id:
            self.answered[id] = raw
        return raw

    def _fault(self, path: str) -> Fault | None:
        for fault in self.faults:
            if path.endswith(fault.path) and fault.times > 0:
                fault.times -= 1
                return fault
        return None
