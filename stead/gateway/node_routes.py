"""The node protocol over HTTP: authenticate, decode, call the service, encode."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.core.storage import NodeRow
from stead.core.wire import Claim, ClaimReply, Events, Finish, Heartbeat, Hello
from stead.gateway.auth import Keys
from stead.gateway.http import Endpoint, decode, read_body, until_gone
from stead.gateway.node_service import NodeService

_encode = msgspec.json.Encoder().encode


def routes(service: NodeService, keys: Keys, max_body: int) -> list[Route]:
    """``POST /node/v1/...``; see ``stead.core.wire`` for the bodies."""

    def call(name: str, type: type[Any], work: Callable[[NodeRow, Any], Awaitable[Any]]) -> Route:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            node = await keys.node(scope)
            body = decode(await read_body(scope, receive, max_body), type)
            answer = await work(node, replace(body, wait_s=0.0) if type is Claim else body)
            if type is Claim and _is_empty(answer) and body.wait_s > 0:
                # The only call that waits, and it gives up when the node does. The look before
                # spares a busy gateway two tasks a claim. Its key may have been revoked since.
                node = await keys.node(scope)
                answer = await until_gone(receive, work(node, body))
                if answer is None:
                    return
            await _send(send, _encode(answer))

        return Route(f"/node/v1/{name}", Endpoint(app), methods=["POST"])

    return [
        call("claim", Claim, service.claim),
        call("events", Events, service.events),
        call("finish", Finish, service.finish),
        call("heartbeat", Heartbeat, service.heartbeat),
        call("hello", Hello, service.hello),
    ]


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
