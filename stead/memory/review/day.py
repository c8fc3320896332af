"""A day's log in pieces that fit a model, and a place in it to go on from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stead.memory.nouns import Entry, Layer
from stead.memory.review.nouns import Line
from stead.memory.review.said import own_words, parts

#: Reads the entries of a file (relative to the home), one after the other.
Entries = Callable[[Path, str], Iterable[Entry]]

_NAME = re.compile(r"(\d{4}-\d\d-\d\d)(\.[\w.-]+)?\.md")
_SPEAKERS = frozenset({"owner", "stead"})
#: Tag of an answer that says what memory holds: it is nothing new.
_RECALLED = "recalled"
_LINE_MOST = 1200
"""Characters of a line that the model is shown; longer ones become several."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a file has been read: so many entries, the last of them this one, and so many parts
    of the next, where that one is larger than a piece."""

    entries: int = 0
    key: str = ""
    part: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    lines: tuple[Line, ...]
    """Empty: nothing of the owner or stead was left in the file."""
    after: Cursor
    """Where to go on when this one is done with."""


def days(folder: Path) -> dict[str, list[str]]:
    """The days that have a log: date -> paths relative to the home, the house's own first."""
    found: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            found.setdefault(match[1], []).append(f"memory/{path.name}")
    return {day: sorted(paths, key=len) for day, paths in sorted(found.items())}


def pieces(
    entries: Entries, home: Path, path: str, start: Cursor, most: int, most_lines: int = 12
) -> Iterator[Piece]:
    """What the owner and stead said in a file after ``start``, in pieces of about ``most``
    characters. What others wrote is not among it, also where the owner quotes it."""
    lines: list[Line] = []
    size = number = 0
    after = start
    for entry in entries(home, path):
        number += 1
        if number <= start.entries:
            continue
        said = list(parts(own_words(entry.text), _LINE_MOST)) if _quotable(entry) else []
        done = start.part if number == start.entries + 1 else 0
        more = sum(len(one) + 12 for one in said[done:])
        if lines and said and (size + more > most or len(lines) + len(said) > most_lines):
            yield Piece(tuple(lines), after)
            lines, size = [], 0
        for at, one in enumerate(said[done:], done):
            if lines and (size + len(one) > most or len(lines) >= most_lines):
                yield Piece(tuple(lines), Cursor(number - 1, after.key, at))
                lines, size = [], 0
            lines.append(_line(entry, one, len(lines) + 1))
            size += len(one) + 12
        after = Cursor(number, entry.key)
    if after != start:
        yield Piece(tuple(lines), after)


def _quotable(entry: Entry) -> bool:
    """The owner's words and stead's answers: not those given after reading what others wrote, which
    count as theirs, and not what came out of memory."""
    return (
        entry.layer is Layer.DAILY
        and entry.speaker in _SPEAKERS
        and not entry.foreign
        and _RECALLED not in entry.tags
    )


def _line(entry: Entry, text: str, number: int) -> Line:
    return Line(number, entry.speaker, text, entry.source, entry.at)
