"""A website on loopback for tests of the browser: real pages, real forms, real files."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest


def need_chromium() -> None:
    """Skips (in CI: fails) where there is no browser, or nothing that drives it."""
    missing = ""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        missing = "Chromium is missing: apt install chromium"
    elif importlib.util.find_spec("playwright") is None:
        missing = "Playwright is missing: pip install 'stead[browser]'"
    if missing and os.environ.get("CI") == "true":
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)


@dataclass
class Site:
    """``pages``: by path, a body or (headers, body), with a ``Location`` a redirect; every path
    that is not there is a 404."""

    port: int
    pages: dict[str, str | tuple[dict[str, str], bytes]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    """Paths that were asked for."""
    posted: list[dict[str, str]] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    """What came with each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextlib.contextmanager
def serving() -> Iterator[Site]:
    """A site on a free port of 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            site.posted.append(_form(self.headers.get("Content-Type", ""), body))
            self._answer()

        def _answer(self) -> None:
            path = self.path.partition("?")[0]
            site.seen.append(self.path)
            site.cookies.append(self.headers.get("Cookie", ""))
            page = site.pages.get(path)
            headers, body = page if isinstance(page, tuple) else ({}, (page or "").encode())
            found = 302 if "Location" in headers else 200
            self.send_response(found if page is not None else 404)
            for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _form(kind: str, body: bytes) -> dict[str, str]:
    """The fields of a form; of a file its name and what it holds."""
    if not kind.startswith("multipart/"):
        fields = parse_qs(body.decode(), keep_blank_values=True)
        return {name: values[0] for name, values in fields.items()}
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    found = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + body).iter_parts():
        name = str(part.get_param("name", header="content-disposition"))
        data = part.get_payload(decode=True)
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else ""
        file = part.get_filename()
        found[name] = f"{file}: {text}" if file else text
    return found
