"""A small asyncio HTTP/1.1 client (RFC 9112) on httptools.

It is made for the paths where stead talks to itself and to model servers: many
short JSON calls and long streams. Against a general client it costs a fortieth
of the processor time, and it gives away nothing that those paths need:
keep-alive, chunked and plain bodies, TLS, back-pressure, and a connection that
is cut at once when the caller leaves. It follows no redirects, keeps no
cookies, knows no proxies and asks for no compression.

A client belongs to the event loop it is first used in.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from urllib.parse import unquote, urlsplit

from stead.net.failed import Broken, ConnectFailed, HttpFailed, TimedOut, Unanswered
from stead.net.wire import Answer, Wire

__all__ = [
    "Broken",
    "Client",
    "ConnectFailed",
    "HttpFailed",
    "Response",
    "Streamed",
    "TimedOut",
    "Unanswered",
]

#: An idle connection older than this is not used again for a request that must
#: not be sent twice: servers (uvicorn: after 5 s) close idle connections just then.
_FRESH_S = 2.0
#: But for a server that was seen to keep one for longer: up to this part of that time.
_SHOWN = 0.8
#: A connection that was given back so lately, and was used before that, need not be looked at.
_JUST_S = 0.02
#: An idle connection older than this is closed instead of used.
_OLD_S = 60.0

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
_PATH = re.compile(r"/[\x21-\x7e]*\Z")


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer. Header names are lower-case; repeated headers are joined with a comma."""

    status: int
    headers: dict[str, str]
    body: bytes


class Streamed:
    """An answer whose body is still arriving.

    Iterate over it for the body's pieces as they come, or :meth:`read` it to
    the end. A body that breaks off raises :class:`Broken`; its end is never
    made up. Close it when leaving early: that cuts the connection, so that
    the server notices.
    """

    __slots__ = ("_answer", "headers", "status")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers = answer.headers

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._answer.piece()
        except BaseException:
            self._answer.leave()
            raise
        if piece:
            return piece
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """The rest of the body in one piece."""
        return b"".join([piece async for piece in self])

    async def aclose(self) -> None:
        """Leave: a body that is not complete cuts its connection."""
        self._answer.leave()

    async def __aenter__(self) -> Streamed:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._answer.leave()


@dataclass(frozen=True, slots=True)
class _Target:
    """A base URL, taken apart."""

    secure: bool
    host: str
    port: int
    path: str
    query: str
    authority: str
    """Host and port for the ``Host`` header and for messages; never with credentials."""
    credentials: str

    @classmethod
    def parse(cls, url: str) -> _Target:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            # The URL itself may hold credentials, so it is not repeated here.
            raise ValueError("a base URL must look like http://host:port/path or https://...")
        secure = parts.scheme == "https"
        host = parts.hostname
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
        port = parts.port or (443 if secure else 80)
        shown = f"[{host}]" if ":" in host else host
        authority = shown if port == (443 if secure else 80) else f"{shown}:{port}"
        credentials = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
        return cls(secure, host, port, parts.path.rstrip("/"), parts.query, authority, credentials)


@dataclass(slots=True)
class _Pool:
    """Idle connections, the most recently used last."""

    idle: list[Wire] = field(default_factory=list)
    limit: int = 16
    shown_s: float = 0.0
    """For how long this server was seen to keep an idle connection."""

    def take(self, now: float, not_older_s: float, just_s: float = 0.0) -> Wire | None:
        not_older_s = max(not_older_s, _SHOWN * self.shown_s)
        while self.idle:
            wire = self.idle.pop()
            age = now - wire.idle_since
            if age < just_s and wire.answers > 1:
                return wire
            if age > _OLD_S or wire.stale():
                wire.cut()
            elif age <= not_older_s:
                return wire
            else:
                self.idle.append(wire)  # good for others; all those before it are older
                self._learn(now)
                break
        return None

    def _learn(self, now: float) -> None:
        """The oldest that is alive shows how long this server keeps them."""
        wire = self.idle[0]
        if not wire.stale():
            self.shown_s = max(self.shown_s, min(now - wire.idle_since, _OLD_S))

    def give(self, wire: Wire) -> None:
        if len(self.idle) < self.limit:
            self.idle.append(wire)
        else:
            wire.cut()

    def forget(self, wire: Wire) -> None:
        """It was closed; by the server, if it was idle."""
        if wire in self.idle:
            self.idle.remove(wire)
            self.shown_s = min(self.shown_s, monotonic() - wire.idle_since)


@dataclass(slots=True)
class _Progress:
    """How far a request got: whether any of it may have reached the server."""

    sent: bool = False


class Client:
    """Calls one server.

    ``base_url``: ``http`` or ``https``; paths given to the calls are added to
    its path. User and password in it are sent as Basic authorization.
    ``headers`` go with every request. ``connect_timeout`` in seconds.
    ``max_idle``: connections kept for reuse; there is no limit on those in use.
    ``max_body``: the largest body in bytes that :meth:`request` holds in memory.
    ``tls``: for servers whose certificate the system does not know.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 5.0,
        max_idle: int = 16,
        max_body: int = 256 * 1024 * 1024,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._target = _Target.parse(base_url)
        self._connect_timeout = connect_timeout
        self._pool = _Pool(limit=max_idle)
        self._max_body = max_body
        self._tls = tls
        self._closed = False
        own = {"host": self._target.authority, "accept-encoding": "identity"}
        if self._target.credentials:
            own["authorization"] = self._target.credentials
        self._common = own | _lower(headers)
        self._common_head = _lines(self._common)
        self._known_heads: dict[tuple[object, ...], str] = {}

    @property
    def server(self) -> str:
        """``host:port`` for messages, without credentials."""
        return self._target.authority

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = 30.0,
        retry: bool = True,
    ) -> Response:
        """Send a request and return its whole answer.

        ``timeout``: seconds for all of it, connecting too. With ``retry``, a
        kept connection that turns out to be dead before a byte of the answer
        came is replaced once by a new one; pass False where sending twice
        would do harm. Raises :class:`ConnectFailed` (nothing was sent) or
        :class:`Broken`.
        """
        progress = _Progress()
        try:
            async with asyncio.timeout(timeout):
                head = self._head(method, path, len(body), headers)
                answer = await self._send(method, head, body, retry, None, progress)
                try:
                    whole = await answer.whole(self._max_body)
                finally:
                    answer.leave()
        except TimeoutError:
            kind = TimedOut if progress.sent else ConnectFailed
            raise kind(f"{self.server} did not answer within {timeout:g} s") from None
        return Response(answer.status, answer.headers, whole)

    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = 300.0,
        retry: bool = False,
    ) -> Streamed:
        """Send a request and return as soon as the head of the answer is here.

        ``timeout``: the longest silence of the server in seconds, before the
        head and between any two pieces. ``retry`` as in :meth:`request`.
        """
        return Streamed(await self.answer(
            method, path, body=body, headers=headers, timeout=timeout, retry=retry
        ))  # fmt: skip

    async def answer(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout: float | None = 300.0,
        retry: bool = False,
    ) -> Answer:
        """As :meth:`stream`, for who takes the pieces himself; to be left by ``leave()``."""
        head = self._head(method, path, len(body), headers)
        return await self._send(method, head, body, retry, timeout, None)

    def prepare(self, path: str, headers: Mapping[str, str]) -> bytes:
        """The head of a POST that is to be sent again and again, up to its length."""
        return (self._new_head("POST", path, headers) + "content-length: ").encode("latin-1")

    async def post(self, prepared: bytes, body: bytes, timeout: float | None) -> Answer:
        """Send ``body`` with a head from :meth:`prepare`; else as :meth:`answer`."""
        head = b"%b%d\r\n\r\n" % (prepared, len(body))
        return await self._send("POST", head, body, False, timeout, None)

    def post_now(self, prepared: bytes, body: bytes, timeout: float | None) -> Answer | None:
        """As :meth:`post`, at once; None if there is no kept connection for it: nothing was sent.

        Its ``then`` may be set before the caller gives up its turn. The system is not asked about
        a connection that was busy a moment ago: who serves a paid model is asked by :meth:`post`.
        """
        wire = self._pool.take(monotonic(), _FRESH_S, _JUST_S)
        if wire is None:
            return None
        answer = wire.ask(b"%b%d\r\n\r\n" % (prepared, len(body)), body, False, timeout)
        return None if answer.failed else answer

    async def aclose(self) -> None:
        """Close the idle connections; those in use close when their answers end."""
        self._closed = True
        while self._pool.idle:
            self._pool.idle.pop().cut()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _send(
        self,
        method: str,
        head: bytes,
        body: bytes,
        retry: bool,
        silence: float | None,
        progress: _Progress | None,
    ) -> Answer:
        """Send, on a kept connection if one is good, and wait for the head."""
        wire = self._pool.take(monotonic(), _OLD_S if retry else _FRESH_S)
        if wire is not None:
            if progress is not None:
                progress.sent = True
            answer = wire.ask(head, body, method == "HEAD", silence)
            try:
                await answer.headed()
                return answer
            except Unanswered:
                if not retry:
                    raise
        wire = await self._connect()
        if progress is not None:
            progress.sent = True
        answer = wire.ask(head, body, method == "HEAD", silence)
        await answer.headed()
        return answer

    async def _connect(self) -> Wire:
        target = self._target
        loop = asyncio.get_running_loop()
        if target.secure and self._tls is None:
            self._tls = ssl.create_default_context()  # reads the system's certificates: 20 ms
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, wire = await loop.create_connection(
                    lambda: Wire(loop, target.authority, self._idle, self._pool.forget),
                    target.host,
                    target.port,
                    ssl=self._tls if target.secure else None,
                    server_hostname=target.host if target.secure else None,
                )
        except TimeoutError:
            raise ConnectFailed(
                f"no connection to {target.authority} within {self._connect_timeout:g} s"
            ) from None
        except OSError as error:
            raise ConnectFailed(_why(target.authority, target.host, error)) from error
        return wire

    def _idle(self, wire: Wire) -> None:
        if self._closed:
            wire.cut()
        else:
            self._pool.give(wire)

    def _head(
        self, method: str, path: str, length: int, headers: Mapping[str, str] | None
    ) -> bytes:
        asked = (method, path, *headers.items()) if headers else (method, path)
        known = self._known_heads.get(asked)
        if known is None:
            known = self._new_head(method, path, headers)
            if len(self._known_heads) >= 32:
                self._known_heads.clear()
            self._known_heads[asked] = known
        size = f"content-length: {length}\r\n\r\n" if length or method in _WITH_BODY else "\r\n"
        return (known + size).encode("latin-1")

    def _new_head(self, method: str, path: str, headers: Mapping[str, str] | None) -> str:
        """All of a head but the length; callers send the same few again and again."""
        target = self._target
        full = target.path + path
        if target.query:
            full += ("&" if "?" in full else "?") + target.query
        if not _PATH.match(full):
            raise ValueError("a path must start with / and hold printable ASCII without spaces")
        if not _TOKEN.match(method):
            raise ValueError(f"{method!r} is not an HTTP method")
        fields = _lines(self._common | _lower(headers)) if headers else self._common_head
        return f"{method} {full} HTTP/1.1\r\n{fields}"


_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_OURS = frozenset({"content-length", "transfer-encoding", "connection"})


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Headers with lower-case names, refused where they could smuggle in a line."""
    out: dict[str, str] = {}
    for name, value in (headers or {}).items():
        key = name.lower()
        if not _TOKEN.match(key) or not _VALUE.match(value):
            raise ValueError(f"the header {name!r} has characters that HTTP does not allow")
        if key in _OURS:
            raise ValueError(f"the header {name!r} is set by the client itself")
        out[key] = value
    return out


def _lines(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def _why(authority: str, host: str, error: OSError) -> str:
    """Plain words for a connection that could not be made."""
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on {authority} (connection refused)"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {authority} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection to {authority}: {error.reason or error}"
    if type(error).__name__ == "gaierror":
        return f"the name {host} could not be resolved"
    return f"no connection to {authority}: {error.strerror or error}"
