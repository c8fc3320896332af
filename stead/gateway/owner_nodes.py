"""The owner's API of the nodes: invite, list, drain, retire, revoke."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest, NotFound
from stead.core.keys import new_key
from stead.core.placement import is_node_name
from stead.core.storage import NodeRow, Store
from stead.gateway.auth import Keys, hash_key
from stead.gateway.http import Json, decode, read_body
from stead.gateway.placement import Placement
from stead.gateway.presence import Presence
from stead.gateway.status import Status


class _NewNode(msgspec.Struct):
    name: str


class _Drain(msgspec.Struct):
    undo: bool = False


class Nodes:
    """``/api/v1/nodes...``, all with the owner's key."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        presence: Presence,
        placement: Placement,
        status: Status,
        *,
        max_body: int,
    ) -> None:
        self._store = store
        self._keys = keys
        self._presence = presence
        self._placement = placement
        self._status = status
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route("/nodes", self._list, "GET", about="The nodes and how they are"),
            route(
                "/nodes",
                self._invite,
                "POST",
                about="Invite a node; its key is shown this once",
                takes=_NewNode,
            ),
            route(
                "/nodes/{name}",
                self._show,
                "GET",
                about="A node, and which jobs nobody else could do",
            ),
            route("/nodes/{name}", self._revoke, "DELETE", about="Take a node's key back, at once"),
            route(
                "/nodes/{name}/drain",
                self._drain,
                "POST",
                about="No new jobs for a node; what it has it finishes",
                takes=_Drain,
            ),
        ]

    async def _list(self, request: Request) -> Response:
        return Json({"nodes": await self._status.nodes()})

    async def _invite(self, request: Request) -> Response:
        body = await read_body(request.scope, request.receive, self._max_body)
        name = decode(body, _NewNode).name
        if not is_node_name(name):
            raise BadRequest(
                "A node's name has up to 63 letters, digits, dots, dashes.", param="name"
            )
        key = new_key("node")
        node_id = await self._store.add_node(name, hash_key(key))
        self._presence.invited(node_id)
        await self._changed()
        return Json({"name": name, "key": key, "id": node_id}, status_code=201)

    async def _show(self, request: Request) -> Response:
        """A node, and which jobs nobody else could do (``stays``)."""
        node = await self._known(request)
        shown = next(one for one in await self._status.nodes() if one["name"] == node.name)
        stays = self._placement.stays(node.name, await self._store.view_open_demands())
        return Json({**shown, "stays": stays})

    async def _drain(self, request: Request) -> Response:
        """No new jobs for a node; what it has it finishes."""
        node = await self._known(request)
        raw = await read_body(request.scope, request.receive, self._max_body)
        undo = decode(raw, _Drain).undo if raw else False
        await self._store.drain_node(node.name, draining=not undo)
        await self._changed()
        self._presence.cut_short(node.id)  # an open claim asks again, and is answered by this
        return await self._show(request)

    async def _revoke(self, request: Request) -> Response:
        node = await self._known(request)
        await self._store.revoke_node(node.name)
        self._presence.gone(node.id)
        await self._changed()
        return Json({"name": node.name, "revoked": True})

    async def _known(self, request: Request) -> NodeRow:
        name = request.path_params["name"]
        for node in await self._store.nodes():
            if node.name == name and not node.revoked:
                return node
        raise NotFound(what=f"node {name!r}")

    async def _changed(self) -> None:
        self._keys.forget_nodes()
        await self._placement.refresh()
