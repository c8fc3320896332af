"""What forms and addresses give: fields, days, where to go on."""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import RedirectResponse

from stead.core.errors import BadRequest
from stead.gateway.http import read_body

Fields = ImmutableMultiDict[str, str]

_MOST_FIELDS = 2_000
#: A form may hold a whole file of memory; percent signs make it three times as long.
_MOST_BYTES = 12_000_000


async def form_of(request: Request) -> Fields:
    """The fields of a form as browsers send it (``application/x-www-form-urlencoded``).

    Raises ``BadRequest``, ``TooLarge``.
    """
    raw = await read_body(request.scope, request.receive, _MOST_BYTES)
    try:
        pairs = parse_qsl(
            raw.decode("ascii", "replace"), keep_blank_values=True, encoding="utf-8",
            errors="replace", max_num_fields=_MOST_FIELDS,
        )  # fmt: skip
    except ValueError as error:
        raise BadRequest(f"The form cannot be read: {error}") from error
    return ImmutableMultiDict(pairs)


def moment(text: str, name: str, *, end: bool = False) -> int | None:
    """A day (``2026-11-22``) or a time of it (``2026-11-22T14:00``) of this machine's zone, in ms;
    None for nothing. ``end``: of a day its end. Raises ``BadRequest``."""
    text = text.strip()
    if not text:
        return None
    try:
        then = datetime.fromisoformat(text)
        if end and len(text) <= 10:
            then += timedelta(days=1)
        return int(then.timestamp() * 1000)
    except (ValueError, OverflowError, OSError) as error:
        raise BadRequest(f"{text[:40]!r} is not a day, such as 2026-11-22.", param=name) from error


def address(path: str, /, **query: object) -> str:
    """``path`` with what of the query is something."""
    said = [
        (name, str(one))
        for name, value in query.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one not in (None, "", False)
    ]
    return f"{path}?{urlencode(said)}" if said else path


def go(path: str, /, **query: object) -> RedirectResponse:
    """To where the outcome of a form is seen, so that a reload does not send it again."""
    return RedirectResponse(address(path, **query), 303)
