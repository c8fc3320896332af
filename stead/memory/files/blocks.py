"""Markdown in blocks: list items, paragraphs, code; each with its lines and its heading.

Not a whole Markdown: what counts is that each thing somebody wrote is one block, that none is
lost, and that both sides of an unsolved merge stay together as what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stead.memory.files.lines import Gathered, Line, dedented

ITEM = "item"
TEXT = "text"
HEADING = "heading"
CONFLICT = "conflict"
"""Lines between the marks of a merge that nobody has solved, with the marks."""

_HEADING = re.compile(r" {0,3}(#{1,6})(?![^ \t])")
_ITEM = re.compile(r"( {0,3}(?:[-*+]|\d{1,9}[.)])[ \t]+)(.*)", re.DOTALL)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_STAMPED = re.compile(r"- \d\d:\d\d(?::\d\d)? ")
_BEGIN = re.compile(r"<{7}(?: |$)")
_END = re.compile(r">{7}(?: |$)")


@dataclass(frozen=True, slots=True)
class Block:
    """One block, or a piece of one that is too long."""

    kind: str
    first: int
    last: int
    text: str
    """Without the mark of a list item and the indentation of its further lines."""
    title: str = ""
    """The headings it stands under, outermost first: ``House / Heating``. Those of the first level
    are left out, being the title of the file."""
    more: bool = False
    """It goes on from the piece before it."""
    top: str = ""
    """The title of the file, as far as it is known there."""


def _rule(text: str) -> bool:
    """``---``, ``* * *``: nothing that anybody wrote."""
    bare = text.replace(" ", "").replace("\t", "")
    return len(bare) > 2 and bare[0] in "-*_" and not bare.strip(bare[0])


class _Headings:
    def __init__(self) -> None:
        self._under: list[tuple[int, str]] = []
        self.top = ""
        """The first heading of the first level."""

    def add(self, level: int, words: str) -> None:
        self._under = [one for one in self._under if one[0] < level]
        if level == 1:
            self.top = self.top or words
        else:
            self._under.append((level, words))

    def __str__(self) -> str:
        return " / ".join(words for _, words in self._under if words)


class _Reader:
    """Where in the text we are."""

    def __init__(self) -> None:
        self.headings = _Headings()
        self._kind = ""
        self._gathered = Gathered()
        self._more = False
        self._fence = ""
        self._width = 0
        self._blanks: list[Line] = []

    def read(self, line: Line) -> Iterator[Block]:
        text = line.text
        if line.more:
            yield from self._add(line, text)
        elif self._kind == CONFLICT:
            yield from self._add(line, text)
            if _END.match(text):
                yield from self.end()
        elif _BEGIN.match(text):
            yield from self._begin(CONFLICT, line, text)
        elif _STAMPED.match(text):
            # Of the daily log. Whatever was not closed before it, it stands for itself.
            yield from self._begin(ITEM, line, text[2:], 2)
        elif self._fence:
            yield from self._fenced(line, text)
        elif not text.strip():
            yield from self._blank(line)
        else:
            yield from self._words(line, text)

    def _fenced(self, line: Line, text: str) -> Iterator[Block]:
        if self._kind == ITEM and text.strip() and not text.startswith((" ", "\t")):
            self._fence = ""  # it ends with the item it is in
            yield from self._words(line, text)
            return
        yield from self._add(line, dedented(text, self._width))
        closes = dedented(text, self._width).strip()
        if closes.startswith(self._fence) and not closes.strip(self._fence[0]):
            self._fence = ""

    def _blank(self, line: Line) -> Iterator[Block]:
        if self._kind == ITEM:
            self._blanks.append(line)  # what is indented may follow
            if len(self._blanks) > 50:
                yield from self.end()
        else:
            yield from self.end()

    def _words(self, line: Line, text: str) -> Iterator[Block]:
        inner = dedented(text, self._width)
        indented = text.startswith(("  ", "\t"))
        if self._kind == ITEM and indented:
            for blank in self._blanks:
                yield from self._add(blank, "")
            self._blanks = []
            yield from self._add(line, inner)
        elif found := _HEADING.match(text):
            yield from self.end()
            words = text[found.end() :].strip()
            bare = words.rstrip("#")
            words = bare.rstrip() if not bare or bare[-1].isspace() else words
            self.headings.add(len(found[1]), words)
            if words:
                yield Block(
                    HEADING, line.no, line.no, words, str(self.headings), top=self.headings.top
                )
        elif _rule(text):
            yield from self.end()
        elif found := _ITEM.fullmatch(text):
            yield from self._begin(ITEM, line, found[2], len(found[1]))
            inner = found[2]
        elif self._kind == TEXT or (
            self._kind == ITEM and not self._blanks and not _FENCE.match(text)
        ):
            yield from self._add(line, inner)  # a further line, indented or not
        else:
            yield from self._begin(TEXT, line, text)
        if self._kind and (fence := _FENCE.match(inner)):
            self._fence = fence[1]

    def _begin(self, kind: str, line: Line, text: str, width: int = 0) -> Iterator[Block]:
        yield from self.end()
        self._kind, self._width = kind, width
        yield from self._add(line, text)

    def _add(self, line: Line, text: str) -> Iterator[Block]:
        if not self._kind:
            self._kind = TEXT
        full = self._gathered.add(line, text)
        if full is not None:
            yield from self._block(full)
            self._more = True

    def _block(self, piece: tuple[int, int, str]) -> Iterator[Block]:
        first, last, text = piece
        if text.strip():
            under = str(self.headings)
            yield Block(self._kind, first, last, text, under, self._more, self.headings.top)

    def end(self) -> Iterator[Block]:
        if self._gathered:
            yield from self._block(self._gathered.take())
        self._kind, self._more, self._fence, self._width = "", False, "", 0
        self._blanks = []


def blocks_of(lines: Iterable[Line]) -> Iterator[Block]:
    """The blocks in order."""
    reader = _Reader()
    for line in lines:
        yield from reader.read(line)
    yield from reader.end()
