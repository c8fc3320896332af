"""What of the head of a backend's answer is the client's business."""

from __future__ import annotations

import re

from stead.inference.plane.outlet import Headers, Kept
from stead.net.wire import Answer

_PASSED = frozenset({"content-type", "retry-after", "x-request-id", "request-id"})
_RATES = ("x-ratelimit-", "anthropic-")
_OTHERS = re.compile(rb"\n(?:retry-after|x-|request-id|anthropic-)|\ncontent-type:[^\r]*=")
_TYPE = re.compile(rb"\ncontent-type:[ \t]*([^\r]*)")
_KINDS: dict[bytes, tuple[str, Headers]] = {}


def headers_of(answer: Answer) -> tuple[str, Headers]:
    """The content type of an answer, in lower case, and its headers that are the client's business.

    Of most answers that is the type alone, which is the same again and again.
    """
    low = answer.low
    if low and not _OTHERS.search(low):
        found = _TYPE.search(low)
        kind = found[1] if found is not None else b""
        known = _KINDS.get(kind)
        if known is None:
            if len(_KINDS) > 100:
                _KINDS.clear()
            headers = Kept([(b"content-type", kind)] if kind else [])
            known = _KINDS[kind] = (kind.decode("latin-1"), headers)
        return known
    passed = []
    for name, value in answer.headers.items():
        if name in _PASSED or name.startswith(_RATES):
            passed.append((name.encode("latin-1"), value.encode("latin-1")))
    return answer.headers.get("content-type", "").lower(), passed
