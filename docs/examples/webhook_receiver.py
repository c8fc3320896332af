"""A small receiver of stead's replies: checks signatures, keeps each reply once.

    python webhook_receiver.py SECRET_FILE [PORT] [REPLIES_FILE]

Standard library only. Replies are appended to REPLIES_FILE (default: replies.jsonl) and are on
disk before they are acknowledged; what was there before is known again after a restart, so
`dedupes = true` may be set for this channel.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Receiver(ThreadingHTTPServer):
    """Keeps replies by their id."""

    daemon_threads = True

    def __init__(self, port: int, secret: str, file: Path) -> None:
        text = secret.removeprefix("whsec_")
        self.key = base64.b64decode(text) if text != secret else secret.encode()
        self.file = file
        self.lock = threading.Lock()
        lines = file.read_text().splitlines() if file.exists() else []
        self.known = {json.loads(line)["id"] for line in lines}
        super().__init__(("127.0.0.1", port), Handler)

    def keep(self, reply: dict[str, object]) -> bool:
        """Whether it was new. It is on disk when this returns."""
        with self.lock:
            if reply["id"] in self.known:
                return False
            with self.file.open("a") as out:
                out.write(json.dumps(reply) + "\n")
                out.flush()
                os.fsync(out.fileno())
            self.known.add(str(reply["id"]))
            return True


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Check, keep, answer: 200 for a new reply, 409 for one that is here already."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode()
        mac = hmac.new(self.server.key, signed + body, hashlib.sha256).digest()
        right = "v1," + base64.b64encode(mac).decode()
        if not any(
            hmac.compare_digest(one, right)
            for one in self.headers.get("webhook-signature", "").split()
        ):
            self.answer(401, "wrong signature")
            return
        new = self.server.keep(json.loads(body)["data"])
        self.answer(200 if new else 409, "kept" if new else "already here")

    def answer(self, status: int, text: str) -> None:
        """A short answer in plain text."""
        self.send_response(status)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each request."""


def main() -> None:
    """Serve until Ctrl-C."""
    secret = Path(sys.argv[1]).read_text().strip()
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 8099
    file = Path(sys.argv[3] if len(sys.argv) > 3 else "replies.jsonl")
    server = Receiver(port, secret, file)
    sys.stdout.write(f"listening on http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
