"""The text of an answer as rows of a terminal, while it comes.

A row that is out belongs to the terminal, so each is broken once, where it is full: between words,
or between characters of scripts that have no spaces (Unicode annex 14, in short). What is code is
not broken, so that it can be copied as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from unicodedata import category

from wcwidth import wcwidth

_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_AS_IT_IS = re.compile(r"(    |\t|\s*\|)")
_HANG = re.compile(r"\s*(?:>\s?)*(?:[-*+•]\s+|\d{1,3}[.)]\s+)?")
#: Kana that never begin a row; and by their category (Unicode, table 12) what else never does,
#: and what never ends one.
_SMALL = frozenset("々ーァィゥェォッャュョぁぃぅぇぉっゃゅょ")
_NOT_FIRST, _NOT_LAST = ("Pe", "Pf", "Po"), ("Ps", "Pi")
_LEAST = 10
#: Longer than that nothing is held back for its end.
_UNBROKEN_MOST = 4_000
_AT_ONCE = 2_000
_JOINER = "\u200d"


@lru_cache(4096)
def _columns(char: str) -> int:
    return 8 if char == "\t" else max(0, wcwidth(char))


def columns(text: str) -> int:
    """How many columns a terminal needs for it."""
    return len(text) if text.isascii() and "\t" not in text else sum(map(_columns, text))


def clipped(text: str, most: int) -> str:
    """The end of ``text`` that fits in ``most`` columns."""
    if columns(text) <= most:
        return text
    at, left = len(text), most - 1
    while at and left >= _columns(text[at - 1]):
        at -= 1
        left -= _columns(text[at])
    return "…" + text[at:]


class Rows:
    """Takes text piece by piece and gives out the rows that are whole.

    ``width`` says how many columns there are now.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        self._width = width
        self._rest = ""
        self._hang = ""
        self._begun = False
        """Whether a part of the line is out already."""
        self._fenced = False

    @property
    def tail(self) -> str:
        """What stands in the last row, which is not full yet."""
        return self._rest

    def add(self, text: str) -> list[str]:
        """Rows that are whole now."""
        out: list[str] = []
        for number, line in enumerate(text.split("\n")):
            if number:
                out += self._over()
            for at in range(0, len(line), _AT_ONCE):
                self._rest += line[at : at + _AT_ONCE]
                out += self._full()
        return out

    def end(self) -> list[str]:
        """The last row, if anything is in it; then all begins again."""
        out = self._over() if self._rest.strip() else []
        self._rest, self._hang, self._begun, self._fenced = "", "", False, False
        return out

    def _over(self) -> list[str]:
        """The last rows of a line."""
        line, begun = self._rest, self._begun
        fence = not begun and _FENCE.match(line) is not None
        whole = fence or self._unbroken(line)
        rows = [line] if whole else list(self._broken(line))
        self._fenced = self._fenced != fence
        self._rest, self._begun = "", False
        return rows if line or not begun else []

    def _full(self) -> list[str]:
        """The rows of an unfinished line that nothing can be added to."""
        rows: list[str] = []
        if not self._unbroken(self._rest):
            *rows, self._rest = self._broken(self._rest)
        if len(self._rest) > _UNBROKEN_MOST:
            rows.append(self._rest)
            self._rest = ""
        self._begun = self._begun or bool(rows)
        return rows

    def _unbroken(self, line: str) -> bool:
        return self._fenced or (not self._begun and _AS_IT_IS.match(line) is not None)

    def _room(self) -> int:
        return max(self._width(), _LEAST)

    def _broken(self, line: str) -> Iterator[str]:
        room = self._room()
        if not self._begun:
            found = _HANG.match(line)
            wide = columns(found[0]) if found else 0
            self._hang = " " * (wide if wide <= room // 3 else 0)
        while columns(line.rstrip(" ")) > room:
            at = _break(line, room, len(line) - len(line.lstrip(" ")))
            if not line[at:].strip(" "):
                break
            yield line[:at].rstrip(" ")
            line = self._hang + line[at:].lstrip(" ")
        yield line


def _break(line: str, room: int, indent: int) -> int:
    """Where to break: behind the last place that still fits; a word that is longer than a row is
    left whole, for the terminal to break."""
    used, best = 0, 0
    before = ""
    for at, char in enumerate(line):
        wide = _columns(char)
        if at > indent and (before == " " or _between(before, char)):
            if used - (before == " ") <= room:
                best = at
            elif best:
                return best
            else:
                return at
        used += wide
        if used > room and best:
            return best
        before = char
    return len(line)


def _between(before: str, char: str) -> bool:
    """Whether a row may end between these two."""
    if not before or before == _JOINER or not _columns(char) or char in _SMALL:
        return False
    if category(char) in _NOT_FIRST or category(before) in _NOT_LAST:
        return False
    return _ideograph(before) or _ideograph(char)


def _ideograph(char: str) -> bool:
    return (
        "\u2e80" <= char <= "\u9fff"
        or "\uac00" <= char <= "\ud7a3"
        or ("\uf900" <= char <= "\ufaff" or "\uff00" <= char <= "\uffe6" or char >= "\U00020000")
    )
