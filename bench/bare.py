"""The peer of the HTTP benches: uvicorn as the gateway runs it, and nothing behind it.

Answers the node protocol's ``claim`` and ``finish`` with constants, so that the very
same load can be sent to it; ``POST /hold`` is answered when ``POST /wake`` comes.
Prints its port and runs until it is killed.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn
import uvloop

from stead.core.wire import ClaimedJob, ClaimReply

_CLAIMED = ClaimedJob(
    id="0" * 8 + "-0000-7000-8000-" + "0" * 12, epoch=1, kind="noop", lane="chat",
    payload={"text": ""}, lease_ms=30_000, key="sj_" + "0" * 100,
)  # fmt: skip
_ANSWERS = {
    "/node/v1/claim": msgspec.json.encode(ClaimReply(_CLAIMED)),
    "/node/v1/finish": b'{"state":"done"}',
}


class Bare:
    """A raw ASGI application."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        while (await receive()).get("more_body", False):
            pass
        path = scope["path"]
        if path == "/hold":
            await self._woken.wait()
            self._woken.clear()
        elif path == "/wake":
            self._woken.set()
        body = _ANSWERS.get(path, b"{}")
        length = str(len(body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def _serve() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(1024)
        sys.stdout.write(f"{sock.getsockname()[1]}\n")
        sys.stdout.flush()
        config = uvicorn.Config(
            Bare(), http="httptools", loop="none", lifespan="off", access_log=False,
            log_config=None, server_header=False, date_header=False, timeout_keep_alive=75,
        )  # fmt: skip
        await uvicorn.Server(config).serve(sockets=[sock])


if __name__ == "__main__":
    uvloop.run(_serve())
