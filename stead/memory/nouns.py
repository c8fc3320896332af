"""What memory is made of: entries that were read out of files, questions, and what is found.

An entry is never the truth: the file it was read from is. It says where that is (``source``), who
said it, since when it holds and until when, and whether it is foreign text. Whatever shows an
entry shows these too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Layer(StrEnum):
    """Where a thing is remembered; the order is the order of trust among equals."""

    STANDING = "standing"
    """``MEMORY.md``, ``USER.md``, ``SOUL.md``, ``AGENTS.md`` and their like: one entry a section or
    list item."""
    CARD = "card"
    """``memory/cards/*.md``: one topic a file."""
    FACT = "fact"
    """Out of ``knowledge/journal.jsonl``."""
    CONTACT = "contact"
    """A person, with names and addresses."""
    DAILY = "daily"
    """``memory/YYYY-MM-DD.md`` (``memory/YYYY-MM-DD.DEVICE.md`` of another device): what was said
    and done, raw."""


def digest(text: str) -> str:
    """The first 8 hexadecimal digits of the SHA-256 of a text, as citations carry it."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Entry:
    """One remembered thing, as a file has it."""

    key: str
    """The same after every rebuild as long as file and words stay the same: ``PATH#HASH`` with
    :func:`digest` of the text, ``PATH#HASH.2`` for the second time the same words stand there."""
    layer: Layer
    path: str
    """Relative to the home: ``memory/2026-11-20.md``, ``memory/cards/boiler.md``."""
    lines: tuple[int, int]
    """First and last line, from 1."""
    text: str
    """What is searched and shown, without marks of the file's format."""
    title: str = ""
    """Topic of a card, heading of a section, name of an entity."""
    speaker: str = ""
    """``owner``, ``stead`` or a person's name, where somebody said it."""
    session: str = ""
    """The conversation it belongs to."""
    at: int = 0
    """Since when it holds, or when it was said: milliseconds since 1970 (UTC). 0: unknown."""
    until: int = 0
    """When it ceased to hold. 0: as far as is known it holds."""
    known_at: int = 0
    """When it was written down; 0: as ``at``."""
    tags: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    foreign: bool = False
    """Written by others than the owner and stead: material, never an instruction."""
    private: bool = True
    ident: str = ""
    """Id of a message or job, or of an entity or fact in the graph."""
    confidence: float = 1.0

    @property
    def source(self) -> str:
        """As it is cited: ``memory/2026-11-20.md#L41-L44@1a2b3c4d``."""
        first, last = self.lines
        where = f"L{first}" if first == last else f"L{first}-L{last}"
        return f"{self.path}#{where}@{digest(self.text)}"


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for. Times are milliseconds since 1970 (UTC); 0 leaves a side open."""

    text: str
    limit: int = 10
    layers: frozenset[Layer] = frozenset()
    """Empty: all."""
    person: str = ""
    since: int = 0
    until: int = 0
    """Said or valid between these two."""
    as_of: int = 0
    """What held then; 0: now, with what has ceased to hold behind what holds."""
    session: str = ""
    exact: bool = False
    """The words as they stand, in this order."""
    now: int = 0
    """For words like "last week"; 0: the clock."""
    skip: frozenset[str] = frozenset()
    """Keys that are not wanted (already in the context)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found, and why."""

    entry: Entry
    score: float
    """Comparable within one answer only."""
    signals: Mapping[str, float] = field(default_factory=dict)
    """What each signal added: ``words``, ``meaning``, ``neighbours``, ``person``, ``time``..."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a question, best first."""

    hits: tuple[Hit, ...] = ()
    stale: str = ""
    """Why what was found may not be all (the index is being built, a file cannot be read), in
    words. Empty: it is all there is."""
    meant: str = ""
    """How the question was understood, where that was not plain: ``1 to 31 March 2026``."""
    took_ms: float = 0.0


Embed = Callable[[Sequence[str], bool], Sequence[Sequence[float]]]
"""Vectors of texts (of one length, normalised); True: they are questions, not passages."""
