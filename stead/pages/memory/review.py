"""What the nightly review did and proposes; the owner's word about it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from stead.core.errors import SteadError
from stead.pages.forms import form_of, go
from stead.pages.inside import Refused
from stead.pages.rooms import House

_AT = "/api/v1/memory/review"
_STATES = ("open", "accepted", "rejected", "stale", "all")
_PAGE = 30


def routes(house: House) -> list[BaseRoute]:
    part = _Review(house)
    return [
        Route("/memory/review", part.overview, methods=["GET"]),
        Route("/memory/review", part.now, methods=["POST"]),
        Route("/memory/review/state", part.state, methods=["GET"]),
        Route("/memory/review/{id}", part.one, methods=["GET"]),
        Route("/memory/review/{id}", part.decide, methods=["POST"]),
    ]


class _Review:
    def __init__(self, house: House) -> None:
        self._house = house

    async def overview(self, request: Request) -> Response:
        return await self._overview(request)

    async def _overview(self, request: Request, wrong: str = "") -> Response:
        query = request.query_params
        state = query.get("state", "open")
        state = state if state in _STATES else "open"
        start = int(query["from"]) if query.get("from", "").isdecimal() else 0
        api = self._house.api(request)
        found = (await api.get(f"{_AT}/proposals", state=state))["proposals"]
        return self._house.render.page(
            request, "memory/review.html", status=422 if wrong else 200, tab="review",
            told=await api.get(_AT), proposals=found[start : start + _PAGE], state=state,
            states=_STATES, total=len(found), start=start, size=_PAGE, wrong=wrong,
            done=query.get("done", ""),
        )  # fmt: skip

    async def state(self, request: Request) -> Response:
        """How far a review is, for a page that is open."""
        told = await self._house.api(request).get(_AT)
        return HTMLResponse(
            self._house.render.part(request, "memory/review.html", "state", told=told)
        )

    async def now(self, request: Request) -> Response:
        """``do``: ``now`` begins a review, ``all`` accepts everything that waits."""
        form = await form_of(request)
        api = self._house.api(request)
        try:
            if form.get("do") == "all":
                await api.post(f"{_AT}/accept", {"ids": ["all"]})
                return go("/memory/review", done="accepted")
            await api.post(_AT, {"day": form.get("day", "")})
        except Refused as error:
            return await self._overview(request, error.message)
        return go("/memory/review", done="begun")

    async def one(self, request: Request) -> Response:
        return await self._one(request, done=request.query_params.get("done", ""))

    async def _one(self, request: Request, status: int = 200, **more: Any) -> Response:
        ident = request.path_params["id"]
        found = await self._house.api(request).get(f"{_AT}/proposals/{ident}")
        given = {"wrong": "", "done": "", "typed": None, **more}
        return self._house.render.page(
            request, "memory/proposal.html", status=status, tab="review", one=found, **given
        )

    async def decide(self, request: Request) -> Response:
        """``do``: ``accept``, ``reject``, ``edit`` (other words; it goes on waiting), ``both``."""
        form = await form_of(request)
        api = self._house.api(request)
        ident, verb = request.path_params["id"], form.get("do", "")
        at = f"{_AT}/proposals/{ident}"
        text = form.get("text", "").replace("\r\n", "\n")
        try:
            if verb == "reject":
                await api.post(f"{at}/reject", {"why": form.get("why", "")})
            if verb in ("edit", "both"):
                ident = (await api.post(f"{at}/edit", {"text": text}))["id"]
            if verb in ("accept", "both"):
                done = await api.post(f"{_AT}/accept", {"ids": [ident]})
                if done["unfit"]:
                    return await self._one(request, 409, wrong=" ".join(done["unfit"]))
        except SteadError as error:
            typed = text if verb in ("edit", "both") else None
            return await self._one(request, 422, wrong=error.message, typed=typed)
        return go(f"/memory/review/{quote(ident, safe='')}", done=verb)
