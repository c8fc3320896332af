"""The least HTTP/1.1 client that can measure: one socket, kept open, heads made beforehand.

The machine that is measured also runs what measures, so this must weigh next to
nothing beside the server.
"""

from __future__ import annotations

import re
import socket
import time
from types import TracebackType

#: A piece of a streamed answer that holds text (a first chunk with the role alone has none).
CONTENT = re.compile(rb'"content": ?"[^"]')
_LENGTH = re.compile(rb"\r\ncontent-length: ?(\d+)", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


def post(path: str, key: str, body: bytes) -> bytes:
    """A whole POST request with a JSON body."""
    return head(path, key) + b"content-length: %d\r\n\r\n" % len(body) + body


def head(path: str, key: str) -> bytes:
    """The head of a POST, up to its content-length."""
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n"
        "content-type: application/json\r\n"
    ).encode()


def get(path: str, key: str = "") -> bytes:
    """A whole GET request."""
    auth = f"authorization: Bearer {key}\r\n" if key else ""
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{auth}\r\n".encode()


def whole(data: bytes) -> int:
    """The length of the answer at the beginning of ``data``; 0 while it is not whole.

    For answers with a content-length.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return 0
    found = _LENGTH.search(data, 0, end + 2)
    if found is None:
        raise ValueError(f"an answer without content-length: {data[:200]!r}")
    total = end + 4 + int(found[1])
    return total if len(data) >= total else 0


def status_of(data: bytes) -> int:
    """The status of an answer."""
    return int(data[9:12])


def body_of(data: bytes) -> bytes:
    """The body of a whole answer."""
    return data[data.find(b"\r\n\r\n") + 4 :]


class Wire:
    """A connection that is kept open."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sock.close()

    def send(self, request: bytes) -> None:
        self.sock.sendall(request)

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next answer."""
        data = b""
        while not (end := whole(data)):
            data += self._more()
        return status_of(data), body_of(data[:end])

    def ask(self, request: bytes) -> tuple[int, bytes]:
        """One request and its answer."""
        self.send(request)
        return self.answer()

    def good(self, request: bytes) -> bytes:
        """The body of an answer that must be a success."""
        status, body = self.ask(request)
        if status >= 300:
            raise RuntimeError(f"answered {status}: {body[:500]!r}")
        return body

    def first_token(self, request: bytes) -> tuple[float, bytes]:
        """Seconds until the first text of a streamed answer came, and the whole stream.

        The stream is read to its end, so that the next one begins with a free server.
        """
        begun = time.perf_counter()
        self.send(request)
        data, first = b"", 0.0
        while not data.endswith(_LAST_CHUNK):
            data += self._more()
            if not first and CONTENT.search(data):
                first = time.perf_counter() - begun
            if data.startswith(b"HTTP/1.1 ") and status_of(data) != 200 and whole(data):
                break
        if not first:
            raise RuntimeError(f"no text in this answer: {data[:1000]!r}")
        return first, data

    def _more(self) -> bytes:
        got = self.sock.recv(65536)
        if not got:
            raise ConnectionError("the server closed the connection")
        return got
