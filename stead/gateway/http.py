"""What every handler needs: reading bodies with a limit, answering JSON, errors in one shape."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from stead.core.errors import BadRequest, SteadError, TooLarge

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Streams must not be held back by a proxy in between (nginx's own header).
STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

#: How an event of a stream ends.
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")

_encoder = msgspec.json.Encoder()


class Json(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return _encoder.encode(content)


def failed(error: SteadError) -> Json:
    """An error in the OpenAI shape, with its own HTTP status."""
    return Json(error.as_dict(), status_code=error.status, headers=error.headers())


def named(text: str, most: int, param: str, default: str) -> str:
    """A name as it was given, or the default; raises ``BadRequest`` where it is too long: cut
    short, two names could become one. Names stand in lines that people read: no line breaks."""
    if len(text) > most:
        raise BadRequest(f"{param} may have at most {most} characters.", param=param)
    if _CONTROL.search(text):
        raise BadRequest(f"{param} may hold no line breaks or control characters.", param=param)
    return text or default


def number(text: str | None, name: str, default: int) -> int:
    """A whole number of a query or header; raises ``BadRequest``."""
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        raise BadRequest(f"{name} must be a whole number, not {text!r}.", param=name) from None
    if abs(value) >= 2**63:
        raise BadRequest(f"{name} is too large.", param=name)
    return value


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body; raises ``TooLarge`` as soon as it is known to be, without reading on."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise TooLarge(limit=limit)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The connection was closed before the request was whole.")
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise TooLarge(limit=limit)
        if piece:
            pieces.append(piece)
        if not message.get("more_body", False):
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)


_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


def decode(body: bytes, type: type[T]) -> T:
    """The body as ``type``; raises ``BadRequest`` with the path of the fault in ``param``."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        found = _AT.match(str(error))
        what, path = (found["what"], found["path"]) if found else (str(error), None)
        missing = re.match(r"Object missing required field `(.+)`", what)
        if missing:
            path = f"{path}.{missing[1]}" if path else missing[1]
        where = f" (at {path})" if path else ""
        raise BadRequest(f"The request is not valid: {what}{where}", param=path) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise BadRequest("The body is nested too deeply.") from error


Handler = Callable[[Request], Awaitable[Response]]


class Endpoint:
    """An ASGI endpoint that answers errors in the one shape and logs the unexpected ones."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except SteadError as error:
            if begun:
                raise
            if error.status >= 500:
                log.warning("%s %s: %s", scope["method"], scope["path"], error.message)
            await failed(error)(scope, receive, send)
        except OverflowError as error:  # JSON knows no largest number, the database does
            if begun:
                raise
            log.warning("%s %s: %s", scope["method"], scope["path"], error)
            await failed(BadRequest("A number in the request is too large."))(scope, receive, send)
        except Exception:  # the edge of a request: nothing of the inside may leak out
            log.exception("%s %s failed", scope["method"], scope["path"])
            if begun:
                raise
            await failed(SteadError("stead failed on this request; `stead logs` says more."))(
                scope, receive, send
            )


async def until_gone(receive: Receive, work: Awaitable[T]) -> T | None:
    """Do ``work`` unless the client hangs up first; None then, with the work cancelled."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def unless(stop: asyncio.Future[None], work: Awaitable[T]) -> T:
    """Do ``work`` unless ``stop`` is done first; its error is raised then, the work cancelled."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            stop.result()
        return await task
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def stream(
    receive: Receive,
    send: Send,
    pieces: AsyncIterator[bytes],
    *,
    status: int = 200,
    headers: list[tuple[bytes, bytes]] | None = None,
    alive_s: float = 0.0,
) -> bool:
    """Send pieces as they come; stop and close their source when the client hangs up.

    ``alive_s``: the pieces are events, and after so much silence a comment shows that we live.
    Returns whether all was sent.
    """
    said, whole = False, True

    async def alive() -> None:
        nonlocal said
        while True:
            await asyncio.sleep(alive_s)
            if not said and whole:
                await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
            said = False

    async def pump() -> bool:
        nonlocal said, whole
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": STREAM_HEADERS if headers is None else headers,
            }
        )
        ticks = asyncio.create_task(alive()) if alive_s else None
        try:
            async for piece in pieces:
                said, whole = True, piece.endswith(_EVENT_ENDS)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            if ticks is not None:
                ticks.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    try:
        return bool(await until_gone(receive, pump()))
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def sse(data: Any, *, event: str = "", ident: str = "") -> bytes:
    """One server-sent event with JSON data (WHATWG HTML, section 9.2)."""
    head = f"id: {ident}\n" if ident else ""
    kind = f"event: {event}\n" if event else ""
    return (head + kind).encode() + b"data: " + _encoder.encode(data) + b"\n\n"


def comment(text: str) -> bytes:
    """A server-sent comment: clients pass over it, people and stead's own client read it."""
    return f": stead {' '.join(text.split())}\n\n".encode()
