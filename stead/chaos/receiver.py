"""Where pushed replies go: a receiver of webhooks that writes down all it gets, and can fail.

A delivery counts as received once it is read, whatever is answered then: what
the other side makes of a broken answer is what is to be seen.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from stead.chaos.clients import Book
from stead.chaos.talk import TAG

#: How long a silent receiver keeps its sender waiting for an answer.
SILENT_S = 2.0


@dataclass(frozen=True, slots=True)
class Received:
    """One delivery. ``key``: its Idempotency-Key, the same at every try of one reply."""

    channel: str
    key: str
    role: str
    tag: str
    text: str
    at: float


class Receiver:
    """Serves on a port of this machine until it is closed."""

    def __init__(self, port: int) -> None:
        self.received: list[Received] = []
        self.fault = ""
        """A kind of fault in force: what is answered instead of 200."""
        self.book: Book | None = None
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._take(self)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is written to the terminal."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                """Connections break here on purpose; nothing is written to the terminal."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="receiver", daemon=True
        )
        self._thread.start()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        fault = self.fault
        length = int(request.headers.get("content-length", "0"))
        raw = request.rfile.read(length)
        if fault == "receiver-503":
            self._answer(request, 503)
            return
        data = json.loads(raw)["data"]
        named = TAG.search(str(data["text"]))
        one = Received(
            channel=str(data["channel"]), key=str(request.headers.get("idempotency-key")),
            role=str(data["role"]), tag=named.group() if named else "", text=str(data["text"]),
            at=time.monotonic(),
        )  # fmt: skip
        with self._lock:
            self.received.append(one)
        if self.book is not None and one.role == "assistant" and one.tag in self.book.noted:
            self.book.answer(self.book.noted[one.tag], "done", one.text)
        if fault == "receiver-cut":
            request.close_connection = True
            request.connection.close()
            return
        if fault == "receiver-silent":
            time.sleep(SILENT_S)
        self._answer(request, 200)

    def _answer(self, request: BaseHTTPRequestHandler, status: int) -> None:
        try:
            request.send_response(status)
            request.send_header("content-length", "0")
            request.end_headers()
        except OSError:
            request.close_connection = True

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
