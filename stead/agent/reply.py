"""Reading the reply out of streamed JSON, piece by piece."""

from __future__ import annotations

import re

_HEAD = re.compile(r'\s*\{\s*"reply"\s*:\s*"')
_PLAIN = re.compile(r'[^"\\]+')
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_LOST = "\N{REPLACEMENT CHARACTER}"
_HEAD_MOST = 200
"""A head longer than this is not that of a reply."""


def sound(text: str) -> str:
    """The text with lone surrogates replaced, so that it can be written as UTF-8."""
    return re.sub("[\ud800-\udfff]", _LOST, text)


class ReplyReader:
    """Extracts the string of ``{"reply": "..."}`` while the JSON still streams in.

    Pieces may be cut anywhere, also inside an escape or between the two halves
    of a surrogate pair (RFC 8259, section 7). What was given out never changes
    later. An answer of another shape gives nothing.
    """

    def __init__(self) -> None:
        self.raw = ""
        """All that came in."""
        self.text = ""
        """The reply so far."""
        self._pending = ""
        self._state = "head"

    def feed(self, piece: str) -> str:
        """Take the next piece; return what it adds to the reply."""
        self.raw += piece
        if self._state == "over":
            return ""
        self._pending += piece
        if self._state == "head" and not self._enter():
            return ""
        more = "".join(self._read())
        self.text += more
        return more

    def _enter(self) -> bool:
        found = _HEAD.match(self._pending)
        if found:
            self._pending = self._pending[found.end() :]
            self._state = "body"
            return True
        if len(self._pending) > _HEAD_MOST:
            self._state = "over"
        return False

    def _read(self) -> list[str]:
        """Consume all whole characters of the pending text."""
        out: list[str] = []
        pending, at = self._pending, 0
        while at < len(pending):
            plain = _PLAIN.match(pending, at)
            if plain:
                out.append(sound(plain.group()))
                at = plain.end()
            elif pending[at] == '"':
                self._state = "over"
                at = len(pending)
            else:
                taken = _escape(pending, at)
                if taken is None:
                    break
                out.append(taken[0])
                at = taken[1]
        self._pending = pending[at:]
        return out


def _escape(text: str, at: int) -> tuple[str, int] | None:
    """Read the escape at ``at``: its character and where it ends; None: not all there yet."""
    if at + 1 >= len(text):
        return None
    kind = text[at + 1]
    if kind != "u":
        return _SIMPLE.get(kind, kind), at + 2
    if at + 6 > len(text):
        return None
    code = _code(text, at)
    if not 0xD800 <= code < 0xDC00:
        return (_LOST if code < 0 or 0xDC00 <= code < 0xE000 else chr(code)), at + 6
    rest = text[at + 6 : at + 12]
    if len(rest) < 6 and "\\u".startswith(rest[:2]):
        return None
    low = _code(text, at + 6) if rest[:2] == "\\u" else -1
    if 0xDC00 <= low < 0xE000:
        return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), at + 12
    return _LOST, at + 6


def _code(text: str, at: int) -> int:
    found = _HEX.fullmatch(text, at + 2, at + 6)
    return int(found.group(), 16) if found else -1
