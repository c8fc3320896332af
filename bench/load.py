"""Many workers that claim and finish over HTTP, in one light event loop of this process."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import cast

import msgspec
import uvloop

from bench.wire import body_of, head, status_of, whole


class _Claimed(msgspec.Struct):
    id: str
    epoch: int


class _Reply(msgspec.Struct):
    job: _Claimed | None


_decode = msgspec.json.Decoder(_Reply).decode


@dataclass
class Load:
    """One run: how many callers for how long, and what came of it."""

    port: int
    key: str
    callers: int
    seconds: float
    name: str
    """Makes the ids of requests unique among runs."""
    done: int = 0
    error: str = ""
    rounds_s: list[float] = field(default_factory=list)
    """Seconds that each claim and its finish took together."""

    def run(self) -> float:
        """Claims finished per second. Raises ``RuntimeError`` when anything went wrong."""
        return uvloop.run(self._run())

    async def _run(self) -> float:
        loop = asyncio.get_running_loop()
        ids = itertools.count()
        callers = []
        for _ in range(self.callers):
            _, caller = await loop.create_connection(
                lambda: _Caller(self, ids), "127.0.0.1", self.port
            )
            callers.append(caller)
        begun = time.perf_counter()
        for caller in callers:
            caller.begin()
        await asyncio.sleep(self.seconds)
        done, took = self.done, time.perf_counter() - begun
        for caller in callers:  # each ends the job it holds, so that none is left running
            caller.last = True
        await asyncio.wait([caller.over for caller in callers], timeout=10)
        if self.error:
            raise RuntimeError(self.error)
        return done / took


class _Caller(asyncio.Protocol):
    """One worker: claim, finish, claim, finish, ..."""

    def __init__(self, load: Load, ids: itertools.count[int]) -> None:
        self._load = load
        self._ids = ids
        self._claim = head("/node/v1/claim", load.key)
        self._finish = head("/node/v1/finish", load.key)
        self._rest = b""
        self._claiming = True
        self._begun = 0.0
        self.last = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods only

    def begin(self) -> None:
        """Ask for the next job."""
        self._begun = time.perf_counter()
        self._claiming = True
        self._post(
            self._claim,
            f'{{"request_id":"{self._load.name}-{next(self._ids)}","boot":"bench","wait_s":0}}',
        )

    def _post(self, start: bytes, body: str) -> None:
        data = body.encode()
        self._transport.write(start + b"content-length: %d\r\n\r\n" % len(data) + data)

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if not whole(data):
            self._rest = data
            return
        self._rest = b""
        if status_of(data) != 200:
            self._end(f"answered {data[:500]!r}")
        elif self._claiming:
            job = _decode(body_of(data)).job
            if job is None:
                self._end("the queue ran empty: there were too few jobs for this run")
                return
            self._claiming = False
            report = f"{self._load.name}-{next(self._ids)}"
            self._post(
                self._finish,
                f'{{"id":"{report}","job_id":"{job.id}","epoch":{job.epoch},"outcome":"done"}}',
            )
        else:
            self._load.done += 1
            self._load.rounds_s.append(time.perf_counter() - self._begun)
            if self.last:
                self._end()
            else:
                self.begin()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self._end(f"the connection broke: {error}")

    def _end(self, error: str = "") -> None:
        self._load.error = self._load.error or error
        self._transport.close()
        if not self.over.done():
            self.over.set_result(None)
