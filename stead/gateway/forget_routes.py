"""The owner's API to forgetting: what would go, forget it, the receipt."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest, SteadError
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, read_body
from stead.memory.forget.wish import Forgetting, Wish

log = logging.getLogger(__name__)


class _Wish(msgspec.Struct):
    kind: str
    """``message``, ``person``, ``topic``, ``span`` or ``text``."""
    words: str = ""
    since: int = 0
    until: int = 0
    session: str = ""
    backups: bool = False


class ForgetRoutes:
    """``/api/v1/forget``, with the owner's key."""

    def __init__(self, forgetting: Forgetting, keys: Keys, *, max_body: int) -> None:
        self._forgetting = forgetting
        self._keys = keys
        self._max_body = max_body
        self._run: asyncio.Task[None] | None = None
        self._trouble: dict[str, Any] | None = None
        self._last: dict[str, Any] | None = None

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route("/forget", self._state, "GET", about="Whether it is under way; the receipt"),
            route("/forget/plan", self._plan, "POST", about="What would be forgotten", takes=_Wish),
            route(
                "/forget", self._forget, "POST", about="Forget; it goes on by itself", takes=_Wish
            ),
        ]

    def begin(self) -> None:
        """End what a crash cut off; it goes on by itself."""
        self._run = asyncio.create_task(self._resume())

    async def _resume(self) -> None:
        try:
            self._last = await self._forgetting.resume() or self._last
        except (SteadError, OSError) as error:  # the edge of a service: it stays to be done
            log.error("what was to be forgotten could not be ended: %s", error)

    async def _state(self, request: Request) -> Response:
        running = self._run is not None and not self._run.done()
        return Json({"running": running, "last": self._last, "error": self._trouble})

    async def _plan(self, request: Request) -> Response:
        return Json(await self._forgetting.plan(await self._wish(request)))

    async def _forget(self, request: Request) -> Response:
        """Begins, and goes on by itself; 202. GET tells how it ended."""
        wish = await self._wish(request)
        if self._run is not None and not self._run.done():
            raise BadRequest("Something is being forgotten already; wait for its end.")
        self._trouble = self._last = None
        self._run = asyncio.create_task(self._work(wish))
        return Json({"running": True}, status_code=202)

    async def _work(self, wish: Wish) -> None:
        try:
            self._last = await self._forgetting.run(wish)
        except SteadError as error:
            self._trouble = dict(error.as_dict())
        except Exception as error:  # the edge of a service: whoever asked is told
            log.exception("forgetting failed")
            told = f"it failed in the middle and is ended at the next start: {error}"
            self._trouble = dict(SteadError(told).as_dict())

    async def _wish(self, request: Request) -> Wish:
        raw = await read_body(request.scope, request.receive, self._max_body)
        return Wish(**msgspec.structs.asdict(decode(raw, _Wish)))
