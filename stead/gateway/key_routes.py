"""The owner's API of the keys of programs: make, list, change, take back."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest, NotFound
from stead.core.keys import new_key
from stead.core.scope import KeyRow, KeyScope, KeyStore, is_key_name
from stead.core.storage import View
from stead.gateway.auth import Keys, hash_key
from stead.gateway.http import Json, decode, read_body
from stead.inference.seam import Api

_MOST = 1_000_000_000_000
_LISTS = ("lanes", "models", "endpoints")
_ENDPOINTS = frozenset(api.value for api in Api) | {"metrics"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _Change(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The fields of :class:`KeyScope`; what is left out stays as it is."""

    lanes: list[str] | None = None
    models: list[str] | None = None
    endpoints: list[str] | None = None
    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    at_once: int | None = None
    max_body_kb: int | None = None
    day_micro: int | None = None
    month_micro: int | None = None
    expires_at: int | None = None
    local_only: bool | None = None
    keep_bodies: bool | None = None
    chat: bool | None = None


class _NewKey(_Change):
    name: str = ""


class KeyRoutes:
    """``/api/v1/keys...``, all with the owner's key."""

    def __init__(self, store: KeyStore, keys: Keys, *, max_body: int) -> None:
        self._store = store
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route("/keys", self._list, "GET", about="The keys of programs", asks={"all": str}),
            route(
                "/keys",
                self._create,
                "POST",
                about="Make a key; it is shown this once",
                takes=_NewKey,
            ),
            route("/keys/{name}", self._show, "GET", about="A key and what it may"),
            route("/keys/{name}", self._set, "POST", about="Change what a key may", takes=_Change),
            route("/keys/{name}", self._revoke, "DELETE", about="Take a key back, at once"),
        ]

    async def _list(self, request: Request) -> Response:
        """Those that hold; ``?all=1``: those taken back too."""
        everything = bool(request.query_params.get("all"))
        rows = [row for row in await self._store.keys() if everything or not row.revoked_at]
        return Json({"keys": [_shown(row) for row in rows]})

    async def _create(self, request: Request) -> Response:
        body = decode(await self._body(request), _NewKey)
        if not is_key_name(body.name):
            raise BadRequest(
                "A key's name has up to 63 letters, digits, dots, dashes, and is not `owner` or"
                " `job`.",
                param="name",
            )
        scope = _changed(KeyScope(), body)
        key = new_key("program")
        row = await self._store.add_key(body.name, hash_key(key), scope)
        await self._keys.refresh()
        return Json({**_shown(row), "key": key}, status_code=201)

    async def _show(self, request: Request) -> Response:
        return Json(_shown(await self._known(request)))

    async def _set(self, request: Request) -> Response:
        change = decode(await self._body(request), _Change)
        row = await self._known(request)
        row = await self._store.set_key(row.name, _changed(row.scope, change))
        await self._keys.refresh()
        return Json(_shown(row))

    async def _revoke(self, request: Request) -> Response:
        row = await self._store.revoke_key(request.path_params["name"])
        await self._keys.refresh()
        return Json(_shown(row))

    async def _known(self, request: Request) -> KeyRow:
        name = request.path_params["name"]
        for row in await self._store.keys():
            if row.name == name and not row.revoked_at:
                return row
        raise NotFound(what=f"key {name!r}")

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._max_body)


def _shown(row: KeyRow) -> View:
    state = "revoked" if row.revoked_at else state_of(row.scope)
    scope: dict[str, Any] = msgspec.to_builtins(row.scope)
    return {
        "name": row.name, "id": row.id, "state": state, "created_at": row.created_at,
        "revoked_at": row.revoked_at, "scope": scope,
    }  # fmt: skip


def state_of(scope: KeyScope) -> str:
    """``holds``, or ``expired``."""
    over = scope.expires_at and time.time() * 1000 >= scope.expires_at
    return "expired" if over else "holds"


def _changed(scope: KeyScope, change: _Change) -> KeyScope:
    given = {
        name: value
        for name in _Change.__struct_fields__
        if (value := getattr(change, name)) is not None
    }
    return changed(scope, given)


def changed(scope: KeyScope, given: dict[str, Any]) -> KeyScope:
    """The scope with these fields of it. Raises ``BadRequest``."""
    for name, value in given.items():
        least = -1 if name.endswith("_micro") else 0
        if isinstance(value, int) and not least <= value <= _MOST * 10:
            raise BadRequest(f"{name} must be from {least} to {_MOST * 10:,}.", param=name)
    for name in _LISTS:
        if name in given:
            given[name] = _names(given[name], name)
    return replace(scope, **given)


def _names(values: list[str], param: str) -> tuple[str, ...]:
    if len(values) > 100:
        raise BadRequest(f"{param} has more than 100 entries.", param=param)
    for value in values:
        if not value or len(value) > 200 or _CONTROL.search(value):
            raise BadRequest(f"{value[:80]!r} in {param} is no name.", param=param)
        if param == "endpoints" and value not in _ENDPOINTS:
            known = ", ".join(sorted(_ENDPOINTS))
            raise BadRequest(f"{value!r} is no endpoint; there are: {known}.", param=param)
    return tuple(sorted({*values}))
