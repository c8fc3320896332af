"""What went wrong at one way, and whether another may be tried."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from time import time

from stead.core.errors import BackendFailed, SteadError
from stead.core.states import Failure
from stead.inference import faults
from stead.inference.plane import shapes
from stead.inference.plane.outlet import Headers
from stead.inference.seam import Api
from stead.net.http import HttpFailed
from stead.net.wire import Answer

#: Answers that say nothing against the request itself: another model may take it.
_ELSEWHERE = frozenset({401, 402, 403, 404, 408, 409, 425, 429})
_MOST_WAIT_S = 86_400.0
_JSON: Headers = [(b"content-type", b"application/json")]


class WayFailed(Exception):
    """A way gave no answer.

    ``error``: what is told if it was the last. ``status``: what the backend answered, 0 for
    nothing. ``body``: its own error in the client's shape, passed on if it was the last way.
    ``elsewhere``: whether another way may be tried.
    """

    def __init__(
        self,
        error: SteadError,
        *,
        status: int = 0,
        body: bytes | None = None,
        headers: Headers | None = None,
        retry_after_s: float = 0.0,
        elsewhere: bool = True,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.status = status
        self.body = body
        self.headers = headers or []
        self.retry_after_s = retry_after_s
        self.elsewhere = elsewhere


def unreachable(backend: str, error: HttpFailed) -> WayFailed:
    """It did not answer, or stopped to."""
    return WayFailed(faults.unreachable(backend, error))


def refused(
    api: Api, spoken: Api, answer: Answer, body: bytes, backend: str, key: str
) -> WayFailed:
    """It answered with an error: passed on, but for those about our own key."""
    status = answer.status
    wait_s = retry_after(answer.headers.get("retry-after", ""))
    if status in (401, 403):
        return WayFailed(faults.key_refused(backend, status), status=status)
    if status < 400:
        return WayFailed(
            BackendFailed(backend=backend, why=f"it answered {status}, which is no answer"),
            status=status,
        )
    told = shapes.passed(api, spoken, status, body, backend=backend, key=key)
    headers = list(_JSON)
    for name in ("retry-after", "x-request-id", "request-id"):
        if name in answer.headers:
            headers.append((name.encode(), answer.headers[name].encode("latin-1")))
    return WayFailed(
        faults.refusal(status, told), status=status, body=told, headers=headers,
        retry_after_s=wait_s, elsewhere=status >= 500 or status in _ELSEWHERE,
    )  # fmt: skip


def error_within(api: Api, spoken: Api, body: bytes, backend: str, key: str = "") -> WayFailed:
    """An error that came with status 200, or as the first event of a stream."""
    message, code, kind, _ = faults.read_error(body)
    failure = faults.failure_of(502, code, kind)
    status = 429 if failure in (Failure.RATE_LIMIT, Failure.BUDGET) else 502
    if kind in ("invalid_request_error", "not_found_error"):
        status = 400
    told = shapes.passed(api, spoken, status, body, backend=backend, key=key)
    error = BackendFailed(
        f"The model server {backend} answered with an error: {message or 'it gave no reason'}"
    )
    error.status, error.failure = status, failure
    return WayFailed(error, status=status, body=told, headers=list(_JSON), elsewhere=status != 400)


def retry_after(value: str) -> float:
    """Seconds that a backend asked to be left alone: a number or a date (RFC 9110, 10.2.3)."""
    value = value.strip()
    if not value:
        return 0.0
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time()
        except (ValueError, TypeError, IndexError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), _MOST_WAIT_S) if seconds == seconds else 0.0
