"""What the operations that touch one id come to: pure functions, no database.

``fold(ident, operations)`` is the meaning of the journal. Operations that were undone are left out
before; those that make no sense where they stand (an end of a fact nobody asserted) change nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from stead.memory.graph.nouns import EntityWords, FactWords, Operation


@dataclass(frozen=True, slots=True)
class EntityState:
    kind: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    cards: tuple[str, ...] = ()
    into: str = ""
    """The entity it was merged into."""
    retracted: bool = False


@dataclass(frozen=True, slots=True)
class FactState:
    words: FactWords
    seq: int
    """The operation that first asserted it."""
    subject: str
    valid_to: int
    source: tuple[str, ...] = ()
    confidence: float = 1.0
    foreign: bool = False
    closed_seq: int = 0
    closed_by: str = ""
    retracted_seq: int = 0


State = tuple[EntityState | None, FactState | None]


def targets(operation: Operation) -> Iterator[str]:
    """Ids of the entities and facts that an operation may change."""
    yield from (entity.id for entity in operation.entities)
    if operation.fact is not None:
        yield operation.fact.id
    yield from (end.fact for end in operation.ends)
    if operation.op in ("retract", "merge", "split"):
        yield from operation.ids


def fold(ident: str, operations: Iterable[tuple[int, Operation]]) -> State:
    """What is known of ``ident`` after these (sequence number, operation), in their order."""
    entity: EntityState | None = None
    fact: FactState | None = None
    for seq, operation in operations:
        entity = _entity(ident, entity, operation)
        fact = _fact(ident, fact, seq, operation)
    return entity, fact


def _entity(ident: str, state: EntityState | None, operation: Operation) -> EntityState | None:
    if operation.op in ("assert", "split"):
        for words in operation.entities:
            if words.id == ident:
                state = _named(state or EntityState(), words)
    if state is None or ident not in operation.ids:
        return state
    if operation.op == "retract":
        return replace(state, retracted=True)
    if operation.op == "merge" and operation.into != ident:
        return replace(state, into=operation.into)
    if operation.op == "split" and not operation.entities:
        return replace(state, into="")
    return state


def _named(state: EntityState, words: EntityWords) -> EntityState:
    """Said again: what is new is added, a new name makes an alias of the old one."""
    name = words.name or state.name
    aliases = dict.fromkeys((*state.aliases, state.name, *words.aliases))
    kept = tuple(alias for alias in aliases if alias and alias != name)
    cards = tuple(dict.fromkeys((*state.cards, *words.cards)))
    return EntityState(words.kind or state.kind, name, kept, cards, state.into, False)


def _fact(ident: str, state: FactState | None, seq: int, operation: Operation) -> FactState | None:
    words = operation.fact
    if operation.op == "assert" and words is not None and words.id == ident:
        if state is None or state.retracted_seq:
            state = FactState(
                words, seq, words.subject, words.to, operation.source, words.confidence,
                operation.foreign,
            )  # fmt: skip
        else:  # said again: one more source, and as sure as the surest of them
            state = replace(
                state,
                source=tuple(dict.fromkeys((*state.source, *operation.source))),
                confidence=max(state.confidence, words.confidence),
                foreign=state.foreign and operation.foreign,
            )
    if state is None:
        return None
    if operation.op in ("assert", "close"):
        for end in operation.ends:
            if end.fact == ident:
                by = words.id if words is not None else ""
                state = replace(state, valid_to=end.to, closed_seq=seq, closed_by=by)
    elif ident in operation.ids and operation.op == "retract":
        state = replace(state, retracted_seq=seq)
    elif ident in operation.ids and operation.op == "split" and operation.entities:
        state = replace(state, subject=operation.entities[0].id)
    return state
