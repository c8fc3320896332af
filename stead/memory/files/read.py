"""Entries out of the files of memory: every thing somebody wrote, once, with where it stands.

Any bytes give entries; nothing in a file makes reading it fail. A file of 100 MB is read in
bounded memory.
"""

from __future__ import annotations

import io
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import tzinfo
from pathlib import Path, PurePosixPath

from stead.memory.files import daylog, front, marks, times
from stead.memory.files.blocks import CONFLICT, HEADING, ITEM, TEXT, Block, blocks_of
from stead.memory.files.lines import lines_in, lines_of
from stead.memory.files.places import (
    Trouble,
    Unreadable,
    checked,
    kind_of,
    remembered_files,
)
from stead.memory.nouns import Entry, Layer, digest

__all__ = [
    "BROKEN",
    "CONFLICTED",
    "EVENT",
    "PARSER",
    "RECALLED",
    "REMEMBERED",
    "Source",
    "Trouble",
    "Unreadable",
    "entries_of",
    "find",
    "kind_of",
    "lines_between",
    "remembered_files",
    "source_of",
]

PARSER = "1"
"""Changes with what the same file gives: what was made from entries is then made anew."""
EVENT = "event"
"""Tag of lines that tell of stead's work (steps of tools, notices); nobody said them."""
RECALLED = "recalled"
"""Tag of answers that say again what was remembered."""
REMEMBERED = "remembered"
"""Title of what was kept on purpose, by the tool ``remember``."""
CONFLICTED = "merge-conflict"
"""Tag of the lines of a merge that nobody has solved: which side holds is not known."""
BROKEN = "broken-front-matter"

_FORGOTTEN = re.compile(r"forgotten \([0-9a-f]{8}\)", re.ASCII)
"""What stands in place of what the owner wanted forgotten: nothing to be remembered."""
_LOOKED_BACK = 262_144
_LAST_LINES = 20
_JOB_ID = re.compile(rb"\[job ([\w-]{1,40})", re.ASCII)

_SOURCE = re.compile(
    r"(?P<path>[^#\n]+)#L(?P<first>\d{1,9})(?:-L(?P<last>\d{1,9}))?(?:@(?P<hash>[0-9a-f]{8}))?",
    re.ASCII,
)


def entries_of(
    home: Path, path: str, zone: tzinfo | None = None, *, start: int = 0, line: int = 1
) -> Iterator[Entry]:
    """Every entry of a file, in order. ``path`` is relative to the home, as
    :func:`remembered_files` has it; ``zone`` is that of the times in it (default: this machine's).

    Of a daily log only those from byte ``start`` on, where line ``line`` begins, which must be the
    first of an entry; how often equal words have stood in the file is then counted from there.

    Raises ``OSError`` if it cannot be read (``FileNotFoundError``: it is gone), at once or on the
    way: what came before is then not all. Raises ``BadRequest`` for what is no file of memory.
    """
    file = checked(home, path)
    keys = _Keys(path)
    if kind_of(path).layer is Layer.DAILY:
        yield from _daily(file, path, keys, zone, start, line)
    else:
        yield from _notes(file, path, keys)


# --- daily logs ----------------------------------------------------------------------------


def _daily(
    file: Path, path: str, keys: _Keys, zone: tzinfo | None, start: int, line: int
) -> Iterator[Entry]:
    kind = kind_of(path)
    assert kind.day is not None
    base = Entry("", kind.layer, path, (1, 1), "", at=times.of_day(kind.day, zone), tags=kind.tags)
    lines = _Day(base, times.Clock(kind.day, zone), keys)
    if start:
        lines.prime(_before(file, start))
    held: tuple[Block, Entry] | None = None  # perhaps torn: then the next says it again, whole
    for block in _with_words(_blocks(file, start, line), kind.day.isoformat()):
        entry = lines.entry(block)
        if entry is None:
            continue
        if held is not None and not (daylog.whole(block.text) and _torn(held[0], block)):
            yield held[1]
        held = block, entry
        if daylog.whole(block.text):
            yield entry
            held = None
    if held is not None:
        yield held[1]


def _before(file: Path, start: int) -> Iterator[Block]:
    """What was said shortly before: it tells which conversation an answer belongs to.

    Of a few new lines only that which names one of their jobs, and the last, for the clock: a line
    is added with every message.
    """
    with open(file, "rb") as opened:
        opened.seek(max(0, start - _LOOKED_BACK))
        data = opened.read(min(start, _LOOKED_BACK))
        new = opened.read(_LOOKED_BACK)
    if len(new) < _LOOKED_BACK:
        lines = data.splitlines(keepends=True)
        jobs = {*_JOB_ID.findall(new)}
        named = re.compile(b"|".join(map(re.escape, jobs)) if jobs else b"(?!)")
        near = len(lines) - _LAST_LINES
        data = b"".join(one for n, one in enumerate(lines) if n >= near or named.search(one))
    yield from blocks_of(lines_of(io.BytesIO(data)))


def _torn(block: Block, following: Block) -> bool:
    """Whether the first is what a crash left of the second."""
    return following.text.startswith(block.text.rstrip("\ufffd"))


class _Day:
    """From blocks of a daily log to entries."""

    def __init__(self, base: Entry, clock: times.Clock, keys: _Keys) -> None:
        self._base = base
        self._last = base
        self._clock = clock
        self._keys = keys
        self._talk = daylog.Talk()

    def prime(self, earlier: Iterable[Block]) -> None:
        """Know what was said before."""
        for block in earlier:
            said = self._talk.read(block.text) if block.kind == ITEM and not block.more else None
            if said is not None:
                self._clock.at(*said.clock)

    def entry(self, block: Block) -> Entry | None:
        """None for what was forgotten."""
        if block.more:
            text = daylog.without_ident(block.text)
            where = block.first, block.last
            return replace(self._last, key=self._keys.of(text), lines=where, text=text)
        said = self._talk.read(block.text) if block.kind == ITEM else None
        if said is not None and _FORGOTTEN.fullmatch(said.text):
            return None
        if said is None:
            self._last = _plain(self._base, block, self._keys)
        else:
            self._last = self._of(block, said)
        return self._last

    def _of(self, block: Block, said: daylog.Said) -> Entry:
        base = self._base
        tags = base.tags
        if said.event:
            tags = (*tags, EVENT)
        if said.recalled:
            tags = (*tags, RECALLED)
        return Entry(
            self._keys.of(said.text),
            base.layer,
            base.path,
            (block.first, block.last),
            said.text,
            title=REMEMBERED if said.remembered else "",
            speaker=said.speaker,
            session=said.session,
            at=self._clock.at(*said.clock),
            tags=tags,
            foreign=said.foreign,
            ident=said.job,
        )


# --- cards and standing files ----------------------------------------------------------------


def _notes(file: Path, path: str, keys: _Keys) -> Iterator[Entry]:
    kind = kind_of(path)
    head, lines = front.split(lines_in(file))
    title = head.text("topic") or head.text("title")
    tags = tuple(dict.fromkeys((*kind.tags, *head.list("tags"))))
    base = Entry(
        "",
        kind.layer,
        path,
        (1, 1),
        "",
        at=times.parsed(head.text("updated")) or times.parsed(head.text("created")),
        until=times.parsed(head.text("until")),
        known_at=times.parsed(head.text("created")),
        tags=(*tags, BROKEN) if head.broken else tags,
        people=head.list("people"),
        foreign=head.foreign,
        confidence=head.confidence,
    )
    stem = PurePosixPath(path).stem
    top = ""
    for block in _with_words(blocks_of(lines), ""):
        top = block.top or top
        if _FORGOTTEN.fullmatch(block.text.strip()):
            continue
        name = title or top or stem
        yield _plain(replace(base, title=name), block, keys)


def _plain(base: Entry, block: Block, keys: _Keys) -> Entry:
    """Of a block that stands in a file as somebody wrote it."""
    text, said = marks.read(block.text)
    title = " / ".join(one for one in (base.title, block.title) if one and one != block.text)
    conflict = block.kind == CONFLICT
    return replace(
        base,
        key=keys.of(text),
        lines=(block.first, block.last),
        text=text,
        title=title,
        at=said.since or base.at,
        until=said.until or base.until,
        known_at=said.known or base.known_at,
        people=said.people or base.people,
        # Whose words they are cannot be told where two versions lie in each other.
        foreign=base.foreign or said.foreign or conflict,
        confidence=base.confidence if said.confidence is None else said.confidence,
        tags=(*base.tags, CONFLICTED) if conflict else base.tags,
        ident=said.ident,
    )


def _blocks(file: Path, start: int, no: int) -> Iterator[Block]:
    """Front matter in a daily log is not ours, but does not hurt either."""
    if start:
        yield from blocks_of(lines_in(file, start, no))
        return
    head, lines = front.split(lines_in(file))
    if head.lines and head.fields:
        words = "\n".join(f"{name}: {head.text(name)}" for name in head.fields)
        yield Block(TEXT, 1, head.lines, words)
    yield from blocks_of(lines)


def _with_words(blocks: Iterable[Block], but: str) -> Iterator[Block]:
    """Headings are left out, unless nothing stands below them (but not one that begins with
    ``but``)."""
    alone: Block | None = None
    for block in blocks:
        if alone is not None and block.kind == HEADING:
            yield alone
        alone = None
        if block.kind != HEADING:
            yield block
        elif not but or not block.text.startswith(but):
            alone = block
    if alone is not None:
        yield alone


class _Keys:
    """Keys of entries: how often the same words have stood in this file.

    A table of numbers instead of a ``dict``: a daily log of 100 MB may have a million lines.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._used = 0
        self._slots = array("Q", bytes(8 * 256))

    def of(self, text: str) -> str:
        mark = digest(text)
        times = self._count(int(mark, 16))
        return f"{self._path}#{mark}" if times == 1 else f"{self._path}#{mark}.{times}"

    def _count(self, number: int) -> int:
        """How often ``number`` (32 bits) has come, with this time. A slot holds the number and
        its count (31 bits), and is 0 where free."""
        if self._used * 3 > len(self._slots) * 2:
            old = self._slots
            self._slots = array("Q", bytes(16 * len(old)))
            for slot in old:
                if slot:
                    self._slots[self._place(slot >> 32)] = slot
        at = self._place(number)
        if not self._slots[at]:
            self._slots[at] = number << 32
            self._used += 1
        self._slots[at] += 1
        return self._slots[at] & 0xFFFFFFFF

    def _place(self, number: int) -> int:
        slots, size = self._slots, len(self._slots)
        at = number % size
        while slots[at] and slots[at] >> 32 != number:
            at = (at + 1) % size
        return at


# --- where a thing stands ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Source:
    """A citation (``memory/2026-11-20.md#L41-L44@1a2b3c4d``), taken apart."""

    path: str
    first: int
    last: int
    mark: str = ""
    """Digest of the text; empty where the citation had none."""


def source_of(words: str) -> Source | None:
    """None for what is no citation."""
    found = _SOURCE.fullmatch(words.strip())
    if found is None:
        return None
    first = int(found["first"])
    return Source(found["path"], first, int(found["last"] or first), found["hash"] or "")


def find(home: Path, source: Source) -> Entry | None:
    """The entry that is meant, also when its lines have moved within the file; without a digest,
    the one that stands at these lines. None: it is not there any more. Raises as
    :func:`entries_of`."""
    nearest: Entry | None = None
    for entry in entries_of(home, source.path):
        if source.mark:
            fits = digest(entry.text) == source.mark
        else:
            fits = entry.lines[0] <= source.first <= entry.lines[1]
        if fits and (nearest is None or _off(entry, source) < _off(nearest, source)):
            nearest = entry
    return nearest


def _off(entry: Entry, source: Source) -> int:
    return abs(entry.lines[0] - source.first)


def lines_between(home: Path, path: str, first: int, last: int, most: int = 65_536) -> str:
    """Lines as they stand in a file, numbered from 1, at most ``most`` characters of them."""
    out: list[str] = []
    size = 0
    for line in lines_in(checked(home, path)):
        if line.no > last or size > most:
            break
        if line.no >= first:
            if line.more and out:
                out[-1] += line.text
            else:
                out.append(line.text)
            size += len(line.text) + 1
    return "\n".join(out)[:most]
