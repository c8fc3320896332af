"""The stream of a conversation for a browser: messages and how it stands as HTML, tokens as they
come. It is the API's stream, event for event and with its ids."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse

from stead.gateway.http import sse
from stead.pages.chat.given import shown
from stead.pages.chat.markdown import harmless
from stead.pages.inside import Api

View = dict[str, Any]
Draw = Callable[[Request, View], str]

#: A script sees no comments, so that a line is still there is an event for it.
_BEAT = b"event: beat\ndata: 1\n\n"


def stream(api: Api, request: Request, one: Draw, standing: Draw, most: int) -> StreamingResponse:
    query = request.query_params
    session = query.get("s") or "main"
    # A browser that connects again by itself tells the place in a header; a script cannot.
    last = request.headers.get("last-event-id") or query.get("last", "")
    headers = [(b"last-event-id", last.encode("latin-1", "replace"))] if last else []
    asked = {"most": most, "read": 1, "after": query.get("after")}

    async def pieces() -> AsyncIterator[bytes]:
        path = f"/api/v1/sessions/{session}/events"
        async with api.stream("GET", path, headers=headers, query=asked) as (status, _, told):
            if status != 200:
                yield b"event: refused\ndata: 1\n\n"
                return
            rest = b""
            async for piece in told:
                *events, rest = (rest + piece).split(b"\n\n")
                for event in events:
                    yield await _drawn(request, event, one, standing)

    return StreamingResponse(
        pieces(),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _drawn(request: Request, event: bytes, one: Draw, standing: Draw) -> bytes:
    fields = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
    kind = fields.get(b"event", b"")
    if kind == b"message":
        (message,) = await shown([msgspec.json.decode(fields[b"data"])])
        drawn = {
            name: message[name]
            for name in ("seq", "id", "role", "turn", "job_id", "external_id", "replaces")
        }
        drawn["html"] = one(request, message)
        drawn["words"] = "" if message["role"] == "owner" else harmless(message["text"][:400])
        return sse(drawn, event="message", ident=fields.get(b"id", b"").decode())
    if kind == b"state":
        state = msgspec.json.decode(fields[b"data"])
        drawn = {name: state[name] for name in ("state", "title", "waiting")}
        drawn["jobs"] = [{"id": job["id"], "state": job["state"]} for job in state["jobs"]]
        drawn["html"] = standing(request, state)
        return sse(drawn, event="state")
    if not kind:
        return _BEAT if not event.startswith(b"retry") else b"retry: 500\n\n"
    return event + b"\n\n"
