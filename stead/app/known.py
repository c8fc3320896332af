"""What is known of people and things, for the owner's API: the graph and the contacts of a home.

Opened anew for each question, as the commands do; each waits for the disk, so the gateway asks in
threads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from stead.app.contacts import book_of, last_contact
from stead.app.graph import Fact, graph_of
from stead.core.errors import BadRequest

_MOST_FACTS = 2_000


def entities(home: Path, *, like: str, kind: str, after: str, limit: int) -> dict[str, Any]:
    """By name; with ``like`` those that it may mean, the likeliest first."""
    with graph_of(home) as known:
        every = known.entities()
        found = [one for one in every if not kind or one.kind == kind]
        if like:
            near = {match.entity.id: match.entity for match in known.find(like, 500, kind)}
            part = like.casefold()
            for one in found:  # a name one has only begun to type is like nothing yet
                if any(part in name.casefold() for name in (one.name, *one.aliases)):
                    near.setdefault(one.id, one)
            found = list(near.values())
        kinds = sorted({one.kind for one in every if one.kind})
        counts, trouble = known.counts(), known.trouble
    start = next((n + 1 for n, one in enumerate(found) if one.id == after), 0) if after else 0
    page = found[start : start + limit]
    return {
        "entities": _built(page), "kinds": kinds, "counts": counts, "trouble": trouble,
        "next": page[-1].id if page and len(found) > start + limit else "",
    }  # fmt: skip


def entity(home: Path, name: str, *, as_of: int, known_at: int, history: bool) -> dict[str, Any]:
    """What holds of it (``as_of``) by what was known (``known_at``), with what is related to it,
    and what contradicts itself. ``history``: all that was ever said."""
    at = as_of or known_at or _now()
    with graph_of(home) as known:
        one = known.entity(name, known_at=known_at)
        if history:
            facts = known.history(one.id)
        else:
            facts = known.facts(one.id, as_of=as_of, known_at=known_at, ended=not as_of)
        edges = known.neighbours(one.id, as_of=as_of, known_at=known_at)
        pairs = known.contradictions(one.id)
        trouble = known.trouble
    return {
        "entity": msgspec.to_builtins(one),
        "facts": [_fact(fact, at) for fact in facts[:_MOST_FACTS]],
        "more": len(facts) > _MOST_FACTS,
        "neighbours": [
            {"entity": msgspec.to_builtins(edge.entity), "fact": _fact(edge.fact, at),
             "outwards": edge.outwards}
            for edge in edges[:_MOST_FACTS]
        ],
        "contradictions": [
            {"older": _fact(pair.older, at), "newer": _fact(pair.newer, at), "open": pair.open}
            for pair in pairs
        ],
        "at": at,
        "trouble": trouble,
    }  # fmt: skip


def operations(home: Path, limit: int) -> dict[str, Any]:
    """What was written, the last first."""
    with graph_of(home) as known:
        done = known.operations(limit)
    return {
        "operations": [
            {
                "id": one.operation.id, "at": one.operation.at, "op": one.operation.op,
                "by": one.operation.by, "why": one.operation.why, "words": one.words,
                "line": one.line, "undone": one.undone,
            }
            for one in done
        ]
    }  # fmt: skip


def assert_fact(
    home: Path, *, subject: str, predicate: str, value: str, since: int, until: int, kind: str,
    entity: bool,
) -> dict[str, Any]:  # fmt: skip
    """The fact, and what it put an end to."""
    with graph_of(home) as known:
        fact = known.assert_fact(
            subject, predicate, "" if entity else value, object=value if entity else "",
            kind=kind, valid_from=since, valid_to=until,
        )  # fmt: skip
        gave_way = [f for f in known.facts(fact.subject, ended=True) if f.closed_by == fact.id]
    now = _now()
    return {"fact": _fact(fact, now), "ended": [_fact(one, now) for one in gave_way]}


def close(home: Path, fact: str, at: int, why: str) -> dict[str, Any]:
    with graph_of(home) as known:
        return {"fact": _fact(known.close_fact(fact, at, why=why), _now())}


def retract(home: Path, ids: Sequence[str], why: str) -> dict[str, Any]:
    with graph_of(home) as known:
        return {"operation": known.retract(*ids, why=why).id}


def undo(home: Path, operation: str) -> dict[str, Any]:
    with book_of(home) as book:  # cards follow what is taken back
        return {"operation": book.undo(operation).id}


# --- contacts ----------------------------------------------------------------------------------


def contacts(home: Path, *, like: str, after: str, limit: int) -> dict[str, Any]:
    """By name; with ``like`` those that it may mean, or who has that address."""
    page: list[Any] = []
    more = False
    waiting = bool(after)
    with book_of(home) as book:
        for person in book.people(like, 0):
            if waiting:
                waiting = person.id != after
            elif len(page) == limit:
                more = True
                break
            else:
                page.append(person)
        troubles = [{"path": path, "why": why} for path, why in book.cards.troubles()]
    return {
        "contacts": _built(page),
        "next": page[-1].id if page and more else "",
        "trouble": troubles,
    }


def contact(home: Path, who: str) -> dict[str, Any]:
    """All that is known of somebody, with their cards as they are."""
    now = _now()
    with book_of(home) as book:
        person = book.person(who)
        facts = book.graph.facts(person.id)
        cards = {
            path: book.cards.read(path).text() for path in person.cards if (home / path).is_file()
        }
    told = msgspec.to_builtins(person)
    for name in ("notes", "follow_ups"):
        told.pop(name, None)
    return {**told, "facts": [_fact(fact, now) for fact in facts], "vcards": cards}


def last_contact_of(home: Path, who: str) -> dict[str, Any]:
    """Looks through the daily logs, the latest first: that may take a while."""
    with book_of(home) as book:
        person = book.person(who)
    seen = last_contact(home, person)
    return {"last": None if seen is None else msgspec.to_builtins(seen)}


def add_contact(
    home: Path, *, name: str, emails: Sequence[str], phones: Sequence[str], organisation: str
) -> dict[str, Any]:
    if not name.strip():
        raise BadRequest("A name is needed.", param="name")
    with book_of(home) as book:
        made = book.add(
            name,
            emails=[one for one in emails if one.strip()],
            phones=[one for one in phones if one.strip()],
            organisation=organisation,
        )
    return {"id": made.id, "name": made.name, "cards": [*made.cards]}


def note(home: Path, who: str, text: str) -> dict[str, Any]:
    with book_of(home) as book:
        return {"fact": _fact(book.note(who, _said(text)), _now())}


def follow_up(home: Path, who: str, text: str, due: int) -> dict[str, Any]:
    with book_of(home) as book:
        return {"fact": _fact(book.follow_up(who, _said(text), due or _now()), _now())}


def _said(text: str) -> str:
    if not text.strip():
        raise BadRequest("Say what.", param="text")
    return text


def due(home: Path, until: int) -> dict[str, Any]:
    """What is to be done by then (0: by now), the most urgent first."""
    now = _now()
    with book_of(home) as book:
        return {"due": [_fact(fact, now) for fact in book.due(until or now)]}


def done(home: Path, what: str) -> dict[str, Any]:
    with book_of(home) as book:
        return {"fact": _fact(book.done(what), _now())}


def remove(home: Path, who: str) -> dict[str, Any]:
    with book_of(home) as book:
        return {"operation": book.remove(who).id}


def _fact(fact: Fact, at: int) -> dict[str, Any]:
    return {**msgspec.to_builtins(fact), "words": fact.words, "holds": fact.holds(at)}


def _built(found: Sequence[object]) -> list[Any]:
    return [msgspec.to_builtins(one) for one in found]


def _now() -> int:
    return time.time_ns() // 1_000_000
