"""The owner's API to the files of memory: look, edit, history, undo."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, number, read_body

_LAYERS = ("", "standing", "card", "daily")
_LONGEST = 1_000


class Remembered(Protocol):
    """What the routes ask of the files (:mod:`stead.app.remembered`); all of it waits for disks."""

    def listed(self, *, layer: str, like: str, before: str, limit: int) -> dict[str, Any]: ...

    def shown(self, what: str, *, at: str, first: int, lines: int) -> dict[str, Any]: ...

    def opened(self, what: str) -> dict[str, Any]: ...

    def draft(self, path: str, text: str, base: str) -> dict[str, Any]: ...

    def save(self, path: str, text: str, base: str, sure: bool) -> dict[str, Any]: ...

    def changes(self, what: str, *, before: str, limit: int) -> dict[str, Any]: ...

    def change(self, ident: str, path: str) -> dict[str, Any]: ...

    def undo(self, ident: str) -> dict[str, Any]: ...


class _Edit(msgspec.Struct):
    path: str
    text: str
    base: str
    """As ``GET /memory/file/text`` told it; empty: there is no such file yet."""
    sure: bool = False
    """Also where much of the file goes."""
    dry_run: bool = False
    """Only say what it would change."""


class _Undo(msgspec.Struct):
    change: str


class RememberedRoutes:
    """``/api/v1/memory/files``, ``.../file`` and ``.../history``, with the owner's key."""

    def __init__(self, files: Callable[[], Remembered], keys: Keys, *, max_body: int) -> None:
        self._files = files
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/memory/files", self._list, "GET",
                about="The files of memory, the latest changed first",
                asks={**dict.fromkeys(("layer", "like", "before"), str), "limit": int},
            ),
            route(
                "/memory/file", self._show, "GET",
                about="Lines of a file, or those around what a source names",
                asks={"what": str, "at": str, "first": int, "lines": int},
            ),
            route(
                "/memory/file/text", self._open, "GET", about="All of a file, to be edited",
                asks={"what": str},
            ),
            route(
                "/memory/file", self._save, "PUT",
                about="Write a file, if it is what it was; or only say what that would change",
                takes=_Edit,
            ),
            route(
                "/memory/history", self._changes, "GET",
                about="The changes of memory, knowledge and settings, the latest first",
                asks={"what": str, "before": str, "limit": int},
            ),
            route(
                "/memory/history/{id}", self._change, "GET", about="A change and what it did",
                asks={"path": str},
            ),
            route("/memory/undo", self._undo, "POST", about="Take back a change", takes=_Undo),
        ]  # fmt: skip

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        layer = query.get("layer", "")
        if layer not in _LAYERS:
            raise BadRequest(f"layer may be {', '.join(_LAYERS[1:])}.", param="layer")
        limit = between(query.get("limit"), "limit", 50, 500)
        found = await asyncio.to_thread(
            self._files().listed, layer=layer, like=text(query.get("like", ""), "like"),
            before=text(query.get("before", ""), "before"), limit=limit,
        )  # fmt: skip
        return Json(found)

    async def _show(self, request: Request) -> Response:
        query = request.query_params
        found = await asyncio.to_thread(
            self._files().shown, _what(request), at=text(query.get("at", ""), "at"),
            first=between(query.get("first"), "first", 0, 2**40, least=0),
            lines=between(query.get("lines"), "lines", 300, 5_000),
        )  # fmt: skip
        return Json(found)

    async def _open(self, request: Request) -> Response:
        return Json(await asyncio.to_thread(self._files().opened, _what(request)))

    async def _save(self, request: Request) -> Response:
        body = decode(await read_body(request.scope, request.receive, self._max_body), _Edit)
        path = text(body.path, "path")
        files = self._files()
        if body.dry_run:
            return Json(await asyncio.to_thread(files.draft, path, body.text, body.base))
        done = await asyncio.to_thread(files.save, path, body.text, body.base, body.sure)
        return Json(done)

    async def _changes(self, request: Request) -> Response:
        query = request.query_params
        found = await asyncio.to_thread(
            self._files().changes, text(query.get("what", ""), "what"),
            before=query.get("before", ""), limit=between(query.get("limit"), "limit", 30, 500),
        )  # fmt: skip
        return Json(found)

    async def _change(self, request: Request) -> Response:
        ident = request.path_params["id"]
        path = text(request.query_params.get("path", ""), "path")
        return Json(await asyncio.to_thread(self._files().change, ident, path))

    async def _undo(self, request: Request) -> Response:
        body = decode(await read_body(request.scope, request.receive, self._max_body), _Undo)
        return Json(await asyncio.to_thread(self._files().undo, body.change))


def _what(request: Request) -> str:
    what = text(request.query_params.get("what", ""), "what")
    if not what:
        raise BadRequest("Say which file: what=memory/MEMORY.md.", param="what")
    return what


def text(given: str, param: str) -> str:
    """A word of a query that becomes a path, a name...; raises ``BadRequest``."""
    if len(given) > _LONGEST:
        raise BadRequest(f"{param} may have at most {_LONGEST} characters.", param=param)
    if "\0" in given:
        raise BadRequest(f"{param} holds a character that no name has.", param=param)
    return given


def between(given: str | None, param: str, default: int, most: int, least: int = 1) -> int:
    """A number of a query within bounds; raises ``BadRequest``."""
    found = number(given, param, default)
    if not least <= found <= most:
        raise BadRequest(f"{param} may be from {least} to {most}.", param=param)
    return found
