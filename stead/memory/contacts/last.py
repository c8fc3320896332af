"""When somebody was last heard of, by the daily logs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from stead.memory.contacts.book import Person
from stead.memory.files.places import remembered_files
from stead.memory.files.read import entries_of
from stead.memory.graph.names import plain
from stead.memory.nouns import Entry, Layer

_DAY = re.compile(r"memory/(\d{4}-\d\d-\d\d)[^/]*\.md\Z")
_MOST_DAYS = 1_000


@dataclass(frozen=True, slots=True)
class Seen:
    """A place in the record."""

    at: int
    source: str
    text: str
    wrote: bool
    """They said it themselves, and are not just spoken of."""


def last_seen(home: Path, person: Person) -> Seen | None:
    """The last entry that somebody wrote, or that speaks of them by their whole name or an
    address; of the last thousand days that have a log. None: there is none."""
    days = [path for path in remembered_files(home) if _DAY.fullmatch(path)]
    words = _words(person)
    for path in sorted(days, reverse=True)[:_MOST_DAYS]:
        found: Seen | None = None
        for entry in entries_of(home, path):
            if entry.layer is Layer.DAILY and (seen := _match(entry, words)) is not None:
                found = seen if found is None or seen.at >= found.at else found
        if found is not None:
            return found
    return None


def _words(person: Person) -> tuple[set[str], re.Pattern[str]]:
    names = {plain(name) for name in (person.name, *person.aliases)} - {""}
    shown = {one.shown for one in person.addresses if one.kind != "url"}
    shown |= {one.normal for one in person.addresses if one.kind != "url"}
    said = [r"\s+".join(map(re.escape, name.split())) for name in (person.name, *person.aliases)]
    said += [re.escape(one) for one in shown if len(one) > 4]
    pattern = "|".join(one for one in said if one) or r"(?!)"
    return names | {plain(one) for one in shown}, re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.I)


def _match(entry: Entry, words: tuple[set[str], re.Pattern[str]]) -> Seen | None:
    names, pattern = words
    wrote = plain(entry.speaker) in names if entry.speaker else False
    if wrote or pattern.search(entry.text) or names & {plain(one) for one in entry.people}:
        return Seen(entry.at, entry.source, entry.text[:300], wrote)
    return None
