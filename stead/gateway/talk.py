"""Talking with the agent over HTTP: accept a message, follow its answer to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from stead.core.errors import SteadError
from stead.core.place import BEGINNING, Place
from stead.core.states import ENDED, Failure, JobState
from stead.core.storage import Store, View
from stead.flow.live import ANEW, Live, Seen

_OVER = frozenset({*ENDED, JobState.WAITING})


@dataclass(frozen=True, slots=True)
class End:
    """How a job ended, as its asker is told."""

    state: str
    text: str
    error: str
    waiting_for: str
    waited_ms: int
    worked_ms: int
    usage: dict[str, int]
    job_id: str
    message_id: str
    approval: str = ""
    """With ``waiting``: the id of the question about a call that waits for the owner's word."""

    @property
    def answered(self) -> bool:
        return self.state == JobState.DONE


class Stopping(SteadError):
    """stead is being stopped. The message is kept and will be answered when it is back."""

    status = 503
    code = "stopping"
    failure = Failure.AWAY
    retry_after_s = 2.0


class Talk:
    """Follows jobs for whoever waits for their answers."""

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live

    async def follow(
        self,
        job_id: str,
        place: Place = BEGINNING,
        beat_s: float = 15.0,
        *,
        fresh: bool = False,
    ) -> AsyncIterator[Seen | End | None]:
        """Live events after ``place``, what is missing of the text, then the :class:`End`. None
        now and then is a sign of life.

        The text of the ``token`` events since the last ``reset`` is the text of a job that is
        done, also for a watcher that comes back after a restart, or when all is over. ``fresh``:
        it was accepted just now, so no look at the record delays its start. Raises
        ``Stopping`` when the gateway stops before the end.
        """
        told = _Told(place)
        if fresh or await self._goes_on(job_id):
            async for seen in self._live.watch(job_id, place, beat_s):
                if seen is not None:
                    told.add(seen)
                yield seen
        story = await self._store.view_why(job_id)
        if story["job"]["state"] not in _OVER:
            raise Stopping
        end = _end(story)
        if end.answered:
            for seen in told.rest(int(story["job"]["epoch"]), end.text):
                yield seen
        yield end

    async def _goes_on(self, job_id: str) -> bool:
        """Whether a job is not over; then its feed is told which attempt's text is to come."""
        job = (await self._store.view_why(job_id))["job"]
        if job["state"] in _OVER:
            return False
        epoch = int(job["epoch"])
        if job["state"] == JobState.RUNNING:
            self._live.reached(job_id, epoch)
        elif epoch:  # the last attempt is over and void
            self._live.reached(job_id, epoch + 1)
        return True

    async def end(self, job_id: str, *, fresh: bool = False) -> End:
        """Wait for the end of a job; ``fresh`` as in :meth:`follow`."""
        async for seen in self.follow(job_id, fresh=fresh):
            if isinstance(seen, End):
                return seen
        raise AssertionError("follow() ends with an End")

    async def read(self, end: End) -> None:
        """The asker has the answer: its outbox row is delivered."""
        if end.state != JobState.WAITING:
            await self._store.fetched(end.job_id)


class _Told:
    """What a watcher has of a text."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._began = place.offset
        self._text: list[str] = []

    def add(self, seen: Seen) -> None:
        if seen.type == "reset":
            self._began, self._text = 0, []
        elif seen.type == "token":
            self._text.append(seen.text)
        self._place = seen.place

    def rest(self, epoch: int, text: str) -> list[Seen]:
        """The events that complete it to the text of attempt ``epoch``."""
        place, had = self._place, "".join(self._text)
        if place.epoch not in (0, epoch) or not text.startswith(had, self._began):
            # What it has is of an attempt that came to nothing.
            began = [Seen(Place(epoch), "reset", ANEW)] if place.offset else []
            return [*began, Seen(Place(epoch, len(text)), "token", text)]
        rest = text[self._began + len(had) :]
        return [Seen(Place(epoch, len(text)), "token", rest)] if rest else []


def _end(story: View) -> End:
    job, reply, cost = story["job"], story["reply"], story["cost"]
    return End(
        state=job["state"],
        text=reply["text"] if reply else "",
        error=job["error"],
        waiting_for=job["waiting_for"],
        waited_ms=job["waited_ms"],
        worked_ms=job["worked_ms"],
        usage={
            key: cost[key]
            for key in ("prompt_tokens", "cached_tokens", "completion_tokens", "cost_micro")
        },
        job_id=job["id"],
        message_id=job["message_id"] or "",
        approval=next((one["id"] for one in story["approvals"] if one["state"] == "open"), ""),
    )
