"""Errors in the shape of the API that was asked."""

from __future__ import annotations

from typing import Any

import msgspec

from stead.core.errors import BadRequest, SteadError
from stead.inference import faults
from stead.inference.seam import Api

#: Anthropic's error types by status (https://docs.claude.com/en/api/errors).
_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    503: "overloaded_error",
    529: "overloaded_error",
}
_OPENAI = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
#: Types that mean the same in both.
_SHARED = frozenset(
    {"invalid_request_error", "authentication_error", "permission_error", "rate_limit_error"}
)
_MONEY = frozenset({"over_budget", "insufficient_quota", "billing_error"})
#: The shapes that are Anthropic's.
ANTHROPIC = frozenset({Api.MESSAGES, Api.COUNT_TOKENS})


class NoThreads(BadRequest):
    """Conversations are not kept here between requests (`thread`): send all of their messages."""

    code = "thread_unsupported_request"
    #: By this the official client knows to do so itself.
    said = {"error_code": code, "unsupported": ["thread"]}


def told(api: Api | None, error: SteadError) -> bytes:
    """The body of an error of our own. ``api`` None: it is not known what was asked."""
    return msgspec.json.encode(_told(api, error))


def event(api: Api, error: SteadError) -> bytes:
    """The same as the last event of a stream, of which nothing else has to be known."""
    data = _told(api, error)
    if api in ANTHROPIC:
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(data)
    if api is Api.RESPONSES:
        inner: dict[str, object] = {"type": "error", "code": error.code, "message": error.message}
        inner |= {"param": error.param, "sequence_number": 0}
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(inner)
    return b"data: %b\n\n" % msgspec.json.encode(data)


def translated(api: Api, status: int, body: bytes, backend: str = "") -> bytes:
    """An error body of a backend, whatever its shape. ``backend``: its name, for the words."""
    message, code, kind, param = faults.read_error(body)
    message = message or "no reason given"
    if backend:
        message = f"The model server {backend} answered {status}: {message}"
    if api in ANTHROPIC:
        return msgspec.json.encode(_anthropic(status, message, code, kind))
    return msgspec.json.encode(_openai(status, message, code, kind, param))


def _told(api: Api | None, error: SteadError) -> dict[str, Any]:
    if api not in ANTHROPIC:
        return error.as_dict()
    made = _anthropic(error.status, error.message, error.code, error.kind)
    if isinstance(error, NoThreads):
        made["error"]["details"] = error.said
    return made


def _anthropic(status: int, message: str, code: str, kind: str) -> dict[str, Any]:
    known = _ANTHROPIC.get(status) or (
        "invalid_request_error" if 400 <= status < 500 else "api_error"
    )
    if code in _MONEY or kind in _MONEY:
        known = "billing_error"
    return {"type": "error", "error": {"type": known, "message": message}}


def _openai(
    status: int, message: str, code: str, kind: str, param: str | None
) -> dict[str, object]:
    known = _OPENAI.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    given = code or ("" if kind in _SHARED else kind) or f"backend_{status}"
    if given in _MONEY:
        known, given = "insufficient_quota", "insufficient_quota"
    elif status == 429 and not code:
        given = "rate_limit_exceeded"
    return {"error": {"message": message, "type": known, "param": param, "code": given}}
