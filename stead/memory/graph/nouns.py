"""What a graph is made of: operations as the journal holds them, and what is derived from them.

Times are milliseconds since 1970 (UTC); 0 is unknown (a beginning) or open (an end).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from stead.core.errors import BadRequest, NotFound, SteadError

VERSION = 1
"""Of the journal's lines. A line of a later version is kept and not understood."""

KINDS = ("person", "project", "place", "device", "organisation", "decision", "preference", "thing")

#: What a subject has but one of at a time, unless who asserts it says otherwise.
SINGLE = frozenset({
    "address", "age", "birthday", "born", "born on", "decided", "died on", "employer", "home",
    "is", "job", "language", "lives at", "lives in", "located at", "located in", "married to",
    "name", "owner", "partner", "phone", "port", "prefers", "price", "status", "time zone",
    "title", "version", "works at", "works for",
})  # fmt: skip

Time = Annotated[int, msgspec.Meta(ge=-62_135_596_800_000, le=253_402_300_799_999)]
Ident = Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Words = Annotated[str, msgspec.Meta(max_length=20_000)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class EntityWords(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entity within an operation. Names and cards of an entity that is there are added."""

    id: Ident
    kind: Words = ""
    name: Words = ""
    aliases: tuple[Name, ...] = ()
    cards: tuple[Words, ...] = ()
    """Files of ``knowledge/contacts/`` that are about it."""


class FactWords(msgspec.Struct, frozen=True, omit_defaults=True, rename={"since": "from"}):
    """A fact (``value``) or a relation (``object``: the id of an entity)."""

    id: Ident
    subject: Ident
    predicate: Name
    value: Words = ""
    object: Annotated[str, msgspec.Meta(max_length=80)] = ""
    since: Time = 0
    to: Time = 0
    confidence: Share = 1.0
    single: bool = False
    due: Time = 0
    """When something is to be done about it (follow-ups)."""


class End(msgspec.Struct, frozen=True):
    """A fact ceased to hold at ``to``."""

    fact: Ident
    to: Time


Verb = Literal["assert", "close", "retract", "merge", "split", "undo"]


class Operation(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal: it happened whole or not at all."""

    id: Ident
    v: int
    at: Time
    """When it was written down."""
    op: Verb
    by: Words = ""
    """``owner``, ``review``, ``import``, ``sync``..."""
    batch: Words = ""
    """What was done in one go has one of these, and can be undone in one go."""
    source: tuple[Words, ...] = ()
    """Where it was read, as :attr:`stead.memory.nouns.Entry.source` cites it."""
    why: Words = ""
    foreign: bool = False
    """It was read in text of others."""
    entities: tuple[EntityWords, ...] = ()
    """assert: made or added to. split: made anew, to take ``ids`` (facts) away from others."""
    fact: FactWords | None = None
    ends: tuple[End, ...] = ()
    """close, and assert of a fact that others gave way to."""
    ids: tuple[Ident, ...] = ()
    """retract: facts and entities. merge: entities that go into ``into``. split: entities that are
    on their own again. undo: operations."""
    into: Annotated[str, msgspec.Meta(max_length=80)] = ""


@dataclass(frozen=True, slots=True)
class Entity:
    """A person, place, thing... as it is known (now, or as it was known then)."""

    id: str
    kind: str
    name: str
    aliases: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    """Ids of all that were merged into it, its own included."""
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that holds, or held, of an entity."""

    id: str
    subject: str
    """Id of the entity, after merges."""
    subject_name: str
    predicate: str
    value: str
    """The words, or the name of the entity that ``object`` is."""
    object: str = ""
    valid_from: int = 0
    valid_to: int = 0
    known_from: int = 0
    """When it was written down."""
    known_to: int = 0
    """When it was retracted, or taken back."""
    closed_at: int = 0
    """When its end was written down."""
    closed_by: str = ""
    """The fact it gave way to."""
    confidence: float = 1.0
    single: bool = False
    source: tuple[str, ...] = ()
    foreign: bool = False
    due: int = 0
    by: str = ""
    line: int = 0
    """In the journal."""
    op: str = ""

    def holds(self, at: int) -> bool:
        """Whether it was true then, as far as is known."""
        return self.valid_from <= at and (not self.valid_to or at < self.valid_to)

    @property
    def words(self) -> str:
        """``Anna Schmidt lives in Bremen``."""
        return " ".join(part for part in (self.subject_name, self.predicate, self.value) if part)


@dataclass(frozen=True, slots=True)
class Version:
    """A fact as it was known from one operation to the next."""

    fact: Fact
    known_from: int
    known_to: int
    """0: it is what is known now."""


@dataclass(frozen=True, slots=True)
class Match:
    """An entity that a name may mean."""

    entity: Entity
    score: float
    """1: that very name."""
    name: str
    """The name of it that came nearest."""


@dataclass(frozen=True, slots=True)
class Edge:
    """A relation, and what is at its other end."""

    fact: Fact
    entity: Entity
    outwards: bool
    """Whether the relation goes from the one that was asked about to ``entity``."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two facts that cannot both hold."""

    older: Fact
    newer: Fact
    open: bool
    """Whether they claim the same time: no end date settles it yet."""


@dataclass(frozen=True, slots=True)
class Done:
    """An operation of the journal."""

    operation: Operation
    line: int
    undone: bool

    @property
    def words(self) -> str:
        """What it is about, shortly: ids where there are no names in it."""
        one = self.operation
        said = [entity.name or entity.id[-8:] for entity in one.entities]
        if one.fact is not None:
            said.append(f"{one.fact.predicate} {one.fact.value or one.fact.object[-8:]}")
        said += [f"{end.fact[-8:]} ends" for end in one.ends]
        said += [ident[-8:] for ident in one.ids]
        if one.into:
            said.append(f"into {one.into[-8:]}")
        return " ".join(said) or one.batch


class UnknownName(NotFound):
    """Nothing is known by the name {name!r}.{hint}"""

    code = "unknown_name"


class AmbiguousName(BadRequest):
    """{name!r} may be {names}. Say the whole name, or the id."""

    code = "ambiguous_name"


class BadOperation(BadRequest):
    """That cannot be written into the journal: {why}"""

    code = "bad_operation"


class JournalUnusable(SteadError):
    """The journal {path} cannot be used: {why}"""

    code = "journal_unusable"


def listed(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
