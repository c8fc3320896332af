"""``POST /channel/NAME``: messages that come in by a channel with a secret of its own."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.core.errors import NotFound
from stead.core.ports import WayIn
from stead.flow.flow import Flow
from stead.gateway.http import Endpoint, Json, read_body


def routes(ways_in: Mapping[str, WayIn], flow: Flow, max_body: int) -> list[Route]:
    """Answered with 202 when the message is on disk, not before (invariant 1)."""

    async def post(request: Request) -> Response:
        name = request.path_params["name"]
        channel = ways_in.get(name)
        body = await read_body(request.scope, request.receive, max_body)
        if channel is None:
            raise NotFound(what=f"channel {name!r} that messages come in by")
        headers = {key.lower(): value for key, value in request.headers.items()}
        accepted = await flow.accept(channel.receive(headers, body))
        return Json(
            {
                "message_id": accepted.message_id,
                "job_id": accepted.job_id,
                "duplicate": accepted.duplicate,
            },
            status_code=202,
        )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        response = await post(Request(scope, receive))
        await response(scope, receive, send)

    return [Route("/channel/{name}", Endpoint(app), methods=["POST"])]
