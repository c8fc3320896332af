"""Errors in the shape of the API that was called: as a body, and as the last event of a stream."""

from __future__ import annotations

import msgspec

from stead.core.errors import SteadError
from stead.inference.faults import read_error, shaped
from stead.inference.seam import Api

ANTHROPIC = frozenset({Api.MESSAGES, Api.COUNT_TOKENS})
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def body(api: Api | None, error: SteadError) -> bytes:
    """The body of an error answer."""
    if api in ANTHROPIC:
        return _anthropic(error.status, error.message)
    return msgspec.json.encode(error.as_dict())


def event(api: Api, error: SteadError) -> bytes:
    """An error as the last event of a stream."""
    if api in ANTHROPIC:
        return b"event: error\ndata: %b\n\n" % _anthropic(error.status, error.message)
    if api is Api.RESPONSES:
        told = {
            "type": "error", "code": error.code, "message": error.message,
            "param": error.param, "sequence_number": 0,
        }  # fmt: skip
        return b"event: error\ndata: %b\n\n" % msgspec.json.encode(told)
    return b"data: %b\n\n" % msgspec.json.encode(error.as_dict())


def passed(api: Api, spoken: Api, status: int, raw: bytes, *, backend: str, key: str) -> bytes:
    """A backend's error body for the client: as it is where it has the client's shape already.

    ``spoken``: the shape in which the backend was asked. ``key`` is taken out, should it be there.
    """
    if api not in ANTHROPIC:
        return shaped(status, raw, backend=backend, key=key)
    if key:
        raw = raw.replace(key.encode("utf-8", "replace"), b"[key]")
    if spoken in ANTHROPIC and _is_anthropic(raw):
        return raw
    said, _, _, _ = read_error(raw)
    return _anthropic(
        status, f"The model server {backend} answered {status}: {said or 'no reason given'}"
    )


class _Error(msgspec.Struct):
    type: str
    message: str


class _Anthropic(msgspec.Struct):
    type: str
    error: _Error


def _is_anthropic(raw: bytes) -> bool:
    try:
        return msgspec.json.decode(raw, type=_Anthropic).type == "error"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _anthropic(status: int, message: str) -> bytes:
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    error = _Anthropic("error", _Error(kind, message))
    return msgspec.json.encode(error)
