"""The API of web push: the house's key, and the browsers that want to be told."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.push import PushStore, Subscription
from stead.core.storage import View
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, read_body
from stead.gateway.people import asker
from stead.push.pusher import Pusher

_MOST_BODY = 10_000


class _Keys(msgspec.Struct):
    p256dh: str
    auth: str


class _Subscription(msgspec.Struct):
    """As ``PushSubscription.toJSON()`` gives it, and the signed-in browser it is of."""

    endpoint: str
    keys: _Keys
    device: str = ""


class PushRoutes:
    """``/api/v1/push...``: of the person in whose name it is asked."""

    def __init__(self, store: PushStore, pusher: Pusher, keys: Keys) -> None:
        self._store = store
        self._pusher = pusher
        self._keys = keys

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/push",
                self._list,
                "GET",
                about="The house's push key, and your browsers",
                members=True,
            ),
            route(
                "/push",
                self._add,
                "POST",
                about="A browser that wants to be told",
                takes=_Subscription,
                members=True,
            ),
            route(
                "/push/test",
                self._test,
                "POST",
                about="Send a notice to your browsers",
                members=True,
            ),
            route(
                "/push/{id}",
                self._remove,
                "DELETE",
                about="Tell a browser nothing any more",
                members=True,
            ),
        ]

    async def _list(self, request: Request) -> Response:
        person = asker(request)
        known = [one for one in await self._store.subscriptions() if one.person == person]
        public = await self._pusher.public()
        return Json({"key": public, "subscriptions": [_shown(one) for one in known]})

    async def _add(self, request: Request) -> Response:
        body = decode(await read_body(request.scope, request.receive, _MOST_BODY), _Subscription)
        made = await self._pusher.subscribe(
            asker(request), body.device[:64], body.endpoint, body.keys.p256dh, body.keys.auth
        )
        return Json(_shown(made), status_code=201)

    async def _test(self, request: Request) -> Response:
        return Json({"browsers": await self._pusher.test(asker(request))}, status_code=202)

    async def _remove(self, request: Request) -> Response:
        ident = request.path_params["id"]
        await self._store.unsubscribe(asker(request), ident)
        return Json({"id": ident, "removed": True})


def _shown(one: Subscription) -> View:
    """Without the keys; of the endpoint only where it is, for what follows lets one bother."""
    service = one.endpoint.split("/")[2]
    return {
        "id": one.id, "device": one.device, "service": service, "created_at": one.created_at,
        "told_at": one.told_at,
    }  # fmt: skip
