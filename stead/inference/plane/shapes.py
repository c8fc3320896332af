"""Errors in the shape of the API that was called: as a body, and as the last event of a stream."""

from __future__ import annotations

import msgspec

from stead.inference.apis import errors
from stead.inference.faults import shaped
from stead.inference.seam import Api

ANTHROPIC = errors.ANTHROPIC
#: The body of an error answer, and an error as the last event of a stream.
body, event = errors.told, errors.event


def passed(api: Api, spoken: Api, status: int, raw: bytes, *, backend: str, key: str) -> bytes:
    """A backend's error body for the client: as it is where it has the client's shape already.

    ``spoken``: the shape in which the backend was asked. ``key`` is taken out, should it be there.
    """
    if api not in ANTHROPIC and spoken not in ANTHROPIC:
        return shaped(status, raw, backend=backend, key=key)
    if key:
        raw = raw.replace(key.encode("utf-8", "replace"), b"[key]")
    if api in ANTHROPIC and spoken in ANTHROPIC and _is_anthropic(raw):
        return raw
    return errors.translated(api, status, raw, backend)


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
