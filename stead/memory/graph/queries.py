"""Questions to the derived state: at a place in the journal, with merged entities as one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw

from stead.memory.graph.names import likeness, plain, trigrams
from stead.memory.graph.nouns import Edge, Entity, Fact, Match, Pair, Version
from stead.memory.graph.state import FOREVER

NOW = FOREVER - 1
_LOOK_AT = 400
"""So many names are compared letter by letter."""
_THERE = "seq_from <= ?1 AND ?1 < seq_to"

_FACT = (
    "SELECT f.id, f.subject, f.predicate, f.value, f.object, f.since, f.until, f.closed_by,"
    " f.confidence, f.single, f.source, f.foreign_, f.due, f.retracted, f.closed, o.at, o.line,"
    " json_extract(o.body, '$.by'), o.id, c.at, r.at, f.seq_from, f.seq_to"
    " FROM fact f JOIN op o ON o.seq = f.asserted"
    " LEFT JOIN op c ON c.seq = f.closed LEFT JOIN op r ON r.seq = f.retracted"
)


class Look:
    """The graph as the journal had it after operation ``seq``. For one question: it remembers."""

    def __init__(self, connection: apsw.Connection, seq: int = NOW) -> None:
        self._execute: Callable[..., Any] = connection.execute
        self.seq = seq
        self._known: dict[str, Entity | None] = {}

    # --- entities

    def entity(self, ident: str) -> Entity | None:
        """The entity that ``ident`` belongs to, with all that was merged into it."""
        if ident not in self._known:
            found = self._whole(ident)
            self._known[ident] = found
            if found is not None:
                self._known.update(dict.fromkeys(found.members, found))
        return self._known[ident]

    def _whole(self, ident: str) -> Entity | None:
        root, seen = ident, [ident]
        while (row := self._row(root)) is not None and row[4] and self._row(row[4]) is not None:
            root = str(row[4])
            if root in seen:  # merged in a circle, by undoing; each end would do
                root = min(seen[seen.index(root) :])
                break
            seen.append(root)
        top = self._row(root)
        if top is None:
            return None
        members, waiting = {root: top}, [root]
        while waiting:
            children = self._execute(
                "SELECT id FROM entity WHERE parent = ?2 AND parent != ''"
                f" AND {_THERE} ORDER BY id",
                (self.seq, waiting.pop()),
            ).fetchall()
            for (child,) in children:
                if child not in members and (row := self._row(child)) is not None:
                    members[child] = row
                    waiting.append(child)
        names: dict[str, None] = {}
        cards: dict[str, None] = {}
        for row in members.values():
            names.update(dict.fromkeys((row[1], *json.loads(row[2]))))
            cards.update(dict.fromkeys(json.loads(row[3])))
        kind = next((row[0] for row in members.values() if row[0]), "")
        return Entity(
            root, kind, top[1], tuple(name for name in names if name and name != top[1]),
            tuple(cards), tuple(members), all(row[5] for row in members.values()),
        )  # fmt: skip

    def _row(self, ident: str) -> tuple[str, str, str, str, str, int] | None:
        """kind, name, aliases, cards, parent, retracted."""
        row = self._execute(
            "SELECT kind, name, aliases, cards, parent, retracted FROM entity"
            f" WHERE id = ?2 AND {_THERE}",
            (self.seq, ident),
        ).fetchone()
        return row  # type: ignore[no-any-return]

    def named(self, name: str) -> list[Entity]:
        """Entities with that very name or alias (but for case, accents and punctuation)."""
        rows = self._execute("SELECT entity FROM name WHERE plain = ?", (plain(name),)).fetchall()
        return self._with_name({plain(name)}, [ident for (ident,) in rows])

    def _with_name(self, spelt: set[str], idents: Iterable[str]) -> list[Entity]:
        found: dict[str, Entity] = {}
        for ident in idents:
            entity = self.entity(ident)
            if entity is None or entity.retracted or entity.id in found:
                continue
            if any(plain(name) in spelt for name in (entity.name, *entity.aliases)):
                found[entity.id] = entity
        return list(found.values())

    def by_tail(self, tail: str) -> list[Entity]:
        """Entities whose id ends so."""
        if len(tail) < 6 or not set(tail) <= set("0123456789abcdef-"):
            return []
        rows = self._execute(
            f"SELECT id FROM entity WHERE substr(id, ?2) = ?3 AND {_THERE} LIMIT 20",
            (self.seq, -len(tail), tail),
        ).fetchall()
        found = {e.id: e for (ident,) in rows if (e := self.entity(ident)) and not e.retracted}
        return list(found.values())

    def find(self, name: str, limit: int, kind: str = "") -> list[Match]:
        """Entities that a name may mean, the likeliest first."""
        asked = plain(name)
        if not asked:
            return []
        spelt = {asked, *self._alike(asked)}
        best: dict[str, Match] = {}
        scored = sorted(((likeness(asked, one), one) for one in spelt), reverse=True)
        for score, one in scored:
            if score <= 0 or len(best) >= 4 * limit:
                break
            rows = self._execute("SELECT entity FROM name WHERE plain = ?", (one,)).fetchall()
            for entity in self._with_name({one}, [ident for (ident,) in rows]):
                if entity.id not in best and (not kind or entity.kind == kind):
                    nearest = next(n for n in (entity.name, *entity.aliases) if plain(n) == one)
                    best[entity.id] = Match(entity, round(score, 4), nearest)
        ranked = sorted(best.values(), key=lambda m: (-m.score, m.entity.name, m.entity.id))
        return ranked[:limit]

    def _alike(self, asked: str) -> list[str]:
        found: list[str] = []
        grams = trigrams(asked)
        if grams:
            words = " OR ".join(f'"{gram}"' for gram in grams)
            found += [
                spelt
                for (spelt,) in self._execute(
                    "SELECT plain FROM spelt WHERE spelt MATCH ? ORDER BY rank LIMIT ?",
                    (words, _LOOK_AT),
                )
            ]
        # Too short for runs of three, as many Chinese names are; or for one to be spelt right.
        rows = self._execute(
            "SELECT DISTINCT plain FROM name WHERE plain >= ?1 AND plain < ?1 || char(1114111)"
            " LIMIT ?2",
            (asked[:1] if len(asked) < 5 else asked, 8 * _LOOK_AT),
        )
        found += [spelt for (spelt,) in rows]
        if not found:  # every run of three has a slip in it; that few can be looked at one by one
            rows = self._execute("SELECT plain FROM name LIMIT ?", (10 * _LOOK_AT,))
            found = [spelt for (spelt,) in rows]
        return found

    def all_entities(self, kind: str = "") -> list[Entity]:
        """Every entity that is on its own, by name."""
        rows: dict[str, tuple[Any, ...]] = {
            ident: row
            for ident, *row in self._execute(
                "SELECT id, kind, name, aliases, cards, parent, retracted FROM entity"
                f" WHERE {_THERE}",
                (self.seq,),
            )
        }
        merged = {ident for ident, row in rows.items() if row[4] in rows}
        merged |= {rows[ident][4] for ident in merged}
        for ident, row in rows.items():
            if ident not in merged:
                names = [name for name in json.loads(row[2]) if name != row[1]]
                self._known[ident] = Entity(
                    ident, row[0], row[1], tuple(names), tuple(json.loads(row[3])), (ident,),
                    bool(row[5]),
                )  # fmt: skip
        whole = (self.entity(ident) for ident in rows)
        found = {e.id: e for e in whole if e and not e.retracted and kind in ("", e.kind)}
        return sorted(found.values(), key=lambda e: (plain(e.name), e.id))

    def by_card(self, path: str) -> Entity | None:
        """Whose card that file is, if it is anybody's."""
        rows = self._execute("SELECT entity FROM card WHERE path = ?", (path,)).fetchall()
        for (ident,) in rows:
            entity = self.entity(ident)
            if entity is not None and path in entity.cards and not entity.retracted:
                return entity
        return None

    def was_card(self, path: str) -> bool:
        """Whether that file ever was anybody's card."""
        return bool(self._execute("SELECT 1 FROM card WHERE path = ?", (path,)).fetchone())

    # --- facts

    def fact(self, ident: str) -> Fact | None:
        row = self._execute(
            f"{_FACT} WHERE f.id = ?2 AND f.seq_from <= ?1 AND ?1 < f.seq_to", (self.seq, ident)
        ).fetchone()
        return None if row is None else self._fact(row)

    def by_fact_tail(self, tail: str) -> list[str]:
        if len(tail) < 6:
            return []
        rows = self._execute(
            f"SELECT id FROM fact WHERE substr(id, ?2) = ?3 AND {_THERE} LIMIT 5",
            (self.seq, -len(tail), tail),
        ).fetchall()
        return [ident for (ident,) in rows]

    def facts(self, entity: Entity | None = None, predicate: str = "") -> list[Fact]:
        """All that are known, closed ones too, oldest first; not those that were retracted."""
        return [fact for fact in self._all(entity, predicate) if not fact.known_to]

    def _all(self, entity: Entity | None, predicate: str) -> list[Fact]:
        where = "f.seq_from <= ?1 AND ?1 < f.seq_to"
        order = " ORDER BY f.since, f.asserted, f.id"
        found: list[Fact] = []
        if entity is None:
            same = " AND (?2 = '' OR f.predicate = ?2)"
            rows = self._execute(f"{_FACT} WHERE {where}{same}{order}", (self.seq, predicate))
            return [self._fact(row) for row in rows.fetchall()]
        for member in entity.members:
            rows = self._execute(
                f"{_FACT} WHERE f.subject = ?2 AND (?3 = '' OR f.predicate = ?3)"
                f" AND {where}{order}",
                (self.seq, member, predicate),
            )
            found += [self._fact(row) for row in rows.fetchall()]
        return found if len(entity.members) == 1 else sorted(found, key=_by_age)

    def history(self, entity: Entity, predicate: str) -> list[Fact]:
        """All that was ever said, what was retracted too, oldest first."""
        return self._all(entity, predicate)

    def versions(self, ident: str) -> list[Version]:
        """A fact through the journal."""
        rows = self._execute(f"{_FACT} WHERE f.id = ? ORDER BY f.seq_from", (ident,)).fetchall()
        found = []
        for row in rows:
            start, end = self._at(row[21]), 0 if row[22] == FOREVER else self._at(row[22])
            found.append(Version(self._fact(row), start, end))
        return found

    def _at(self, seq: int) -> int:
        row = self._execute("SELECT at FROM op WHERE seq = ?", (seq,)).fetchone()
        return int(row[0]) if row else 0

    def edges(self, entity: Entity) -> list[Edge]:
        """Relations from it and to it."""
        found = []
        for fact in self.facts(entity):
            other = self.entity(fact.object) if fact.object else None
            if other is not None:
                found.append(Edge(fact, other, outwards=True))
        for member in entity.members:
            rows = self._execute(
                f"{_FACT} WHERE f.object = ?2 AND f.object != ''"
                " AND f.seq_from <= ?1 AND ?1 < f.seq_to AND NOT f.retracted"
                " ORDER BY f.since, f.asserted",
                (self.seq, member),
            ).fetchall()
            for row in rows:
                fact = self._fact(row)
                subject = self.entity(fact.subject)
                if subject is not None and subject.id != entity.id:
                    found.append(Edge(fact, subject, outwards=False))
        return found

    def contradictions(self, entity: Entity | None) -> list[Pair]:
        """Facts of one subject and a predicate that has but one value, where another came after."""
        groups: dict[tuple[str, str], list[Fact]] = {}
        for fact in self.facts(entity):
            groups.setdefault((fact.subject, plain(fact.predicate)), []).append(fact)
        pairs = []
        for facts in groups.values():
            if len(facts) < 2 or not any(fact.single for fact in facts):
                continue
            for at, older in enumerate(facts):
                for after, newer in enumerate(facts[at + 1 :], at + 1):
                    both = overlap(older, newer)
                    if _said(older) != _said(newer) and (both or after == at + 1):
                        pairs.append(Pair(older, newer, both))
        return pairs

    def _fact(self, row: Sequence[object]) -> Fact:
        (
            ident, subject, predicate, value, object_, since, until, closed_by, confidence, single,
            source, foreign, due, _, _, at, line, by, op, closed_at, retracted_at, *_
        ) = row  # fmt: skip
        whose = self.entity(str(subject))
        what = self.entity(str(object_)) if object_ else None
        return Fact(
            id=str(ident),
            subject=whose.id if whose else str(subject),
            subject_name=whose.name if whose else str(subject),
            predicate=str(predicate),
            value=what.name if what else str(value),
            object=what.id if what else str(object_),
            valid_from=_int(since),
            valid_to=_int(until),
            known_from=_int(at),
            known_to=_int(retracted_at),
            closed_at=_int(closed_at),
            closed_by=str(closed_by),
            confidence=float(str(confidence)),
            single=bool(single),
            source=tuple(json.loads(str(source))),
            foreign=bool(foreign),
            due=_int(due),
            by=str(by or ""),
            line=_int(line),
            op=str(op),
        )


def overlap(one: Fact, other: Fact) -> bool:
    """Whether there is a time at which both hold. One that ends as it begins never held."""
    start = max(one.valid_from or -FOREVER, other.valid_from or -FOREVER)
    return start < min(one.valid_to or FOREVER, other.valid_to or FOREVER)


def _said(fact: Fact) -> tuple[str, str]:
    return fact.object, "" if fact.object else plain(fact.value) or fact.value


def _by_age(fact: Fact) -> tuple[int, int, str]:
    return fact.valid_from, fact.known_from, fact.id


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
