"""Failures of model servers: in words for people, in the OpenAI shape, in classes for retries."""

from __future__ import annotations

import msgspec

from stead.core.errors import (
    BackendFailed,
    BadRequest,
    ModelNotReady,
    ModelRefused,
    OverBudget,
    SteadError,
)
from stead.core.states import Failure
from stead.net.http import HttpFailed, TimedOut

_BY_CODE = {
    "over_budget": Failure.BUDGET,
    "insufficient_quota": Failure.BUDGET,
    "billing_hard_limit_reached": Failure.BUDGET,
    "backend_auth": Failure.AUTH,
    "backend_key": Failure.AUTH,
    "backend_failed": Failure.NETWORK,
    "backend_timeout": Failure.TIMEOUT,
    "rate_limit_exceeded": Failure.RATE_LIMIT,
}
_BY_STATUS = {
    401: Failure.AUTH,
    403: Failure.AUTH,
    408: Failure.TIMEOUT,
    409: Failure.CODE,
    425: Failure.UNAVAILABLE,
    429: Failure.RATE_LIMIT,
    504: Failure.TIMEOUT,
}
#: The most of a foreign error text that is repeated.
_EXCERPT = 500


class _Inner(msgspec.Struct):
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Outer(msgspec.Struct):
    """The shapes in which servers tell errors."""

    error: _Inner | str | None = None
    message: str | None = None
    detail: str | None = None


def failure_of(status: int, code: str = "", kind: str = "") -> Failure:
    """The class of a failure told by status, ``code`` and ``type``."""
    known = _BY_CODE.get(code) or _BY_CODE.get(kind)
    if known:
        return known
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return Failure.SCHEMA if 400 <= status < 500 else Failure.UNAVAILABLE


def read_error(body: bytes) -> tuple[str, str, str, str | None]:
    """Message, code, type and param of an error body, whatever its shape; the message cut short."""
    try:
        outer = msgspec.json.decode(body, type=_Outer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = " ".join(body.decode("utf-8", "replace").split())
        return text[:_EXCERPT], "", "", None
    inner = outer.error
    if isinstance(inner, _Inner):
        code = "" if inner.code is None else str(inner.code)
        return inner.message[:_EXCERPT], code, inner.type or "", inner.param
    said = inner or outer.message or outer.detail or ""
    return said[:_EXCERPT], "", "", None


def refusal(status: int, body: bytes) -> SteadError:
    """What the model door answered instead of an answer, as an error with its failure class."""
    message, code, kind, param = read_error(body)
    failure = failure_of(status, code, kind)
    error: SteadError
    if failure is Failure.BUDGET:
        error = OverBudget(message) if message else OverBudget(why="the model door said so")
    elif code == ModelNotReady.code:
        error = ModelNotReady(message)
    elif failure in (Failure.NETWORK, Failure.TIMEOUT, Failure.UNAVAILABLE):
        why = f"it answered {status}"
        error = BackendFailed(message) if message else BackendFailed(backend="behind it", why=why)
        error.status = status if status >= 500 else BackendFailed.status
    else:
        error = ModelRefused(status=status, why=message or "it gave no reason")
    error.failure = failure
    error.param = param
    if code:
        error.code = code
    return error


def unreachable(backend: str, error: HttpFailed) -> BackendFailed:
    """A backend that did not answer, or stopped to. The words of ``stead.net`` hold no secrets."""
    failed = BackendFailed(backend=backend, why=str(error))
    if isinstance(error, TimedOut):
        failed.failure = Failure.TIMEOUT
        failed.code = "backend_timeout"
        failed.status = 504
    return failed


def not_whole(backend: str, why: str) -> BackendFailed:
    """An answer that ended before it was complete."""
    return BackendFailed(
        f"The model server {backend} broke off in the middle of its answer: {why}. "
        f"What came before is not the whole answer."
    )


def key_refused(backend: str, status: int) -> BackendFailed:
    """A backend that does not take our key. Its own text is left out: it may repeat the key."""
    failed = BackendFailed(
        f"The model server {backend} refused stead's key ({status}). "
        f"Check key_file of that backend in stead.toml."
    )
    failed.failure = Failure.AUTH
    failed.code = "backend_auth"
    return failed


def shaped(status: int, body: bytes, *, backend: str, key: str) -> bytes:
    """An error body of a backend in the OpenAI shape, with the key taken out should it be there."""
    if key:
        body = body.replace(key.encode("utf-8", "replace"), b"[key]")
    try:
        outer = msgspec.json.decode(body, type=_Outer)
        if isinstance(outer.error, _Inner) and outer.error.message:
            return body
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    said, _, _, _ = read_error(body)
    error = BadRequest(f"The model server {backend} answered {status}: {said or 'no reason given'}")
    if status >= 500:
        error.kind = "server_error"
    error.code = "rate_limit_exceeded" if status == 429 else f"backend_{status}"
    return msgspec.json.encode(error.as_dict())


def event(error: SteadError) -> bytes:
    """An error as the last event of a stream."""
    return b"data: %b\n\n" % msgspec.json.encode(error.as_dict())
