"""The way out of a sandbox: what it adds to a call, and to a request.

A server on loopback answers a few bytes. Asked in turns: by curl alone, by curl in a sandbox
through the proxy, and a sandbox without a network for `true`, so that the parts can be told apart.
Then many requests in a row from within one sandbox, each through the proxy, beside the same
without it.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Sequence
from statistics import median

from bench.figures import Figure, Place, Skipped, of_runs
from stead.sandbox.box import Box, Host, Walls
from stead.sandbox.egress import EgressProcess
from stead.sandbox.egress_terms import Terms
from stead.sandbox.view import interpreter
from stead.sandbox.walls import walls_here

ROUNDS = 25
REQUESTS = 200
AIM_MS = 34.0
"""What a prototype took: a sandbox, a relay and a proxy that puts keys in, for one call."""

_MANY = """
import http.client, sys, time
host, port, path, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
took = []
for _ in range(count):
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(host, port)
    connection.request("GET", path)
    assert connection.getresponse().read() == b"hello"
    connection.close()
    took.append(time.perf_counter() - begun)
print(sorted(took)[count // 2] * 1000)
"""


def run(place: Place) -> list[Figure]:
    """Medians of ``ROUNDS`` calls, and of ``REQUESTS`` requests."""
    if shutil.which("curl") is None:
        raise Skipped("curl is not installed")
    return asyncio.run(_run(place))


async def _run(place: Place) -> list[Figure]:
    server = await asyncio.start_server(_hello, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    terms = Terms(secrets=str(place.scratch), private=(f"127.0.0.1:{port}",))
    egress = EgressProcess(lambda: terms)
    walls = walls_here(place.scratch / "run", egress)
    if not walls.works:
        raise Skipped("no sandbox can be had here")
    try:
        return await _measured(walls, port)
    finally:
        await walls.aclose()
        await egress.aclose()
        server.close()


async def _measured(walls: Walls, port: int) -> list[Figure]:
    url = f"http://127.0.0.1:{port}/"
    host = (Host("127.0.0.1", port),)
    curl = ["curl", "-sS", "-o", "/dev/null", url]
    bare: list[float] = []
    closed: list[float] = []
    way: list[float] = []
    for turn in range(ROUNDS + 1):
        took = (
            await _bare(curl),
            await _boxed(walls, Box("bench"), ["true"]),
            await _boxed(walls, Box("bench", hosts=host), curl),
        )
        if turn:  # the first one starts what is kept
            for times, one in zip((bare, closed, way), took, strict=True):
                times.append(one)
    added = [one - two for one, two in zip(way, bare, strict=True)]
    many = [sys.executable, "-I", "-c", _MANY]
    box = Box("bench", interpreter(), host)
    through = await _said(walls, box, [*many, "127.0.0.1", "3128", url, str(REQUESTS)])
    process = await asyncio.create_subprocess_exec(
        *many, "127.0.0.1", str(port), "/", str(REQUESTS), stdout=PIPE
    )
    alone = float((await process.communicate())[0])
    return [
        of_runs(
            "curl in a sandbox with a way out, added", added, "ms", aim=AIM_MS,
            beside=f"curl alone {median(bare):.1f} ms, a sandbox without {median(closed):.1f} ms",
        ),
        Figure(
            "a request through the proxy, added", through - alone, "ms",
            beside=f"without it {alone:.2f} ms",
        ),
    ]  # fmt: skip


async def _hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    await writer.drain()
    writer.close()


async def _bare(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(*command, stdout=DEVNULL)
    if await process.wait():
        raise RuntimeError(f"{command[0]} failed")
    return 1000 * (time.perf_counter() - begun)


async def _boxed(walls: Walls, box: Box, command: Sequence[str]) -> float:
    begun = time.perf_counter()
    boxed = await walls.start(box, command)
    if (ended := await boxed.wait()).code:
        raise RuntimeError(f"{command[0]} in a sandbox ended with {ended}")
    return 1000 * (time.perf_counter() - begun)


async def _said(walls: Walls, box: Box, command: Sequence[str]) -> float:
    boxed = await walls.start(box, command, stdout=PIPE)
    assert boxed.stdout is not None
    said = await boxed.stdout.read()
    if (ended := await boxed.wait()).code:
        raise RuntimeError(f"{command[0]} in a sandbox ended with {ended}")
    return float(said)
