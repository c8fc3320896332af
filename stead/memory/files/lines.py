"""Lines of a file of any size, and of any bytes, in bounded memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

LONGEST = 4000
"""A line is handed out in pieces of at most so many characters."""

#: Control characters are shown, as the daily log shows them.
_CONTROLS = {
    **{code: 0x2400 + code for code in range(32) if chr(code) != "\t"},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
    0x2028: 0x20,
    0x2029: 0x20,
}

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """A line without its end, or a piece of a long one."""

    no: int
    """From 1, as editors and grep count."""
    text: str
    more: bool = False
    """It goes on from the piece before it."""


def lines_in(path: Path, start: int = 0, no: int = 1) -> Iterator[Line]:
    """The lines of a file, from byte ``start`` on, where line ``no`` begins.

    What is no UTF-8 (or, by its mark, UTF-16) is shown as U+FFFD, control characters as their
    pictures; CRLF and LF are both ends of lines. Raises ``OSError``.
    """
    with open(path, "rb") as file:
        yield from lines_of(file, start, no)


def lines_of(file: BinaryIO, start: int = 0, no: int = 1) -> Iterator[Line]:
    """As :func:`lines_in`, of an open file that can be sought in."""
    file.seek(0)
    head = file.read(3)
    file.seek(start)
    encoding = next((name for mark, name in _BOMS if head.startswith(mark)), "utf-8")
    if start:
        little = head.startswith(codecs.BOM_UTF16_LE)
        encoding = {"utf-16": "utf-16-le" if little else "utf-16-be"}.get(encoding, "utf-8")
    text = io.TextIOWrapper(file, encoding=encoding, errors="replace", newline="\n")
    try:
        more = False
        while piece := text.readline(LONGEST):
            ended = piece.endswith("\n")
            if ended:
                piece = piece[:-1].removesuffix("\r")
            # A piece may end between CR and LF; the LF alone then ends the line.
            if not piece.isprintable():
                piece = piece.translate(_CONTROLS)
            yield Line(no, piece, more)
            more = not ended
            no += ended
    finally:
        text.detach()


class Gathered:
    """A text that grows line by line and is handed out in pieces of bounded size.

    Nothing is dropped: what is too long for one piece goes into the next.
    """

    def __init__(self, most: int = LONGEST) -> None:
        self._most = most
        self._lines: list[str] = []
        self._size = 0
        self.first = 0
        self.last = 0

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, line: Line, text: str) -> tuple[int, int, str] | None:
        """Add a line; the piece that was full before it, if so: (first line, last line, text)."""
        full = None
        if self._lines and self._size + len(text) > self._most:
            full = self.take()
        if not self._lines:
            self.first = line.no
        if line.more and self._lines:
            self._lines[-1] += text
        else:
            self._lines.append(text)
        self._size += len(text) + 1
        self.last = line.no
        return full

    def take(self) -> tuple[int, int, str]:
        """What there is, and begin anew."""
        piece = self.first, self.last, "\n".join(self._lines)
        self._lines, self._size = [], 0
        return piece


def dedented(text: str, width: int) -> str:
    """Without at most ``width`` blanks at its beginning."""
    stripped = text.lstrip(" \t")
    blanks = len(text) - len(stripped)
    if "\t" in text[:blanks]:
        return stripped
    return text[min(blanks, width) :]


def numbered(lines: Iterable[str]) -> Iterator[Line]:
    """Lines that are in memory already."""
    for no, line in enumerate(lines, 1):
        yield Line(no, line)
