"""A small real HTTP server that speaks the gateway's API, for the commands to talk to."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "so_" + "k" * 43
JOB = "0199aaaa-0000-7000-8000-0000000000a1"
MESSAGE = "0199aaaa-0000-7000-8000-0000000000b2"

CUT = "cut"
"""Among a job's events: break the connection here, once."""


@dataclass
class Gateway:
    """What the server answers, and what it was asked."""

    events: list[Any] = field(default_factory=list)
    """Of the one job there is: (type, data), or CUT."""
    answers: dict[str, Any] = field(default_factory=dict)
    """Path -> JSON, or (status, JSON)."""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    last_ids: list[str] = field(default_factory=list)
    messages: dict[str, str] = field(default_factory=dict)
    """External id -> text: a repeated one is the same message."""
    cut_posts: int = 0
    """This many posts of a message are recorded, and then broken before the answer."""
    chat: list[dict[str, Any]] = field(default_factory=list)
    """What was said in the conversation, with its ``seq``."""
    chunked: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with every JSON answer."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, method: str, path: str) -> list[Any]:
        """The bodies (POST) or queries (GET) of the requests to a path."""
        return [data for m, p, data in self.requests if (m, p) == (method, path)]


class Server:
    """Runs a :class:`Gateway` on a free port of the loopback until it is closed."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        handler = type("Handler", (_Handler,), {"gateway": gateway})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        gateway.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    gateway: Gateway
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """The test's own output is what matters."""

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body: Any = json.loads(self.rfile.read(length)) if length else None
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.gateway.requests.append((method, parts.path, asked if method == "GET" else body))
        known = (f"Bearer {KEY}",) if not parts.path.startswith("/node/") else ("Bearer sn_good",)
        if self.headers.get("Authorization") not in known:
            self._error(401, "That key is not known here.")
        elif parts.path == "/api/v1/messages" and method == "POST":
            self._message(body)
        elif parts.path == "/api/v1/messages":
            after = int(asked.get("after", 0))
            self._json(200, {"messages": [m for m in self.gateway.chat if m["seq"] > after]})
        elif parts.path == f"/api/v1/jobs/{JOB}/events":
            self._events()
        elif parts.path in self.gateway.answers:
            answer = self.gateway.answers[parts.path]
            status, data = answer if isinstance(answer, tuple) else (200, answer)
            self._json(status, data)
        else:
            self._error(404, f"There is no {parts.path}.")

    def _message(self, body: dict[str, Any]) -> None:
        duplicate = body["external_id"] in self.gateway.messages
        self.gateway.messages[body["external_id"]] = body["text"]
        if self.gateway.cut_posts:
            self.gateway.cut_posts -= 1
            self._cut()
            return
        route = {"to": "node", "rule": "everything else"}
        reply = {"message_id": MESSAGE, "job_id": JOB, "duplicate": duplicate, "route": route}
        self._json(202, reply)

    def _events(self) -> None:
        last = self.headers.get("Last-Event-ID") or ""
        self.gateway.last_ids.append(last)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._chunk(b": hello\n\n")
        for number, event in enumerate(self.gateway.events, 1):
            if number <= int(last or 0):
                continue
            if event == CUT:
                self.gateway.events[number - 1] = ("nothing", {})
                self._cut()
                return
            kind, data = event
            text = f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
            self._chunk(text[:9])  # events do not keep to the borders of chunks
            self._chunk(text[9:])
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _error(self, status: int, message: str) -> None:
        error = {"message": message, "type": "error", "param": None, "code": "code"}
        self._json(status, {"error": error})

    def _json(self, status: int, data: Any) -> None:
        text = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in self.gateway.headers.items():
            self.send_header(name, value)
        if self.gateway.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for start in range(0, len(text), 7):
                self._chunk(text[start : start + 7])
            self._chunk(b"")
        else:
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
