"""Live events of jobs: who watches an answer being written sees each piece at once.

Only in memory: what must survive is in the record and the journal. A watcher
that comes late, or comes back, is given what it has not seen yet.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from stead.core.wire import Event

#: Jobs whose events are kept after their end, for watchers that reconnect.
_KEEP_ENDED = 64
#: Jobs that are known to be over, so that nobody waits for one of them.
_KEEP_NAMES = 10_000
#: Characters of events kept for one job; each event counts for some more than its text.
_KEEP_CHARS = 1_000_000
_EVENT_CHARS = 100


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as a watcher gets it; ``id`` rises within the job, for ``Last-Event-ID``."""

    id: int
    type: str
    text: str
    torn: bool = False
    """Text that stands behind a hole: what came before it is not here."""


def _first_id() -> int:
    """Ids begin at the time in milliseconds, so that those of an earlier start are smaller."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class _Feed:
    events: list[Seen] = field(default_factory=list)
    chars: int = 0
    next_id: int = field(default_factory=_first_id)
    epoch: int = 0
    seen_seq: int = 0
    torn: bool = False
    """Events of this epoch are missing here: they went to an earlier process, or were shed."""
    watchers: int = 0
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, type: str, text: str) -> None:
        self.events.append(Seen(self.next_id, type, text, self.torn and type == "token"))
        self.next_id += 1
        self.chars += len(text) + _EVENT_CHARS
        if self.chars > _KEEP_CHARS:
            self._shorten()
        self.news.set()

    def _shorten(self) -> None:
        """Let the oldest quarter go, so that this is seldom needed."""
        drop = 0
        while self.chars > _KEEP_CHARS * 3 // 4 and drop < len(self.events) - 1:
            self.chars -= len(self.events[drop].text) + _EVENT_CHARS
            drop += 1
        del self.events[:drop]

    def void(self) -> None:
        self.events.clear()
        self.chars = 0

    def since(self, after: int) -> list[Seen]:
        """The events after an id; all if it is none of ours (the clock was set back)."""
        if after >= self.next_id:
            return list(self.events)
        first = self.next_id - len(self.events)
        return self.events[max(0, after + 1 - first) :]


class Live:
    """The feeds of all jobs under way (a :class:`~stead.core.ports.Watcher`)."""

    def __init__(self) -> None:
        self._feeds: dict[str, _Feed] = {}
        self._ended: OrderedDict[str, _Feed] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        self._closed = False

    def _feed(self, job_id: str) -> _Feed:
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = _Feed()
        return feed

    def publish(self, job_id: str, epoch: int, events: Sequence[Event]) -> None:
        """Pass on what is new; a re-sent batch, known by its sequence numbers, is dropped."""
        if job_id in self._over:
            return
        feed = self._feed(job_id)
        if epoch > feed.epoch:
            feed.epoch, feed.seen_seq, feed.torn = epoch, 0, False
        for event in events:
            if epoch == feed.epoch and event.seq > feed.seen_seq:
                feed.torn = feed.torn or event.seq > feed.seen_seq + 1
                feed.seen_seq = event.seq
                if event.type in ("token", "tool", "note") and event.text:
                    feed.add(event.type, event.text)

    def reset(self, job_id: str, text: str) -> None:
        """The answer so far is void: another attempt begins."""
        feed = self._feeds.get(job_id)
        if feed is not None:
            feed.void()
            feed.add("reset", text)

    def note(self, job_id: str, text: str) -> None:
        """Words of stead's own to whoever watches, now or later."""
        if job_id not in self._over:
            self._feed(job_id).add("note", text)

    def end(self, job_id: str) -> None:
        """The job is over or waits; its watchers read the rest from the record."""
        self._over[job_id] = None
        if len(self._over) > _KEEP_NAMES:
            self._over.popitem(last=False)
        feed = self._feeds.pop(job_id, None)
        if feed is not None:
            feed.ended = True
            feed.news.set()
            self._ended[job_id] = feed
            if len(self._ended) > _KEEP_ENDED:
                self._ended.popitem(last=False)

    def close(self) -> None:
        """The gateway stops: every watcher is let go, and finds the rest in the record later."""
        self._closed = True
        for feed in self._feeds.values():
            feed.news.set()

    def again(self, job_id: str) -> None:
        """A job that waited or was dead goes on."""
        self._over.pop(job_id, None)
        feed = self._ended.pop(job_id, None)
        if feed is not None:
            feed.ended = False
            self._feeds[job_id] = feed

    async def watch(
        self, job_id: str, after: int = 0, beat_s: float = 15.0
    ) -> AsyncIterator[Seen | None]:
        """Yield events after ``after`` until the job's end; None is a sign of life.

        Text behind a hole is for those alone who saw what came before it (``after``); anyone
        else finds the whole answer at its end.
        """
        from_the_start = after == 0
        feed = self._ended.get(job_id)
        if feed is None:
            if job_id in self._over:
                return
            feed = self._feed(job_id)
        feed.watchers += 1
        try:
            while True:
                feed.news.clear()
                fresh = feed.since(after)
                for seen in fresh:
                    after = seen.id
                    if not (seen.torn and from_the_start):
                        yield seen
                if fresh:
                    continue
                if feed.ended or self._closed:
                    return
                try:
                    async with asyncio.timeout(beat_s):
                        await feed.news.wait()
                except TimeoutError:
                    yield None
        finally:
            feed.watchers -= 1
            unseen = not feed.events and not feed.seen_seq
            if not feed.watchers and unseen and not feed.ended:
                self._feeds.pop(job_id, None)  # nothing was there to be seen
