"""The owner's API to the settings of a gateway that runs: what holds and from where, changes that
are checked before they are written, and take the file over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, read_body

_MOST = 200


class Settings(Protocol):
    """What the routes ask (:class:`stead.app.house_settings.HouseSettings`)."""

    def all(self) -> dict[str, Any]: ...

    def text(self) -> dict[str, Any]: ...

    async def set(
        self, values: Mapping[str, Any], base: str | None, dry_run: bool
    ) -> dict[str, Any]: ...

    async def replace(self, text: str, base: str | None, dry_run: bool) -> dict[str, Any]: ...


class _Values(msgspec.Struct):
    values: dict[str, Any]
    """By path (``node.slots``, ``backend[0].url``); null takes one out of the file, so that its
    default holds, or (``backend[1]``) one of several tables."""
    base: str | None = None
    """Of the version that was looked at; left out: of whatever there is."""
    dry_run: bool = False
    """Only check, and say what would change."""


class _File(msgspec.Struct):
    text: str
    base: str | None = None
    dry_run: bool = False


class Config:
    """``/api/v1/config``, with the owner's key.

    ``apply`` returns the paths of what changed and holds now; it raises ``ConfigError``.
    """

    def __init__(
        self,
        keys: Keys,
        apply: Callable[[], tuple[str, ...]],
        view: Callable[[], dict[str, Any]],
        settings: Callable[[], Settings],
        *,
        max_body: int,
    ) -> None:
        self._keys = keys
        self._apply = apply
        self._view = view
        self._settings = settings
        self._max_body = max_body

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
            route(
                "/config/settings", self._all, "GET",
                about="Every setting, where its value came from, and what it is for",
            ),
            route(
                "/config/settings", self._set, "POST",
                about="Change values in stead.toml; all of it is checked first", takes=_Values,
            ),
            route("/config/file", self._text, "GET", about="stead.toml, its secrets hidden"),
            route(
                "/config/file", self._replace, "PUT",
                about="Another stead.toml, checked before it is written", takes=_File,
            ),
        ]  # fmt: skip

    async def _state(self, request: Request) -> Response:
        return Json(self._view())

    async def _now(self, request: Request) -> Response:
        changed = self._apply()
        return Json({"changed": changed, "restart": self._view()["restart"]})

    async def _all(self, request: Request) -> Response:
        return Json({**self._settings().all(), **self._view()})

    async def _text(self, request: Request) -> Response:
        return Json(self._settings().text())

    async def _set(self, request: Request) -> Response:
        body = decode(await self._body(request), _Values)
        if not 0 < len(body.values) <= _MOST:
            raise BadRequest(f"Give from 1 to {_MOST} values.", param="values")
        return Json(await self._settings().set(body.values, body.base, body.dry_run))

    async def _replace(self, request: Request) -> Response:
        body = decode(await self._body(request), _File)
        return Json(await self._settings().replace(body.text, body.base, body.dry_run))

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._max_body)
