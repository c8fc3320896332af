"""Room *Notices*: which browsers are told of things while nobody looks (web push)."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.pages.rooms import House, Room
from stead.pages.visitor import visitor_of

_MOST_BODY = 10_000


def room(house: House) -> Room:
    """Its start is ``/notices``."""

    async def show(request: Request) -> Response:
        told = await house.api(request).get("/api/v1/push")
        device = visitor_of(request).device
        return house.render.page(request, "notices/notices.html", told=told, device=device)

    async def subscribe(request: Request) -> Response:
        raw = await request.body()
        try:
            if len(raw) > _MOST_BODY:
                raise msgspec.DecodeError
            body = msgspec.json.decode(raw, type=dict[str, object])
        except msgspec.DecodeError:
            raise BadRequest("That is no subscription of a browser.") from None
        body["device"] = visitor_of(request).device
        made = await house.api(request).post("/api/v1/push", body)
        return JSONResponse(made, 201)

    async def test(request: Request) -> Response:
        await house.api(request).post("/api/v1/push/test")
        return RedirectResponse("/notices?sent=1", 303)

    async def remove(request: Request) -> Response:
        await house.api(request).delete(f"/api/v1/push/{request.path_params['id']}")
        return RedirectResponse("/notices", 303)

    routes = [
        Route("/notices", show, methods=["GET"]),
        Route("/notices", subscribe, methods=["POST"]),
        Route("/notices/test", test, methods=["POST"]),
        Route("/notices/{id}/remove", remove, methods=["POST"]),
    ]
    return Room("notices", "Notices", routes, members=True)
