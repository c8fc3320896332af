"""Forms (multipart/form-data, RFC 7578) as far as the door has to know them: their short fields.

Files are passed over, never copied. A body that is no form has no fields: the backend will say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from stead.core.errors import BadRequest

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="([^"]*)"|[;\s]name=([^\s;"]+)', re.IGNORECASE)
_FILE = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)
#: A longer value is no name of a model.
_SHORT = 4096
_MOST_PARTS = 1000


def fields(body: bytes, content_type: str) -> dict[str, str]:
    """The short fields that are no files. Raises ``BadRequest`` without a boundary."""
    found: dict[str, str] = {}
    for name, start, end, is_file in _parts(body, content_type):
        if not is_file and end - start <= _SHORT:
            found[name] = body[start:end].decode("utf-8", "replace")
    return found


def renamed(body: bytes, content_type: str, model: str) -> bytes:
    """The form with another model's name, all other bytes as they are."""
    for name, start, end, is_file in _parts(body, content_type):
        if name == "model" and not is_file:
            return body[:start] + model.encode() + body[end:]
    mark = _mark(content_type)
    head = b'\r\nContent-Disposition: form-data; name="model"\r\n\r\n'
    return mark + head + model.encode() + b"\r\n" + body[max(0, body.find(mark)) :]


def _mark(content_type: str) -> bytes:
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise BadRequest(why="the form's content-type names no boundary")
    return b"--" + (found[1] or found[2]).encode("latin-1", "replace")


def _parts(body: bytes, content_type: str) -> Iterator[tuple[str, int, int, bool]]:
    """Name, place of the value and whether it is a file, of each part."""
    mark = _mark(content_type)
    at = body.find(mark)
    if at < 0:
        raise BadRequest(why="the form does not hold its own boundary")
    for _ in range(_MOST_PARTS):
        start = body.find(b"\r\n\r\n", at)
        if start < 0:
            return
        head = body[at + len(mark) : start]
        if head.startswith(b"--") or len(head) > _SHORT:
            return
        end = body.find(b"\r\n" + mark, start + 4)
        if end < 0:
            raise BadRequest(why="the form ends before its last boundary")
        name = _NAME.search(head)
        text = (name[1] or name[2] or b"").decode("utf-8", "replace") if name else ""
        yield text, start + 4, end, _FILE.search(head) is not None
        at = end + 2
