"""The owner's API of signing in to the page: codes, devices, passkeys, recovery codes."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest, Forbidden, NotFound
from stead.core.people import OWNER
from stead.core.signin import Device, Passkey
from stead.core.storage import View
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, number, read_body
from stead.gateway.people import asker
from stead.gateway.signin import SignIns

_LOGIN_S = 600.0
_LONGEST_S = 7 * 86_400.0
_PAGE = 100
_MOST = 500


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    person: str = OWNER
    """An id or a name."""
    for_s: float = _LOGIN_S
    """How long the code holds, in seconds; at most 7 days."""
    first: bool = False
    """Only if nobody has ever signed in; else there is no code in the answer."""


class _Whose(msgspec.Struct, forbid_unknown_fields=True):
    person: str = ""
    """An id or a name; empty: of who asks."""


class SignInRoutes:
    """``url``: of the page, as its owner would type it."""

    def __init__(self, sign_ins: SignIns, keys: Keys, url: str, *, max_body: int) -> None:
        self._sign_ins = sign_ins
        self._keys = keys
        self._url = url
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/logins", self._login, "POST", takes=_Login,
                about="Make a code that signs in to the page once",
            ),
            route(
                "/devices", self._list, "GET",
                about="Browsers that are signed in, newest first; passkeys; recovery codes left",
                asks={"person": str, "before": str, "limit": int}, members=True,
            ),
            route(
                "/devices", self._revoke_all, "DELETE",
                about="Sign out all browsers of a person, but one",
                asks={"person": str, "but": str}, members=True,
            ),
            route(
                "/devices/{id}", self._show, "GET",
                about="A browser that is signed in", members=True,
            ),
            route(
                "/devices/{id}", self._revoke, "DELETE",
                about="Sign a browser out, at once", members=True,
            ),
            route("/passkeys/{id}", self._remove, "DELETE", about="Remove a passkey", members=True),
            route(
                "/recovery-codes", self._recovery, "POST", takes=_Whose,
                about="Make recovery codes; they are shown this once, the old ones are void",
                members=True,
            ),
        ]  # fmt: skip

    async def _login(self, request: Request) -> Response:
        body = decode(await self._body(request) or b"{}", _Login)
        if not 1 <= body.for_s <= _LONGEST_S:
            raise BadRequest(
                f"for_s must be from 1 to {_LONGEST_S:.0f} (seven days).", param="for_s"
            )
        if body.first and await self._sign_ins.store.ever_entered():
            return Json({"claimed": True})
        person = await self._sign_ins.store.person(body.person)
        made = await self._sign_ins.new_code(person.id, body.for_s)
        told = {
            "person": person.id, "name": person.name, "code": made.code, "ends_at": made.ends_at,
            "page": f"{self._url}/sign-in", "url": f"{self._url}/sign-in#code={made.secret}",
        }  # fmt: skip
        return Json(told, status_code=201)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        limit = number(query.get("limit"), "limit", _PAGE)
        if not 1 <= limit <= _MOST:
            raise BadRequest(f"limit must be from 1 to {_MOST}.", param="limit")
        store, whose = self._sign_ins.store, await self._whose(request, query.get("person", ""))
        found = await store.devices(whose, before=query.get("before", ""), limit=limit + 1)
        called = {person.id: person.called for person in await store.people()}
        passkeys = [
            _passkey(key) | {"called": called[key.person]} for key in await store.passkeys(whose)
        ]
        return Json(
            {
                "devices": [_device(one) for one in found[:limit] if not self._sign_ins.left(one)],
                "more": len(found) > limit,
                "next": found[limit - 1].id if len(found) > limit else "",
                "passkeys": passkeys,
                "recovery_left": await store.recovery_left(whose or OWNER),
            }
        )

    async def _show(self, request: Request) -> Response:
        ident = request.path_params["id"]
        found = await self._sign_ins.find(ident, await self._whose(request))
        if found is None:
            raise NotFound(what=f"device {ident[:80]!r}")
        return Json(_device(found))

    async def _revoke(self, request: Request) -> Response:
        ident = request.path_params["id"]
        await self._sign_ins.revoke(ident, await self._whose(request))
        return Json({"id": ident, "revoked": True})

    async def _revoke_all(self, request: Request) -> Response:
        whose = await self._whose(request, request.query_params.get("person", ""))
        if not whose:
            raise BadRequest("Whose? Give `person`, an id or a name.", param="person")
        count = await self._sign_ins.revoke_all(whose, request.query_params.get("but", ""))
        return Json({"person": whose, "revoked": count})

    async def _remove(self, request: Request) -> Response:
        ident = request.path_params["id"]
        await self._sign_ins.remove_passkey(ident, await self._whose(request))
        return Json({"id": ident, "removed": True})

    async def _recovery(self, request: Request) -> Response:
        body = decode(await self._body(request) or b"{}", _Whose)
        whose = await self._whose(request, body.person) or OWNER
        return Json(
            {"person": whose, "codes": await self._sign_ins.new_recovery(whose)}, status_code=201
        )

    async def _whose(self, request: Request, named: str = "") -> str:
        """The id of the person that is named; empty: of everybody, which the owner may ask for.
        Others ask for what is theirs. Raises ``NotFound``, ``Forbidden``."""
        who = asker(request)
        whose = (await self._sign_ins.store.person(named)).id if named else ""
        if who == OWNER:
            return whose
        if whose not in ("", who):
            raise Forbidden(why="that is somebody else's")
        return who

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._max_body)


def _device(device: Device) -> View:
    told: dict[str, Any] = msgspec.to_builtins(device)
    return told


def _passkey(key: Passkey) -> View:
    return {
        "id": key.id, "person": key.person, "rp": key.rp, "name": key.name,
        "made_at": key.made_at, "used_at": key.used_at,
    }  # fmt: skip
