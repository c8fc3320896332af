"""The owner's API to the nightly review: what it does and did, what waits for his word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, named, read_body

_STATES = ("open", "accepted", "rejected", "stale", "all")


class Reviewing(Protocol):
    """What the routes ask of the review (:class:`stead.memory.review.service.Review`)."""

    async def state(self) -> dict[str, Any]: ...

    async def night(self, slot: str) -> dict[str, Any]: ...

    async def begin(self, one: str = "", *, dry_run: bool = False) -> dict[str, Any]: ...

    async def proposals(self, state: str) -> list[dict[str, Any]]: ...

    async def proposal(self, ident: str) -> dict[str, Any]: ...

    async def accept(self, idents: Sequence[str], by: str = "owner") -> dict[str, Any]: ...

    async def reject(self, ident: str, by: str = "owner", why: str = "") -> dict[str, Any]: ...

    async def edit(self, ident: str, text: str) -> dict[str, Any]: ...


class _Now(msgspec.Struct):
    day: str = ""
    """``2026-11-20``; empty: all days of late that are not read to their end."""
    dry_run: bool = False


class _Accept(msgspec.Struct):
    ids: list[str]
    """Their ids or the beginnings of them; ``["all"]``: all that wait."""


class _Why(msgspec.Struct):
    why: str = ""


class _Text(msgspec.Struct):
    text: str


class ReviewRoutes:
    """``/api/v1/memory/review``, with the owner's key. ``review`` makes it at its first use."""

    def __init__(self, review: Callable[[], Reviewing], keys: Keys, *, max_body: int) -> None:
        self._review = review
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        at = "/memory/review"
        return [
            route(at, self._state, "GET", about="When memory was reviewed, and what came of it"),
            route(
                at, self._now, "POST", about="Review now; it goes on by itself", takes=_Now
            ),
            route(f"{at}/nights/{{slot}}", self._night, "GET", about="One review, whole"),
            route(
                f"{at}/proposals", self._proposals, "GET", about="What waits for the owner's word",
                asks={"state": str},
            ),
            route(
                f"{at}/accept", self._accept, "POST",
                about="Do what was proposed, as one change", takes=_Accept,
            ),
            route(f"{at}/proposals/{{id}}", self._proposal, "GET", about="One proposal, whole"),
            route(
                f"{at}/proposals/{{id}}/reject", self._reject, "POST",
                about="Say no to a proposal; it is not made again", takes=_Why,
            ),
            route(
                f"{at}/proposals/{{id}}/edit", self._edit, "POST",
                about="Other words for what is proposed", takes=_Text,
            ),
        ]  # fmt: skip

    async def _state(self, request: Request) -> Response:
        return Json(await self._review().state())

    async def _night(self, request: Request) -> Response:
        slot = named(request.path_params["slot"], 60, "slot", "")
        return Json(await self._review().night(slot))

    async def _now(self, request: Request) -> Response:
        raw = await read_body(request.scope, request.receive, self._max_body)
        body = decode(raw or b"{}", _Now)
        begun = await self._review().begin(body.day, dry_run=body.dry_run)
        return Json(begun, status_code=202)

    async def _proposals(self, request: Request) -> Response:
        state = request.query_params.get("state", "open")
        wanted = state if state in _STATES else "open"
        found = await self._review().proposals("" if wanted == "all" else wanted)
        return Json({"proposals": found})

    async def _proposal(self, request: Request) -> Response:
        return Json(await self._review().proposal(request.path_params["id"]))

    async def _accept(self, request: Request) -> Response:
        body = decode(await self._body(request), _Accept)
        return Json(await self._review().accept(body.ids))

    async def _reject(self, request: Request) -> Response:
        body = decode(await self._body(request) or b"{}", _Why)
        ident = request.path_params["id"]
        return Json(await self._review().reject(ident, why=body.why[:1000]))

    async def _edit(self, request: Request) -> Response:
        body = decode(await self._body(request), _Text)
        return Json(await self._review().edit(request.path_params["id"], body.text))

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._max_body)
