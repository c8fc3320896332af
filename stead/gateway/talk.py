"""Talking with the agent over HTTP: accept a message, follow its answer to the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from stead.core.errors import SteadError
from stead.core.states import ENDED, Failure, JobState
from stead.core.storage import Store, View
from stead.flow.live import Live, Seen

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

    @property
    def answered(self) -> bool:
        return self.state == JobState.DONE


class Stopping(SteadError):
    """stead is being stopped. The message is kept and will be answered when it is back."""

    status = 503
    code = "stopping"
    failure = Failure.AWAY


class Talk:
    """Follows jobs for whoever waits for their answers."""

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live

    async def follow(
        self, job_id: str, after: int = 0, beat_s: float = 15.0, *, fresh: bool = False
    ) -> AsyncIterator[Seen | End | None]:
        """Live events, then the :class:`End`. None now and then is a sign of life.

        A job that ended before gives its End at once. ``fresh``: it was accepted just now, so
        the live events are all there is to see of it; no look at the record delays its start.
        """
        if fresh or (await self._store.view_why(job_id))["job"]["state"] not in _OVER:
            async for seen in self._live.watch(job_id, after, beat_s):
                yield seen
        story = await self._store.view_why(job_id)
        if story["job"]["state"] not in _OVER:
            raise Stopping
        yield _end(story)

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
    )
