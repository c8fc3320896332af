"""The room Devices: browsers that are signed in, passkeys, recovery codes."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stead.core.errors import NotFound
from stead.pages.inside import Refused
from stead.pages.rooms import House, Room
from stead.pages.signin.gate import NotFresh, is_fresh
from stead.pages.visitor import visitor_of

_HOW = {"code": "a one-time code", "recovery": "a recovery code", "passkey": "a passkey"}
_PAGE = 50


class Devices:
    def __init__(self, house: House) -> None:
        self._house = house

    def room(self) -> Room:
        post = ["POST"]
        return Room(
            "devices",
            "Devices",
            [
                Route("/devices", self._show, methods=["GET"]),
                Route("/devices/recovery", self._recovery, methods=post),
                Route("/devices/others", self._others, methods=post),
                Route("/devices/passkeys/{id}/remove", self._remove, methods=post),
                Route("/devices/{id}/revoke", self._revoke, methods=post),
            ],
            members=True,
        )

    async def _show(self, request: Request) -> Response:
        return await self._shown(request, [])

    async def _shown(self, request: Request, codes: list[str]) -> Response:
        api, visitor = self._house.api(request), visitor_of(request)
        before = request.query_params.get("before")
        told = await api.get("/api/v1/devices", before=before, limit=_PAGE)
        for one in (*told["devices"], *told["passkeys"]):
            mine = one["person"] == visitor.person
            one["person_name"] = "" if mine else one.get("called") or one["person"]
        for device in told["devices"]:
            device["how_words"] = _HOW[device["how"]]
        return self._house.render.page(
            request, "signin/devices.html", codes=codes, devices=told["devices"],
            passkeys=told["passkeys"], older=told["next"], recovery_left=told["recovery_left"],
            fresh=await self._fresh(request),
        )  # fmt: skip

    async def _recovery(self, request: Request) -> Response:
        if not await self._fresh(request):
            raise NotFresh
        told = await self._house.api(request).post("/api/v1/recovery-codes", {})
        return await self._shown(request, told["codes"])

    async def _revoke(self, request: Request) -> Response:
        ident = request.path_params["id"]
        await self._house.api(request).delete(f"/api/v1/devices/{ident}")
        here = ident == visitor_of(request).device
        return RedirectResponse("/sign-in" if here else "/devices", 303)

    async def _others(self, request: Request) -> Response:
        api, visitor = self._house.api(request), visitor_of(request)
        await api.delete("/api/v1/devices", person=visitor.person, but=visitor.device)
        return RedirectResponse("/devices", 303)

    async def _remove(self, request: Request) -> Response:
        ident = request.path_params["id"]
        await self._house.api(request).delete(f"/api/v1/passkeys/{ident}")
        return RedirectResponse("/devices", 303)

    async def _fresh(self, request: Request) -> bool:
        """Whether the visitor proved lately who it is. Who shows the owner's key did it now."""
        device = visitor_of(request).device
        if not device:
            return True
        try:
            told: dict[str, Any] = await self._house.api(request).get(f"/api/v1/devices/{device}")
        except (Refused, NotFound):
            return False
        return is_fresh(told["proved_at"])


def room(house: House) -> Room:
    """For the table of rooms."""
    return Devices(house).room()
