"""What a job is answered that looks into memory by itself: searches, and sources to read on."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

from stead.core.errors import SteadError
from stead.core.recall import MemoryAsk, MemoryReply
from stead.memory.nouns import Entry, Hit, Layer, Question
from stead.memory.recall.choose import clipped
from stead.memory.recall.service import Searches
from stead.memory.recall.words import age, day

_WITHIN_S = 10.0
_LONGEST = 700
_AROUND = 3
"""Lines before and behind a source that are shown with it."""
_MOST_LINES = 80


class Asking:
    """Answers :class:`MemoryAsk` out of the memory of a home."""

    def __init__(self, home: Path, searches: Searches) -> None:
        self._home = home
        self._searches = searches

    async def __call__(self, ask: MemoryAsk) -> MemoryReply:
        """What went wrong is said in words: a model can go on without."""
        try:
            if ask.citation:
                return await asyncio.to_thread(self._read, ask.citation)
            return await self._search(ask)
        except SteadError as error:
            return MemoryReply(f"That cannot be looked up: {error.message}", private=False)
        except OSError as error:
            return MemoryReply(f"It cannot be read: {error.strerror}", private=False)

    async def _search(self, ask: MemoryAsk) -> MemoryReply:
        try:
            since, until = _day(ask.since), _day(ask.until)
            layers = frozenset({Layer(ask.layer)}) if ask.layer else frozenset[Layer]()
        except ValueError as error:
            return MemoryReply(f"That cannot be looked up: {error}", private=False)
        question = Question(
            ask.query[:2000], limit=max(1, min(20, ask.limit)), layers=layers, person=ask.person,
            since=since, until=until + 86_400_000 if until else 0,
        )  # fmt: skip
        found = await self._searches.search(question, within_s=_WITHIN_S)
        now = int(datetime.now().timestamp() * 1000)
        lines = [_told(hit, now) for hit in found.hits]
        if found.meant:
            lines.insert(0, f"(understood as: {found.meant})")
        if not found.hits:
            lines.append("Nothing that is remembered fits.")
        if found.stale:
            lines.append(f"(This may not be all there is: {found.stale})")
        return MemoryReply(
            "\n".join(lines),
            foreign=any(hit.entry.foreign for hit in found.hits),
            private=any(hit.entry.private for hit in found.hits),
        )

    def _read(self, citation: str) -> MemoryReply:
        # late: the gateway reads no files of memory but when it is asked for one
        from stead.memory.files import read

        source = read.source_of(citation)
        if source is None:
            return MemoryReply(
                "That is no citation; they look like memory/2026-11-20.md#L41-L44@1a2b3c4d",
                private=False,
            )
        entry = read.find(self._home, source)
        if entry is None:
            return MemoryReply("It is not there any more; search for it.", private=False)
        first, last = entry.lines
        last = min(last, first + _MOST_LINES)
        start, end = max(1, first - _AROUND), last + _AROUND
        text = read.lines_between(self._home, entry.path, start, end)
        # Who wrote the lines around it is as good as not known: any may be foreign.
        return MemoryReply(f"{_about(entry)}\n{text}", foreign=self._foreign(entry, start, end))

    def _foreign(self, entry: Entry, start: int, end: int) -> bool:
        # late: see _read
        from stead.memory.files.read import entries_of

        if entry.foreign:
            return True
        for one in entries_of(self._home, entry.path):
            if one.foreign and one.lines[0] <= end and one.lines[1] >= start:
                return True
            if one.lines[0] > end:
                break
        return False


def _told(hit: Hit, now: int) -> str:
    return f"- {clipped(hit.entry.text, _LONGEST)} ({_about(hit.entry, now)})"


def _about(entry: Entry, now: int = 0) -> str:
    told = [entry.source]
    if entry.title and entry.title.casefold() not in entry.text.casefold():
        told.append(entry.title)
    if entry.speaker:
        told.append(f"said by {entry.speaker}")
    if entry.at:
        told.append(f"{day(entry.at)}, {age(entry.at, now)}" if now else day(entry.at))
    if entry.until:
        told.append(f"held until {day(entry.until)}")
    if entry.foreign:
        told.append("written by others")
    return "; ".join(told)


def _day(text: str) -> int:
    """Midnight of a day, here, in ms. Raises ``ValueError``."""
    if not text:
        return 0
    begins = datetime.strptime(text, "%Y-%m-%d")
    return int(begins.timestamp() * 1000)
