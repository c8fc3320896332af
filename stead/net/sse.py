"""An incremental parser of event streams (WHATWG HTML, section 9.2.6).

Bytes may be cut anywhere: within a line end, within a character. Comments are
handed out too, because stead says in them what a call is waiting for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Event:
    """A dispatched event. ``id`` is the last one seen, of this event or an earlier one."""

    data: str
    event: str = "message"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment line, without its colon and the one space that may follow it."""

    text: str


class EventTooLarge(Exception):
    """One event of a stream grew beyond what is held in memory."""


class Parser:
    """Turns pieces of a stream into events and comments.

    An event that is not closed by an empty line when the stream ends is not an
    event; :attr:`open` says whether there is one. ``limit``: bytes of one event.
    """

    def __init__(self, *, limit: int = 16 * 1024 * 1024) -> None:
        self.last_id = ""
        self.retry_ms: int | None = None
        """How long the server asks to wait before connecting again."""
        self._limit = limit
        self._line: list[bytes] = []
        self._size = 0
        self._data: list[str] = []
        self._event = ""
        self._after_cr = False
        self._started = False

    @property
    def open(self) -> bool:
        """Whether an event has begun that is not complete."""
        return bool(self._line or self._data or self._event)

    def feed(self, piece: bytes) -> list[Event | Comment]:
        """Take the next bytes; return what they complete, in order."""
        if self._after_cr and piece:
            self._after_cr = False
            if piece[:1] == b"\n":
                piece = piece[1:]
        self._size += len(piece)
        if b"\n" not in piece and b"\r" not in piece:
            if piece:
                self._line.append(piece)
            self._check()
            return []
        if self._line:
            self._line.append(piece)
            piece = b"".join(self._line)
        lines = _LINE_END.split(piece)
        self._after_cr = piece.endswith(b"\r")
        rest = lines.pop()
        self._line = [rest] if rest else []
        if not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(_BOM)
        out: list[Event | Comment] = []
        for line in lines:
            self._take(line, out)
        self._check()
        return out

    def _check(self) -> None:
        if self._size > self._limit:
            raise EventTooLarge(f"an event of the stream is larger than {self._limit} bytes")

    def _take(self, line: bytes, out: list[Event | Comment]) -> None:
        if not line:
            if self._data:
                out.append(Event("\n".join(self._data), self._event or "message", self.last_id))
                self._data = []
            self._event = ""
            self._size = sum(map(len, self._line))
            return
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ").decode("utf-8", "replace")
        if not name:
            out.append(Comment(value))
            self._size = max(0, self._size - len(line))
        elif name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        elif name == b"id":
            if "\0" not in value:
                self.last_id = value
        elif name == b"retry" and raw.removeprefix(b" ").isdigit():
            self.retry_ms = int(value)
