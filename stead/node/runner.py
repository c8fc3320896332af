"""The claim loop: take jobs as there is room, run each, report its end.

Used by the node process, over HTTP and with a spool, and by the worker inside
the gateway, with a link in process and no spool.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stead.agent.loop import Result, Toolbox
from stead.core.errors import BadRequest, StaleEpoch, SteadError, WrongKey
from stead.core.ids import uuid7
from stead.core.nouns import Trouble
from stead.core.permits import PermitRule
from stead.core.ports import Link, ModelClient
from stead.core.states import Failure, Lane
from stead.core.wire import Claim, ClaimedJob, ClaimReply, Finish
from stead.node.greeting import Greeting
from stead.node.heart import Heart
from stead.node.journal import NodeJournal
from stead.node.kinds import KINDS, Handler, Work
from stead.node.presence import Presence
from stead.node.sender import Sender
from stead.node.spool import Report, Spool

log = logging.getLogger("stead.node")

GRACE_S = 5.0
CLAIM_WAIT_S = 25.0
_LET_GO_S = 3.0
"""How long a handler that was cancelled may take to clean up."""
_FLUSH_S = 2.0
_WIDEN_S = 0.02
_FULL_S = 0.25

CANCELLED, LOST, REFUSED, DRAINED = "cancelled", "lost", "refused", "drained"


class Unwanted(WrongKey):
    """The gateway at {url} does not take this node's key any more; it was probably revoked.
    What was not delivered is kept in the spool. To come back: `stead node invite NAME` there, and
    `stead node join` with the new key here."""

    code = "node_unwanted"


@dataclass(eq=False)
class _Run:
    """A job under way here."""

    job: ClaimedJob
    sender: Sender
    handler: asyncio.Future[Result]
    why_stopped: str = ""
    error: SteadError | None = None
    let_go: asyncio.Event = field(default_factory=asyncio.Event)


class Runner:
    """Claims and runs jobs until :meth:`stop` is called; see :meth:`run`.

    ``slots`` jobs at once, of which the last ``chat_slots`` are for the owner's
    chat only; at least one slot is for any lane. ``lanes`` in the order wanted.
    ``grace_s`` is how long running jobs may go on after :meth:`stop`; ``own``: rules of this node.
    """

    def __init__(
        self,
        link: Link,
        model_for: Callable[[ClaimedJob], ModelClient],
        toolbox: Toolbox,
        spool: Spool | None = None,
        *,
        slots: int = 3,
        chat_slots: int = 1,
        labels: Sequence[str] = (),
        lanes: Sequence[str] = (Lane.CHAT.value, Lane.BACKGROUND.value),
        grace_s: float = GRACE_S,
        claim_wait_s: float = CLAIM_WAIT_S,
        presence: Presence | None = None,
        kinds: Mapping[str, Handler] = KINDS,
        version: str = "",
        own: Sequence[PermitRule] = (),
    ) -> None:
        self._own = tuple(own)
        self.boot = uuid7()
        self._link = link
        self._model_for = model_for
        self._toolbox = toolbox
        self._spool = spool
        self._slots = max(1, slots)
        self._chat_slots = min(chat_slots, self._slots - 1)
        self._labels = list(labels)
        self._all_lanes = list(lanes)
        self._grace_s = grace_s
        self._claim_wait_s = claim_wait_s
        self._presence = presence or Presence("this process")
        self._presence.on_back(self._say_again)
        self._gateway = ""
        self._kinds = kinds
        self.greeting = Greeting(link, self._presence, self.boot, labels, version)
        self._runs: dict[tuple[str, int], _Run] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._senders: dict[tuple[str, int], Sender] = {}
        self._nudge = asyncio.Event()
        self._stopping = asyncio.Event()
        self._heart: Heart | None = None

    # --- the life of a runner -------------------------------------------------

    async def run(self) -> None:
        """Send what the spool holds, say hello, then claim and run until stopped.

        At the end running jobs get their grace, then are handed back; what could
        not be delivered stays in the spool. Raises ``WrongKey`` when the gateway
        does not know this node at the start, ``Unwanted`` when it does not any more.
        """
        loop = asyncio.get_running_loop()
        watching = asyncio.ensure_future(self._until_unwanted())
        self._heart = Heart(self._link.heartbeat, self.boot, _Pulse(loop, self, self._presence))
        try:
            if await self._or_stop(self._resend()) and await self._or_stop(self.greeting.say()):
                await self._claim_until_stopped()
        finally:
            watching.cancel()
            await self._drain()
        if self._presence.unwanted.is_set():
            raise Unwanted(url=self._presence.url)

    async def _until_unwanted(self) -> None:
        """A node that the gateway does not know any more stops; its spool is kept."""
        await self._presence.unwanted.wait()
        self.stop()

    def stop(self) -> None:
        """Claim no more, and let :meth:`run` come to its end."""
        self._stopping.set()
        self._nudge.set()

    @property
    def lanes(self) -> list[str]:
        """The lanes it works for, in the order wanted."""
        return list(self._all_lanes)

    @property
    def running(self) -> int:
        """Jobs under way."""
        return len(self._working)

    async def _or_stop(self, action: Awaitable[None]) -> bool:
        """Whether ``action`` came to its end before the runner was stopped."""
        doing = asyncio.ensure_future(action)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                doing.result()
                return not self._stopping.is_set()
            return False
        finally:
            doing.cancel()
            stopping.cancel()

    async def _resend(self) -> None:
        """Deliver what an earlier process left, each job's reports in their order."""
        left: list[Report] = self._spool.left if self._spool is not None else []
        if not left:
            return
        log.info("sending %d report(s) that an earlier run left in the spool", len(left))
        waiting = []
        for report in left:
            sender = self._senders.get((report.job_id, report.epoch)) or self._sender(
                report.job_id, report.epoch
            )
            waiting += [durable.arrived for durable in sender.resume(report)]
        left.clear()
        await _all_done(waiting)
        for sender in list(self._senders.values()):
            await sender.aclose()

    # --- claiming -------------------------------------------------------------

    def _lanes(self) -> list[str]:
        """The lanes there is room for now; empty when there is no room."""
        free = self._slots - len(self._working)
        if free <= 0:
            return []
        if free <= self._chat_slots:
            return [lane for lane in self._all_lanes if lane == Lane.CHAT]
        return self._all_lanes

    async def _claim_until_stopped(self) -> None:
        request_id = uuid7()
        in_doubt = False
        attempt = 0
        while not self._stopping.is_set():
            self._nudge.clear()
            lanes = self._lanes()
            if not lanes and await self._room_soon():
                continue
            in_doubt = True
            try:
                reply = await self._claim(
                    Claim(request_id, self.boot, lanes, self._labels, self._claim_wait_s)
                )
            except SteadError as error:
                self._presence.away(error)
                await self._or_stop(self._presence.pause(attempt))
                attempt += 1
                continue
            attempt = 0
            if reply is None:
                continue  # asked anew under the same id: an answer on its way is not lost
            self._presence.back()
            for job_id in reply.cancel:
                self._cancel_any(job_id)
            if reply.again:
                continue
            request_id = uuid7()
            in_doubt = False
            if reply.job is not None:
                self._start(reply.job)
        if in_doubt:
            await self._last_claim(request_id)

    async def _room_soon(self) -> bool:
        """All slots are taken. If none is free in a moment, a claim that asks for nothing is held
        open meanwhile, so that the owner's word to stop a job is heard at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FULL_S):
                await self._nudge.wait()
                return True
        return bool(self._lanes()) or self._stopping.is_set()

    async def _claim(self, body: Claim) -> ClaimReply | None:
        """One long poll; None when it was given up to ask for other lanes, or to stop."""
        call = asyncio.ensure_future(self._link.claim(body))
        try:
            while not call.done():
                nudge = asyncio.ensure_future(self._nudge.wait())
                await asyncio.wait({call, nudge}, return_when=asyncio.FIRST_COMPLETED)
                nudge.cancel()
                self._nudge.clear()
                if self._stopping.is_set() or self._lanes() != body.lanes:
                    # It may be answered just now; breaking it off costs a connection.
                    await asyncio.wait({call}, timeout=_WIDEN_S)
                    break
            return call.result() if call.done() else None
        except SteadError:
            raise
        except Exception as error:
            # The edge of a process: whatever a link raises, the next claim may go well.
            log.exception("claiming failed")
            raise SteadError(f"{type(error).__name__}: {error}") from error
        finally:
            call.cancel()

    async def _last_claim(self, request_id: str) -> None:
        """A job that was given to us just as we left goes back now, not when its lease ends."""
        ask = Claim(request_id, self.boot, [], self._labels, 0.0)
        try:
            async with asyncio.timeout(1.0):
                reply = await self._link.claim(ask)
        except (SteadError, TimeoutError):
            return
        if reply.job is not None:
            self._stop_run(self._start(reply.job), DRAINED)

    # --- running --------------------------------------------------------------

    def _sender(self, job_id: str, epoch: int) -> Sender:
        sender = Sender(job_id, epoch, self._link, self._spool, self._presence, self)
        self._senders[job_id, epoch] = sender
        return sender

    def _start(self, job: ClaimedJob) -> _Run:
        key = job.id, job.epoch
        if key in self._runs:
            return self._runs[key]
        for job_id, epoch in list(self._runs):
            if job_id == job.id:
                # Ours again, at a later epoch: the gateway took it from us meanwhile.
                log.warning("job %s came back at epoch %d, left at %d", job_id, job.epoch, epoch)
                self.lost(job_id, epoch)
        sender = self._sender(*key)
        if self._heart is not None:
            self._heart.hold(*key, job.lease_ms)
        run = _Run(job, sender, asyncio.ensure_future(self._handle(job, sender)))
        self._runs[key] = run
        task = asyncio.ensure_future(self._follow(run))
        self._working.add(task)
        task.add_done_callback(self._ended)
        return run

    async def _handle(self, job: ClaimedJob, sender: Sender) -> Result:
        handler = self._kinds.get(job.kind)
        if handler is None:
            known = ", ".join(self._kinds)
            raise BadRequest(why=f"this worker knows no jobs of the kind {job.kind!r} ({known})")
        journal = NodeJournal(sender, job.steps)
        work = Work(
            job,
            self._model_for,
            self._toolbox,
            journal,
            sender.live,
            self._own,
            self._link.memory,
            self._link.file,
        )
        return await handler(work)

    async def _follow(self, run: _Run) -> None:
        """Wait for the end of a job and report it."""
        started = time.monotonic()
        key = run.job.id, run.job.epoch
        let_go = asyncio.ensure_future(run.let_go.wait())
        ends: set[asyncio.Future[Any]] = {run.handler, let_go}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        let_go.cancel()
        finish, lost = _ending(run)
        finish.worked_ms = int((time.monotonic() - started) * 1000)
        try:
            if not lost:
                await run.sender.finish(finish)
            else:
                await run.sender.last_words(finish)
                await run.sender.aclose()
        except SteadError as error:
            log.warning("job %s: its end was not taken: %s", run.job.id, error.message)
        finally:
            self._runs.pop(key, None)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self._nudge.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("following a job failed", exc_info=task.exception())

    def _stop_run(self, run: _Run, why: str, error: SteadError | None = None) -> None:
        if run.why_stopped and why != LOST:
            return
        run.why_stopped, run.error = why, error
        run.handler.cancel()
        asyncio.get_running_loop().call_later(_LET_GO_S, run.let_go.set)

    def gateway(self, boot: str) -> None:
        """Which start of the gateway answers: a new one has not heard what was said live."""
        if boot and self._gateway and boot != self._gateway:
            self._say_again()
        self._gateway = boot or self._gateway

    def _say_again(self) -> None:
        for sender in self._senders.values():
            sender.ask_what_is_there()

    # --- what the gateway says (sender.Watch) ----------------------------------

    def cancel(self, job_id: str, epoch: int) -> None:
        """The owner wants this job stopped."""
        run = self._runs.get((job_id, epoch))
        if run is not None and not run.handler.done():
            log.info("job %s: cancelled by the owner", job_id)
            self._stop_run(run, CANCELLED)

    def _cancel_any(self, job_id: str) -> None:
        for running_id, epoch in list(self._runs):
            if running_id == job_id:
                self.cancel(running_id, epoch)

    def lost(self, job_id: str, epoch: int) -> None:
        """This job is another worker's now: stop it and report nothing."""
        run = self._runs.get((job_id, epoch))
        if run is not None:
            self._stop_run(run, LOST)
        if self._heart is not None:
            self._heart.release(job_id, epoch)

    def refused(self, job_id: str, epoch: int, error: SteadError) -> None:
        """The gateway will not take what this job reports: it cannot go on."""
        run = self._runs.get((job_id, epoch))
        if run is not None:
            self._stop_run(run, REFUSED, error)

    def closed(self, job_id: str, epoch: int) -> None:
        """All is said: the lease need not be kept."""
        self._senders.pop((job_id, epoch), None)
        if self._heart is not None:
            self._heart.release(job_id, epoch)

    # --- the end --------------------------------------------------------------

    async def _drain(self) -> None:
        """Let running jobs end, hand back those that do not, deliver what can be delivered."""
        self._stopping.set()
        if self._working and not self._presence.unwanted.is_set():
            log.info("letting %d job(s) end, at most %.1f s", len(self._working), self._grace_s)
            await asyncio.wait(self._working, timeout=self._grace_s)
        for run in list(self._runs.values()):
            self._stop_run(run, DRAINED)
        if self._working:
            await asyncio.wait(self._working, timeout=_LET_GO_S + 1)
        for task in list(self._working):
            task.cancel()
        pending = [one for sender in self._senders.values() for one in sender.pending]
        if pending and self._presence.there:
            await asyncio.wait([one.arrived for one in pending], timeout=_FLUSH_S)
        for sender in list(self._senders.values()):
            await sender.aclose()
        if self._heart is not None:
            self._heart.stop()
        kept = sum(one.kept and not one.arrived.done() for one in pending)
        lost = sum(one.in_danger for one in pending)
        if kept:
            log.warning("%d report(s) stay in the spool and go first at the next start", kept)
        if lost:
            log.error("%d report(s) reached neither the gateway nor the disk and are lost", lost)


async def _all_done(futures: list[asyncio.Future[None]]) -> None:
    """Wait for all, however they end; unlike ``gather`` it leaves them be when cancelled."""
    if futures:
        await asyncio.wait(futures)


def _ending(run: _Run) -> tuple[Finish, bool]:
    """What to report of a job whose handler is done or was let go, and whether it was lost."""
    handler, why = run.handler, run.why_stopped
    finish = Finish(uuid7(), run.job.id, run.job.epoch, "failed")
    error = None
    if not handler.done():
        log.error("job %s did not stop within %.0f s of being told to", run.job.id, _LET_GO_S)
    elif not handler.cancelled():
        error = handler.exception()
    lost = why == LOST or isinstance(error, StaleEpoch)
    if handler.done() and not handler.cancelled() and error is None:
        result = handler.result()
        finish.outcome, finish.text, finish.usage = result.outcome, result.text, result.usage
        finish.read = result.read
        finish.waiting_for, finish.approval = result.waiting_for, result.approval
    elif lost:
        finish.trouble = Trouble(Failure.AWAY, "stopped: the job had been taken from this node")
    elif why == CANCELLED:
        finish.outcome = "cancelled"
    elif why == DRAINED:
        finish.trouble = Trouble(Failure.AWAY, "node is shutting down")
    elif why == REFUSED:
        told = run.error.message if run.error is not None else ""
        finish.trouble = Trouble(Failure.CODE, f"the gateway refused a report: {told}", True)
    elif isinstance(error, SteadError):
        finish.trouble = Trouble(error.failure, error.message, error.failure.permanent)
    else:
        log.error("job %s failed", run.job.id, exc_info=error)
        what = f"{type(error).__name__}: {error}" if error else "it was cancelled from within"
        finish.trouble = Trouble(Failure.CODE, what)
    return finish, lost


class _Pulse:
    """Hands what the heart hears from its thread to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, runner: Runner, presence: Presence) -> None:
        self._loop = loop
        self._runner = runner
        self._presence = presence

    def _tell(self, call: Callable[..., None], *args: object) -> None:
        # The loop may be closed while the last heartbeat is still on its way.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *args)

    def alive(self, boot: str) -> None:
        if not self._presence.there:
            self._tell(self._presence.back)
        self._tell(self._runner.gateway, boot)

    def failed(self, error: Exception) -> None:
        if isinstance(error, SteadError):
            self._tell(self._presence.away, error)
        else:
            log.error("a heartbeat failed", exc_info=error)

    def cancel(self, job_id: str, epoch: int) -> None:
        self._tell(self._runner.cancel, job_id, epoch)

    def lost(self, job_id: str, epoch: int) -> None:
        self._tell(self._runner.lost, job_id, epoch)
