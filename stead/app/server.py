"""The HTTP server of the gateway: uvicorn, stopped by us and not by signals."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import uvicorn


class Server:
    """uvicorn on a socket of ours, without its own handling of signals.

    ``http`` makes its connections (:func:`stead.gateway.front.front`).
    """

    def __init__(self, app: Any, http: Any) -> None:
        config = uvicorn.Config(
            app,
            http=http,
            ws="none",  # there are no WebSockets here, and no advice to install some
            loop="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            date_header=False,
            # Nothing here reads who a proxy says the client is, so nothing may be made of it.
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
        )
        self._server = uvicorn.Server(config)
        self._serving: asyncio.Future[None] | None = None

    async def run(self, sock: socket.socket) -> None:
        # uvicorn would take the signals for itself; here the gateway decides what stops when.
        self._server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
        self._serving = asyncio.ensure_future(self._server.serve(sockets=[sock]))
        await self._serving

    async def end(self) -> None:
        """Stop taking requests, let those under way end for a moment, then cut them."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait((self._serving,), timeout=6.0)
