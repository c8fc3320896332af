"""Cards: one topic a file, ``memory/cards/TOPIC.md``. Functions over their text.

::

    ---
    topic: Boiler
    tags: [house]
    created: 2026-03-14
    updated: 2026-11-21
    source: memory/2026-03-14.md#L41@1a2b3c4d
    confidence: 0.8
    ---

    - The boiler is a Vaillant ecoTEC. <!-- since 2026-03-14, source ... -->
"""

from __future__ import annotations

import contextlib
import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from stead.core.errors import BadRequest, NotFound
from stead.memory.files import front, history, marks, read, times, write
from stead.memory.files.lines import numbered
from stead.memory.files.marks import Marks
from stead.memory.files.places import CARDS
from stead.memory.nouns import Entry, Layer, digest

log = logging.getLogger(__name__)

_FOLDED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "o", "ł": "l"})
_ITEM = re.compile(r"(\s{0,3}(?:[-*+]|\d{1,9}[.)])\s+)?(.*)", re.DOTALL)


def path_of(topic: str) -> str:
    """Where the card of a topic lies: ``Über Öl`` -> ``memory/cards/ueber-oel.md``."""
    lower = unicodedata.normalize("NFC", topic).lower().translate(_FOLDED)
    plain = unicodedata.normalize("NFKD", lower).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-")
    if not name:  # of a script that has no letters a to z
        name = f"card-{digest(topic)}"
    return f"{CARDS}/{name}.md"


def item(text: str, marked: Marks = marks.NONE) -> str:
    """A list item of one or more lines, with its marks; it ends with a line end. No text can make
    marks or further items of its own."""
    words = "\n".join(line.rstrip() for line in text.strip().replace("\r", "").split("\n"))
    words = words.replace("<!--", "<!- -").replace("\n", "\n  ")
    if not words:
        raise BadRequest(why="an entry without words is none")
    return f"- {words}{marks.written(marked)}\n"


def new(
    topic: str, items: Iterable[str], *, now_ms: int, tags: Iterable[str] = (), source: str = "",
    confidence: float | None = None, people: Iterable[str] = (), foreign: bool = False,
) -> str:  # fmt: skip
    """The text of a new card, of items that :func:`item` made."""
    day = times.day_of(now_ms)
    fields = [("topic", _plain(topic)), ("tags", _list(tags)), ("people", _list(people))]
    fields += [("created", day), ("updated", day), ("source", _plain(source))]
    if confidence is not None:
        fields.append(("confidence", f"{confidence:g}"))
    if foreign:
        fields.append(("foreign", "true"))
    head = "".join(f"{name}: {value}\n" for name, value in fields if value)
    return f"---\n{head}---\n\n{''.join(items)}"


def with_item(text: str, line: str, *, now_ms: int) -> str:
    """A card's (or a standing file's) text with one more item at its end."""
    text = touched(text, now_ms)
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{line}"


def closed(text: str, entry: Entry, when_ms: int, why: str = "") -> str:
    """The text with an entry closed: it stays, struck through, with the date at which it ceased to
    hold and why. Raises ``NotFound`` if its words do not stand in the text at its lines."""
    day = times.day_of(when_ms)
    lines = text.split("\n")
    first, last = entry.lines
    block = "\n".join(lines[first - 1 : last])
    found = _ITEM.fullmatch(block)
    assert found is not None
    words, marked = marks.read(found[2].strip())
    if digest(_dedented(words, len(found[1] or ""))) != digest(entry.text):
        raise NotFound(what=f"entry {entry.text[:60]!r} at {entry.path} line {first} any more")
    reason = f": {_plain(why)}" if why else ""
    new_marks = Marks(
        marked.since or (entry.at if marked.source else 0), when_ms, marked.known, marked.source,
        marked.confidence, marked.foreign, marked.people, marked.ident,
    )  # fmt: skip
    head, _, rest = words.partition("\n")
    struck = f"~~{head}~~" + (f"\n{rest}" if rest else "")
    told = f"{found[1] or ''}{struck} (until {day}{reason}){marks.written(new_marks)}"
    return touched("\n".join([*lines[: first - 1], *told.split("\n"), *lines[last:]]), when_ms)


def touched(text: str, now_ms: int) -> str:
    """The text with today's date as its ``updated``; as it is, if it has no such field."""
    head, _ = front.split(numbered(text.split("\n")))
    if not head.lines or "updated" not in head.fields:
        return text
    lines = text.split("\n")
    for at in range(1, head.lines - 1):
        if re.match(r"updated[ \t]*:", lines[at], re.IGNORECASE):
            lines[at] = f"updated: {times.day_of(now_ms)}" + (
                "\r" if lines[at][-1:] == "\r" else ""
            )
    return "\n".join(lines)


def merged(into: str, other: str, *, now_ms: int) -> str:
    """The text of two cards as one: every item once, all tags and people; the first's topic."""
    head, _ = front.split(numbered(into.split("\n")))
    more, _ = front.split(numbered(other.split("\n")))
    body = into.split("\n")[head.lines :]
    known = {line.strip() for line in body}
    added = [line for line in other.split("\n")[more.lines :] if line.strip() not in known]
    lines = into.split("\n")[: head.lines]
    for name in ("tags", "people"):
        both = _list(dict.fromkeys((*head.list(name), *more.list(name))))
        lines = _with_field(lines, name, both)
    text = "\n".join((*lines, *body)).rstrip("\n")
    rest = "\n".join(added).strip("\n")
    return touched(f"{text}\n{rest}\n" if rest else f"{text}\n", now_ms)


def close(home: Path, entry: Entry, when_ms: int, why: str = "", *, commit: bool = True) -> bool:
    """Close an entry of a card or a standing file, where it stands; whether it was there. Entries
    of daily logs are what was said, and stay. Raises as :func:`stead.memory.files.write.save`."""
    if entry.layer not in (Layer.CARD, Layer.STANDING):
        return False
    source = read.source_of(entry.source)
    now = read.find(home, source) if source is not None else None
    if now is None or now.until:
        return False
    held = write.load(home, entry.path)
    text = closed(held.text, now, when_ms, why)
    with _without_history():
        if commit:
            history.settle(home)
    write.save(home, entry.path, text, base=held.base, guards=write.Guards(shrink=1.0))
    with _without_history():
        if commit:
            history.commit(home, f"closed in {entry.path}: {entry.text[:60]}", [entry.path])
    return True


@contextlib.contextmanager
def _without_history() -> Iterator[None]:
    """A change is made whether its history can be kept or not."""
    try:
        yield
    except history.NoHistory as error:
        log.warning("%s", error.message)


def _with_field(lines: list[str], name: str, value: str) -> list[str]:
    if not value or not lines:
        return lines
    kept: list[str] = []
    inside = False
    for line in lines:
        inside = bool(re.match(rf"{name}[ \t]*:", line, re.IGNORECASE)) or (
            inside and line.startswith((" ", "\t", "- "))
        )
        if not inside:
            kept.append(line)
    return [*kept[:-1], f"{name}: {value}", kept[-1]]


def _dedented(words: str, width: int) -> str:
    first, *rest = words.split("\n")
    lines = [first, *(line[min(width, len(line) - len(line.lstrip())) :] for line in rest)]
    return "\n".join(line.rstrip("\r") for line in lines)


def _plain(words: str) -> str:
    return " ".join(words.replace("<!--", "<!- -").split())


def _list(words: Iterable[str]) -> str:
    clean = [_plain(word.replace(",", " ")).strip("[]") for word in words]
    return f"[{', '.join(clean)}]" if any(clean) else ""
