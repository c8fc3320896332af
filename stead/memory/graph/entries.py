"""Facts as entries of the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stead.memory.graph import journal
from stead.memory.graph.nouns import Fact
from stead.memory.graph.reading import Reading
from stead.memory.nouns import Entry, Layer, digest

if TYPE_CHECKING:
    from stead.memory.graph.nouns import Entity


def entries(home: Path) -> Iterator[Entry]:
    """Every fact of the journal that was not retracted; of what was removed, nothing.

    Those that have ended come with ``until``. Raises ``JournalUnusable`` rather than give fewer.
    """
    if not (home / journal.PATH).exists():
        return
    with Reading(home) as graph:
        yield from entries_of(graph)


def entries_of(graph: Reading) -> Iterator[Entry]:
    seen: Counter[str] = Counter()
    known = {entity.id: entity for entity in graph.entities()}
    for fact in graph.facts(ended=True):
        if fact.subject in known:
            yield _entry(fact, known, seen)


def _entry(fact: Fact, known: dict[str, Entity], seen: Counter[str]) -> Entry:
    text = fact.words + _dates(fact)
    key = f"{journal.PATH}#{digest(text)}"
    seen[key] += 1
    ends = [known[ident] for ident in (fact.subject, fact.object) if ident in known]
    return Entry(
        key=key if seen[key] == 1 else f"{key}.{seen[key]}",
        layer=Layer.FACT,
        path=journal.PATH,
        lines=(fact.line, fact.line),
        text=text,
        title=fact.subject_name,
        at=fact.valid_from or fact.known_from,
        until=fact.valid_to,
        known_at=fact.known_from,
        tags=(fact.predicate,),
        people=tuple(end.name for end in ends if end.kind == "person"),
        foreign=fact.foreign,
        ident=fact.id,
        confidence=fact.confidence,
    )


def _dates(fact: Fact) -> str:
    parts = [
        f"{word} {day(at)}"
        for word, at in (("since", fact.valid_from), ("until", fact.valid_to), ("due", fact.due))
        if at
    ]
    return f" ({', '.join(parts)})" if parts else ""


def day(at: int) -> str:
    """The local date of a moment, with the time where it is not midnight: ``2026-03-01``."""
    try:
        then = datetime.fromtimestamp(at / 1000)
    except (ValueError, OverflowError, OSError):  # year 1 and year 9999 are in reach of a journal
        return "at a time out of the calendar"
    midnight = (then.hour, then.minute, then.second) == (0, 0, 0)
    return then.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M")
