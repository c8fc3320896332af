"""One request to a door of the gateway and its answer, on a connection of its port."""

from __future__ import annotations

import asyncio
import http
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stead.core.errors import SteadError
from stead.inference.plane import shapes
from stead.inference.plane.outlet import Kept
from stead.inference.seam import Api

log = logging.getLogger(__name__)

Pairs = list[tuple[bytes, bytes]]


class Line(Protocol):
    """The connection of an exchange."""

    transport: asyncio.Transport
    flow: Any

    def over(self, exchange: Exchange) -> None:
        """It needs no answer of the door any more."""

    def on_response_complete(self) -> None:
        """An answer is out."""

    def hand_over(self, exchange: Exchange) -> None:
        """It is for the application."""

    def go_on(self, exchange: Exchange) -> None:
        """What its door has begun is to be served."""

    def cut(self, exchange: Exchange) -> None:
        """End it, whatever it was doing."""


class Door(Protocol):
    """What answers the requests at some places."""

    max_body: int

    def who(self, headers: Pairs) -> Any:
        """Whose request that is; None: that takes longer to say, so the application is asked.

        Raises ``WrongKey``, ``Forbidden``.
        """
        ...

    def asker(self, headers: Pairs) -> Any:
        """What can be kept of a head that may come again: who asks, and for what. None: nothing
        is kept."""
        ...

    def still(self, asker: Any) -> Any:
        """Whose request that is, as :meth:`who`, by what was kept; None: look anew."""
        ...

    def begin(self, exchange: Exchange) -> bool:
        """Begin to answer it; False: it is to be served. A ``SteadError`` is told by the caller.

        Where ``taskless`` is set then, it is answered later, or :meth:`Exchange.go_on` is called.
        """
        ...

    def over(self, exchange: Exchange) -> None:
        """What was begun without a task is answered."""

    def left(self, exchange: Exchange) -> None:
        """What was begun without a task is to be ended: its client has gone."""

    async def serve(self, exchange: Exchange) -> None:
        """Answer it. A ``SteadError`` is told by the caller, if nothing is out yet."""
        ...

    def refused(self, exchange: Exchange, error: SteadError) -> None:
        """A request of somebody known was refused before it was read to its end."""


class HeadTooLarge(SteadError):
    """The request's headers are larger than the {limit} bytes allowed."""

    status = 431
    kind = "invalid_request_error"
    code = "head_too_large"


class TooSlow(SteadError):
    """The {what} of the request was not here within the time allowed; send it again, in one go."""

    status = 408
    kind = "invalid_request_error"
    code = "request_timeout"


@dataclass(frozen=True, slots=True)
class Place:
    """A path with a door of its own."""

    path: bytes
    door: Door
    api: Api | None = None
    """Whose shape errors have there; None: OpenAI's."""


class Exchange:
    """One request to a door, and its answer.

    It is an :class:`~stead.inference.plane.outlet.Outlet`, and to uvicorn it looks like one of
    its cycles, so that requests of both kinds can follow each other on a connection.
    """

    __slots__ = (
        "_front",
        "_size",
        "asker",
        "begun",
        "bound",
        "call",
        "call_id",
        "disconnected",
        "headers",
        "http10",
        "keep_alive",
        "message_event",
        "more_body",
        "pieces",
        "place",
        "query",
        "refusal",
        "response_complete",
        "task",
        "taskless",
        "valve",
        "waits",
        "who",
    )  # fmt: skip

    def __init__(self, front: Line, place: Place, query: bytes, headers: Pairs) -> None:
        self._front = front
        self._size = 0
        self.place = place
        self.query = query
        self.headers = headers
        self.who: Any = None
        self.asker: Any = None
        self.call: Any = None
        """What its door has begun."""
        self.refusal: SteadError | None = None
        self.pieces: list[bytes] = []
        self.more_body = True
        self.waits = False
        """Whether the client waits for our word before it sends the body."""
        self.call_id = b""
        """What the row of this request is known by; told with the answer."""
        self.http10 = False
        self.keep_alive = True
        self.begun = False
        self.bound = True
        """Whether the work on it ends when the client goes."""
        self.response_complete = False
        self.disconnected = False
        self.valve: Callable[[bool], None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.taskless = False
        """Whether it is being answered, and no task does that."""
        self.message_event = _NO_EVENT

    def body(self) -> bytes:
        pieces = self.pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def add(self, piece: bytes, most: int) -> bool:
        """Take a piece of the body; False: it is too large now."""
        self._size += len(piece)
        if self._size > most:
            return False
        self.pieces.append(piece)
        return True

    # --- the outlet ---

    @property
    def full(self) -> bool:
        return bool(self._front.flow.write_paused)

    def whole(self, status: int, headers: Pairs, body: bytes) -> None:
        self.begun = True
        if status == 200 and self.call_id and self.keep_alive and headers.__class__ is Kept:
            answer = _PLAIN % (headers.lines, self.call_id, len(body), body)
        else:
            close = b"" if self.keep_alive else b"connection: close\r\n"
            answer = b"%b%b%bcontent-length: %d\r\n\r\n%b" % (
                status_line(status), self._lines(headers), close, len(body), body
            )  # fmt: skip
        self._front.transport.write(answer)
        self._over()

    def begin(self, status: int, headers: Pairs) -> None:
        self.begun = True
        if self.http10:
            self.keep_alive = False
        kind = b"" if self.http10 else b"transfer-encoding: chunked\r\n"
        close = b"" if self.keep_alive else b"connection: close\r\n"
        self._front.transport.write(
            b"%b%b%b%b\r\n" % (status_line(status), self._lines(headers), close, kind)
        )

    def _lines(self, headers: Pairs) -> bytes:
        lines = header_lines(headers)
        return b"%bx-stead-call: %b\r\n" % (lines, self.call_id) if self.call_id else lines

    def write(self, piece: bytes) -> None:
        if piece:
            self._front.transport.write(
                piece if self.http10 else b"%x\r\n%b\r\n" % (len(piece), piece)
            )

    def end(self) -> None:
        if not self.http10:
            self._front.transport.write(b"0\r\n\r\n")
        self._over()

    def abort(self) -> None:
        """Nobody may take what is out for a whole answer."""
        self.response_complete = True
        self._front.over(self)
        self._front.transport.abort()

    def fail(self, error: SteadError) -> None:
        """An error in the shape of the API that was called."""
        if error.status >= 500:
            log.warning("POST %s: %s", self.place.path.decode(), error.message)
        headers = [(b"content-type", b"application/json")]
        headers += [(name.encode(), value.encode()) for name, value in error_headers(error)]
        self.whole(error.status, headers, shapes.body(self.place.api, error))

    def fail_or_abort(self, error: SteadError) -> None:
        """An error as its answer; where some of another is out, that breaks off."""
        if self.begun:
            self.abort()
        else:
            self.fail(error)

    def to_asgi(self) -> None:
        """Not for the plane after all: handed to the application, as it came."""
        self._front.hand_over(self)

    def go_on(self) -> None:
        """What the door has begun is to be served."""
        self._front.go_on(self)

    def cancel(self, msg: str = "") -> None:
        """For the server that stops: as a task of it would be."""
        asyncio.get_running_loop().call_soon(self._front.cut, self)

    def _over(self) -> None:
        self.response_complete = True
        front = self._front
        front.over(self)
        if not self.keep_alive:
            front.transport.close()
        front.on_response_complete()


class _NoEvent:
    """What uvicorn would set to wake its application."""

    def set(self) -> None:
        pass


_NO_EVENT = _NoEvent()


def error_headers(error: SteadError) -> list[tuple[str, str]]:
    """The headers that go with an error, whatever its shape."""
    return list(error.headers().items())


_KNOWN: dict[int, bytes] = {}
_PLAIN = b"HTTP/1.1 200 OK\r\n%bx-stead-call: %b\r\ncontent-length: %d\r\n\r\n%b"


def status_line(status: int) -> bytes:
    line = _KNOWN.get(status)
    if line is None:
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:
            phrase = "Status"
        line = _KNOWN[status] = f"HTTP/1.1 {status} {phrase}\r\n".encode()
    return line


def header_lines(headers: Pairs) -> bytes:
    if isinstance(headers, Kept):
        return headers.lines
    return b"".join([b"%b: %b\r\n" % header for header in headers])
