"""Forms with files: ``multipart/form-data`` (RFC 7578), taken apart in memory.

The body is here as a whole already, so finding its boundaries is all there is to do: no copy is
made of a part before it is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MOST_PARTS = 256
_MOST_HEAD = 16_384
"""Bytes of one part's header."""
_PARAM = re.compile(r';\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form."""

    name: str
    filename: str
    """Empty: not a file."""
    content_type: str
    data: memoryview
    start: int
    """Where in the body that begins."""

    def text(self) -> str:
        """Raises ``ValueError`` where it is not UTF-8."""
        try:
            return bytes(self.data).decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"the field {self.name} is not text in UTF-8") from None


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, in their order; a name may come more than once."""

    parts: tuple[Part, ...]
    mark: bytes
    """What stands before each of them."""
    start: int
    """Where in the body the first mark is."""

    def part(self, name: str) -> Part | None:
        """The first of that name."""
        return next((part for part in self.parts if part.name == name), None)

    def text(self, name: str, default: str = "") -> str:
        """A field's text. Raises ``ValueError`` where it is not UTF-8."""
        part = self.part(name)
        return default if part is None else part.text()

    def texts(self, name: str) -> list[str]:
        """All fields called ``name`` or ``name[]``, as clients write lists."""
        return [part.text() for part in self.parts if part.name in (name, f"{name}[]")]


def parse(body: bytes, content_type: str) -> Form:
    """The form in ``body``. Raises ``ValueError`` that says what is wrong with it."""
    if not content_type.lower().startswith("multipart/form-data"):
        kind = content_type.split(";")[0].strip() or "nothing"
        raise ValueError(f"a form is expected (multipart/form-data), not {kind}")
    boundary = _params(content_type).get("boundary", "")
    if not boundary or len(boundary) > 200:
        raise ValueError("the form's boundary is missing from its Content-Type")
    mark = b"--" + boundary.encode("latin-1", "replace")
    at = 0 if body.startswith(mark) else _after(body, b"\r\n" + mark, 0) - len(mark)
    if at < 0:
        raise ValueError("the form's boundary is nowhere in its body")
    parts: list[Part] = []
    began = at
    whole = memoryview(body)
    while True:
        at += len(mark)
        if body.startswith(b"--", at):
            return Form(tuple(parts), mark, began)
        line_end = body.find(b"\r\n", at)
        if line_end < 0 or body[at:line_end].strip():
            raise ValueError("the form is cut off, or its boundary occurs within a field")
        end = body.find(b"\r\n" + mark, line_end)
        if end < 0:
            raise ValueError("the form is cut off: its last boundary is missing")
        if len(parts) >= _MOST_PARTS:
            raise ValueError(f"the form has more than {_MOST_PARTS} fields")
        parts.append(_part(body, whole, line_end + 2, end))
        at = end + 2


def _part(body: bytes, whole: memoryview, start: int, end: int) -> Part:
    if body.startswith(b"\r\n", start):
        head_end = data = start
    else:
        head_end = body.find(b"\r\n\r\n", start, min(end, start + _MOST_HEAD) + 4)
        data = head_end
    if head_end < 0:
        raise ValueError("a field of the form has no end of its header")
    data += 2 if head_end == start else 4
    headers: dict[str, str] = {}
    for line in bytes(whole[start:head_end]).split(b"\r\n"):
        name, _, value = line.partition(b":")
        headers[name.strip().lower().decode("latin-1")] = value.strip().decode("utf-8", "replace")
    given = _params(headers.get("content-disposition", ""))
    if "name" not in given:
        raise ValueError("a field of the form has no name")
    # A name that is given twice is taken in its plain form (RFC 7578, section 4.2).
    filename = given.get("filename", given.get("filename*", ""))
    content = whole[data : max(data, end)]
    return Part(given["name"], filename, headers.get("content-type", ""), content, data)


def _params(value: str) -> dict[str, str]:
    """The parameters of a header, by their lower-case names."""
    found: dict[str, str] = {}
    for name, quoted, plain in _PARAM.findall(value):
        # Browsers write a quote as %22; others put a backslash before it.
        text = re.sub(r'\\(["\\])', r"\1", quoted) if quoted else plain
        found.setdefault(name.lower(), text.replace("%22", '"'))
    return found


def _after(body: bytes, sought: bytes, start: int) -> int:
    found = body.find(sought, start)
    return -1 if found < 0 else found + len(sought)
