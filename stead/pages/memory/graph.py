"""What is known of people, places and things: now, and as of a time."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stead.core.errors import SteadError
from stead.pages.forms import Fields, form_of, go, moment
from stead.pages.inside import Api
from stead.pages.rooms import House
from stead.pages.seen import seen

_AT = "/api/v1/memory/graph"


def routes(house: House) -> list[BaseRoute]:
    part = _Graph(house)
    return [
        Route("/memory/graph", part.overview, methods=["GET"]),
        Route("/memory/graph", part.change, methods=["POST"]),
        Route("/memory/graph/of", part.entity, methods=["GET"]),
        Route("/memory/graph/log", part.log, methods=["GET"]),
    ]


class _Graph:
    def __init__(self, house: House) -> None:
        self._house = house

    async def overview(self, request: Request) -> Response:
        return await self._overview(request, "", {})

    async def _overview(self, request: Request, wrong: str, typed: Any) -> Response:
        query = request.query_params
        like, kind = query.get("like", ""), query.get("kind", "")
        found = await self._house.api(request).get(
            _AT, like=like or None, kind=kind or None, after=query.get("after") or None
        )
        return self._house.render.page(
            request, "memory/graph.html", status=422 if wrong else 200, tab="graph", found=found,
            kinds=[("", "All"), *((one, seen(one)) for one in found["kinds"])],
            like=like, kind=kind, wrong=wrong, typed=typed,
        )  # fmt: skip

    async def entity(self, request: Request) -> Response:
        return await self._entity(request, request.query_params.get("name", ""))

    async def _entity(self, request: Request, name: str, wrong: str = "") -> Response:
        query = request.query_params
        asked = {one: query.get(one, "").strip() for one in ("as_of", "known_at")}
        history = bool(query.get("history"))
        times = {}
        try:
            times = {one: moment(text, one, end=True) for one, text in asked.items()}
        except SteadError as error:
            wrong = error.message
        found = await self._house.api(request).get(
            f"{_AT}/entity", name=name, history=1 if history else None, **times
        )
        return self._house.render.page(
            request, "memory/entity.html", status=422 if wrong else 200, tab="graph", found=found,
            asked=asked, history=history, wrong=wrong, name=name,
            done=query.get("done", ""),
        )  # fmt: skip

    async def log(self, request: Request) -> Response:
        limit = request.query_params.get("limit", "")
        limit = limit if limit.isascii() and limit.isdigit() else "50"
        found = await self._house.api(request).get(f"{_AT}/operations", limit=min(1000, int(limit)))
        return self._house.render.page(
            request, "memory/graph_log.html", tab="graph", found=found, limit=int(limit),
            done=request.query_params.get("done", ""),
        )  # fmt: skip

    async def change(self, request: Request) -> Response:
        """``do``: ``assert``, ``close``, ``retract``, ``undo``."""
        form = await form_of(request)
        api, verb, name = self._house.api(request), form.get("do", ""), form.get("name", "")
        try:
            if verb == "undo":
                await api.post(f"{_AT}/undo", {"operation": form.get("operation", "")})
                return go("/memory/graph/log", done="undone")
            name = await _change(api, verb, form) or name
        except SteadError as error:
            if name and verb != "assert":
                return await self._entity(request, name, error.message)
            return await self._overview(request, error.message, form)
        return go("/memory/graph/of", name=name, done=verb)


async def _change(api: Api, verb: str, form: Fields) -> str:
    """The id of whom it is about, where that is known only now."""
    fact = form.get("fact", "")
    if verb == "assert":
        said = {one: form.get(one, "").strip() for one in ("subject", "predicate", "value", "kind")}
        made = await api.post(
            f"{_AT}/facts",
            {**said, "since": moment(form.get("since", ""), "since") or 0,
             "until": moment(form.get("until", ""), "until") or 0,
             "entity": bool(form.get("entity"))},
        )  # fmt: skip
        return str(made["fact"]["subject"])
    if verb == "close":
        at = moment(form.get("at", ""), "at") or 0
        await api.post(f"{_AT}/facts/{fact}/close", {"at": at, "why": form.get("why", "")})
    if verb == "retract":
        await api.post(f"{_AT}/retract", {"ids": [fact], "why": form.get("why", "")})
    return ""
