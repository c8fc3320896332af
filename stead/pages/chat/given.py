"""What comes of a browser, and what goes to a template."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from stead.core.errors import BadRequest
from stead.gateway.http import read_body
from stead.pages.chat.markdown import rendered

View = dict[str, Any]

#: Bytes; what the API takes is its own matter.
_MOST = 100_000_000


async def fields(request: Request) -> dict[str, str]:
    """What a form says, or a script in JSON. Raises ``BadRequest``, ``TooLarge``."""
    body = await read_body(request.scope, request.receive, _MOST)
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            return msgspec.json.decode(body, type=dict[str, str])
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50))
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRequest("What was sent could not be read.") from error


async def shown(messages: list[View]) -> list[View]:
    """Messages with what their template needs. Long ones are rendered in a thread."""
    for one in messages:
        one["cut"] = one.get("length", 0) > len(one["text"])
        one["html"] = ""
        if one["role"] == "assistant" and not one["pruned_at"]:
            if len(one["text"]) > 4000:
                one["html"] = await asyncio.to_thread(rendered, one["text"])
            else:
                one["html"] = rendered(one["text"])
    return messages
