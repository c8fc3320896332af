"""What the review is made of: lines that may be quoted, operations, proposals, nights."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from stead.core.errors import BadRequest


class Op(StrEnum):
    """What can be done to memory."""

    ADD = "add"
    """A statement under a topic: a new card, or a line of the card there is."""
    CLOSE = "close"
    """A statement of a card does not hold any more; with ``text``: what holds now."""
    MERGE = "merge"
    """Two cards are about the same."""
    PROMOTE = "promote"
    """A statement into ``MEMORY.md``."""
    FACT = "fact"
    """A fact of the graph: subject, relation, object."""
    END_FACT = "end_fact"
    NOTE = "note"
    """A note to a contact."""
    ARCHIVE = "archive"
    """A card that nobody used: into ``memory/cards/archive/``. Never of the model's."""


class Take(StrEnum):
    """What the rules say of an operation."""

    NOW = "now"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Line:
    """Words of the owner or of stead, in a day's log: the only thing that can be quoted."""

    number: int
    """As the model is shown it, from 1 in each piece."""
    speaker: str
    text: str
    source: str
    """``memory/2026-11-20.md#L4@1a2b3c4d``."""
    at: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One change that has a source. Which of the fields are used depends on ``op``."""

    op: Op
    day: str
    """``2026-11-20``: the day of the source, since when it holds (or until when it held)."""
    topic: str = ""
    text: str = ""
    old: str = ""
    """Of a close: the statement as the card has it."""
    other: str = ""
    """Of a merge: the card that goes into ``topic``'s. Of a fact: the object."""
    relation: str = ""
    quote: str = ""
    source: str = ""
    speaker: str = ""
    certain: bool = False
    """Every word of ``text`` that counts stands in the quote."""

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "op": self.op.value}


def operation(data: Mapping[str, Any]) -> Operation:
    """As :meth:`Operation.as_dict` wrote it."""
    return Operation(**{**data, "op": Op(data["op"])})


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation makes of the files: their text before (None: not there) and after (None:
    gone)."""

    before: Mapping[str, str | None]
    after: Mapping[str, str | None]
    facts: tuple[Operation, ...] = ()
    """What goes into the graph's journal and not into a file of ours."""

    @property
    def nothing(self) -> bool:
        return not self.after and not self.facts


@dataclass(slots=True)
class Counts:
    """What became of what the model said."""

    pieces: int = 0
    calls: int = 0
    failed: int = 0
    """Answers that were thrown away whole, by ``thrown``."""
    thrown: dict[str, int] = field(default_factory=dict)
    said: int = 0
    """Operations in answers that could be read."""
    dropped: dict[str, int] = field(default_factory=dict)
    taken: int = 0
    waiting: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    cost_micro: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens

    def add(self, other: Counts) -> None:
        for name in self.__slots__:
            mine, more = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                for key, count in more.items():
                    mine[key] = mine.get(key, 0) + count
            else:
                setattr(self, name, mine + more)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a night may do and cost."""

    tokens: int = 200_000
    """Prompt and answer together."""
    cost_micro: int = 50_000
    auto: bool = True
    """Take by itself what the rules allow."""
    most_taken: int = 20
    """Statements taken by itself in one night."""
    standing_bytes: int = 8_000
    """``MEMORY.md`` grows no larger."""
    shrink: float = 0.2
    """A file that would lose more than this share waits for the owner."""
    most_changed: int = 10
    """A file of which more statements than these would change waits for the owner."""
    decay_days: int = 180
    """A card that nobody used for so long is proposed for the archive; 0: none."""
    back_days: int = 14
    """Days that a night makes up for."""


class Unfit(BadRequest):
    """That cannot be done to what memory holds now: {why}"""

    status = 409
    code = "proposal_unfit"


class Stale(BadRequest):
    """{path} was changed since this was proposed. It was made anew against the file as it is now:
    look at it again (`stead memory review show {ident}`) and accept that."""

    status = 409
    code = "proposal_stale"


class Busy(BadRequest):
    """A review is under way already; `stead memory review` shows how far it is."""

    status = 409
    code = "review_busy"


class Shelf(Protocol):
    """Where memory's files are read and written. Paths are relative to the home."""

    home: Path

    def read(self, path: str) -> str | None:
        """None: there is no such file."""

    def cards(self) -> list[str]:
        """The paths of all cards, sorted."""

    def write(self, path: str, before: str | None, after: str | None) -> None:
        """Durable when it returns. Raises :class:`Changed` where the file is not ``before``."""

    def settle(self) -> None:
        """Before the first write of a change: what others changed is kept apart."""

    def commit(self, words: str, more: Sequence[str] = ()) -> str:
        """What was written (and ``more``, which others wrote for us) is one change of the home's
        history; its name, empty where there is no history."""


class Changed(Exception):
    """A file is not what it was when the change was thought of."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Facts(Protocol):
    """The graph, as the review needs it. The same operation twice is one."""

    def take(self, operation: Operation, ident: str) -> None: ...

    def knows(self, operation: Operation) -> bool: ...

    def against(self, operation: Operation) -> str: ...


Used = Callable[[], Mapping[str, int]]
"""Path of a card -> when it was last recalled (ms)."""
Tell = Callable[[str, str], Awaitable[None]]
"""A notice to the owner: an id by which it is told once, and its words."""
