"""One job's way back to the gateway: in order, in batches, until acknowledged.

What may be lost (tokens, notes, lines on tools) waits in memory only and is
bounded. What must arrive (journal entries, the end) is kept: an intent until
the gateway has acknowledged it, everything else on the node's disk as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from stead.core.errors import GatewayAway, StaleEpoch, SteadError
from stead.core.ids import uuid7
from stead.core.nouns import Step, Trouble
from stead.core.ports import Link
from stead.core.states import Failure, StepState
from stead.core.wire import Event, Events, Finish
from stead.node.presence import Presence
from stead.node.said import Said
from stead.node.spool import Spool

log = logging.getLogger("stead.node")

BATCH_S = 0.02
"""Live events go at most this often; the first one of a job goes at once."""
LIVE_CHARS = 256 * 1024
"""Live text that may wait for one job; beyond it the oldest tokens go."""
REPORT_CHARS = 256 * 1024
"""About how much goes in one report."""
MERGE_CHARS = 2048
SAID_CHARS = 64 * 1024
"""Of an answer under way so much is remembered, for the case that the job is taken away."""
LAST_WORDS_S = 5.0
TRIES_OF_A_FAULTY_GATEWAY = 12
"""So often an internal error of the gateway (500) is met with another try."""

_LATER = frozenset({401, 403, 408, 429, 502, 503, 504})
_SHED_NOTE = "part of the live answer was left out while the gateway was away; the end has it whole"


class Watch(Protocol):
    """Who is told what the gateway says about a job."""

    def cancel(self, job_id: str, epoch: int) -> None:
        """The owner wants the job stopped."""
        ...

    def lost(self, job_id: str, epoch: int) -> None:
        """The job has another owner: its reports were dropped."""
        ...

    def refused(self, job_id: str, epoch: int, error: SteadError) -> None:
        """The gateway will never take a report of this job."""
        ...

    def closed(self, job_id: str, epoch: int) -> None:
        """Nothing more will be sent for this job."""
        ...


@dataclass(slots=True, eq=False)
class Durable:
    """A report that must arrive. ``arrived`` is done when the gateway has answered for it."""

    id: str
    what: Event | Finish
    spooled: bool
    arrived: asyncio.Future[None]
    kept: bool = False
    """Whether it is on this disk."""

    def written(self, outcome: asyncio.Future[None]) -> None:
        """The spool is done with it, well or badly (the spool itself says why)."""
        self.kept = not outcome.cancelled() and outcome.exception() is None

    @property
    def in_danger(self) -> bool:
        """Whether it would be missed if this process ended now: an intent alone would not."""
        done = isinstance(self.what, Finish) or (
            self.what.step is not None and self.what.step.state is not StepState.INTENT
        )
        return done and not self.kept and not self.arrived.done()


@dataclass(slots=True)
class _Batch:
    report: Events | Finish
    durables: list[Durable] = field(default_factory=list)
    is_live: bool = False


class Sender:
    """Sends what happens in one job at one epoch, in order.

    ``watch`` is called from within the event loop. Nothing is sent before the
    first event, and nothing runs while there is nothing to send.
    """

    def __init__(
        self,
        job_id: str,
        epoch: int,
        link: Link,
        spool: Spool | None,
        presence: Presence,
        watch: Watch,
    ) -> None:
        self.job_id = job_id
        self.epoch = epoch
        self._link = link
        self._spool = spool
        self._presence = presence
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Event | Durable] = deque()
        self._must = 0
        """How many of the queue must arrive."""
        self._pending: set[Durable] = set()
        self._live_chars = 0
        self._seq = 0
        self._shed_told = False
        self._finish_again = True
        self._closed = False
        self._stale = False
        """Whether the job is another's by now: what is left goes out as evidence, and no more."""
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._live_at = float("-inf")
        """When live events were last sent; an intent must not hold up the first token."""
        self._task: asyncio.Task[None] | None = None
        self._said = Said()

    # --- what a job says ------------------------------------------------------

    def live(self, type: str, text: str) -> None:
        """``core.ports.Emit``: send when convenient, lose if need be."""
        if self._closed or self._stale or not text:
            return
        self._live_chars += len(text)
        at = self._said.add(text) if type == "token" else -1
        last = self._queue[-1] if self._queue else None
        if (
            type == "token"
            and isinstance(last, Event)
            and last.type == "token"
            and len(last.text) < MERGE_CHARS
        ):
            last.text += text
        else:
            self._queue.append(Event(self._next(), type, text, at=at))
        if self._live_chars > LIVE_CHARS:
            self._shed()
        self._kick()

    async def intend(self, step: Step) -> None:
        """Return when the gateway has the intent. Raises ``StaleEpoch`` when fenced."""
        await self._await(self._push(Event(self._next(), "step", step=step), spooled=False))

    async def settle(self, step: Step) -> None:
        """Return when the outcome is on this disk, or at the gateway if that is sooner."""
        await self._keep(Event(self._next(), "step", step=step))

    def pass_on(self, step: Step) -> None:
        """An entry that must arrive in its order, and that nobody waits for."""
        self._push(Event(self._next(), "step", step=step), spooled=False)

    async def finish(self, finish: Finish) -> None:
        """As :meth:`settle`, for the end. Nothing may be said after it."""
        await self._keep(finish)

    def resume(self, report: Events | Finish) -> list[Durable]:
        """Send again what an earlier process left in the spool, under its old id."""
        if isinstance(report, Finish):
            durables = [self._push(report, spooled=True, id=report.id)]
        else:
            durables = [self._push(event, spooled=True, id=report.id) for event in report.events]
        for durable in durables:
            durable.kept = True
        return durables

    @property
    def pending(self) -> list[Durable]:
        """What must still arrive."""
        return list(self._pending)

    async def last_words(self, finish: Finish) -> None:
        """Tell what became of an attempt that is no longer ours, as evidence: the gateway keeps
        it aside and answers as to any stale report. Gives up after a moment."""
        finish.text = finish.text or self._said.text[:SAID_CHARS]
        self._push(finish, spooled=False)
        if self._pending:
            await asyncio.wait([one.arrived for one in self._pending], timeout=LAST_WORDS_S)

    async def aclose(self) -> None:
        """Stop sending; what is in the spool stays there."""
        self._close()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait([self._task])

    def ask_what_is_there(self) -> None:
        """The gateway may have restarted: what it has not got of the text is said again."""
        if self._said.sent and not self._closed:
            self._queue.appendleft(Event(0, "token", at=self._said.sent))
            self._kick()

    def _say_again(self, have: int) -> None:
        """Put the text from ``have`` on at the front of the queue, in place of what waits there."""
        kept = [one for one in self._queue if isinstance(one, Durable) or one.type != "token"]
        pieces = self._said.again(have)
        self._queue = deque([*pieces, *kept])
        self._live_chars = sum(len(one.text) for one in self._queue if isinstance(one, Event))
        self._kick()

    # --- the queue ------------------------------------------------------------

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _push(self, what: Event | Finish, *, spooled: bool, id: str = "") -> Durable:
        if not id:
            id = what.id if isinstance(what, Finish) else uuid7()
        durable = Durable(id, what, spooled, self._loop.create_future())
        # An entry that nobody waits for any more may still be refused.
        durable.arrived.add_done_callback(_consume)
        if self._closed or (self._stale and not isinstance(what, Finish)):
            durable.arrived.set_exception(StaleEpoch(job_id=self.job_id, epoch=self.epoch))
            return durable
        self._queue.append(durable)
        self._pending.add(durable)
        self._must += 1
        self._kick()
        return durable

    async def _await(self, durable: Durable) -> None:
        # Shielded: a job that is cancelled stops waiting, its report still goes out.
        await asyncio.shield(durable.arrived)

    async def _keep(self, what: Event | Finish) -> None:
        durable = self._push(what, spooled=self._spool is not None)
        if self._spool is None or durable.arrived.done():
            await self._await(durable)
            return
        # Disk and gateway are asked at the same time; whichever has it first is enough.
        written = asyncio.wrap_future(self._spool.append(self._as_report(durable)))
        written.add_done_callback(durable.written)
        await asyncio.wait({written, durable.arrived}, return_when=asyncio.FIRST_COMPLETED)
        if durable.arrived.done():
            durable.arrived.result()
        elif written.exception() is not None:
            await self._await(durable)

    def _as_report(self, durable: Durable) -> Events | Finish:
        if isinstance(durable.what, Finish):
            return durable.what
        return Events(durable.id, self.job_id, self.epoch, [durable.what])

    def _shed(self) -> None:
        """Make room: the oldest tokens go first, then the oldest other live events."""
        for kinds in (("token",), ("token", "tool", "note")):
            kept: deque[Event | Durable] = deque()
            for item in self._queue:
                if (
                    self._live_chars <= LIVE_CHARS * 3 // 4
                    or isinstance(item, Durable)
                    or item.type not in kinds
                ):
                    kept.append(item)
                    continue
                self._live_chars -= len(item.text)
                if not self._shed_told and not self._said.whole:
                    self._shed_told = True
                    kept.append(Event(item.seq, "note", _SHED_NOTE))
                    self._live_chars += len(_SHED_NOTE)
            self._queue = kept

    def _take(self) -> _Batch | None:
        """The next report: live events, intents, and at most one entry of the spool."""
        events: list[Event] = []
        durables: list[Durable] = []
        id = ""
        size = 0
        while self._queue and size < REPORT_CHARS:
            item = self._queue[0]
            if isinstance(item, Event):
                events.append(item)
                size += len(item.text)
                self._live_chars -= len(item.text)
            elif isinstance(item.what, Finish):
                if not events:
                    self._queue.popleft()
                    self._must -= 1
                    return _Batch(item.what, [item])
                break
            else:
                if item.spooled and id not in ("", item.id):
                    break
                id = item.id if item.spooled else id
                events.append(item.what)
                durables.append(item)
                size += len(item.what.step.output) if item.what.step else 0
                self._must -= 1
            self._queue.popleft()
        if not events:
            return None
        self._said.went(events)
        report = Events(id or uuid7(), self.job_id, self.epoch, events)
        return _Batch(report, durables, is_live=len(events) > len(durables))

    # --- sending --------------------------------------------------------------

    def _kick(self) -> None:
        """See to it that what is in the queue goes out in its time."""
        if self._task is None:
            self._task = self._loop.create_task(self._run(), name=f"sender {self.job_id}")
        due = self._live_at + BATCH_S
        if self._must or due <= self._loop.time():
            self._wake.set()
        elif self._timer is None:
            self._timer = self._loop.call_at(due, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._wake.set()

    async def _run(self) -> None:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            batch = self._take()
            if batch is None:
                continue
            if batch.is_live:
                self._live_at = self._loop.time()
            await self._deliver(batch)
            if self._queue:
                self._kick()

    async def _deliver(self, batch: _Batch) -> None:
        attempt = 0
        while not self._closed:
            try:
                await self._send(batch.report)
            except SteadError as error:
                failure = error
            except Exception as error:
                # The edge of a job: its reports must survive whatever a link raises.
                log.exception("job %s: a report could not be sent", self.job_id)
                failure = SteadError(f"{type(error).__name__}: {error}")
            else:
                self._presence.back()
                self._arrived(batch.durables)
                if isinstance(batch.report, Finish):
                    self._close()
                return
            if failure.status == HTTPStatus.CONFLICT:
                self._fenced(batch, failure)
                return
            if not self._is_worth_another_try(failure, attempt):
                self._refused(batch, failure)
                return
            if isinstance(failure, GatewayAway) or failure.status in _LATER:
                self._presence.away(failure)
            else:
                log.warning("job %s: the gateway failed: %s", self.job_id, failure.message)
            await self._presence.pause(attempt)
            attempt += 1

    async def _send(self, report: Events | Finish) -> None:
        if isinstance(report, Finish):
            await self._link.finish(report)
            return
        reply = await self._link.events(report)
        if self._said.is_missing(reply.have):
            self._say_again(reply.have)
        if reply.cancel:
            self._watch.cancel(self.job_id, self.epoch)

    def _is_worth_another_try(self, error: SteadError, attempt: int) -> bool:
        if isinstance(error, GatewayAway) or error.status in _LATER:
            return True
        return error.status >= 500 and attempt < TRIES_OF_A_FAULTY_GATEWAY

    def _arrived(self, durables: Iterable[Durable]) -> None:
        for durable in durables:
            self._pending.discard(durable)
            if not durable.arrived.done():
                durable.arrived.set_result(None)
        self._forget(durables)

    def _forget(self, durables: Iterable[Durable]) -> None:
        ids = [durable.id for durable in durables if durable.spooled]
        if ids and self._spool is not None:
            self._spool.acknowledge(ids)

    def _fenced(self, batch: _Batch, error: SteadError) -> None:
        """The job has another owner. What else is to be told of it goes out once, as evidence,
        and is forgotten here however that is answered."""
        self._fail(batch.durables, StaleEpoch(job_id=self.job_id, epoch=self.epoch))
        self._forget(batch.durables)
        if not self._stale:
            self._stale = True
            self._queue = deque(item for item in self._queue if isinstance(item, Durable))
            self._live_chars = 0
            log.warning(
                "job %s is no longer ours at epoch %d (%s); "
                "what it did here is kept by the gateway as a discarded attempt",
                self.job_id,
                self.epoch,
                error.message,
            )
            self._watch.lost(self.job_id, self.epoch)
        if isinstance(batch.report, Finish):
            self._close()

    def _refused(self, batch: _Batch, error: SteadError) -> None:
        """The gateway will not take this report, now or later: the rest must still go on."""
        log.error("job %s: the gateway refused a report: %s", self.job_id, error.message)
        if not batch.durables:
            return
        for durable in batch.durables:
            if durable.spooled and self._spool is not None:
                self._spool.refuse(durable.id, error.message)
        self._fail(batch.durables, error)
        if not isinstance(batch.report, Finish):
            self._watch.refused(self.job_id, self.epoch, error)
        elif self._finish_again:
            self._finish_again = False
            why = f"the gateway refused the result of this job: {error.message}"
            end = Finish(
                uuid7(),
                self.job_id,
                self.epoch,
                "failed",
                trouble=Trouble(Failure.CODE, why, permanent=True),
                worked_ms=batch.report.worked_ms,
            )
            self._push(end, spooled=False)
        else:
            self._close()

    def _fail(self, durables: Iterable[Durable], error: SteadError) -> None:
        for durable in durables:
            self._pending.discard(durable)
            if not durable.arrived.done():
                durable.arrived.set_exception(error)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.clear()
        self._must = 0
        self._wake.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._watch.closed(self.job_id, self.epoch)


def _consume(arrived: asyncio.Future[None]) -> None:
    if not arrived.cancelled():
        arrived.exception()
