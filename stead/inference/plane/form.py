"""Forms (multipart/form-data, RFC 7578) as far as the door has to know them: their short fields.

Files are passed over, never copied.
"""

from __future__ import annotations

from stead.core.errors import BadRequest
from stead.net.multipart import Form, parse

#: A longer value is no name of a model.
_SHORT = 4096


def fields(body: bytes, content_type: str) -> dict[str, str]:
    """The short fields that are no files; of those of the same name the first. Raises
    ``BadRequest``."""
    found: dict[str, str] = {}
    for part in _form(body, content_type).parts:
        if not part.filename and len(part.data) <= _SHORT:
            found.setdefault(part.name, bytes(part.data).decode("utf-8", "replace"))
    return found


def renamed(body: bytes, content_type: str, model: str) -> bytes:
    """The form with another model's name, all other bytes as they are."""
    form = _form(body, content_type)
    part = next((one for one in form.parts if one.name == "model" and not one.filename), None)
    if part is not None:
        return body[: part.start] + model.encode() + body[part.start + len(part.data) :]
    head = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
    return form.mark + head + model.encode() + b"\r\n" + body[form.start :]


def _form(body: bytes, content_type: str) -> Form:
    try:
        return parse(body, content_type)
    except ValueError as error:
        raise BadRequest(why=str(error)) from None
