"""Where an answer goes: a connection of the gateway's port, or somebody in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from stead.core.errors import BackendFailed

Headers = list[tuple[bytes, bytes]]


class Kept(Headers):
    """Headers that are sent again and again, with the bytes they come to."""

    def __init__(self, pairs: Headers) -> None:
        super().__init__(pairs)
        self.lines = b"".join([b"%b: %b\r\n" % pair for pair in pairs])


#: Bytes held for a reader in this process before the backend is no longer read.
_HIGH, _LOW = 256 * 1024, 64 * 1024


class Outlet(Protocol):
    """Takes one answer: all at once, or its head, its pieces and its end. Nothing here waits."""

    begun: bool
    """Whether the head is out."""
    valve: Callable[[bool], None] | None
    """Told True when the reader is behind, False when there is room again."""

    @property
    def full(self) -> bool:
        """Whether the reader is behind now."""
        ...

    def whole(self, status: int, headers: Headers, body: bytes) -> None: ...

    def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer whose length is not known."""
        ...

    def write(self, piece: bytes) -> None: ...

    def end(self) -> None: ...

    def abort(self) -> None:
        """Break off, so that nobody takes it for whole (a stream that knows no error events)."""
        ...


@dataclass(slots=True)
class DoorAnswer:
    """An answer of the door. Iterate over ``body`` to its end, or call :meth:`aclose`."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]

    async def aclose(self) -> None:
        """Leave: cut the call at the backend, and book what it used."""
        close = getattr(self.body, "aclose", None)
        if close is not None:
            await close()


class Pipe:
    """An outlet that is read in this process, by one reader."""

    def __init__(self) -> None:
        self.begun = False
        self.valve: Callable[[bool], None] | None = None
        self._status = 0
        self._headers: list[tuple[str, str]] = []
        self._pieces: list[bytes] = []
        self._held = 0
        self._over = False
        self._aborted = False
        self._news = asyncio.Event()
        self._work: asyncio.Task[None] | None = None

    async def answer(self, work: Awaitable[None]) -> DoorAnswer:
        """Have ``work`` fill this; return when the head is known. Raises what it raises before."""
        self._work = asyncio.ensure_future(_run(work))
        self._work.add_done_callback(lambda task: self._news.set())
        try:
            while not self.begun and not self._work.done():
                self._news.clear()
                await self._news.wait()
            if self._work.done() and not self.begun:
                self._work.result()
                raise AssertionError("no answer was given, and no error")
        except asyncio.CancelledError:
            await self.aclose()
            raise
        return DoorAnswer(self._status, self._headers, self)

    # --- the reader's side ---

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._work is None:
                raise StopAsyncIteration
            if self._work.done():
                work, self._work = self._work, None
                if self._pieces:
                    break
                work.result()
                if self._aborted:
                    raise BackendFailed(backend="that was asked", why="its answer broke off")
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        pieces, self._pieces = self._pieces, []
        was_full, self._held = self._held > _HIGH, 0
        if was_full and self.valve is not None:
            self.valve(False)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def aclose(self) -> None:
        """Leave. What was not read is gone."""
        work, self._work = self._work, None
        self._pieces = []
        if work is not None:
            work.cancel()
            await asyncio.wait((work,))

    # --- the outlet ---

    @property
    def full(self) -> bool:
        return self._held > _HIGH

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        self.begin(status, [*headers, (b"content-length", b"%d" % len(body))])
        self.write(body)
        self.end()

    def begin(self, status: int, headers: Headers) -> None:
        self.begun = True
        self._status = status
        self._headers = [(name.decode("latin-1"), value.decode("latin-1"))
                         for name, value in headers]  # fmt: skip
        self._news.set()

    def write(self, piece: bytes) -> None:
        if not piece:
            return
        self._pieces.append(piece)
        before, self._held = self._held, self._held + len(piece)
        if before <= _HIGH < self._held and self.valve is not None:
            self.valve(True)
        self._news.set()

    def end(self) -> None:
        self._over = True

    def abort(self) -> None:
        self._aborted = True


async def _run(work: Awaitable[None]) -> None:
    await work
