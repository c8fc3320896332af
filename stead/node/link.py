"""The node protocol over HTTP: ``core.ports.Link`` for a gateway at a URL.

What goes wrong on the way is sorted into what a node can do about it:

==========================================  ===========================
no connection, broken, 502, 503, 504, 429   ``GatewayAway``: try again
409                                         ``StaleEpoch``: stop the job
401                                         ``WrongKey``: tell the owner
another status                              ``SteadError`` with its ``status``
==========================================  ===========================
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from stead.core.errors import (
    BackendFailed,
    GatewayAway,
    NotFound,
    StaleEpoch,
    SteadError,
    WrongKey,
)
from stead.core.recall import MemoryAsk, MemoryReply
from stead.core.wire import (
    Claim,
    ClaimReply,
    Events,
    EventsReply,
    Finish,
    FinishReply,
    Heartbeat,
    HeartbeatReply,
    Held,
    Hello,
    HelloReply,
)
from stead.net.http import Client, HttpFailed

T = TypeVar("T")

_AWAY = frozenset({429, 502, 503, 504})
_SILENT_S = 30.0
_SLACK_S = 10.0
"""How much longer than its long poll a claim may take before it counts as broken."""


class _ErrorBody(msgspec.Struct):
    message: str = ""
    code: str | None = None


class _ErrorReply(msgspec.Struct):
    error: _ErrorBody = msgspec.field(default_factory=_ErrorBody)


_encode = msgspec.json.Encoder().encode
_error = msgspec.json.Decoder(_ErrorReply).decode
_hello = msgspec.json.Decoder(HelloReply)
_claim = msgspec.json.Decoder(ClaimReply)
_events = msgspec.json.Decoder(EventsReply)
_finish = msgspec.json.Decoder(FinishReply)
_memory = msgspec.json.Decoder(MemoryReply)
_heartbeat = msgspec.json.Decoder(HeartbeatReply)


class HttpLink:
    """``Link`` to the gateway at ``url`` with a node's ``key``.

    ``client`` is the connection pool for everything but heartbeats; give one to
    share it with the model door, else the link makes (and closes) its own.
    Heartbeats come from a thread and use a connection of their own.
    """

    def __init__(
        self, url: str, key: str, *, client: Client | None = None, timeout_s: float = 15.0
    ) -> None:
        self.url = url.rstrip("/")
        self.client = client or Client(self.url)
        self._owns_client = client is None
        self._timeout_s = timeout_s
        self._headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        self._beats = _BeatLine(self.url, self._headers)

    async def hello(self, body: Hello) -> HelloReply:
        return await self._post("/node/v1/hello", body, _hello, self._timeout_s)

    async def claim(self, body: Claim) -> ClaimReply:
        return await self._post("/node/v1/claim", body, _claim, body.wait_s + _SLACK_S)

    async def events(self, body: Events) -> EventsReply:
        return await self._post("/node/v1/events", body, _events, self._timeout_s)

    async def finish(self, body: Finish) -> FinishReply:
        return await self._post("/node/v1/finish", body, _finish, self._timeout_s)

    async def memory(self, body: MemoryAsk) -> MemoryReply:
        return await self._post("/node/v1/memory", body, _memory, self._timeout_s)

    async def file(self, job_id: str, epoch: int, ident: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a file. Raises ``NotFound``, ``GatewayAway`` also when it broke off."""
        path = f"/node/v1/files/{quote(ident, safe='')}?job={quote(job_id, safe='')}&epoch={epoch}"
        try:
            answer = await self.client.stream(
                "GET", path, headers={"authorization": self._headers["authorization"]},
                timeout=_SILENT_S, retry=True,
            )  # fmt: skip
            async with answer:
                if answer.status != HTTPStatus.OK:
                    told = await answer.read()
                    if answer.status == HTTPStatus.NOT_FOUND:
                        raise NotFound(what=f"file {ident}")
                    raise self._failure(answer.status, told, Held(job_id, epoch))
                async for piece in answer:
                    yield piece
        except HttpFailed as error:
            raise GatewayAway(url=self.url, why=_why(error)) from error

    def heartbeat(self, body: Heartbeat) -> HeartbeatReply:
        """One heartbeat; blocks, and is safe beside a running event loop."""
        try:
            status, raw = self._beats.post("/node/v1/heartbeat", _encode(body))
        except (OSError, http.client.HTTPException) as error:
            raise GatewayAway(url=self.url, why=_why(error)) from error
        return self._read(status, raw, _heartbeat, body)

    async def aclose(self) -> None:
        self._beats.close()
        if self._owns_client:
            await self.client.aclose()

    async def _post(
        self, path: str, body: object, decoder: msgspec.json.Decoder[T], timeout: float
    ) -> T:
        try:
            reply = await self.client.request(
                "POST", path, body=_encode(body), headers=self._headers, timeout=timeout
            )
        except HttpFailed as error:
            raise GatewayAway(url=self.url, why=_why(error)) from error
        return self._read(reply.status, reply.body, decoder, body)

    def _read(self, status: int, raw: bytes, decoder: msgspec.json.Decoder[T], body: Any) -> T:
        if status != HTTPStatus.OK:
            raise self._failure(status, raw, body)
        try:
            return decoder.decode(raw)
        except msgspec.DecodeError as error:
            # Not the gateway's words: a proxy's page, or an answer cut short.
            raise BackendFailed(
                backend=self.url, why=f"its answer makes no sense: {error}"
            ) from error

    def _failure(self, status: int, raw: bytes, body: Any) -> SteadError:
        try:
            told = _error(raw).error
        except msgspec.DecodeError:
            told = _ErrorBody(message=f"HTTP {status}")
        if status in _AWAY:
            return GatewayAway(url=self.url, why=told.message or f"HTTP {status}")
        if status == HTTPStatus.CONFLICT:
            return StaleEpoch(
                told.message,
                job_id=getattr(body, "job_id", ""),
                epoch=getattr(body, "epoch", 0),
            )
        if status == HTTPStatus.UNAUTHORIZED:
            return WrongKey(told.message)
        error = SteadError(told.message or f"The gateway answered {status}.")
        error.status = status
        error.code = told.code or error.code
        return error


class _BeatLine:
    """One kept-alive connection for heartbeats, used by one thread at a time."""

    def __init__(self, url: str, headers: dict[str, str], timeout_s: float = 5.0) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port
        self._secure = parts.scheme == "https"
        self._prefix = parts.path.rstrip("/")
        self._headers = headers
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._open: http.client.HTTPConnection | None = None

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        with self._lock:
            # A connection that idled may have been closed by the other side meanwhile;
            # a heartbeat may be said twice, so the second try needs no thought.
            for fresh in (self._open is None, True):
                connection = self._open or self._connect()
                self._open = connection
                try:
                    connection.request("POST", self._prefix + path, body, self._headers)
                    reply = connection.getresponse()
                    return reply.status, reply.read()
                except (OSError, http.client.HTTPException):
                    self._drop()
                    if fresh:
                        raise
            raise AssertionError("unreachable: the second try returns or raises")

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _connect(self) -> http.client.HTTPConnection:
        if self._secure:
            return http.client.HTTPSConnection(
                self._host,
                self._port,
                timeout=self._timeout_s,
                context=ssl.create_default_context(),
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
