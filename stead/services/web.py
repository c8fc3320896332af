"""A small web application around an engine: keys, bodies, errors in one shape, one worker.

Everything that computes runs in one thread, a piece at a time, so that a short request waits for a
piece of a long one and not for all of it. A client that leaves takes what was not begun with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import re
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec

from stead.core.errors import BadRequest, NotFound, SteadError, TooLarge, WrongKey
from stead.net.multipart import Form, parse
from stead.services.orders import Orders, Word

log = logging.getLogger("stead.services")

T = TypeVar("T")
P = ParamSpec("P")
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON = "application/json"
STUCK = 5
"""Exit code of a service whose library did not come back from a request."""
_STUCK_S = 2.0


class TookTooLong(SteadError):
    """The service {name} did not finish this request within {seconds:g} s (services.request_s).
    Send less at a time."""

    status = 504
    kind = "timeout"
    code = "service_timeout"


class TooMuchMemory(SteadError):
    """The service {name} has not the memory that this request needs (services.memory_mb is
    {mb}). Send less at a time."""

    status = 413
    kind = "invalid_request_error"
    code = "too_much_memory"


class Teller(Protocol):
    """Says words to the gateway."""

    def say(self, word: Word) -> None: ...


@dataclass(slots=True)
class Answer:
    """What goes back. Pieces are sent as they come."""

    body: bytes | AsyncIterator[bytes]
    content_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Call:
    """A request, its body read."""

    path: str
    """Below ``/v1/``."""
    content_type: str
    body: bytes
    worker: Worker

    @property
    def is_form(self) -> bool:
        return self.content_type.lower().startswith("multipart/form-data")

    def form(self) -> Form:
        """The form that it is. Raises ``BadRequest``."""
        try:
            return parse(self.body, self.content_type)
        except ValueError as error:
            raise BadRequest(why=str(error)) from error

    def json(self, type: type[T]) -> T:
        """The body as ``type``; raises ``BadRequest`` with the path of the fault in ``param``."""
        return decoded(self.body, type)


class Engine(Protocol):
    """What a service can do."""

    def paths(self) -> Mapping[str, Callable[[Call], Awaitable[Answer]]]:
        """What answers at each path below ``/v1/``."""
        ...


@dataclass
class Worker:
    """The thread in which an engine computes."""

    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="engine")
    )
    at_work: set[Future[Any]] = field(default_factory=set)
    """What was begun, also for callers that have gone."""

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work. It should take a second at most: others wait for it."""
        done = self.pool.submit(work, *args, **kwargs)
        self.at_work.add(done)
        done.add_done_callback(self.at_work.discard)
        return await asyncio.wrap_future(done)


class App:
    """The ASGI application of a service."""

    def __init__(self, engine: Engine, orders: Orders, voice: Teller) -> None:
        self._paths = dict(engine.paths())
        self._orders = orders
        self._voice = voice
        self._worker = Worker()
        self._busy = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def watched(message: dict[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._answer(scope, receive, watched)
        except SteadError as error:
            if begun:
                raise
            await _send_whole(send, error.status, msgspec.json.encode(error.as_dict()))
        except Exception as error:  # the edge of a request
            log.error("%s failed: %s", scope["path"], traceback.format_exc())
            if begun:
                raise
            failed = SteadError(
                f"The service {self._orders.service} failed on this request:"
                f" {type(error).__name__}: {error}"
            )
            await _send_whole(send, 500, msgspec.json.encode(failed.as_dict()))

    async def _answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        given = headers.get(b"authorization", b"").removeprefix(b"Bearer ").strip()
        if not hmac.compare_digest(given, self._orders.key.encode()):
            raise WrongKey("That is not this service's key.")
        path = str(scope["path"]).removeprefix("/v1").strip("/")
        if scope["method"] == "GET" and path in ("models", "health"):
            await _send_whole(send, 200, self._models())
            return
        handler = self._paths.get(path)
        if handler is None or scope["method"] != "POST":
            raise NotFound(what=f"{scope['method']} {scope['path']} at {self._orders.service}")
        self._count(1)
        try:
            body = await _read(headers, receive, self._orders.max_body)
            kind = headers.get(b"content-type", b"").decode("latin-1")
            call = Call(path, kind, body, self._worker)
            await self._until_gone(receive, self._within(handler, call, send))
        finally:
            self._count(-1)

    async def _within(
        self, handler: Callable[[Call], Awaitable[Answer]], call: Call, send: Send
    ) -> None:
        """Answer within the time that a request may take, the sending of it not counted."""
        try:
            async with asyncio.timeout(self._orders.request_s):
                answer = await handler(call)
                if isinstance(answer.body, bytes):
                    first = answer.body
                else:  # what is wrong with a request shows up before the first piece
                    first = await anext(answer.body, b"")
        except TimeoutError:
            self._free_the_worker()
            seconds = self._orders.request_s
            raise TookTooLong(name=self._orders.service, seconds=seconds) from None
        except MemoryError:
            mb = self._orders.memory_mb
            raise TooMuchMemory(name=self._orders.service, mb=mb) from None
        if isinstance(answer.body, bytes):
            await _send_whole(send, 200, first, answer.content_type, answer.headers)
            return
        await send(_head(200, answer.content_type, answer.headers))
        await send({"type": "http.response.body", "body": first, "more_body": True})
        async for piece in answer.body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _until_gone(self, receive: Receive, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def _free_the_worker(self) -> None:
        """A library that does not come back would hold up all requests after it for ever."""
        stuck = set(self._worker.at_work)

        def look() -> None:
            if any(not one.done() for one in stuck):
                self._voice.say(Word("ending", "a request did not come to an end"))
                os._exit(STUCK)

        if stuck:
            asyncio.get_running_loop().call_later(_STUCK_S, look)

    def _models(self) -> bytes:
        model = {
            "id": self._orders.model, "object": "model", "created": 0, "owned_by": "stead",
        }  # fmt: skip
        return msgspec.json.encode({"object": "list", "data": [model]})

    def _count(self, change: int) -> None:
        self._busy += change
        self._voice.say(Word("busy", busy=self._busy))


_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?$", re.DOTALL)


def decoded(body: bytes, type: type[T]) -> T:
    """JSON as ``type``; raises ``BadRequest`` with the path of the fault in ``param``."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.ValidationError as error:
        found = _AT.match(str(error))
        what, path = (found["what"], found["path"]) if found else (str(error), None)
        if missing := re.match(r"Object missing required field `(.+)`", what):
            path = f"{path}.{missing[1]}" if path else missing[1]
        where = f" (at {path})" if path else ""
        raise BadRequest(why=f"{what}{where}", param=path) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(why=f"the body is not valid JSON ({error})") from error
    except RecursionError as error:
        raise BadRequest(why="the body is nested too deeply") from error


def event(data: object) -> bytes:
    """One server-sent event with JSON data."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


async def _read(headers: Mapping[bytes, bytes], receive: Receive, limit: int) -> bytes:
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit)
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest(why="the connection was closed before the request was whole")
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request is larger than the {limit} bytes that this service takes.")


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _head(
    status: int, content_type: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> dict[str, Any]:
    kind = (b"content-type", content_type.encode("latin-1"))
    return {"type": "http.response.start", "status": status, "headers": [kind, *headers]}


async def _send_whole(
    send: Send,
    status: int,
    body: bytes,
    content_type: str = JSON,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    size = (b"content-length", str(len(body)).encode())
    with contextlib.suppress(OSError):
        await send(_head(status, content_type, (*headers, size)))
        await send({"type": "http.response.body", "body": body, "more_body": False})
