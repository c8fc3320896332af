"""The owner's API to the light services: how they are, start, stop and try one."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.gateway.auth import Keys
from stead.gateway.http import Json
from stead.gateway.voice_routes import Voice
from stead.inference.door import Door
from stead.services.supervisor import Services
from stead.services.trial import trial


class ServiceRoutes:
    """``/api/v1/services`` and ``/api/v1/voice``, with the owner's key."""

    def __init__(self, services: Services, keys: Keys, door: Door, *, max_body: int) -> None:
        self._voice = Voice(door, keys, max_body=max_body)
        self._services = services
        self._keys = keys

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            *self._voice.routes(),
            route("/services", self._list, "GET", about="The light services and how they are"),
            route("/services/{name}/start", self._start, "POST", about="Start one"),
            route(
                "/services/{name}/stop",
                self._stop,
                "POST",
                about="Stop one; the next request starts it again",
            ),
            route(
                "/services/{name}/test",
                self._test,
                "POST",
                about="Ask one for something whose answer is known",
            ),
        ]

    async def _list(self, request: Request) -> Response:
        return Json(self._services.states())

    async def _start(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._services.backend(name)
        return Json(self._services.state(name))

    async def _stop(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._services.stop(name)
        return Json(self._services.state(name))

    async def _test(self, request: Request) -> Response:
        """Asks it for something whose answer is known."""
        name = request.path_params["name"]
        state = self._services.state(name)
        began = time.perf_counter()
        at = await self._services.backend(name)
        ready = time.perf_counter()
        words = await trial(state.name, at.url, at.key)
        told: dict[str, Any] = msgspec.to_builtins(self._services.state(name))
        return Json(
            {
                "name": state.name,
                "words": words,
                "start_ms": round((ready - began) * 1000),
                "answer_ms": round((time.perf_counter() - ready) * 1000),
                "state": told,
            }
        )
