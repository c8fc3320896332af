"""Live events of jobs: who watches an answer being written sees each piece at once.

Only in memory: what must survive is in the record and the journal, and a worker keeps the text of
its attempt. After a restart the text is asked of it again (:meth:`Live.have`), and because places
in it are counted in characters from the beginning of the attempt (:class:`~stead.core.place.Place`)
a watcher that comes back, to whichever process, is given what it has not seen yet. What is said
beside the text (tools, notes) is not said again after a restart.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from stead.core.place import BEGINNING, Place
from stead.core.wire import Event

#: Jobs whose events are kept after their end, for watchers that reconnect.
_KEEP_ENDED = 64
#: Jobs that are known to be over, so that nobody waits for one of them.
_KEEP_NAMES = 10_000
#: Characters of events kept for one job; each event counts for some more than its text.
_KEEP_CHARS = 1_000_000
_EVENT_CHARS = 100
_MERGE_CHARS = 1000
ANEW = "the answer begins anew"


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as a watcher gets it; ``place`` is where it is then, for ``Last-Event-ID``."""

    place: Place
    type: str
    text: str


@dataclass(slots=True)
class _Feed:
    epoch: int = 0
    events: list[Seen] = field(default_factory=list)
    """In the order of their places."""
    chars: int = 0
    length: int = 0
    """Characters of the attempt's text that came, from its beginning on without a gap."""
    base: int = 0
    """Where the text that is still kept begins."""
    why: str = ""
    """Why this attempt was begun."""
    remark: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    """The last remark's number. It begins at the time, so that those of an earlier process
    are smaller."""
    seen_seq: int = 0
    watchers: int = 0
    ended: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    listening: set[asyncio.Event] = field(default_factory=set)
    """Events of others, set with ``news``."""

    def tell(self) -> None:
        self.news.set()
        for event in self.listening:
            event.set()

    def begin(self, epoch: int, why: str = "") -> None:
        """Another attempt: what came of earlier ones is void."""
        if self.epoch:
            self.events.clear()
            self.chars = self.length = self.base = 0
        self.epoch, self.seen_seq, self.why = epoch, 0, why
        self.tell()

    def text(self, at: int, text: str) -> None:
        """More of the text, which begins at ``at``; what came before is passed over."""
        fresh = text[self.length - at :] if at <= self.length else ""
        if not fresh:
            return
        self.length += len(fresh)
        place = Place(self.epoch, self.length)
        last = self.events[-1] if self.events else None
        if last is not None and last.type == "token" and len(last.text) < _MERGE_CHARS:
            # Whoever has a part of it is given the rest: places need no bounds of events.
            self.events[-1] = Seen(place, "token", last.text + fresh)
            self.chars += len(fresh)
            self.tell()
        else:
            self._add(Seen(place, "token", fresh))

    def say(self, type: str, text: str) -> None:
        """Something beside the text."""
        self.remark += 1
        self._add(Seen(Place(self.epoch, self.length, self.remark), type, text))

    def _add(self, seen: Seen) -> None:
        self.events.append(seen)
        self.chars += len(seen.text) + _EVENT_CHARS
        if self.chars > _KEEP_CHARS:
            self._shorten()
        self.tell()

    def _shorten(self) -> None:
        """Let the oldest quarter go, so that this is seldom needed."""
        drop = 0
        while self.chars > _KEEP_CHARS * 3 // 4 and drop < len(self.events) - 1:
            self.chars -= len(self.events[drop].text) + _EVENT_CHARS
            drop += 1
        if drop:
            self.base = self.events[drop - 1].place.offset
            del self.events[:drop]

    def since(self, place: Place) -> list[Seen]:
        """What a watcher that is at ``place`` has not seen. Text is given without gaps: who is
        behind what is kept gets no more of it before the end, and then from the record."""
        if place.epoch > self.epoch:
            return []  # of that attempt nothing has come yet
        fresh: list[Seen] = []
        if place.epoch < self.epoch:
            if place.epoch and (place.offset or place.remark or self.why):
                fresh.append(Seen(Place(self.epoch), "reset", self.why or ANEW))
            # Before its first attempt a job has no text, so what was seen then was a remark.
            place = Place(self.epoch) if place.epoch else Place(self.epoch, 0, place.remark)
        if place.offset < self.base:
            return fresh
        for seen in self.events[self._first_after(place) :]:
            known = place.offset - (seen.place.offset - len(seen.text))
            if seen.type == "token" and known > 0:
                seen = Seen(seen.place, "token", seen.text[known:])
            fresh.append(seen)
        return fresh

    def _first_after(self, place: Place) -> int:
        low, high = 0, len(self.events)
        while low < high:
            middle = (low + high) // 2
            at = self.events[middle].place
            if (at.offset, at.remark) <= (place.offset, place.remark):
                low = middle + 1
            else:
                high = middle
        return low


class Live:
    """The feeds of all jobs under way (a :class:`~stead.core.ports.Watcher`)."""

    def __init__(self) -> None:
        self._feeds: dict[str, _Feed] = {}
        self._ended: OrderedDict[str, _Feed] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        self._closed = False
        self.on_begin: list[Callable[[], None]] = []
        """Told when something comes of a job for the first time, or of another attempt."""
        self.on_close: list[Callable[[], None]] = []

    @property
    def closed(self) -> bool:
        return self._closed

    def _feed(self, job_id: str) -> _Feed:
        feed = self._feeds.get(job_id)
        if feed is None:
            feed = self._feeds[job_id] = _Feed()
        return feed

    def publish(self, job_id: str, epoch: int, events: Sequence[Event]) -> None:
        """Pass on what is new: text by its place in the attempt, all else by its number."""
        if job_id in self._over:
            return
        feed = self._feed(job_id)
        if epoch > feed.epoch:
            feed.begin(epoch)
            for call in self.on_begin:
                call()
        if epoch < feed.epoch:
            return
        for event in events:
            if event.type == "token" and event.at >= 0:
                feed.text(event.at, event.text)
            elif event.seq > feed.seen_seq:
                feed.seen_seq = event.seq
                if event.type == "token":
                    feed.text(feed.length, event.text)
                elif event.type in ("tool", "note") and event.text:
                    feed.say(event.type, event.text)

    def have(self, job_id: str, epoch: int) -> int:
        """How much of an attempt's text is here from its beginning on; -1 if none is wanted."""
        feed = self._feeds.get(job_id)
        return feed.length if feed is not None and feed.epoch == epoch else -1

    def reset(self, job_id: str, epoch: int, text: str) -> None:
        """The attempt ``epoch`` has ended without an answer: another one begins."""
        feed = self._feeds.get(job_id)
        if feed is not None and feed.epoch <= epoch:
            feed.begin(epoch + 1, text)

    def reached(self, job_id: str, epoch: int) -> None:
        """The record says that the text to come is that of attempt ``epoch``, or of a later one."""
        if job_id not in self._over and epoch > 0:
            feed = self._feed(job_id)
            if feed.epoch < epoch:
                feed.begin(epoch)

    def note(self, job_id: str, text: str) -> None:
        """Words of stead's own to whoever watches, now or later."""
        if job_id not in self._over:
            self._feed(job_id).say("note", text)

    def end(self, job_id: str) -> None:
        """The job is over or waits; its watchers read the rest from the record."""
        self._over[job_id] = None
        if len(self._over) > _KEEP_NAMES:
            self._over.popitem(last=False)
        feed = self._feeds.pop(job_id, None)
        if feed is not None:
            feed.ended = True
            feed.tell()
            self._ended[job_id] = feed
            if len(self._ended) > _KEEP_ENDED:
                self._ended.popitem(last=False)

    def close(self) -> None:
        """The gateway stops: every watcher is let go, and finds the rest in the record later."""
        self._closed = True
        for feed in self._feeds.values():
            feed.tell()
        for call in self.on_close:
            call()

    def again(self, job_id: str) -> None:
        """A job that waited or was dead goes on."""
        self._over.pop(job_id, None)
        feed = self._ended.pop(job_id, None)
        if feed is not None:
            feed.ended = False
            self._feeds[job_id] = feed

    async def watch(
        self,
        job_id: str,
        place: Place = BEGINNING,
        beat_s: float = 15.0,
    ) -> AsyncIterator[Seen | None]:
        """Yield events after ``place`` until the job's end; None is a sign of life."""
        feed = self._ended.get(job_id)
        if feed is None:
            if job_id in self._over:
                return
            feed = self._feed(job_id)
        feed.watchers += 1
        try:
            while True:
                feed.news.clear()
                fresh = feed.since(place)
                for seen in fresh:
                    place = seen.place
                    yield seen
                if fresh:
                    continue
                if feed.epoch and not place.epoch:
                    place = Place(feed.epoch, 0, place.remark)
                if feed.ended or self._closed:
                    return
                try:
                    async with asyncio.timeout(beat_s):
                        await feed.news.wait()
                except TimeoutError:
                    yield None
        finally:
            self._let_go(job_id, feed)

    def _let_go(self, job_id: str, feed: _Feed) -> None:
        feed.watchers -= 1
        if not feed.watchers and not feed.events and not feed.ended:
            self._feeds.pop(job_id, None)  # nothing was there to be seen

    def listen(self, job_id: str, event: asyncio.Event, place: Place = BEGINNING) -> Listener:
        """What comes of a job after ``place``, for who waits for other things too: ``event`` is
        set whenever there is more."""
        feed = self._ended.get(job_id) or self._feeds.get(job_id)
        if feed is None:
            feed = _Feed(ended=True) if job_id in self._over else self._feed(job_id)
        feed.watchers += 1
        return Listener(self, job_id, feed, event, place)


class Listener:
    """Made by :meth:`Live.listen`; to be closed."""

    def __init__(
        self, live: Live, job_id: str, feed: _Feed, event: asyncio.Event, place: Place
    ) -> None:
        self.job_id = job_id
        self.place = place
        """Where it is: behind the last event that was given."""
        self._live = live
        self._feed = feed
        self._event = event
        feed.listening.add(event)

    def fresh(self) -> list[Seen]:
        """What has come since the last look."""
        found = self._feed.since(self.place)
        if found:
            self.place = found[-1].place
        elif self._feed.epoch and not self.place.epoch:
            self.place = Place(self._feed.epoch, 0, self.place.remark)
        return found

    def close(self) -> None:
        self._feed.listening.discard(self._event)
        self._live._let_go(self.job_id, self._feed)
