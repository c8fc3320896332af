"""The owner's API to the audit: what was asked, by whom, what it cost and why it went there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.audit import LedgerStore
from stead.core.errors import BadRequest, NotFound
from stead.gateway.auth import Keys
from stead.gateway.http import Json, number
from stead.inference.audit import shown

_TEXTS = ("key", "lane", "model", "backend", "api", "status", "outcome", "job", "before")
_NUMBERS = ("since", "until", "ended_after")


class Calls:
    """``/api/v1/calls`` and ``/api/v1/budgets``, with the owner's key.

    ``folder``: where bodies are kept. ``budgets``: how they stand, and what has no price.
    """

    def __init__(
        self,
        store: LedgerStore,
        keys: Keys,
        folder: Path,
        budgets: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self._store = store
        self._keys = keys
        self._folder = folder
        self._budgets = budgets

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/calls",
                self._list,
                "GET",
                about="Requests at the model door, the newest first",
                asks={
                    **dict.fromkeys(_TEXTS, str),
                    **dict.fromkeys((*_NUMBERS, "limit", "slow_ms", "cost_over"), int),
                },
            ),
            route(
                "/calls/sums",
                self._sums,
                "GET",
                about="What they used and cost, summed up",
                asks={
                    **dict.fromkeys(("by", "key", "lane", "model", "backend"), str),
                    "since": int,
                    "until": int,
                },
            ),
            route("/calls/{id}", self._show, "GET", about="All of one request"),
            route(
                "/calls/{id}/bodies",
                self._bodies,
                "GET",
                about="What was said in it, if that is kept",
            ),
            route(
                "/budgets",
                self._stand,
                "GET",
                about="Budgets and how they stand; models that have no price",
            ),
        ]

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        unknown = {*query} - {*_TEXTS, *_NUMBERS, "limit", "slow_ms", "cost_over"}
        if unknown:
            raise BadRequest(f"There is no filter {min(unknown)!r}.", param=min(unknown))
        found = await self._store.view_calls(
            **{name: query.get(name, "") for name in _TEXTS},
            **{name: number(query.get(name), name, 0) for name in _NUMBERS},
            slow_ms=number(query.get("slow_ms"), "slow_ms", 0),
            cost_over=number(query.get("cost_over"), "cost_over", -1),
            limit=max(1, min(500, number(query.get("limit"), "limit", 50))),
        )
        return Json(found)

    async def _sums(self, request: Request) -> Response:
        query = request.query_params
        found = await self._store.view_call_sums(
            by=query.get("by", "model"),
            since=number(query.get("since"), "since", 0),
            until=number(query.get("until"), "until", 0),
            **{name: query.get(name, "") for name in ("key", "lane", "model", "backend")},
        )
        return Json(found)

    async def _show(self, request: Request) -> Response:
        call = await self._store.view_call(request.path_params["id"])
        call["bodies"] = await self._kept(call["id"])
        return Json(call)

    async def _bodies(self, request: Request) -> Response:
        call = await self._store.view_call(request.path_params["id"])
        kept = await self._kept(call["id"])
        if kept is None:
            raise NotFound(
                f"Nothing of what was said in call {call['id'][-8:]} is kept. Which bodies are "
                "kept, and for how long, is said by [audit] in stead.toml."
            )
        return Json(kept)

    async def _stand(self, request: Request) -> Response:
        return Json(await self._budgets())

    async def _kept(self, ident: str) -> dict[str, object] | None:
        return await asyncio.to_thread(shown.bodies, self._folder, ident)
