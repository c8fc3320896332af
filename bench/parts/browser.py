"""How long the browser takes: from no browser to the first page shown, and one step on it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from bench.figures import Figure, Place, quantile
from stead.agent.tools.base import Context, Toolbox
from stead.agent.tools.browser import BROWSER
from stead.sandbox.egress import EgressProcess
from stead.sandbox.egress_terms import Terms
from stead.sandbox.walls import walls_here

STARTS = 6
STEPS = 40
_PAGE = b"<title>Bench</title><h1>A page</h1>" + b"".join(
    b"<p><label>Field %d <input></label> <button>Button %d</button>" % (n, n) for n in range(30)
)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(_PAGE)))
        self.end_headers()
        self.wfile.write(_PAGE)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def run(place: Place) -> list[Figure]:
    """Milliseconds, medians."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        took = asyncio.run(_measure(place.scratch, server.server_address[1]))
    finally:
        server.shutdown()
        server.server_close()
    return [
        _figure("browser: from none to the first page", took["open"]),
        _figure("browser: a snapshot", took["snapshot"]),
        _figure("browser: a click, and what is there after it", took["click"]),
    ]


def _figure(what: str, took: list[float]) -> Figure:
    return Figure(what, median(took), "ms", None, beside=f"p99 {quantile(took, 0.99):.0f} ms")


async def _measure(scratch: Path, port: int) -> dict[str, list[float]]:
    workspace = scratch / "workspace"
    workspace.mkdir()
    terms = Terms(secrets=str(scratch / "secrets"), private=(f"127.0.0.1:{port}",))
    egress = EgressProcess(lambda: terms)
    walls = walls_here(scratch / "run", egress)
    report = await walls.tested()
    if not report.ok:
        raise RuntimeError(report.why)
    context = Context(workspace, walls=walls, keep=scratch / "keep", closing=(egress.aclose,))
    tools = Toolbox([BROWSER], context)
    took: dict[str, list[float]] = {"open": [], "snapshot": [], "click": []}

    async def step(**args: str) -> str:
        began = time.perf_counter()
        tool, read = tools.read("browser", json.dumps(args))
        outcome = await tools.call(tool, read, 12_000, job="bench", step=1)
        if not outcome.ok:
            raise RuntimeError(outcome.text)
        took[args["action"]].append(1000 * (time.perf_counter() - began))
        return outcome.text

    try:
        for turn in range(STARTS + 1):
            shown = await step(action="open", url=f"http://127.0.0.1:{port}/")
            if turn < STARTS:
                await tools.end("bench")
        took["open"].pop(0)  # the first one starts the proxy as well
        button = next(line for line in shown.split("\n") if '"Button 0"' in line)
        for _ in range(STEPS):
            await step(action="snapshot")
            await step(action="click", ref=button.partition("[ref=")[2].partition("]")[0])
    finally:
        await tools.aclose()
    return took
