"""The text of cards: front matter, statements with since, until and source. Text in, text out.

As :mod:`stead.memory.files.marks` reads them::

    - It is a Vaillant. <!-- since 2026-03-14, source memory/2026-03-14.md#L41@1a2b3c4d -->
    - ~~Karl cleans it.~~ (until 2026-11-20: Ines does.) <!-- since 2026-01-02, until 2026-11-20 -->
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stead.memory.review.said import flat, telling, words

_FRONT = re.compile(r"\A\ufeff?---[ \t]*\n(.*?)^---[ \t]*\n", re.DOTALL | re.MULTILINE)
_ITEM = re.compile(r"^([-*] +)(.*)$")
_MARK = re.compile(r"[ \t]*<!--[ \t]+((?:since|until|source|known)\b[^\n]*?)[ \t]*-->")
_STRUCK = re.compile(r"~~(.+?)~~(?: \(until [^\n]*\))?")
_NAME_MOST = 60


@dataclass(frozen=True, slots=True)
class Statement:
    """A list item of a card."""

    row: int
    """Its place among the lines of the file, from 0."""
    text: str
    since: str = ""
    until: str = ""


def card_path(topic: str) -> str:
    """Where the card of a topic lies: ``memory/cards/boiler.md``."""
    name = "-".join(words(topic))[:_NAME_MOST].strip("-./")
    safe = re.sub(r"[^\w-]+", "-", name).strip("-")
    return f"memory/cards/{safe or 'card'}.md"


def field(text: str, name: str) -> str:
    """A field of the front matter; empty where there is none."""
    front = _FRONT.match(text)
    if front is None:
        return ""
    found = re.search(rf"^{name}:[ \t]*(.*)$", front[1], re.MULTILINE)
    return found[1].strip().strip("\"'") if found else ""


def topic_of(path: str, text: str) -> str:
    name = path.rpartition("/")[2].removesuffix(".md")
    return field(text, "topic") or name.replace("-", " ")


def statements(text: str) -> list[Statement]:
    """The list items of a text, front matter left out."""
    front = _FRONT.match(text)
    skip = text[: front.end()].count("\n") if front else 0
    found = []
    for row, line in enumerate(text.split("\n")):
        item = _ITEM.match(line) if row >= skip else None
        if item is None:
            continue
        mark = _MARK.search(item[2])
        said = dict(part.strip().partition(" ")[::2] for part in mark[1].split(",")) if mark else {}
        words_ = _MARK.sub("", item[2]).strip()
        until = said.get("until", "").strip()[:10]
        if until:
            words_ = _STRUCK.sub(r"\1", words_)
        found.append(Statement(row, words_, said.get("since", "").strip()[:10], until))
    return found


def open_statements(text: str) -> list[Statement]:
    """Those that hold, as far as the card knows."""
    return [one for one in statements(text) if not one.until]


def new_card(topic: str, day: str, source: str, confidence: float) -> str:
    name = flat(topic).replace('"', "'")
    shown = f'"{name}"' if re.search(r"[:#\[\]{}&*!|>%@`]|^[-?\s]|^\W", name) else name
    return (
        f"---\ntopic: {shown}\ntags: []\ncreated: {day}\nupdated: {day}\nsource: {source}\n"
        f"confidence: {confidence:g}\n---\n\n# {name}\n"
    )


def with_statement(text: str, said: str, day: str, source: str) -> str:
    """The statement at the end of the last list, or of the text."""
    line = f"- {plain(said)} <!-- since {day}, source {source} -->"
    rows = text.rstrip("\n").split("\n")
    last = max((one.row for one in statements(text)), default=-1)
    if last >= 0:
        while last + 1 < len(rows) and rows[last + 1].startswith("  "):
            last += 1  # what belongs to the last item
        rows.insert(last + 1, line)
    else:
        rows += ["", line]
    return touched("\n".join(rows) + "\n", day)


def without_effect(text: str, one: Statement, day: str, now: str, source: str) -> str:
    """The statement struck out, with the day until which it held; ``now``: what holds instead.
    Nothing of what the line said is lost."""
    rows = text.split("\n")
    line = rows[one.row]
    mark = _MARK.search(line)
    head = line[: mark.start()] if mark else line
    said = mark[1] if mark else ""
    item = _ITEM.match(head)
    assert item is not None
    instead = f": {plain(now)}" if now else ""
    parts = [part for part in (said, f"until {day}", "" if said else f"source {source}") if part]
    rows[one.row] = (
        f"{item[1]}~~{item[2].strip()}~~ (until {day}{instead}) <!-- {', '.join(parts)} -->"
    )
    return touched("\n".join(rows), day)


def touched(text: str, day: str) -> str:
    """The front matter says that the card was changed that day (never an earlier one)."""
    front = _FRONT.match(text)
    if front is None:
        return text
    known = field(text, "updated")
    if known and known[:10] >= day:
        return text
    head = front[1]
    new = re.sub(r"^updated:.*$", f"updated: {day}", head, count=1, flags=re.MULTILINE)
    if new == head and "updated:" not in head:
        new = f"{head}updated: {day}\n"
    return f"{text[: front.start(1)]}{new}{text[front.end(1) :]}"


def plain(said: str) -> str:
    """A statement as one line of Markdown that can be mistaken for nothing else."""
    made = flat(said).replace("<!--", "<!- -")
    return re.sub(r"^[#>*+\-\s]+", "", made) or made


def nearest(topic: str, cards: Iterable[tuple[str, str]]) -> str:
    """The path of the card of that topic; empty: there is none. ``cards``: (path, topic)."""
    wanted, path = telling(topic), card_path(topic)
    for known, name in cards:
        if known == path or (wanted and telling(name) == wanted):
            return known
    return ""
