"""What the index and the ranker say to each other (:mod:`stead.memory.index`,
:mod:`stead.memory.rank`).

The ranker reads a question and says which terms are looked for (:class:`Plan`); the index finds
what has them and hands it back with all that is known of it and of what was said just before and
after (:class:`Candidate`); the ranker puts that in order (:class:`Ranked`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from stead.memory.nouns import Entry, Question


class Vocabulary(Protocol):
    """The terms that the index holds."""

    @property
    def total(self) -> int:
        """How many entries there are."""
        ...

    def df(self, terms: Sequence[str]) -> dict[str, int]:
        """How many entries have each of these terms; those that none has are left out."""
        ...

    def starting(self, prefix: str, limit: int) -> list[tuple[str, int]]:
        """Terms that begin so, with how many entries have them, the most frequent first."""
        ...


@dataclass(frozen=True, slots=True)
class Group:
    """One word of a question, and the terms that stand for it."""

    word: str
    terms: Mapping[str, float]
    """Term -> how much it counts as the word itself (1) or less (a correction, a beginning)."""
    weight: float
    """What a full match is worth, rarity included."""
    seeds: bool = True
    """Entries that have it become candidates. Of frequent words it is only looked whether the
    candidates have them."""
    needed: bool = False
    """What does not have it is no candidate."""
    column: int = -1
    """The one column that counts; -1: all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a question is understood."""

    groups: tuple[Group, ...] = ()
    embed: str = ""
    """What to compare meanings with; empty: no comparison."""
    since: int = 0
    until: int = 0
    as_of: int = 0
    """As in :class:`~stead.memory.nouns.Question`, with what the words of the question said."""
    latest: bool = False
    """It is about now, or the last time: what is new becomes a candidate too."""
    meant: str = ""
    pool: int = 120
    """How many candidates are wanted."""
    question: Question = field(default_factory=lambda: Question(""))
    more: object = None
    """The ranker's own."""


Tally = Mapping[str, int]
"""Terms, and how often they stand in a column."""


class Near:
    """An entry as a candidate, or as the neighbour of one.

    ``entry`` and ``columns`` may be made when they are first asked for: most neighbours are only
    looked at for a term or two.
    """

    __slots__ = ("_columns", "_entry", "cosine", "id", "words")

    def __init__(
        self,
        id: int,
        entry: Entry | Callable[[], Entry],
        columns: Sequence[Tally] | Callable[[], Sequence[Tally]],
        words: int,
        cosine: float | None = None,
    ) -> None:
        self.id = id
        self.words = words
        """Terms in all columns."""
        self.cosine = cosine
        """Likeness in meaning, -1 to 1; None: not known."""
        self._entry = entry
        self._columns = columns

    @property
    def entry(self) -> Entry:
        if not isinstance(self._entry, Entry):
            self._entry = self._entry()
        return self._entry

    @property
    def columns(self) -> Sequence[Tally]:
        """Of each column."""
        if callable(self._columns):
            self._columns = self._columns()
        return self._columns


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be an answer, between what was said before and after it (in the same conversation
    or file, the nearest first)."""

    self: Near
    before: tuple[Near, ...] = ()
    after: tuple[Near, ...] = ()


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its place in the order."""

    id: int
    score: float
    signals: Mapping[str, float]
