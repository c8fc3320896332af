"""What stands behind an item of a card or a standing file: since when it holds, and where it is from.

::

    - The boiler is a Vaillant ecoTEC. <!-- since 2026-03-14, source memory/2026-03-14.md#L41@1a2b3c4d -->
    - ~~The router is at 192.168.1.1.~~ (until 2026-11-21: it is at 10.0.0.1) <!-- since 2026-01-02, until 2026-11-21 -->

Comments of Markdown: a person sees the words alone, and may leave them out.
"""  # noqa: E501 - shown as they stand in a file

from __future__ import annotations

import re
from dataclasses import dataclass, field

from stead.memory.files import times

_NAMES = ("since", "until", "known", "source", "confidence", "foreign", "people", "id")
_MARK = re.compile(rf"<!-- *((?:{'|'.join(_NAMES)})\b[^\n>]*?)-->")
_STRUCK = re.compile(r"~~(.+?)~~", re.DOTALL)
_DATED = re.compile(r"\(?(\d{4}-\d{2}-\d{2})\)?(?::|\s+[-\u2013\u2014])?\s+\S")
_DATED_END = re.compile(r"\((?:since |seit |depuis |desde )?(\d{4}-\d{2}-\d{2})\)[.\s]*$")


@dataclass(frozen=True, slots=True)
class Marks:
    """Of one item. Times in ms since 1970 (UTC), 0 where nothing is said."""

    since: int = 0
    until: int = 0
    known: int = 0
    source: str = ""
    confidence: float | None = None
    foreign: bool = False
    people: tuple[str, ...] = field(default=())
    ident: str = ""


NONE = Marks()


def read(text: str) -> tuple[str, Marks]:
    """The words of an item, and its marks."""
    found = _MARK.search(text) if "<!--" in text else None
    if found is None:
        since = _DATED.match(text) or _DATED_END.search(text)
        return text, Marks(since=times.parsed(since[1])) if since else NONE
    said: dict[str, str] = {}
    for part in found[1].strip().split(", "):
        name, _, value = part.strip().partition(" ")
        if name in _NAMES:
            said[name] = value.strip()
    words = (text[: found.start()].rstrip(" \t") + text[found.end() :]).rstrip()
    until = times.parsed(said.get("until", ""))
    if until:
        words = _STRUCK.sub(r"\1", words)
    try:
        confidence = min(1.0, max(0.0, float(said["confidence"]))) if "confidence" in said else None
    except ValueError:
        confidence = None
    return words, Marks(
        since=times.parsed(said.get("since", "")),
        until=until,
        known=times.parsed(said.get("known", "")),
        source=said.get("source", ""),
        confidence=confidence,
        foreign="foreign" in said,
        people=tuple(one.strip() for one in said.get("people", "").split("+") if one.strip()),
        ident=said.get("id", ""),
    )


def written(marks: Marks) -> str:
    """The marks as they stand behind an item; empty if nothing is said."""
    said = [
        ("since", _day(marks.since)),
        ("until", _day(marks.until)),
        ("known", _day(marks.known)),
        ("source", _clean(marks.source)),
        ("confidence", "" if marks.confidence is None else f"{marks.confidence:g}"),
        ("people", "+".join(_clean(one).replace("+", " ") for one in marks.people)),
        ("id", _clean(marks.ident)),
    ]
    words = [f"{name} {value}" for name, value in said if value]
    words += ["foreign"] if marks.foreign else []
    return f" <!-- {', '.join(words)} -->" if words else ""


def _day(ms: int) -> str:
    return times.day_of(ms) if ms else ""


def _clean(words: str) -> str:
    return " ".join(words.replace(",", " ").replace("<", "").replace(">", "").split())
