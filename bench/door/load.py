"""Callers of a model door: many requests one after the other, and streams read as they come."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

from bench.wire import status_of, whole

_END = b"\r\n0\r\n\r\n"
_TEXT = b'"content":" word"'


@dataclass
class Asking:
    """``callers`` connections, each asking anew when it has its answer."""

    port: int
    request: bytes
    callers: int
    seconds: float
    most: int = 0
    """Stop after so many; 0: by the time alone."""
    done: int = 0
    error: str = ""
    took_s: float = 0.0

    def run(self) -> float:
        """Requests a second. Raises ``RuntimeError`` when one was not answered with 200."""
        return uvloop.run(self._run())

    async def _run(self) -> float:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        callers = []
        for _ in range(self.callers):
            _, caller = await loop.create_connection(
                lambda: _Caller(self, over), "127.0.0.1", self.port
            )
            callers.append(caller)
        begun = time.perf_counter()
        for caller in callers:
            caller.ask()
        await asyncio.wait((over,), timeout=self.seconds)
        self.took_s = time.perf_counter() - begun
        done = self.done
        for caller in callers:
            caller.close()
        if self.error:
            raise RuntimeError(self.error)
        return done / self.took_s


class _Caller(asyncio.Protocol):
    def __init__(self, asking: Asking, over: asyncio.Future[None]) -> None:
        self._asking = asking
        self._over = over
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self) -> None:
        self._transport.write(self._asking.request)

    def close(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        asking = self._asking
        data = self._rest + data
        end = whole(data)
        if not end:
            self._rest = data
            return
        self._rest = data[end:]
        if status_of(data) != 200:
            asking.error = f"answered {data[:400]!r}"
            self._finish()
            return
        asking.done += 1
        if asking.most and asking.done >= asking.most:
            self._finish()
            return
        self._transport.write(asking.request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._over.done() and not self._asking.error and exc is not None:
            self._asking.error = f"the connection broke: {exc}"
            self._finish()

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)


@dataclass
class Streaming:
    """``callers`` streams at once, ``rounds`` times; when their first text came."""

    port: int
    request: bytes
    callers: int
    rounds: int
    first_s: list[float] = field(default_factory=list)
    chunks: int = 0

    def run(self) -> None:
        """Raises ``RuntimeError`` when a stream was not whole."""
        uvloop.run(self._run())

    async def _run(self) -> None:
        await asyncio.gather(*(self._caller(n) for n in range(self.callers)))

    async def _caller(self, number: int) -> None:
        # Not all in the same moment: what is measured is the door, not the queue before it.
        await asyncio.sleep(number * 0.0037)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
        for _ in range(self.rounds):
            begun = time.perf_counter()
            writer.write(self.request)
            data, first = b"", 0.0
            while not data.endswith(_END):
                piece = await reader.read(65536)
                if not piece:
                    raise RuntimeError(f"a stream broke off: {data[-300:]!r}")
                data += piece
                if not first and _TEXT in data:
                    first = time.perf_counter() - begun
            if not first or b"[DONE]" not in data:
                raise RuntimeError(f"a stream was not whole: {data[:300]!r}")
            self.first_s.append(first)
            self.chunks += data.count(_TEXT)
        writer.close()
