"""The owner's API to the backends: how they are, what lanes there are, and a look at one now."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import NotFound
from stead.gateway.auth import Keys
from stead.gateway.http import Json
from stead.inference.routing import probe, view
from stead.inference.routing.routes import Routes


class Backends:
    """``/api/v1/backends``, with the owner's key."""

    def __init__(self, routes: Routes, keys: Keys) -> None:
        self._routes = routes
        self._keys = keys

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route("/backends", self._list, "GET", about="The backends and how their instances are"),
            route("/backends/{name}/test", self._test, "POST", about="Look whether one answers"),
        ]

    async def _list(self, request: Request) -> Response:
        return Json({"backends": view.backends(self._routes), "lanes": view.lanes(self._routes)})

    async def _test(self, request: Request) -> Response:
        """Ask every instance for its list of models: no model works for that."""
        name = request.path_params["name"]
        backends = [one for one in self._routes.setup.backends if one.name == name]
        if not backends:
            known = dict.fromkeys(one.name for one in self._routes.setup.backends)
            raise NotFound(what=f"backend {name!r}; there are: {', '.join(known) or 'none'}")
        looks = await asyncio.gather(*(probe.look(one) for one in backends))
        told = []
        for backend, found in zip(backends, looks, strict=True):
            has = found.models
            lacking = [m.name for m in backend.models if has is not None and m.name not in has]
            told.append(
                {
                    "name": backend.name,
                    "url": view.shown(backend.url),
                    "ok": found.ok,
                    "words": found.words,
                    "ms": round(found.ms, 1),
                    "models": None if has is None else list(has),
                    "lacking": lacking,
                }
            )
        return Json({"instances": told})
