"""The node protocol over HTTP: authenticate, decode, call the service, encode.

Nodes that are known are answered at once, by a door of their own; a key that must be looked up,
and is perhaps none, comes the longer way through the application. Both do the same.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.core.errors import SteadError
from stead.core.recall import MemoryAsk
from stead.core.storage import NodeRow
from stead.core.wire import Claim, ClaimReply, Events, Finish, Heartbeat, Hello
from stead.gateway.auth import Keys
from stead.gateway.exchange import Exchange, Pairs, Place
from stead.gateway.http import Endpoint, decode, number, read_body, until_gone
from stead.gateway.node_service import NodeService

_encode = msgspec.json.Encoder().encode
_JSON = [(b"content-type", b"application/json")]


@dataclass(frozen=True, slots=True)
class _Call:
    """``POST /node/v1/NAME``; see ``stead.core.wire`` for the bodies."""

    name: str
    type: type[Any]
    work: Callable[[NodeRow, Any], Awaitable[Any]]

    @property
    def path(self) -> str:
        return f"/node/v1/{self.name}"


def _calls(service: NodeService) -> list[_Call]:
    return [
        _Call("claim", Claim, service.claim),
        _Call("events", Events, service.events),
        _Call("finish", Finish, service.finish),
        _Call("heartbeat", Heartbeat, service.heartbeat),
        _Call("hello", Hello, service.hello),
        _Call("memory", MemoryAsk, service.look_into_memory),
    ]


class NodeDoors:
    """The :class:`~stead.gateway.exchange.Door` for nodes. ``max_body`` in bytes."""

    def __init__(self, service: NodeService, keys: Keys, *, max_body: int) -> None:
        self.max_body = max_body
        self._keys = keys
        self._calls = {call.path.encode(): call for call in _calls(service)}

    def places(self) -> list[Place]:
        """Its paths: one a call."""
        return [Place(path, self) for path in self._calls]

    def who(self, headers: Pairs) -> NodeRow | None:
        """The node, if its key was seen before."""
        return self._keys.known_node({"headers": headers})

    def refused(self, exchange: Exchange, error: SteadError) -> None:
        """It sends it again."""

    def asker(self, headers: Pairs) -> None:
        """Its key may be taken back at any time."""

    def still(self, asker: None) -> None:
        """Nobody's: nothing is kept."""

    def begin(self, exchange: Exchange) -> bool:
        """Each call of a node has its task."""
        return False

    def over(self, exchange: Exchange) -> None:
        """Never called: nothing is begun."""

    def left(self, exchange: Exchange) -> None:
        """Never called: nothing is begun."""

    async def serve(self, exchange: Exchange) -> None:
        """Answer one call. What is begun is ended also when the node has gone; only waiting for
        a job is not."""
        call, node = self._calls[exchange.place.path], exchange.who
        exchange.bound = False
        body = decode(exchange.body(), call.type)
        claim = call.type is Claim
        answer = await call.work(node, replace(body, wait_s=0.0) if claim else body)
        if claim and _is_empty(answer) and body.wait_s > 0 and not exchange.disconnected:
            # Its key may have been revoked since.
            node = await self._keys.node({"headers": exchange.headers})
            exchange.bound = True
            answer = await call.work(node, body)
        if not exchange.disconnected:
            exchange.whole(200, _JSON, _encode(answer))


def routes(service: NodeService, keys: Keys, max_body: int) -> list[Route]:
    """The same calls of whoever is not known yet."""

    def route(call: _Call) -> Route:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            node = await keys.node(scope)
            claim = call.type is Claim
            body = decode(await read_body(scope, receive, max_body), call.type)
            answer = await call.work(node, replace(body, wait_s=0.0) if claim else body)
            if claim and _is_empty(answer) and body.wait_s > 0:
                # The only call that waits, and it gives up when the node does. The look before
                # spares a busy gateway two tasks a claim. Its key may have been revoked since.
                node = await keys.node(scope)
                answer = await until_gone(receive, call.work(node, body))
                if answer is None:
                    return
            await _send(send, _encode(answer))

        return Route(call.path, Endpoint(app), methods=["POST"])

    async def file(scope: Scope, receive: Receive, send: Send) -> None:
        node = await keys.node(scope)
        request = Request(scope, receive)
        query = request.query_params
        epoch = number(query.get("epoch"), "epoch", 0)
        path, _ = await service.file(node, query.get("job", ""), epoch, request.path_params["id"])
        await FileResponse(path, media_type="application/octet-stream")(scope, receive, send)

    files = Route("/node/v1/files/{id}", Endpoint(file), methods=["GET"])
    return [*(route(call) for call in _calls(service)), files]


def _is_empty(answer: ClaimReply) -> bool:
    return answer.job is None and not answer.again


async def _send(send: Send, body: bytes) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})
