"""Conversations as they go on: who watches one is told of what is said in it, by whatever channel,
and of the answer that is being written.

What must not be missed is read from the record, by its place there; the text of an answer comes of
:class:`~stead.flow.live.Live`, by its place in the attempt. So what a watcher is told continues
where it was, over any restart. How a conversation stands (what runs, what waits for a word) is no
event: whoever watches is told how it is now, and again when that has changed.

One look into the record serves all who watch.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from stead.core.errors import BadRequest, SteadError
from stead.core.news import News
from stead.core.place import BEGINNING, Place
from stead.core.states import JobState
from stead.core.storage import Store, View
from stead.flow.live import Listener, Live, Seen

log = logging.getLogger(__name__)

_FORM = re.compile(r"([0-9]{1,18})(?:-([0-9a-f-]{36})-([0-9.]{3,44}))?")
#: Messages that a watcher, or a look, is given at once.
_AT_ONCE = 100
#: Characters of messages that are kept of a conversation for those who watch it.
_KEEP_CHARS = 500_000


class Where(NamedTuple):
    """Where a watcher is: ``seq``, or ``seq-job-place`` while the answer of a job is written."""

    seq: int = -1
    """What was recorded up to it has been seen; below 0: what was there before is not wanted."""
    job: str = ""
    place: Place = BEGINNING

    def __str__(self) -> str:
        return f"{self.seq}-{self.job}-{self.place}" if self.job else str(self.seq)

    @classmethod
    def parse(cls, text: str) -> Where:
        """Raises ``BadRequest``."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadRequest(
                f"Last-Event-ID must be the id of an event of a conversation, not {text[:100]!r}.",
                param="Last-Event-ID",
            )
        seq, job, place = found.groups()
        return cls(int(seq), job or "", Place.parse(place))


@dataclass(frozen=True, slots=True)
class Told:
    """An event: ``message``, ``token``, ``tool``, ``note``, ``reset`` or ``state``."""

    type: str
    data: View
    ident: str = ""
    """Where the watcher is with it; empty for ``state``, which is told anew anyway."""


@dataclass(slots=True)
class _Room:
    """A conversation that is watched."""

    session: str
    messages: list[View] = field(default_factory=list)
    """What was recorded after ``floor``."""
    floor: int = -1
    """Below 0: nobody has looked yet."""
    chars: int = 0
    state: View | None = None
    wakes: set[asyncio.Event] = field(default_factory=set)

    def add(self, message: View) -> None:
        self.messages.append(message)
        self.chars += len(message["text"])
        while self.chars > _KEEP_CHARS or len(self.messages) > _AT_ONCE:
            first = self.messages.pop(0)
            self.chars -= len(first["text"])
            self.floor = first["seq"]

    def wake(self) -> None:
        for event in self.wakes:
            event.set()


class Conversations:
    """Told to look by those who change something (:meth:`nudge`), it looks now and then anyway,
    while anybody watches."""

    def __init__(self, store: Store, live: Live, news: News, *, every_s: float = 1.0) -> None:
        self._store = store
        self._live = live
        self._every_s = every_s
        self._rooms: dict[str, _Room] = {}
        self._upto = 0
        self._look_again = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.news = news
        news.when_touched.append(self.nudge)
        live.on_begin.append(self.nudge)
        live.on_close.append(self._wake_all)

    def nudge(self) -> None:
        """Something has changed."""
        self._look_again.set()

    async def watch(
        self, session: str, where: Where | None = None, beat_s: float = 15.0
    ) -> AsyncIterator[Told | None]:
        """What happens in a conversation after ``where``, without an end but the gateway's; None
        now and then is a sign of life."""
        # No place lies behind all that is recorded: such a one is of another storage.
        last = await self._store.last_message()
        again = where is not None and where.seq >= 0
        seq = min(where.seq, last) if where is not None and again else last
        watcher = _Watcher(self, self._enter(session), Where(seq))
        if where is not None and where.job:
            watcher.places[where.job] = where.place
        watcher.again = again
        try:
            while True:
                watcher.wake.clear()
                given = False
                async for told in watcher.fresh():
                    given = True
                    yield told
                if given:
                    continue
                if self._live.closed:
                    return
                try:
                    async with asyncio.timeout(beat_s):
                        await watcher.wake.wait()
                except TimeoutError:
                    yield None
        finally:
            watcher.close()
            self._leave(watcher.room)

    async def after(self, room: _Room, seq: int) -> tuple[list[View], int]:
        """The next messages behind ``seq``, and up to where that is all."""
        if 0 <= room.floor <= seq:
            if not room.messages or room.messages[-1]["seq"] <= seq:
                return [], seq
            return [one for one in room.messages if one["seq"] > seq], seq
        floor = room.floor
        page = await self._store.view_messages(room.session, seq, _AT_ONCE)
        found = page["messages"]
        return found, seq if len(found) == _AT_ONCE else max(seq, floor)

    def listen(self, job: View, event: asyncio.Event, place: Place) -> Listener:
        """To the answer of a job that is first in line."""
        epoch = int(job["epoch"])
        if job["state"] == JobState.RUNNING:
            self._live.reached(job["id"], epoch)
        elif epoch:  # the last attempt is over and void
            self._live.reached(job["id"], epoch + 1)
        return self._live.listen(job["id"], event, place)

    # --- one look for all -----------------------------------------------------------------

    def _enter(self, session: str) -> _Room:
        room = self._rooms.get(session)
        if room is None:
            room = self._rooms[session] = _Room(session)
        self._look_again.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="conversations")
        return room

    def _leave(self, room: _Room) -> None:
        if not room.wakes and self._rooms.get(room.session) is room:
            del self._rooms[room.session]
            self._look_again.set()

    def _wake_all(self) -> None:
        for room in self._rooms.values():
            room.wake()
        self._look_again.set()

    async def _run(self) -> None:
        """Look, as long as anybody watches."""
        self._upto = await self._last()
        while self._rooms and not self._live.closed:
            self._look_again.clear()
            try:
                while await self._look():
                    pass
            except SteadError as error:  # the storage is away: the record waits
                log.warning("cannot look what was said: %s", error.message)
                await asyncio.sleep(self._every_s)
            except Exception:  # the edge of a service: it looks again in a moment
                log.exception("cannot look what was said")
                await asyncio.sleep(self._every_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._look_again.wait()

    async def _last(self) -> int:
        while True:
            try:
                return await self._store.last_message()
            except SteadError as error:
                log.warning("cannot look what was said: %s", error.message)
                await asyncio.sleep(self._every_s)

    async def _look(self) -> bool:
        """Whether there is more."""
        rooms = list(self._rooms.values())
        begun = self._upto
        news = await self._store.view_news(begun, [room.session for room in rooms], _AT_ONCE)
        self._upto = news["upto"]
        by_session = {room.session: room for room in rooms}
        woken: dict[str, _Room] = {}
        for room in rooms:
            if room.floor < 0:
                room.floor = begun
                woken[room.session] = room
            state = news["sessions"].get(room.session) or _nothing(room.session)
            if state != room.state:
                room.state = state
                woken[room.session] = room
        for message in news["messages"]:
            room = by_session[message["session"]]
            room.add(message)
            woken[room.session] = room
        for room in woken.values():
            room.wake()
        return bool(news["more"])


class _Watcher:
    """One who watches: what it was told, and what it is to be told next."""

    def __init__(self, all_: Conversations, room: _Room, where: Where) -> None:
        self.room = room
        self.wake = asyncio.Event()
        self.places: dict[str, Place] = {}
        """Where it is in the answers of jobs that are not over."""
        self.again = False
        """It has watched before, so it may hold words of an answer."""
        self._all = all_
        self._seq = where.seq
        self._listener: Listener | None = None
        self._state: View | None = None
        room.wakes.add(self.wake)

    def close(self) -> None:
        self.room.wakes.discard(self.wake)
        self._listen(None)

    async def fresh(self) -> AsyncIterator[Told]:
        """What was recorded, then how it stands, then the answer under way: a look at the record
        shows an answer's end together with the state without its job."""
        state = self.room.state
        if state is self._state and self._listener is not None:
            for seen in self._listener.fresh():
                yield self._seen(seen)
        while True:
            found, self._seq = await self._all.after(self.room, self._seq)
            for message in found:
                self._seq = message["seq"]
                yield Told("message", message, self._ident())
            if not found:
                break
        if state is not None and state is not self._state:
            self._state = state
            yield Told("state", _shown(state))
            if self._listen(_first(state)):
                assert self._listener is not None
                yield self._told("reset", "")

    def _listen(self, job: View | None) -> bool:
        """To another job, or none. Whether its answer is told from its beginning to who may have
        words of it."""
        before = self._listener
        if before is not None:
            if job is not None and before.job_id == job["id"]:
                return False
            self.places[before.job_id] = before.place
            before.close()
            self._listener = None
        if job is None:
            return False
        known = self.places.pop(job["id"], None)
        self._listener = self._all.listen(job, self.wake, known or BEGINNING)
        self.wake.set()  # it may have said something before
        return known is None and self.again

    def _seen(self, seen: Seen) -> Told:
        return self._told(seen.type, seen.text, seen.place)

    def _told(self, type: str, text: str, place: Place | None = None) -> Told:
        assert self._listener is not None
        return Told(type, {"job": self._listener.job_id, "text": text}, self._ident(place))

    def _ident(self, place: Place | None = None) -> str:
        one = self._listener
        at = place or (one.place if one is not None else BEGINNING)
        if one is None or at == BEGINNING:
            return str(Where(self._seq))
        return str(Where(self._seq, one.job_id, at))


def _first(state: View) -> View | None:
    """The job that is first in line."""
    jobs: list[dict[str, Any]] = state["jobs"]
    running = [job for job in jobs if job["state"] == JobState.RUNNING]
    queued = [job for job in jobs if job["state"] == JobState.QUEUED]
    return next(iter([*running, *queued]), None)


def _shown(state: View) -> View:
    return {**state, "jobs": [without_epoch(job) for job in state["jobs"]]}


def without_epoch(job: View) -> View:
    """A job as clients are shown it: which attempt it is stands in the place of its text."""
    return {name: value for name, value in job.items() if name != "epoch"}


def _nothing(session: str) -> View:
    """A conversation in which nothing was said yet."""
    return {
        "id": session, "title": "", "name": "", "state": "idle", "waiting": 0, "turns": 0,
        "last_at": 0, "ended_at": 0, "jobs": [],
    }  # fmt: skip
