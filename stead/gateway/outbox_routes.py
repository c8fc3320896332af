"""The owner's API to the outbox: replies on their way, and the channels they go by."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.storage import Store
from stead.flow.sender import Sender
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, number, read_body


class _Settle(msgspec.Struct):
    how: Literal["sent", "again", "drop"]


class Outbox:
    """``/api/v1/outbox/...``, all with the owner's key."""

    def __init__(self, store: Store, sender: Sender, keys: Keys, *, max_body: int) -> None:
        self._store = store
        self._sender = sender
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/outbox",
                self._list,
                "GET",
                about="Replies on their way",
                asks={"state": str, "channel": str, "before": int, "limit": int},
            ),
            route(
                "/outbox/channels", self._channels, "GET", about="The channels that are pushed to"
            ),
            route(
                "/outbox/channels/{name}/pause",
                self._pause,
                "POST",
                about="Hold a channel's replies back",
            ),
            route("/outbox/channels/{name}/resume", self._resume, "POST", about="Let them go on"),
            route("/outbox/{id}", self._show, "GET", about="All of one delivery"),
            route(
                "/outbox/{id}/settle",
                self._settle,
                "POST",
                about="Say what becomes of a doubtful one",
                takes=_Settle,
            ),
        ]

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        found = await self._store.view_outbox(
            state=query.get("state", ""),
            channel=query.get("channel", ""),
            before=number(query.get("before"), "before", 0),
            limit=max(1, min(500, number(query.get("limit"), "limit", 50))),
        )
        return Json(found)

    async def _show(self, request: Request) -> Response:
        return Json(await self._store.view_delivery(request.path_params["id"]))

    async def _settle(self, request: Request) -> Response:
        body = await read_body(request.scope, request.receive, self._max_body)
        how = decode(body, _Settle).how
        row = await self._store.settle_delivery(request.path_params["id"], how)
        self._sender.nudge()
        return Json(row)

    async def _channels(self, request: Request) -> Response:
        open_ = (await self._store.view_counts())["channels"]
        channels = self._sender.channels()
        for channel in channels:
            channel["open"] = open_.get(channel["name"], {})
        return Json({"channels": channels})

    async def _pause(self, request: Request) -> Response:
        return await self._set(request, paused=True)

    async def _resume(self, request: Request) -> Response:
        return await self._set(request, paused=False)

    async def _set(self, request: Request, *, paused: bool) -> Response:
        name = request.path_params["name"]
        await self._sender.pause(name, paused)
        return Json({"name": name, "paused": paused})
