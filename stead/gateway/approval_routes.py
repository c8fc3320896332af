"""The owner's API to questions about calls, and to what he allowed for ever."""

from __future__ import annotations

from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.storage import Store
from stead.flow.approvals import Approvals
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, named, number, read_body

_SAID_MOST = 4000


class _Word(msgspec.Struct):
    answer: Literal["once", "job", "always", "no", "answer"]
    text: str = ""
    """Why not; of a question of the agent's own, the answer."""
    by: str = "owner"


class ApprovalRoutes:
    """``/api/v1/approvals`` and ``/api/v1/grants``, all with the owner's key."""

    def __init__(self, store: Store, approvals: Approvals, keys: Keys, *, max_body: int) -> None:
        self._store = store
        self._approvals = approvals
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/approvals",
                self._list,
                "GET",
                about="What waits for the owner's word; all: also what is over",
                asks={"state": str, "before": str, "limit": int},
            ),
            route("/approvals/{id}", self._show, "GET", about="One question, whole"),
            route(
                "/approvals/{id}/answer",
                self._answer,
                "POST",
                about="Allow a call once, for its job or always; forbid it; or answer a question",
                takes=_Word,
            ),
            route(
                "/grants",
                self._grants,
                "GET",
                about="What is allowed for ever; all: also what was taken back",
                asks={"all": str, "before": str, "limit": int},
            ),
            route("/grants/{id}/revoke", self._revoke, "POST", about="Take a grant back"),
        ]

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        state = query.get("state", "open")
        return Json(
            await self._store.view_approvals(
                state="" if state == "all" else state,
                limit=max(1, min(500, number(query.get("limit"), "limit", 50))),
                before=query.get("before", ""),
            )
        )

    async def _show(self, request: Request) -> Response:
        return Json(await self._store.view_approval(request.path_params["id"]))

    async def _answer(self, request: Request) -> Response:
        body = await read_body(request.scope, request.receive, self._max_body)
        word = decode(body, _Word)
        decided = await self._approvals.decide(
            request.path_params["id"],
            word.answer,
            word.text[:_SAID_MOST],
            named(word.by, 64, "by", "owner"),
        )
        return Json({"approval": decided.approval, "state": decided.job.state})

    async def _grants(self, request: Request) -> Response:
        query = request.query_params
        return Json(
            await self._store.view_grants(
                revoked=bool(query.get("all")),
                limit=max(1, min(500, number(query.get("limit"), "limit", 500))),
                before=query.get("before", ""),
            )
        )

    async def _revoke(self, request: Request) -> Response:
        return Json(await self._approvals.revoke(request.path_params["id"]))
