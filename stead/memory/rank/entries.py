"""What the index keeps of an entry: its terms in three columns, and what is embedded of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

from stead.memory.nouns import Entry, Layer
from stead.memory.rank.times import Span
from stead.memory.rank.words import stem, terms, words_of

COLUMNS = ("text", "names", "days")
TEXT, NAMES, WHEN = range(3)
_MOST_DAYS = 31
_MOST_MONTHS = 24
_MOST_CHARS = 1600
"""Of a passage: about what the model reads at once."""


def columns(entry: Entry) -> tuple[str, ...]:
    """The terms of an entry, column by column, parted by blanks."""
    text = f"{entry.title} {entry.text}" if entry.title else entry.text
    if entry.tags:
        text = f"{text} {' '.join(entry.tags)}"
    names = " ".join((entry.speaker, *entry.people))
    if entry.layer is Layer.CONTACT:
        names = f"{names} {entry.title}"
    whose = dict.fromkeys(stem(word) for word in words_of(names))
    whose |= dict.fromkeys(said_by(word) for word in words_of(entry.speaker))
    return " ".join(terms(text)), " ".join(whose), _days(entry.at // 3_600_000) if entry.at else ""


def said_by(word: str) -> str:
    """The term of all that somebody said: who talks much is known by how many have it."""
    return f"~{stem(word)}"


def passage(entry: Entry, before: Sequence[Entry] = ()) -> str:
    """What is embedded of an entry: who says what."""
    text = entry.text.strip()
    if entry.title:
        text = f"{entry.title}: {text}"
    elif entry.speaker:
        text = f"{entry.speaker}: {text}"
    return text[:_MOST_CHARS]


@lru_cache(4096)
def _days(hour: int) -> str:
    """By the hour, so that a day's entries share the work whatever the time zone."""
    day = datetime.fromtimestamp(hour * 3600)
    return f"@{day:%Y-%m-%d} @{day:%Y-%m} @{day:%Y} @{day:-%m} @{day:-%m-%d}"


def days_of(span: Span) -> list[str]:
    """The terms of the days, months or years that a span is made of; of a long or open one none."""
    if span.month:
        return [f"@-{span.month:02d}-{span.day:02d}" if span.day else f"@-{span.month:02d}"]
    if not (span.since and span.until):
        return []
    first = datetime.fromtimestamp(span.since / 1000)
    last = datetime.fromtimestamp((span.until - 1) / 1000)
    if (last - first).days < _MOST_DAYS and not (first.day == 1 and (last + timedelta(2)).day < 3):
        count = (last.date() - first.date()).days + 1
        return [f"@{first + timedelta(days=one):%Y-%m-%d}" for one in range(count)]
    months = (last.year - first.year) * 12 + last.month - first.month + 1
    if first.month == 1 and months % 12 == 0:
        return [f"@{first.year + one}" for one in range(min(months // 12, _MOST_MONTHS))]
    found = []
    for one in range(min(months, _MOST_MONTHS)):
        month = first.year * 12 + first.month - 1 + one
        found.append(f"@{month // 12}-{month % 12 + 1:02d}")
    return found
