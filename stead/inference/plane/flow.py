"""A streamed answer on its way through: from one connection to the other, with no task between."""

from __future__ import annotations

import asyncio
import time

from stead.core.errors import SteadError
from stead.inference.plane import shapes
from stead.inference.plane.failed import error_within
from stead.inference.plane.outlet import Headers, Outlet
from stead.inference.plane.tails import EventTail, Tail, first_error
from stead.inference.seam import Api, Asked, Translator
from stead.net.http import HttpFailed
from stead.net.wire import Answer

STREAM: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_MORE: Headers = [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
#: The head of a stream waits so long for its first event, in seconds: an error in its place is
#: told with a status then, and another model may still be asked.
_HEAD_S = 2.0
#: An answer may be so long, in bytes and in seconds; more is no answer but a tap left open.
_MOST_BYTES = 256 * 1024 * 1024
#: So much of it is gathered for the audit.
_MOST_KEPT = 8_000_000
_MOST_S = 6 * 3600.0
#: So many chunks for each token that was asked for, and so many more.
_MOST_CHUNKS, _MORE_CHUNKS = 4, 4096


class Flow:
    """Takes pieces of the backend's answer, hands on what may go to the client."""

    __slots__ = (
        "_answer",
        "_api",
        "_backend",
        "_bytes",
        "_chunks",
        "_keep",
        "_nonsense",
        "_out",
        "_spoken",
        "_timer",
        "_translator",
        "_until",
        "first",
        "pieces",
        "size",
        "tail",
        "told",
    )  # fmt: skip

    def __init__(
        self, asked: Asked, out: Outlet, answer: Answer, tail: Tail,
        translator: Translator | None, *, spoken: Api, backend: str, keep: list[bytes] | None,
    ) -> None:  # fmt: skip
        self._answer = answer
        self._out = out
        self._translator = translator
        self._api = asked.api
        self._spoken = spoken
        self._backend = backend
        self._keep = keep
        self._bytes = 0
        self._nonsense = ""
        """Why the translator gave up."""
        most = asked.most_tokens
        self._chunks = most * _MOST_CHUNKS + _MORE_CHUNKS if most else 0
        self._until = time.monotonic() + _MOST_S
        self._timer: asyncio.TimerHandle | None = None
        self.tail = tail
        self.first = 0.0
        """When the first piece came."""
        self.told = False
        """Whether a piece of the answer is out."""
        self.pieces = 0
        """How many were handed on."""
        self.size = 0
        """Bytes that were handed on."""

    async def through(self) -> str:
        """Until the backend has no more; in words why, if that was not in good order."""
        answer, out = self._answer, self._out
        out.valve = answer.hold
        if out.full:
            answer.hold(True)
        if not out.begun:
            self._timer = asyncio.get_running_loop().call_later(_HEAD_S, self.begin)
        try:
            await answer.into(self.take)
        except HttpFailed as error:
            return str(error)
        except (TapOpen, ValueError) as error:
            return str(error)
        finally:
            if self._timer is not None:
                self._timer.cancel()
        return ""

    def take(self, piece: bytes) -> None:
        """A piece of the body."""
        out = self.tail.feed(piece)
        self._bytes += len(piece)
        if self._bytes > _MOST_BYTES or time.monotonic() > self._until:
            raise TapOpen("it did not come to an end")
        if not out:
            return
        if not self.told:
            self._first(out)
        if self._chunks and self.tail.events > self._chunks:
            raise TapOpen("it sent far more than was asked for")
        if self._translator is not None:
            out = self._translated(out)
            if not out:
                return
        self.pieces += 1
        self.size += len(out)
        if self._keep is not None and self.size <= _MOST_KEPT:
            self._keep.append(out)
        self._out.write(out)

    def rest(self) -> bytes:
        """What is still to be said when the backend has ended in good order.

        Raises ``ValueError`` where what it said was no whole answer to translate.
        """
        last = self.tail.end()
        if self._translator is not None:
            if self._nonsense:
                raise ValueError(self._nonsense)
            last = self._translator.feed(last) + self._translator.end()
        if not self._out.begun:
            self.begin()
        self.size += len(last)
        if self._keep is not None and last:
            self._keep.append(last)
        return last

    def broken(self, error: SteadError) -> bytes:
        """The end of an answer that broke off, as the client's API has it."""
        if self._translator is not None and self.told:
            return self._translator.broken(error)
        return shapes.event(self._api, error)

    def _translated(self, piece: bytes) -> bytes:
        assert self._translator is not None
        try:
            return self._translator.feed(piece)
        except ValueError as error:
            self._nonsense = str(error)
            raise

    def begin(self) -> None:
        """The head, if it is not out."""
        if self._out.begun:
            return
        if not isinstance(self.tail, EventTail):
            kind = self._answer.headers.get("content-type", "application/octet-stream")
            self._out.begin(200, [(b"content-type", kind.encode("latin-1"))])
        elif self._translator is not None:
            self._out.begin(200, STREAM)
        else:
            passed = [
                (name.encode(), self._answer.headers[name].encode("latin-1"))
                for name in ("content-type", "x-request-id", "request-id")
                if name in self._answer.headers
            ]
            self._out.begin(200, passed + _MORE)

    @property
    def between(self) -> bool:
        """Whether a comment may stand after what is out."""
        return isinstance(self.tail, EventTail)

    def _first(self, out: bytes) -> None:
        """The first piece: an error in its place is no answer yet."""
        if isinstance(self.tail, EventTail):
            error = first_error(out)
            if error is not None:
                raise error_within(self._api, self._spoken, error, self._backend)
            if b"data:" not in out:  # a comment of the backend's: still nothing of an answer
                self.begin()
                return
        self.told = True
        self.first = time.perf_counter()
        self.begin()


class TapOpen(Exception):
    """A stream that does not end."""
