"""The room *Nodes*: what each does now; invite one, drain it, retire it, take its key back."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stead.pages.form import fields
from stead.pages.inside import Refused
from stead.pages.render import say
from stead.pages.rooms import House, Room
from stead.pages.shown import Bundle, Make


class Nodes:
    """The handlers."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._card = house.render.macro("nodes/parts.html", "card")

    async def index(self, request: Request, *, wrong: str = "", name: str = "") -> Response:
        """All of them; ``gone``: also those whose key was taken back."""
        nodes = (await self._house.api(request).get("/api/v1/nodes"))["nodes"]
        gone = [node for node in nodes if node["revoked"]]
        every = bool(request.query_params.get("gone"))
        return self._house.render.page(
            request, "nodes/index.html", status=422 if wrong else 200, wrong=wrong, name=name,
            nodes=[node for node in nodes if every or not node["revoked"]],
            gone=0 if every else len(gone),
            live="/live?on=node",
        )  # fmt: skip

    async def show(self, request: Request) -> Response:
        """One, and which jobs nobody else could do."""
        node = await self._house.api(request).get(_path(request))
        return self._house.render.page(request, "nodes/one.html", node=node, live="/live?on=node")

    async def invite(self, request: Request) -> Response:
        """A new one: its key is shown this once."""
        name = (await fields(request)).get("name", "").strip()
        try:
            made = await self._house.api(request).post("/api/v1/nodes", {"name": name})
        except Refused as refused:
            if refused.status != 400:
                raise
            return await self.index(request, wrong=refused.message, name=name)
        url = str(request.base_url).rstrip("/")
        host = request.url.hostname or ""
        return self._house.render.page(
            request, "nodes/invited.html", made=made, url=url,
            alone=host in ("localhost", "127.0.0.1", "::1"),
        )  # fmt: skip

    async def drain(self, undo: bool, request: Request) -> Response:
        api = self._house.api(request)
        node = await api.post(f"{_path(request)}/drain", {"undo": undo})
        words = "gets new jobs again." if undo else "gets no new jobs; what it has it finishes."
        return self._after(request, node, f"{node['name']} {words}")

    async def retire(self, request: Request) -> Response:
        """Drained, and its key taken back when it has no job any more."""
        api = self._house.api(request)
        node = await api.post(f"{_path(request)}/drain", {"undo": False})
        if node["running"]:
            words = f"{node['name']} gets no new jobs. Retire it when it has ended what it does."
            return self._after(request, node, words)
        return await self.revoke(request)

    async def revoke(self, request: Request) -> Response:
        api = self._house.api(request)
        node = await api.get(_path(request))
        await api.delete(_path(request))
        words = f"{node['name']} may no longer come in."
        return self._after(request, {**node, "revoked": True, "alive": False}, words)

    def _after(self, request: Request, node: dict[str, Any], words: str) -> Response:
        if request.headers.get("hx-request") != "true":
            return RedirectResponse("/nodes", 303)
        return say(Response(self._card(node), media_type="text/html"), words)


def _path(request: Request) -> str:
    return f"/api/v1/nodes/{quote(request.path_params['name'], safe='')}"


class Rows:
    """The cards of all nodes, where they differ."""

    states = True

    def __init__(self, house: House) -> None:
        self._card = house.render.macro("nodes/parts.html", "card")

    async def changed(self, bundle: Bundle) -> str:
        html = []
        for change in bundle.of("node"):
            row = change["row"]
            if row is not None:
                key = ("node", row["name"])
                html.append(bundle.once(key, partial(self._card, row)))
        return "".join(html)

    async def anew(self) -> str:
        return ""  # nodes are told whole at the beginning


def rows(house: House) -> Make:
    """``on=node``."""
    return lambda api, query: Rows(house)


def room(house: House) -> Room:
    nodes = Nodes(house)
    return Room(
        "nodes",
        "Nodes",
        [
            Route("/nodes", nodes.index, methods=["GET"]),
            Route("/nodes", nodes.invite, methods=["POST"]),
            Route("/nodes/{name}", nodes.show, methods=["GET"]),
            Route("/nodes/{name}/drain", partial(nodes.drain, False), methods=["POST"]),
            Route("/nodes/{name}/again", partial(nodes.drain, True), methods=["POST"]),
            Route("/nodes/{name}/retire", nodes.retire, methods=["POST"]),
            Route("/nodes/{name}/revoke", nodes.revoke, methods=["POST"]),
        ],
    )
