"""The owner's API to retention: what would be pruned, prune now, what was."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, number, read_body
from stead.keep.retention import Retention

#: The end of the year 9999.
_LAST_MS = 253_402_300_799_999


class _Prune(msgspec.Struct):
    messages_before: int = 0
    """Milliseconds; 0: leave the words of messages alone."""


class Prune:
    """``/api/v1/prune``, with the owner's key."""

    def __init__(self, retention: Retention, keys: Keys, *, max_body: int) -> None:
        self._retention = retention
        self._keys = keys
        self._max_body = max_body
        self._runs: set[asyncio.Task[object]] = set()

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route("/prune", self._state, "GET", about="What is pruned, and when"),
            route(
                "/prune", self._prune, "POST", about="Prune now; it goes on by itself", takes=_Prune
            ),
            route(
                "/prune/plan",
                self._plan,
                "GET",
                about="What would go",
                asks={"messages_before": int},
            ),
        ]

    async def _state(self, request: Request) -> Response:
        return Json(await self._retention.state())

    async def _plan(self, request: Request) -> Response:
        before = _time(number(request.query_params.get("messages_before"), "messages_before", 0))
        return Json(await self._retention.plan(before or None))

    async def _prune(self, request: Request) -> Response:
        """Begins a run, which goes on by itself; 202. GET tells how far it is."""
        raw = await read_body(request.scope, request.receive, self._max_body)
        body = decode(raw or b"{}", _Prune)
        _time(body.messages_before)
        if (await self._retention.state())["running"]:
            raise BadRequest("Pruning is under way already; wait for its end.")
        run = asyncio.create_task(self._run(body.messages_before or None))
        self._runs.add(run)
        run.add_done_callback(self._runs.discard)
        await asyncio.sleep(0)  # it is under way when this is answered
        return Json({"running": True}, status_code=202)

    async def _run(self, before: int | None) -> object:
        return await self._retention.prune(before)


def _time(ms: int) -> int:
    """Raises ``BadRequest`` for what no calendar has."""
    if not 0 <= ms <= _LAST_MS:
        raise BadRequest("messages_before is a time in milliseconds.", param="messages_before")
    return ms
