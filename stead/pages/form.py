"""What a form of a page sends: ``application/x-www-form-urlencoded``, small."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from stead.core.errors import BadRequest
from stead.gateway.http import read_body

#: Bytes; a form of a page is a few words.
_MOST = 200_000


async def fields(request: Request, most: int = _MOST) -> dict[str, str]:
    """The fields of a form, the last of each name. Raises ``BadRequest`` and ``TooLarge``."""
    raw = await read_body(request.scope, request.receive, most)
    try:
        text = raw.decode()
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=200, errors="strict"))
    except ValueError:  # also of text that is not UTF-8
        raise BadRequest(
            "The form could not be read: it is not text, or has too many fields."
        ) from None
