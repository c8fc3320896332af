"""A small blocking HTTP/1.1 client for the command line (RFC 9112).

The standard library's costs 50 ms to import, a third of what `stead status` may
take. One connection a request, ``Connection: close``; bodies by content-length,
chunked, or until close; https through ``ssl``, loaded only then.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import NamedTuple, cast

from stead.core.errors import BadRequest, GatewayAway

_URL = re.compile(r"(https?)://(\[[0-9A-Fa-f:.%]+\]|[^\s/:?#@\[\]]+)(?::(\d{1,5}))?(/[^\s?#]*)?")
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_HEAD_MOST = 65_536
_PIECE = 65_536


class ConnectionBroke(GatewayAway):
    """The connection to {url} broke: {why}"""

    code = "connection_broke"


class Target(NamedTuple):
    """Where a base URL points. ``base`` is its path, without a slash at the end."""

    scheme: str
    host: str
    port: int
    base: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Take a URL apart. Raises ``BadRequest``."""
        match = _URL.fullmatch(url)
        if not match or int(match[3] or 0) > 65535:
            raise BadRequest(f"{url!r} is not a URL such as http://127.0.0.1:7832")
        port = int(match[3] or (443 if match[1] == "https" else 80))
        return cls(match[1], match[2].strip("[]"), port, (match[4] or "").rstrip("/"))

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Pieces(NamedTuple):
    """A body that is sent as it is read."""

    pieces: Iterator[bytes]
    size: int
    """In bytes; so many must come."""


class Exchange:
    """One request and its answer. ``status`` and ``headers`` (lower-case names) are there
    once it is made; the body is read by iterating over it, piece by piece."""

    def __init__(
        self,
        url: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | Pieces = b"",
        connect_timeout: float = 3.0,
        timeout: float = 30.0,
    ) -> None:
        self._url = url
        target = Target.of(url)
        self._socket = self._connect(target, connect_timeout)
        self._buffer = b""
        try:
            self._socket.settimeout(timeout)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # A server may refuse a body before it has read all of it: its answer is there.
                whole = body if isinstance(body, bytes) else b""
                size = len(body) if isinstance(body, bytes) else body.size
                self._socket.sendall(_head(target, method, path, headers, size) + whole)
                for piece in body.pieces if isinstance(body, Pieces) else ():
                    self._socket.sendall(piece)
            self.status, self.headers = self._read_head()
        except OSError as error:
            self.close()
            raise self._broke(error) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Cut the connection, also for another thread that waits on it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def read(self) -> bytes:
        """The rest of the body."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        """Pieces of the body as they arrive. Raises ``ConnectionBroke`` if it is cut short."""
        if self.status in (204, 304):
            return
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            yield from self._chunks()
        elif "content-length" in self.headers:
            yield from self._counted(int(self.headers["content-length"]))
        else:
            while piece := self._take():
                yield piece

    # --- reading ---

    def _connect(self, target: Target, timeout: float) -> socket.socket:
        try:
            plain = socket.create_connection((_name(target.host), target.port), timeout)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if target.scheme == "http":
                return plain
            import ssl  # late: 20 ms that only a gateway elsewhere needs

            return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
        except OSError as error:  # ssl.SSLError is one too
            why = "it did not answer in time" if isinstance(error, TimeoutError) else _words(error)
            raise GatewayAway(url=self._url, why=why) from error

    def _broke(self, error: OSError | str) -> ConnectionBroke:
        why = error if isinstance(error, str) else _words(error)
        if isinstance(error, TimeoutError):
            why = "it was silent for too long"
        return ConnectionBroke(url=self._url, why=why)

    def _fill(self) -> bool:
        try:
            piece = self._socket.recv(_PIECE)
        except OSError as error:
            raise self._broke(error) from error
        self._buffer += piece
        return bool(piece)

    def _take(self, most: int = _PIECE) -> bytes:
        """Up to ``most`` bytes; none at the end of the connection."""
        if not self._buffer and not self._fill():
            return b""
        piece, self._buffer = self._buffer[:most], self._buffer[most:]
        return piece

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _HEAD_MOST or not self._fill():
                raise self._broke("it ended in the middle of an answer")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.rstrip(b"\r")

    def _read_head(self) -> tuple[int, dict[str, str]]:
        while True:
            status = re.match(rb"HTTP/1\.[01] (\d{3})", self._line())
            if not status:
                raise self._broke("what it answered is not HTTP")
            headers: dict[str, str] = {}
            while line := self._line():
                name, _, value = line.decode("latin-1").partition(":")
                headers[name.strip().lower()] = value.strip()
            if int(status[1]) >= 200:  # others announce an answer that is still to come
                return int(status[1]), headers

    def _counted(self, left: int) -> Iterator[bytes]:
        while left:
            piece = self._take(left)
            if not piece:
                raise self._broke("it ended in the middle of an answer")
            left -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            count = re.match(rb"[0-9A-Fa-f]+", self._line())
            if not count:
                raise self._broke("what it answered is not HTTP")
            length = int(count[0], 16)
            if not length:
                while self._line():
                    pass
                return
            yield from self._counted(length)
            self._line()


class ServerEvent(NamedTuple):
    """One server-sent event."""

    id: str
    type: str
    data: str


def events(pieces: Iterator[bytes]) -> Iterator[ServerEvent]:
    """Server-sent events out of body pieces (WHATWG HTML, section 9.2)."""
    rest = b""
    last, kind = "", ""
    data: list[str] = []
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            if not line:
                if data:
                    yield ServerEvent(last, kind or "message", "\n".join(data))
                kind, data = "", []
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                data.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                last = value


def quote(text: str) -> str:
    """Percent-encode everything but letters, digits and ``-._~`` (RFC 3986)."""
    return "".join(
        chr(b) if b in _SAFE else f"%{b:02X}" for b in text.encode("utf-8", "surrogateescape")
    )


def query(values: Mapping[str, object]) -> str:
    """``?a=b&c=d`` of those that are neither None nor empty; empty if none is left."""
    given = [f"{quote(k)}={quote(str(v))}" for k, v in values.items() if v not in (None, "")]
    return "?" + "&".join(given) if given else ""


def _head(target: Target, method: str, path: str, headers: Mapping[str, str], size: int) -> bytes:
    lines = [f"{method} {target.base}{path} HTTP/1.1", f"Host: {target.authority}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Connection: close"]
    if size or method != "GET":
        lines.append(f"Content-Length: {size}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _name(host: str) -> str:
    """A host for the resolver, which takes bytes too: with these Python loads nothing to encode
    it (2 ms)."""
    return cast("str", host.encode("ascii")) if host.isascii() else host


def _words(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
