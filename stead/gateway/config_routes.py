"""The owner's API to the settings of a gateway that runs: what holds, and take the file over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.gateway.auth import Keys
from stead.gateway.http import Json


class Config:
    """``/api/v1/config``, with the owner's key.

    ``apply`` returns the paths of what changed and holds now; it raises ``ConfigError``.
    """

    def __init__(
        self,
        keys: Keys,
        apply: Callable[[], tuple[str, ...]],
        view: Callable[[], dict[str, Any]],
    ) -> None:
        self._keys = keys
        self._apply = apply
        self._view = view

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/config",
                self._state,
                "GET",
                about="Which settings hold, and what waits for a restart",
            ),
            route(
                "/config/apply",
                self._now,
                "POST",
                about="Read stead.toml anew: all of it holds, or nothing",
            ),
        ]

    async def _state(self, request: Request) -> Response:
        return Json(self._view())

    async def _now(self, request: Request) -> Response:
        changed = self._apply()
        return Json({"changed": changed, "restart": self._view()["restart"]})
