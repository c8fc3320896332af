"""A receiver of replies over real HTTP, that can be told to be late, to fail and to hang up."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from stead.channels.webhook import signature, signing_key


@dataclass
class Answer:
    """What the receiver does with one request. ``keep``: whether it takes the reply."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    late_s: float = 0.0
    keep: bool = True
    cut: str = ""
    """``before``: hangs up without a byte; ``half``: in the middle of its status line."""


@dataclass(frozen=True)
class Got:
    """One request that was well signed."""

    key: str
    text: str
    session: str
    body: dict[str, Any]
    headers: dict[str, str]
    at: float
    raw: bytes


class Receiver:
    """Takes replies by their key, each once, and remembers every request."""

    def __init__(self, secret: str, port: int = 0) -> None:
        self.secret = secret
        self.requests: list[Got] = []
        self.kept: list[Got] = []
        self.wrong = 0
        """Requests with a wrong signature."""
        self.answer: Callable[[Got, int], Answer] = lambda got, nth: Answer()
        """Given the request and how often its key has come (from 1)."""
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/replies"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Listen no more, and drop the connections."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def texts(self) -> list[str]:
        """What was taken, in order: a key that came twice counts once."""
        with self._lock:
            return [got.text for got in self.kept]

    @property
    def copies(self) -> Counter[str]:
        """How often each text came."""
        with self._lock:
            return Counter(got.text for got in self.requests)

    def took(self, got: Got) -> int:
        with self._lock:
            self.requests.append(got)
            return sum(1 for one in self.requests if one.key == got.key)

    def keep(self, got: Got) -> bool:
        """Whether it is new."""
        with self._lock:
            if any(one.key == got.key for one in self.kept):
                return False
            self.kept.append(got)
            return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def server_close(self) -> None:
        super().server_close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections break here on purpose."""


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            key = signing_key(receiver.secret)
            ident, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
            if headers.get("webhook-signature") != signature(key, ident, at, raw):
                receiver.wrong += 1
                self._send(Answer(401, body=b"wrong signature"))
                return
            body = json.loads(raw)
            data = body["data"]
            got = Got(
                headers["idempotency-key"], data["text"], data["session"], body, headers,
                time.time(), raw,
            )  # fmt: skip
            answer = receiver.answer(got, receiver.took(got))
            if answer.keep and answer.status < 300 and not receiver.keep(got):
                answer = Answer(409, body=b"already here")
            time.sleep(answer.late_s)
            self._send(answer)

        def _send(self, answer: Answer) -> None:
            if answer.cut:
                if answer.cut == "half":
                    self.wfile.write(b"HTTP/1.1 20")
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing for each request."""

    return Handler


@contextmanager
def receiving(secret: str, port: int = 0) -> Iterator[Receiver]:
    """A receiver until the end of a ``with`` statement."""
    receiver = Receiver(secret, port)
    try:
        yield receiver
    finally:
        receiver.close()
