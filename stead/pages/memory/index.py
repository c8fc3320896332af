"""How the index over what is remembered is; make it anew."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from stead.pages.forms import go
from stead.pages.rooms import House

_AT = "/api/v1/memory"


def routes(house: House) -> list[BaseRoute]:
    async def told(request: Request) -> dict[str, Any]:
        api = house.api(request)
        return {
            "stats": await api.get(f"{_AT}/stats"),
            "state": await api.get(f"{_AT}/reindex"),
        }

    async def shown(request: Request) -> Response:
        given = await told(request)
        return house.render.page(request, "memory/index.html", tab="index", **given)

    async def progress(request: Request) -> Response:
        given = await told(request)
        return HTMLResponse(house.render.part(request, "memory/index.html", "state", **given))

    async def anew(request: Request) -> Response:
        await house.api(request).post(f"{_AT}/reindex")
        return go("/memory/index")

    return [
        Route("/memory/index", shown, methods=["GET"]),
        Route("/memory/index", anew, methods=["POST"]),
        Route("/memory/index/state", progress, methods=["GET"]),
    ]
