"""One model call: reserve, send, pass the answer on, settle exactly once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

from stead.core.errors import BackendFailed, SteadError
from stead.core.nouns import Usage
from stead.core.ports import Caller, Purse
from stead.core.states import Failure
from stead.inference import faults
from stead.inference.backends import Backend, Target
from stead.inference.request import ChatRequest
from stead.inference.tail import StreamTail, is_object, usage_of
from stead.net.http import Client, ConnectFailed, HttpFailed, Streamed, Unanswered

#: What an answer may be long where the request does not say, for the reservation.
_MOST_TOKENS = 4096
_MAX_ANSWER = 64 * 1024 * 1024
_CLIENT_LEFT = 499
#: A local model that drops a call within this time has not begun with it: it was dying.
_AT_ONCE_S = 0.05
_STREAM_HEADERS = [("cache-control", "no-cache"), ("x-accel-buffering", "no")]
_PASSED = ("content-type", "retry-after", "x-request-id")


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


@dataclass(frozen=True, slots=True)
class Upstream:
    """A backend and the connection pool to it."""

    backend: Backend
    client: Client


class ModelCall:
    """A call on its way. ``on_broken`` is called when its backend broke it off."""

    def __init__(
        self,
        request: ChatRequest,
        target: Target,
        caller: Caller,
        purse: Purse,
        on_broken: Callable[[], None],
    ) -> None:
        self.request = request
        self.target = target
        self.sent = False
        """Whether the backend may have begun with it."""
        self.on_broken = on_broken
        self._caller = caller
        self._purse = purse
        self._id: str | None = None
        self._began = time.perf_counter()
        self._first = 0.0
        self._settled = False
        self._backend = target.backend_name
        self._key = ""

    async def begin(self, upstream: Upstream) -> DoorAnswer:
        """Send it and return the answer when its head, or all of it if unstreamed, is here.

        If nothing was sent, it may be called again.
        """
        if self._id is None:
            self._id = await self._purse.reserve(
                self._caller,
                model=self.target.model.called or "local",
                backend=self._backend,
                most_micro=self.target.model.cost_micro(self._most()),
                reason=self.target.reason,
            )
        try:
            return await self._send(upstream)
        except HttpFailed as error:
            self.on_broken()
            failed = faults.unreachable(self._backend, error)
            if self.sent or self.target.backend is not None:
                await self.give_up(failed)
            raise failed from None
        except SteadError as error:
            await self.give_up(error)
            raise
        except BaseException:  # cancelled: the client has left
            await self.settle(None, status=_CLIENT_LEFT)
            raise

    async def _send(self, upstream: Upstream) -> DoorAnswer:
        backend = upstream.backend
        self._key = backend.read_key()
        headers = {"content-type": "application/json"}
        if self._key:
            headers["authorization"] = f"Bearer {self._key}"
        self._began = time.perf_counter()
        body = self.request.body_for(self.target.model.name or self.request.model)
        self.sent = True
        try:
            streamed = await upstream.client.stream(
                "POST", "/chat/completions", body=body, headers=headers, timeout=backend.timeout_s
            )
        except ConnectFailed:
            self.sent = False
            raise
        except Unanswered:
            at_once = time.perf_counter() - self._began < _AT_ONCE_S
            self.sent = not (at_once and self.target.backend is None)
            raise
        except ValueError:
            self.sent = False
            failed = BackendFailed(
                f"The key of the model server {backend.name} has characters that no key has. "
                f"See key_file of that backend in stead.toml."
            )
            failed.failure = Failure.AUTH
            failed.code = "backend_key"
            raise failed from None
        try:
            if streamed.status != 200:
                return await self._error(streamed)
            if self.request.stream and is_stream(streamed.headers):
                return DoorAnswer(
                    200, _headers(streamed.headers, stream=True), _Body(self, streamed)
                )
            return await self._whole(streamed)
        except BaseException:
            await streamed.aclose()
            raise

    async def _whole(self, streamed: Streamed) -> DoorAnswer:
        body = await _read(streamed)
        self.first_byte()
        if not is_object(body):
            raise BackendFailed(backend=self._backend, why="what it answered is no JSON object")
        usage = usage_of(body)
        cost = await self.settle(usage or self._guess(len(body) // 4), status=200)
        headers = _headers(streamed.headers)
        headers.append(("content-length", str(len(body))))
        if cost:
            headers.append(("x-stead-cost-micro", str(cost)))
        return DoorAnswer(200, headers, _once(body))

    async def _error(self, streamed: Streamed) -> DoorAnswer:
        """A backend that answers with an error: passed on, but for those about our own key."""
        status = streamed.status
        body = await _read(streamed)
        if status in (401, 403):
            raise faults.key_refused(self._backend, status)
        if status < 400:
            raise BackendFailed(
                backend=self._backend, why=f"it answered {status}, not a chat answer"
            )
        body = faults.shaped(status, body, backend=self._backend, key=self._key)
        await self.settle(Usage(), status=status)
        headers = _headers(streamed.headers | {"content-type": "application/json"})
        headers.append(("content-length", str(len(body))))
        return DoorAnswer(status, headers, _once(body))

    # --- money ---

    def first_byte(self) -> None:
        if not self._first:
            self._first = time.perf_counter()

    async def give_up(self, error: SteadError) -> None:
        """The call failed: book nothing if nothing was sent, else what it may have used."""
        refused = error.failure is Failure.AUTH
        unknown = self.sent and not refused and self.target.model.paid
        await self.settle(self._most() if unknown else Usage(), status=error.status)

    async def settle(self, usage: Usage | None, *, status: int, events: int = 0) -> int:
        """Book the call; only the first time counts. Returns its cost in micro-dollars.

        ``usage`` None: it is not known, and is guessed from what passed by.
        A caller that is cancelled while this runs does not stop it.
        """
        if self._settled or self._id is None:
            return 0
        self._settled = True
        if usage is None:
            usage = self._guess(events) if self.sent else Usage()
        usage = replace(usage, cost_micro=self.target.model.cost_micro(usage))
        now = time.perf_counter()
        booking = self._purse.settle(
            self._id,
            usage,
            status=status,
            first_ms=((self._first or now) - self._began) * 1000,
            total_ms=(now - self._began) * 1000,
        )
        await asyncio.shield(asyncio.ensure_future(booking))
        return usage.cost_micro

    def _most(self) -> Usage:
        """An upper estimate of the usage: three bytes of the request to a token."""
        context = self.target.model.context
        prompt = min(len(self.request.body) // 3 + 1, context)
        answer = self.request.most_tokens
        return Usage(prompt, 0, min(_MOST_TOKENS, context) if answer is None else answer)

    def _guess(self, events: int) -> Usage:
        """The usage of an answer that told none: the whole prompt, and a token for each chunk."""
        return Usage(self._most().prompt_tokens, 0, events)


class _Body:
    """The body of a streamed answer, on its way through."""

    def __init__(self, call: ModelCall, streamed: Streamed) -> None:
        self._call = call
        self._streamed = streamed
        self._tail = StreamTail(strip=not call.request.tells_usage)
        self._over = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._over:
            try:
                piece = await self._streamed.__anext__()
            except StopAsyncIteration:
                return await self._end(self._tail.end())
            except HttpFailed as error:
                return await self._end(b"", str(error))
            except BaseException:
                await self.aclose()
                raise
            self._call.first_byte()
            out = self._tail.feed(piece)
            if out:
                return out
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """The client has left, which is no fault if it has all of the answer."""
        if not self._over:
            self._over = True
            await self._streamed.aclose()
            await self._settle(200 if self._tail.done else _CLIENT_LEFT)

    async def _end(self, last: bytes, broke: str = "") -> bytes:
        """The backend has no more: settle, and say what there is to be said."""
        self._over = True
        tail = self._tail
        if tail.done or (tail.whole and not broke):
            cost = await self._settle(200)
            if cost:
                last += b": stead-cost %d\n\n" % cost  # a comment: nobody else will notice
        else:
            self._call.on_broken()
            error = faults.not_whole(self._call.target.backend_name, broke or "no end was sent")
            await self._settle(error.status)
            last = faults.event(error)
        if not last:
            raise StopAsyncIteration
        return last

    async def _settle(self, status: int) -> int:
        tail = self._tail
        return await self._call.settle(tail.usage, status=status, events=tail.events)


def is_stream(headers: Mapping[str, str]) -> bool:
    """Whether the body is an event stream; header names in lower case."""
    return headers.get("content-type", "").lower().startswith("text/event-stream")


def _headers(headers: Mapping[str, str], *, stream: bool = False) -> list[tuple[str, str]]:
    passed = [(name, headers[name]) for name in _PASSED if name in headers]
    return passed + _STREAM_HEADERS if stream else passed


async def _read(streamed: Streamed) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for piece in streamed:
        size += len(piece)
        if size > _MAX_ANSWER:
            await streamed.aclose()
            raise HttpFailed(f"it sent more than {_MAX_ANSWER} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
