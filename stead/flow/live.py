"""Live events of jobs: who watches an answer being written sees each piece at once.

Only in memory: what must survive is in the record and the journal. A watcher
that comes late, or comes back, is given what it has not seen yet.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from stead.core.wire import Event

#: Jobs whose events are kept after their end, for watchers that reconnect.
_KEEP_ENDED = 64
#: Characters of events kept for one job.
_KEEP_CHARS = 1_000_000


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as a watcher gets it; ``id`` counts within the job, for ``Last-Event-ID``."""

    id: int
    type: str
    text: str


@dataclass(slots=True)
class _Feed:
    events: list[Seen] = field(default_factory=list)
    chars: int = 0
    next_id: int = 1
    epoch: int = 0
    seen_seq: int = 0
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, type: str, text: str) -> None:
        self.events.append(Seen(self.next_id, type, text))
        self.next_id += 1
        self.chars += len(text)
        while self.chars > _KEEP_CHARS and len(self.events) > 1:
            self.chars -= len(self.events.pop(0).text)
        self.news.set()


class Live:
    """The feeds of all jobs under way (a :class:`~stead.core.ports.Watcher`)."""

    def __init__(self) -> None:
        self._feeds: OrderedDict[str, _Feed] = OrderedDict()
        self._closed = False

    def _feed(self, job_id: str) -> _Feed:
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = _Feed()
        return feed

    def publish(self, job_id: str, epoch: int, events: Sequence[Event]) -> None:
        """Pass on what is new; a re-sent batch, known by its sequence numbers, is dropped."""
        feed = self._feed(job_id)
        if epoch > feed.epoch:
            feed.epoch, feed.seen_seq = epoch, 0
        for event in events:
            if epoch == feed.epoch and event.seq > feed.seen_seq:
                feed.seen_seq = event.seq
                if event.type in ("token", "tool", "note") and event.text:
                    feed.add(event.type, event.text)

    def reset(self, job_id: str, text: str) -> None:
        """The answer so far is void: another attempt begins."""
        feed = self._feeds.get(job_id)
        if feed is not None:
            feed.add("reset", text)

    def note(self, job_id: str, text: str) -> None:
        self._feed(job_id).add("note", text)

    def end(self, job_id: str) -> None:
        """The job is over or waits; its watchers read the rest from the record."""
        feed = self._feed(job_id)
        feed.ended = True
        feed.news.set()
        self._feeds.move_to_end(job_id)
        over = [job for job, feed in self._feeds.items() if feed.ended]
        for job in over[: max(0, len(over) - _KEEP_ENDED)]:
            del self._feeds[job]

    def close(self) -> None:
        """The gateway stops: every watcher is let go, and finds the rest in the record later."""
        self._closed = True
        for feed in self._feeds.values():
            feed.news.set()

    def again(self, job_id: str) -> None:
        """A job that waited or was dead goes on."""
        self._feed(job_id).ended = False

    async def watch(
        self, job_id: str, after: int = 0, beat_s: float = 15.0
    ) -> AsyncIterator[Seen | None]:
        """Yield events after ``after`` until the job's end; None is a sign of life."""
        feed = self._feed(job_id)
        if after >= feed.next_id:  # an id given out before the gateway's last start
            after = 0
        while True:
            feed.news.clear()
            fresh = [seen for seen in feed.events if seen.id > after]
            for seen in fresh:
                after = seen.id
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
