"""One search over all that is remembered."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stead.core.errors import SteadError
from stead.pages.forms import address, moment
from stead.pages.rooms import House

LAYERS = (
    ("standing", "Standing notes"), ("card", "Cards"), ("fact", "Facts"), ("contact", "Contacts"),
    ("daily", "Daily logs"),
)  # fmt: skip
_FIRST = 20
_MOST = 200


def routes(house: House) -> list[BaseRoute]:
    async def search(request: Request) -> Response:
        query = request.query_params
        asked = {
            name: query.get(name, "").strip()[:1_000]
            for name in ("q", "person", "session", "since", "until", "as_of")
        }
        layers = [one for one in query.getlist("layer") if one]
        exact = bool(query.get("exact"))
        limit = _number(query.get("limit", ""))
        found, wrong = None, ""
        try:
            found = await house.api(request).get(
                "/api/v1/memory/search", q=asked["q"], layer=layers or None,
                person=asked["person"] or None, session=asked["session"] or None,
                since=moment(asked["since"], "since"),
                until=moment(asked["until"], "until", end=True),
                as_of=moment(asked["as_of"], "as_of", end=True), exact=1 if exact else None,
                limit=limit,
            )  # fmt: skip
        except SteadError as error:
            wrong = error.message
        more = ""
        if found and len(found["hits"]) == limit < _MOST:
            more = address(
                "/memory", **asked, layer=layers, exact=int(exact), limit=min(_MOST, limit * 3)
            )
        narrowed = bool(layers or exact or any(asked[name] for name in asked if name != "q"))
        return house.render.page(
            request, "memory/search.html", status=422 if wrong else 200, tab="search",
            asked=asked, layers=layers, exact=exact, found=found, wrong=wrong, more=more,
            all_layers=LAYERS, narrowed=narrowed, limit=limit,
        )  # fmt: skip

    return [Route("/memory", search, methods=["GET"])]


def _number(text: str) -> int:
    return min(_MOST, max(1, int(text))) if text.isascii() and text.isdigit() else _FIRST
