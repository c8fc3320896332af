"""accept() and settle(): the only way in and the only way out.

::

    accept:  record + route + enqueue, one transaction  ->  wake a worker
    settle:  job + reply + outbox + log line, one transaction  ->  tell who waits
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from stead.core.approvals import Decided
from stead.core.errors import BadRequest, StaleEpoch, SteadError, WrongState
from stead.core.nouns import Inbound, Job, NewJob, Post, Step
from stead.core.people import OWNER, inside, person_of
from stead.core.placement import GATEWAY
from stead.core.recall import is_off_the_record
from stead.core.states import ENDED, JobState, StepState
from stead.core.storage import Accepted, Ended, Ruling, Store
from stead.core.wire import Events, Finish
from stead.flow import words
from stead.flow.live import Live
from stead.flow.off_record import OffRecord
from stead.flow.router import Router
from stead.flow.said import Decide, answered
from stead.memory.daily import DailyLog
from stead.memory.recall.service import Recalls
from stead.queue.policy import Verdict, after_crash, after_report
from stead.queue.queue import Queue, ready

_SAID = "light: the owner's word on a question"

_ASKED = 20_000
"""Characters of a message that are looked up in memory: of a book its beginning says what it is."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tries:
    """How often a job may fail, and how many workers it may take down."""

    tries: int = 3
    crashes: int = 3


Preferred = Callable[[Iterable[str], Iterable[str], Iterable[str]], tuple[str, ...]]
"""From the needs, preferred and avoided nodes of a new job: which nodes get it while there."""


def _as_asked(needs: Iterable[str], prefer: Iterable[str], avoid: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*prefer} - {*avoid}))


class Flow:
    """The life of a message from the moment it arrives to the moment its reply is on its way."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        router: Router,
        live: Live,
        daily: DailyLog,
        tries: Tries,
        preferred: Preferred = _as_asked,
    ) -> None:
        self.answers: Decide = self._decide
        """Takes the owner's word on a question that was said in a conversation."""
        self.channels: frozenset[str] = frozenset()
        """Those that a job can send a message by."""
        self.recalls: Recalls | None = None
        """Looks for what a message brings to mind, while it is recorded."""
        self.off_record: OffRecord | None = None
        """Knows what is off the record."""
        self.called: Callable[[str], str] = lambda person: f"person {person[-8:]}"
        """How somebody besides the owner is called, by the id."""
        self.expire_ms = 86_400_000
        """So long a question about a call is open."""
        self._preferred = preferred
        self._store = store
        self._queue = queue
        self.router = router
        self._live = live
        self._daily = daily
        self._tries = tries
        self.news = queue.news
        self._on_reply: list[Callable[[], None]] = []
        self._on_accept: list[Callable[[], None]] = []
        self._on_cancel: list[Callable[[Job], None]] = []
        queue.on_ended(self._after)

    def on_reply(self, call: Callable[[], None]) -> None:
        """Be told when the outbox has something new."""
        self._on_reply.append(call)

    def on_accept(self, call: Callable[[], None]) -> None:
        """Be told when a message for a node has been queued."""
        self._on_accept.append(call)

    def on_cancel(self, call: Callable[[Job], None]) -> None:
        """Be told when the owner wants a running job stopped."""
        self._on_cancel.append(call)

    # --- in --------------------------------------------------------------------------

    async def accept(self, message: Inbound) -> Accepted:
        """Record a message and queue its job; both are on disk when this returns.

        The same ``(channel, external_id)`` again changes nothing and names the first job. What
        is under way of turns whose place it takes is stopped.
        """
        others = message.person != OWNER
        if others or person_of(message.session) != OWNER:
            message = _in_their_own(message)
        # Only the owner's word decides, whoever knows what it is asked about; a file is no word.
        word = not others and not message.files
        said = await answered(message, self.answers) if word else None
        if said is not None:
            return await self._say(message, said)
        accepted = await self._accept(message)
        if message.replaces:
            for job_id in await self._store.jobs_instead(message.session, accepted.message_id):
                with contextlib.suppress(WrongState):  # it has just ended
                    await self.cancel(job_id)
        return accepted

    async def _accept(self, message: Inbound) -> Accepted:
        route = self.router.decide(message)
        told = f"{route.to}: {route.rule}"
        job = NewJob(
            kind="chat",
            payload={
                "text": message.text,
                "role": route.role,
                "instructions": message.instructions,
                "overrides": message.overrides,
                "channel": message.channel,
                **({"foreign": True} if message.foreign else {}),
                **({"files": [asdict(file) for file in message.files]} if message.files else {}),
            },
            lane=message.lane,
            needs=",".join(route.needs),
            prefer=",".join(self._preferred(route.needs, route.prefer, route.avoid))
            if route.to == "node"
            else "",
            avoid=",".join(route.avoid),
            conc_key=f"session:{message.session}",
            max_tries=self._tries.tries,
            max_crashes=self._tries.crashes,
            route=told,
        )
        recalls = self.recalls
        finding = None
        theirs = message.person != OWNER  # what is remembered is the owner's
        if recalls is not None and not theirs and message.text.strip():
            finding = recalls.begin(message.text[:_ASKED], message.session, route.role)
        try:
            accepted = await self._store.accept(message, job, self._received(message, told))
        except BaseException:
            if finding is not None:
                finding.cancel()
            raise
        if self.off_record is not None and is_off_the_record(message.session):
            self.off_record.begin(accepted.job_id)
        if recalls is not None and finding is not None:
            if accepted.duplicate:
                finding.cancel()
            else:
                recalls.bind(accepted.job_id, finding)
        if not accepted.duplicate:
            self.news.touch("job", accepted.job_id)
            self._queue.wake(ready(job))
            self._daily.nudge()
            if route.to == "node":
                for call in self._on_accept:
                    call()
        return accepted

    def _received(self, message: Inbound, told: str) -> str:
        """The line of the daily log, which is the owner's: what others say is not in it."""
        if message.person == OWNER:
            return words.received(message, told)
        return words.received_of(self.called(message.person), message, told)

    async def _say(self, message: Inbound, text: str) -> Accepted:
        """Record a message that is answered already."""
        job = NewJob(
            kind="noop", payload={"text": text}, lane=message.lane, needs=GATEWAY, route=_SAID,
            max_tries=self._tries.tries, max_crashes=self._tries.crashes,
        )  # fmt: skip
        accepted = await self._store.accept(message, job, words.received(message, _SAID))
        if not accepted.duplicate:
            self.news.touch("job", accepted.job_id)
            self._queue.wake(ready(job))
            self._daily.nudge()
        return accepted

    # --- on the way --------------------------------------------------------------------

    async def events(self, node_id: str, report: Events) -> bool:
        """What a worker tells: steps are journalled, all is passed on to who watches.

        Returns whether the worker should stop (cancelled). Raises ``StaleEpoch``.
        """
        steps = [event.step for event in report.events if event.step is not None]
        cancel = False
        if steps or not self._queue.holds(report.job_id, report.epoch, node_id):
            lines = [words.stepped(report.job_id, step) for step in steps]
            posts = [self._post(step) for step in steps]
            try:
                cancel = await self._store.journal(
                    report.job_id, report.epoch, node_id, steps, lines, posts
                )
            except StaleEpoch:
                await self._too_late(node_id, report)
                raise
            if steps:
                self.news.touch("job", report.job_id)
            if any(lines):
                self._daily.nudge()
            if any(posts):
                for call in self._on_reply:
                    call()
        self._live.publish(report.job_id, report.epoch, report.events)
        return cancel

    def _post(self, step: Step) -> Post | None:
        """What a step sends with its outcome."""
        if step.name != "tool:message" or step.state is not StepState.DONE:
            return None
        post = words.post_of(step.output)
        if post is None or post.to == "owner" or post.to in self.channels:
            return post
        return Post("owner", f"(for the channel {post.to}, which is not there)\n{post.text}")

    # --- out -----------------------------------------------------------------------------

    async def settle(self, node_id: str, report: Finish) -> Ended:
        """End an attempt. Raises ``StaleEpoch``; a repeated report is answered as before."""
        try:
            ended = await self._store.finish(node_id, report, self._rule)
        except StaleEpoch:
            await self._too_late(node_id, report)
            raise
        # A repeat may come because we were cut off here the first time; to tell an end twice
        # harms nobody.
        if not ended.repeat or ended.job.state in ENDED:
            self._queue.ended(ended)
            self._after(ended)
        return ended

    async def _too_late(self, node_id: str, report: Events | Finish) -> None:
        """A node comes back with work that was taken from it: kept aside, never merged."""
        try:
            if await self._store.discard(node_id, report):
                log.warning("job %s: attempt %d came back", report.job_id, report.epoch)
                await self._store.add_day_line(words.came_back(report.job_id, report.epoch))
                self._daily.nudge()
        except SteadError as error:  # the node is told to stop all the same
            log.error("job %s: a late report could not be kept: %s", report.job_id, error.message)

    async def cancel(self, job_id: str) -> Ended:
        ended = await self._store.cancel(job_id, self.crash_rule)
        if ended.state is not JobState.RUNNING:
            self._queue.ended(ended)
            self._after(ended)
        else:
            self.news.touch("job", job_id)
            for call in self._on_cancel:
                call(ended.job)
        return ended

    async def revive(self, job_id: str) -> Job:
        return self._again(await self._store.revive(job_id))

    async def answer(self, job_id: str, answer: str) -> Job:
        return self._again(await self._store.answer(job_id, answer))

    def _again(self, job: Job) -> Job:
        """A job that stood still is queued again."""
        self._live.again(job.id)
        self.news.touch("job", job.id)
        self._queue.wake(ready(job))
        return job

    async def decide(self, ident: str, word: str, *, text: str = "", by: str = "owner") -> Decided:
        """The owner's word on a question about a call: its job goes on with it."""
        decided = await self._store.decide(ident, word, text=text, by=by)
        self._go_on(decided)
        return decided

    async def _decide(self, ident: str, word: str, text: str, by: str) -> Decided:
        return await self.decide(ident, word, text=text, by=by)

    async def expire(self) -> list[Decided]:
        """End the questions that nobody answered in time: their jobs go on without."""
        ended = await self._store.expire_approvals()
        for decided in ended:
            self._go_on(decided)
        return ended

    def _go_on(self, decided: Decided) -> None:
        self._again(decided.job)
        self.news.touch("approval", decided.job.id)
        self._daily.nudge()

    def _rule(self, job: Job, report: Finish) -> Ruling:
        """Written within the store's transaction, so it must not wait or fail."""
        verdict = after_report(self._queue.policy, job, report)
        if verdict.state is JobState.DONE:
            waited = max(0, job.started_at - job.created_at)
            line = self._answered(job, report, waited) if job.message_id else ""
            return Ruling(JobState.DONE, reply=report.text, line=line, read=report.read)
        if verdict.state is JobState.WAITING and report.approval is not None:
            ask = words.asked(report.approval, report.id, self.expire_ms)
            line = words.ended(job, "waits for your word", report.approval.preview)
            ruling = Ruling(
                verdict.state, reply=ask, role="notice", waiting_for=verdict.why, line=line,
                tell=True, expires_ms=self.expire_ms,
            )  # fmt: skip
            return self._for_others(job, ruling)
        return self._for_others(job, _ruling(job, verdict))

    def _answered(self, job: Job, report: Finish, waited_ms: int) -> str:
        person = person_of(job.session)
        if person == OWNER:
            return words.answered(job, report, waited_ms, report.usage)
        return words.answered_to(self.called(person), job, report, waited_ms)

    def _for_others(self, job: Job, ruling: Ruling) -> Ruling:
        """What the owner has to know or to say of somebody else's job is told to him; who asked
        for it is told how it stands, and no more."""
        person = person_of(job.session)
        if person == OWNER or ruling.reply is None:
            return ruling
        if ruling.state is JobState.WAITING:
            aside = f"{self.called(person)} asked for something:\n\n{ruling.reply}"
            return replace(ruling, reply=words.WAITS_FOR_OWNER, aside=aside, tell=False)
        if ruling.state is JobState.DEAD:
            aside = f"For {self.called(person)}: {ruling.reply}" if ruling.tell else ""
            return replace(ruling, reply=words.sorry(ruling.error), aside=aside, tell=False)
        return ruling

    def crash_rule(self, job: Job, why: str) -> Ruling:
        """What becomes of a job whose worker vanished, or that was cancelled or ran out of time."""
        ruling = _ruling(job, after_crash(self._queue.policy, job, why))
        # What brings workers down concerns the owner, whoever queued it.
        poison = ruling.state is JobState.DEAD and job.crashes >= job.max_crashes
        return self._for_others(job, replace(ruling, tell=True) if poison else ruling)

    def _after(self, ended: Ended) -> None:
        """What follows a committed end: watchers, sender and log writer are told."""
        self._daily.nudge()
        if self.off_record is not None:
            self.off_record.nudge()
        job = ended.job
        if ended.state not in (JobState.QUEUED, JobState.DONE):
            self.news.touch("approval", job.id)  # asked, or void
        if ended.state is JobState.QUEUED:
            text = job.error or "its worker went away"
            self._live.reset(job.id, job.epoch, f"starting again: {text}")
            return
        self._live.end(job.id)
        if ended.message_id is not None:
            for call in self._on_reply:
                call()


def _in_their_own(message: Inbound) -> Inbound:
    """The same message in a conversation of who says it. Raises ``BadRequest``."""
    if message.person == OWNER:
        raise BadRequest(
            f"The conversation {message.session!r} is somebody else's, and nobody speaks in"
            " another's name by naming it.",
            param="session",
        )
    return replace(message, session=inside(message.person, message.session))


def _ruling(job: Job, verdict: Verdict) -> Ruling:
    state, why = verdict.state, verdict.why
    line = words.ended(job, "will be tried again" if state is JobState.QUEUED else state, why)
    if state is JobState.DEAD:
        return Ruling(state, error=why, reply=words.apology(job, why), role="notice", line=line)
    if state is JobState.CANCELLED:
        return Ruling(state, error=why, reply="Cancelled.", role="notice", line=line)
    if state is JobState.WAITING:
        ask = f"{why} Answer with `stead jobs answer {job.id[-8:]} repeat|done|fail`."
        return Ruling(state, reply=ask, role="notice", waiting_for=why, line=line)
    return Ruling(state, delay_ms=verdict.delay_ms, error=why, line=line, counts=verdict.counts)
