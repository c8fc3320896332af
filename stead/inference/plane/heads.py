"""What of the head of a backend's answer is the client's business."""

from __future__ import annotations

from stead.core.errors import BackendFailed
from stead.inference.plane.failed import WayFailed
from stead.inference.plane.outlet import Headers, Kept
from stead.net.wire import Answer

_PASSED = frozenset({"content-type", "retry-after", "x-request-id", "request-id"})
_RATES = ("x-ratelimit-", "anthropic-")
_KINDS: dict[bytes, tuple[str, Headers]] = {}
_HEADS: dict[bytes, tuple[str, Headers]] = {}
"""By the whole head of an answer, in lower case."""
_TYPE = b"\ncontent-type:"


def headers_of(answer: Answer, backend: str) -> tuple[str, Headers]:
    """The content type of an answer, in lower case, and its headers that are the client's business.

    Of most answers that is the type alone, which is the same again and again. Raises ``WayFailed``
    for an answer that cannot be read.
    """
    low = answer.low
    known = _HEADS.get(low)
    if known is not None:
        return known
    if low and not (
        b"\nx-" in low or b"request-id:" in low or b"\nretry-after:" in low
        or b"\nanthropic-" in low or b"\ncontent-encoding:" in low or b"boundary=" in low
    ):  # fmt: skip
        at = low.find(_TYPE)
        kind = low[at + len(_TYPE) :].partition(b"\r\n")[0].strip() if at >= 0 else b""
        known = _KINDS.get(kind)
        if known is None:
            if len(_KINDS) > 100:
                _KINDS.clear()
            headers = Kept([(b"content-type", kind)] if kind else [])
            known = _KINDS[kind] = (kind.decode("latin-1"), headers)
        if len(_HEADS) > 100:
            _HEADS.clear()
        _HEADS[low] = known
        return known
    coding = answer.headers.get("content-encoding", "identity").lower()
    if coding not in ("", "identity"):
        why = f"its answer is pressed ({coding[:40]}), though it was asked to leave that"
        raise WayFailed(BackendFailed(backend=backend, why=why))
    passed = []
    for name, value in answer.headers.items():
        if name in _PASSED or name.startswith(_RATES):
            passed.append((name.encode("latin-1"), value.encode("latin-1")))
    return answer.headers.get("content-type", "").lower(), passed
