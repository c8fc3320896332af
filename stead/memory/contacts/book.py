"""The address book: one vCard a file, one entity of the graph a person.

A person may have several cards (from a telephone, from a server, written here): all of them are
kept as they are, and shown as one. Joining and taking apart are operations of the graph, so nothing
is lost by either, and both can be undone.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from stead.core.ids import uuid7
from stead.memory.contacts.addresses import fits
from stead.memory.contacts.cards import Address, Cards, addresses_of, content_hash
from stead.memory.contacts.vcard import Bad, Card, Property, escape, read_cards
from stead.memory.graph.graph import Graph
from stead.memory.graph.nouns import (
    AmbiguousName,
    BadOperation,
    Entity,
    EntityWords,
    Fact,
    Operation,
    UnknownName,
    listed,
)

NOTE = "note"
FOLLOW_UP = "follow up"
_GO = 500
"""So many people are brought in before their operations are written."""
_MOST_BAD = 100


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, out of all cards and facts."""

    id: str
    name: str
    aliases: tuple[str, ...]
    cards: tuple[str, ...]
    addresses: tuple[Address, ...]
    notes: tuple[Fact, ...] = ()
    follow_ups: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True)
class Candidate:
    """Two that may be one person."""

    one: Entity
    other: Entity
    why: str


@dataclass(slots=True)
class Imported:
    """What became of a file of vCards."""

    batch: str
    """To undo all of it."""
    read: int = 0
    new: int = 0
    same: int = 0
    """Were there already, word for word."""
    joined: int = 0
    """Another card of somebody who was there, by an address of theirs."""
    unsure: int = 0
    """May be somebody who was there; proposed, not joined."""
    bad: list[str] = field(default_factory=list)
    """Cards that could not be read, in words (the first hundred)."""
    bad_count: int = 0


class Book:
    """The contacts of a home. Not for two threads at once."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.cards = Cards(graph.home)
        self.tidy()

    def close(self) -> None:
        self.cards.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- files and graph agree

    def tidy(self) -> None:
        """Take in files somebody put there; put away cards of people who were removed, and bring
        back those of people who are there again (an undo)."""
        self.cards.refresh()
        paths = self.cards.paths()
        owners = self.graph.owners(paths)
        moved = False
        for path in paths:
            if path in owners and owners[path] is None:
                self.cards.put_away(path)
                moved = True
        if away := self.cards.removed():
            for path, owner in self.graph.owners(away).items():
                if owner is not None:
                    moved = self.cards.bring_back(path) or moved
        if orphans := [path for path in paths if path not in owners]:
            self._adopt(orphans)
        if moved:
            self.cards.refresh()

    def _adopt(self, paths: Sequence[str]) -> None:
        names = self.cards.names()
        batch = uuid7()
        self.graph.write(self._new(names[path] or Path(path).stem, path, batch) for path in paths)

    def _new(self, name: str, path: str, batch: str) -> Operation:
        words = EntityWords(uuid7(), kind="person", name=_flat(name)[:500], cards=(path,))
        return self.graph.operation("assert", entities=(words,), batch=batch, source=(path,))

    # --- who

    def entity(self, who: str) -> Entity:
        """By name, id, or one of the addresses. Raises ``UnknownName`` and ``AmbiguousName``."""
        owners = self.graph.owners(self.cards.by_address(who))
        found = {one.id: one for one in owners.values() if one is not None}
        if len(found) == 1:
            return next(iter(found.values()))
        if found:
            names = [f"{one.name} ({one.id[-8:]})" for one in found.values()]
            raise AmbiguousName(name=who, names=listed(names))
        return self.graph.entity(who)

    def person(self, who: str) -> Person:
        return self._person(self.entity(who), facts=True)

    def _person(self, entity: Entity, *, facts: bool = False) -> Person:
        known = self.graph.facts(entity.id) if facts else []
        return Person(
            entity.id, entity.name, entity.aliases, entity.cards,
            tuple(self.cards.addresses(entity.cards)),
            tuple(fact for fact in known if fact.predicate == NOTE),
            tuple(fact for fact in known if fact.predicate == FOLLOW_UP),
        )  # fmt: skip

    def people(self, words: str = "", limit: int = 0) -> Iterator[Person]:
        """Everyone with a card, by name; or those whom ``words`` may mean."""
        if words:
            owners = self.graph.owners(self.cards.by_address(words)).values()
            chosen = {one.id: one for one in owners if one is not None}
            for match in self.graph.find(words, limit or 50):
                chosen.setdefault(match.entity.id, match.entity)
            found = list(chosen.values())
        else:
            found = self.graph.entities()
        count = 0
        for entity in found:
            if entity.cards:
                yield self._person(entity)
                count += 1
                if count == limit:
                    return

    # --- adding

    def add(
        self,
        name: str,
        *,
        emails: Sequence[str] = (),
        phones: Sequence[str] = (),
        organisation: str = "",
    ) -> Person:
        """Somebody new, with a card."""
        flat = _flat(name)
        if not flat:
            raise BadOperation(why="a name is empty")
        family = flat.rpartition(" ")
        lines = [
            Property("FN", escape(flat)),
            Property("N", f"{escape(family[2])};{escape(family[0])};;;"),
            *(Property("EMAIL", escape(_flat(one))) for one in emails),
            *(Property("TEL", escape(_flat(one))) for one in phones),
        ]
        if organisation:
            lines.append(Property("ORG", escape(_flat(organisation))))
        lines.append(Property("UID", f"urn:uuid:{uuid7()}"))
        batch = uuid7()
        self.put(Card(tuple(lines), "4.0"), batch)
        return self.person(self.graph.operations(1)[0].operation.entities[0].id)

    def put(self, card: Card, batch: str, owner: str = "") -> str:
        """Keep a card, as another of ``owner``'s or of somebody new; return its path."""
        path = self.cards.fresh_path(card.name)
        self.cards.write(path, card)
        if owner:
            self.graph.assert_entity(owner, ident=owner, cards=(path,), batch=batch)
        else:
            self.graph.write([self._new(card.name or Path(path).stem, path, batch)])
        return path

    def import_(
        self,
        file: IO[bytes],
        *,
        dry: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Imported:
        """Bring in all vCards of a stream; what is there word for word is left as it is.

        A card that shares an address with somebody of the same name becomes another card of
        theirs; what is less certain is counted as unsure (see :meth:`candidates`).
        ``progress``: called with (cards, bytes) read now and then.
        """
        told = Imported(uuid7())
        waiting: list[Card] = []
        seen: set[str] = set()
        for found, size in read_cards(file):
            told.read += 1
            if isinstance(found, Bad):
                told.bad_count += 1
                if len(told.bad) < _MOST_BAD:
                    told.bad.append(f"line {found.line}: {found.why}")
                continue
            hashed = content_hash(found)
            if hashed in seen or self.cards.same(hashed):
                told.same += 1
                continue
            seen.add(hashed)
            waiting.append(found)
            if len(waiting) == _GO:
                self._bring_in(waiting, told, dry)
                waiting = []
            if progress and told.read % 100 == 0:
                progress(told.read, size)
        self._bring_in(waiting, told, dry)
        return told

    def _bring_in(self, cards: Sequence[Card], told: Imported, dry: bool) -> None:
        """Files first, then what the journal says of them: cut off between, they are orphans."""
        made: list[Operation] = []
        files: list[tuple[str, Card]] = []
        fresh: dict[str, tuple[str, str]] = {}
        for card in cards:
            owner, name, unsure = self._owner(card, fresh)
            told.unsure += unsure
            told.joined += bool(owner)
            told.new += not owner
            if dry:
                continue
            path = self.cards.fresh_path(card.name)
            files.append((path, card))
            if owner:
                alias = (card.name[:500],) if card.name and card.name != name else ()
                words = EntityWords(owner, aliases=alias, cards=(path,))
                made.append(self.graph.operation("assert", entities=(words,), batch=told.batch))
            else:
                made.append(self._new(card.name or Path(path).stem, path, told.batch))
                owner = made[-1].entities[0].id
            for address in addresses_of(card):
                if address.kind != "url":
                    fresh.setdefault(address.normal, (owner, card.name))
        if made:
            self.cards.write_all(files)
            self.graph.write(made)

    def _owner(self, card: Card, fresh: dict[str, tuple[str, str]]) -> tuple[str, str, bool]:
        """Whose card it is (id, name), if that is sure; and whether it may be somebody's."""
        addresses = addresses_of(card)
        found: dict[str, str] = {}
        for address in addresses:
            if address.kind != "url" and address.normal in fresh:
                ident, name = fresh[address.normal]
                found[ident] = name
        paths = [*self.cards.sharing(addresses), *self.cards.with_uid(card.uid)]
        for entity in self.graph.owners(paths).values():
            if entity is not None:
                names = (entity.name, *entity.aliases)
                found[entity.id] = next((n for n in names if fits(n, card.name)), entity.name)
        sure = {ident: name for ident, name in found.items() if fits(name, card.name)}
        if len(sure) == 1:
            return next(iter(sure)), next(iter(sure.values())), False
        near = bool(found) or bool(self.cards.near(card.name, addresses))
        return "", "", near

    def owner_of(self, card: Card) -> str:
        """The id of the person whose card this surely is; empty if that is not sure."""
        return self._owner(card, {})[0]

    def drop(self, path: str, batch: str) -> None:
        """Take one card away; a person who has no other goes with it."""
        owner = self.graph.owners([path]).get(path)
        if owner is not None and len([p for p in owner.cards if self._there(p)]) == 1:
            made = self.graph.operation("retract", ids=owner.members, batch=batch)
            self.graph.write([made])
            self.cards.put_away(path)
        else:
            self.cards.drop(path)
        self.cards.refresh()

    # --- going out

    def export(self, who: str = "", version: str = "") -> Iterator[str]:
        """vCards, one a person: what several cards of theirs say, in one."""
        people = [self.entity(who)] if who else self.graph.entities()
        for entity in people:
            cards = [self.cards.read(path) for path in entity.cards if self._there(path)]
            if cards:
                yield joined(cards).text(version)

    def _there(self, path: str) -> bool:
        return (self.graph.home / path).is_file()

    # --- joining

    def candidates(self, limit: int = 100) -> list[Candidate]:
        """Who may be one person: the same name, an address or the end of a number in common."""
        found: dict[tuple[str, str], Candidate] = {}
        for reason, paths in self.cards.groups():
            owners = [one for one in self.graph.owners(paths).values() if one is not None]
            people = list({one.id: one for one in owners}.values())
            for at, one in enumerate(people):
                for other in people[at + 1 :]:
                    if reason.startswith("both") and not fits(one.name, other.name):
                        continue
                    pair = (min(one.id, other.id), max(one.id, other.id))
                    found.setdefault(pair, Candidate(one, other, reason))
                    if len(found) >= limit:
                        return list(found.values())
        return list(found.values())

    # --- notes, and what is to be done

    def note(self, who: str, text: str) -> Fact:
        entity = self.entity(who)
        return self.graph.assert_fact(entity.id, NOTE, text, single=False)

    def follow_up(self, who: str, text: str, due: int) -> Fact:
        """Something to be done by then (ms)."""
        entity = self.entity(who)
        return self.graph.assert_fact(entity.id, FOLLOW_UP, text, single=False, due=due)

    def due(self, until: int) -> list[Fact]:
        """Follow-ups that are to be done by then, the most urgent first."""
        known = self.graph.facts(predicate=FOLLOW_UP)
        return sorted((f for f in known if f.due <= until), key=lambda f: (f.due, f.id))

    def done(self, what: str) -> Fact:
        """A follow-up is done: by its id, or by whose only one it is."""
        try:
            fact = self.graph.fact(what)
        except UnknownName:
            waiting = self.person(what).follow_ups
            if len(waiting) != 1:
                hint = f" {len(waiting)} follow-ups wait there; say the id of one."
                raise UnknownName(name=what, hint=hint) from None
            fact = waiting[0]
        return self.graph.close_fact(fact.id, why="done")

    # --- away, and back

    def remove(self, who: str) -> Operation:
        """Out of the book: the cards go into ``removed/``, what is known stays in the journal."""
        entity = self.entity(who)
        made = self.graph.operation("retract", ids=entity.members, why="removed")
        self.graph.write([made])
        self.tidy()
        return made

    def undo(self, operation: str = "", batch: str = "") -> Operation:
        """Take back an operation or a whole import; cards follow."""
        made = self.graph.undo(operation, batch=batch)
        self.tidy()
        return made


def joined(cards: Sequence[Card]) -> Card:
    """One card with all that several say. Of what there may be but one, the first counts and the
    others go along as ``X-ALSO-...``, so that nothing is lost."""
    first, *others = cards
    lines = list(first.properties)
    said = {_same(one) for one in lines}
    groups = {one.group for one in lines}
    single = {"N", "BDAY", "ANNIVERSARY", "GENDER", "REV", "PRODID", "UID", "KIND", "FN"}
    has = {one.name for one in lines}
    for number, card in enumerate(others, 2):
        for one in card.properties:
            if _same(one) in said:
                continue
            said.add(_same(one))
            group = f"{one.group}-{number}" if one.group in groups and one.group else one.group
            name = one.name
            if name in single and name in has:
                if name in ("REV", "PRODID"):
                    continue
                name = "NICKNAME" if name == "FN" else f"X-ALSO-{name}"
            written = one.written if name == one.name else ""
            lines.append(replace(one, name=name, group=group, written=written))
    return Card(tuple(lines), first.version)


def _same(one: Property) -> tuple[str, str]:
    value = unicodedata.normalize("NFC", one.value.strip())
    return one.name, value.casefold() if one.name in ("EMAIL", "FN", "N") else value


def _flat(text: str) -> str:
    return " ".join(text.split())
