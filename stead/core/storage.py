"""What the rooms ask of a storage. Every implementation runs through one contract suite.

What a method did is durable when it returns. "Now" is the database's clock: callers pass spans.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stead.core.approvals import ApprovalStore
from stead.core.attached import FileStore
from stead.core.audit import LedgerStore
from stead.core.forgetting import ForgetStore
from stead.core.nouns import Inbound, Job, NewJob, Post, Step, Turn
from stead.core.people import PersonStore
from stead.core.placement import Ready
from stead.core.pruning import PruneStore
from stead.core.push import PushStore
from stead.core.recall import RecallStore
from stead.core.scope import KeyStore
from stead.core.sessions import SessionStore
from stead.core.signin import SignInStore
from stead.core.states import JobState
from stead.core.wire import Events, Finish, Held

View = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an inbound message. A duplicate names the first one's job."""

    message_id: str
    job_id: str
    duplicate: bool
    route: str = ""


@dataclass(slots=True)
class Granted:
    """A claimed job with all that was journalled of it."""

    job: Job
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Beat:
    """The answer to a heartbeat."""

    cancel: list[str]
    lost: list[str]


@dataclass(slots=True)
class Ruling:
    """What the end of an attempt means for its job: decided by flow, written by the store."""

    state: JobState
    delay_ms: int = 0
    """With ``queued``: how long until the next try."""
    error: str = ""
    reply: str | None = None
    """Text for the owner; None says nothing."""
    role: str = "assistant"
    """``assistant``, or ``notice`` where stead itself speaks."""
    waiting_for: str = ""
    line: str = ""
    """For the daily log."""
    counts: bool = True
    """Whether a reported failure uses up one of the job's tries."""
    tell: bool = False
    """Say the reply also of a job that came by no message: where the owner spoke last."""
    read: str = ""
    """What the run had read that gave the reply (``Turn.read``)."""
    expires_ms: int = 0
    """With ``waiting`` for an answer to a question about a call: for how long."""
    aside: str = ""
    """What the owner is told, where he spoke last, of a job that somebody else asked for."""


#: So begins the reason a ``CrashRule`` is given for a job whose row makes no sense.
UNREADABLE = "its row in the database cannot be read"

Rule = Callable[[Job, Finish], Ruling]

#: Judges a job without a report: it is given ``cancel``, ``deadline``, or why in words. A job that
#: is ``UNREADABLE`` ends as dead, whatever is ruled.
CrashRule = Callable[[Job, str], Ruling]


@dataclass(slots=True)
class Ended:
    """An attempt that has ended, as it was written."""

    job: Job
    state: JobState
    repeat: bool = False
    """This very report had been written before."""
    message_id: str | None = None
    ready: Ready | None = None
    """The next job of its ``conc_key``, which became ready by this."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the outbox that a sender has taken."""

    id: int
    message_id: str
    """Also what a receiver knows the delivery by: the same at every try of it."""
    channel: str
    session: str
    job_id: str | None
    text: str
    role: str
    tries: int
    doubts: int = 0
    """How often it was sent without anybody knowing whether it arrived."""
    at: int = 0
    """When it was recorded."""
    in_reply_to: str = ""
    """The external id of the message that it answers."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node as the store knows it."""

    id: str
    name: str
    labels: tuple[str, ...]
    last_seen: int
    boot: str
    revoked: bool
    draining: bool = False
    """It gets no new jobs."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What it told of itself."""


class RecordStore(Protocol):
    """The recorder: every message in and out."""

    async def accept(self, inbound: Inbound, job: NewJob, line: str) -> Accepted:
        """Record a message and queue its job in one transaction (invariant 1). Raises, and writes
        nothing: ``KeyReused`` (another request had its identity), ``NotFound`` (of a file)."""
        ...

    async def notice(self, channel: str, session: str, external_id: str, text: str) -> str | None:
        """Record words of stead's own and put them in the outbox; None if said before."""

    async def tell(self, external_id: str, text: str) -> str | None:
        """A notice in the conversation that the owner used last, or his first one; None if it was
        said there before."""
        ...

    async def history(self, job: Job) -> list[Turn]:
        """The conversation before this job, the same at every attempt of it."""
        ...


class JobStore(Protocol):
    """The queue's rows."""

    async def enqueue(self, job: NewJob) -> tuple[str, bool]:
        """Queue a job; returns its id and whether it is new (False: same ``idem_key``)."""
        ...

    async def claim(
        self,
        *,
        request_id: str,
        node_id: str,
        boot: str,
        lanes: Sequence[str],
        labels: Sequence[str],
        lease_ms: int,
        name: str = "",
        there: Collection[str] = (),
    ) -> Granted | None:
        """Give the next ready job to a node and raise its epoch (invariant 2).

        ``name`` is the node's, ``there`` the names of the nodes that are there: see
        ``stead.core.placement``. Within a lane the lowest ``prio`` goes first, then who has
        been due longest; but each ``age_ms`` of waiting counts as much as one ``prio``. What
        is past its deadline is not given out. A row that cannot be read holds up nobody.
        The same ``request_id`` of the same node gets the same job again.
        """
        ...

    async def heartbeat(self, node_id: str, held: Sequence[Held], lease_ms: int) -> Beat: ...

    def heartbeat_sync(self, node_id: str, held: Sequence[Held], lease_ms: int) -> Beat: ...

    async def journal(
        self, job_id: str, epoch: int, node_id: str, steps: Sequence[Step], lines: Sequence[str],
        posts: Sequence[Post | None] = (),
    ) -> bool:  # fmt: skip
        """Write steps; returns whether the owner wants the job cancelled. ``posts``: what a step
        sends, put in the outbox with it and never again for the same place of the job.

        Raises ``StaleEpoch``. A step written before is left as it is.
        """
        ...

    async def finish(self, node_id: str, report: Finish, rule: Rule) -> Ended:
        """End an attempt; job, reply, outbox row and log line in one transaction.

        Raises ``StaleEpoch``. A repeated report is answered as before (invariant 4).
        """
        ...

    async def discard(self, node_id: str, report: Events | Finish) -> bool:
        """Keep, as evidence, what a node reports of an attempt that was taken from it.

        Bounded in size and count; the same report twice is one; a report of a node that never
        held that epoch is not kept. Returns whether it is the first of its attempt.
        """
        ...

    async def reap(self, rule: CrashRule, *, limit: int = 100) -> list[Ended]:
        """Take back jobs whose lease ran out; end those past their deadline or not readable."""
        ...

    async def release(self, node_id: str, boot: str, rule: CrashRule) -> list[Ended]:
        """Take back what other boots of this node still hold (it has restarted)."""
        ...

    async def extend_leases(self, lease_ms: int, moved_ms: int = 0) -> int:
        """After a stop of the gateway nobody could have kept a lease: start them anew.

        ``moved_ms`` below 0: the clock was set back by so much. Jobs that are to be tried again
        and deliveries then wait no longer than they would have; a time that was asked for stays.
        """
        ...

    async def cancel(self, job_id: str, rule: CrashRule) -> Ended:
        """Cancel; a running job is only asked to stop, and stays ``running`` till it has."""
        ...

    async def revive(self, job_id: str) -> Job:
        """Queue a dead job again with its counts at zero. Raises ``WrongState``."""
        ...

    async def answer(self, job_id: str, answer: str) -> Job:
        """The owner's answer to a waiting job; it is queued again with it."""
        ...

    async def next_due_ms(self) -> int | None:
        """Milliseconds until the next queued job is due (0: now), None if there is none."""
        ...

    async def leases(self) -> list[tuple[str, int, str]]:
        """All running jobs as (job id, epoch, node id)."""
        ...

    async def job(self, job_id: str) -> Job:
        """Raises ``NotFound``."""
        ...


class OutboxStore(Protocol):
    """Replies on their way (invariant 5).

    ::

        pending -> sending -> sent | failed
                      |  \\-> pending (later)
                      \\----> in doubt: pending (again), left, or ambiguous (asks the owner)
        ambiguous, failed, left -> sent | pending | dropped   by the owner's hand
    """

    async def take(self, channel: str, limit: int = 20) -> list[Delivery]:
        """Take what is due for a channel and mark it ``sending``; of each conversation only
        the first that is under way, so that none overtakes another."""
        ...

    async def delivered(self, delivery_id: int, note: str = "") -> None:
        """As all of these: of a row that is ``sending`` or ``ambiguous``; else nothing happens."""
        ...

    async def undelivered(
        self,
        delivery_id: int,
        *,
        delay_ms: int,
        note: str,
        doubt: bool = False,
        counts: bool = True,
    ) -> None:
        """Send it later. ``doubt``: it may have arrived all the same. ``counts``: False where
        the channel was away, which is no fault of the reply and uses up none of its tries."""
        ...

    async def ambiguous(self, delivery_id: int, note: str) -> None:
        """It may or may not have arrived: the owner is asked, its conversation goes on."""
        ...

    async def left(self, delivery_id: int, note: str) -> None:
        """It may or may not have arrived, and is left at that by the channel's rule."""
        ...

    async def undeliverable(self, delivery_id: int, note: str) -> None:
        """It cannot be delivered, now or later; the owner is shown why, the next goes on."""
        ...

    async def unsettled(self, channel: str) -> list[Delivery]:
        """What is ``sending`` or ``ambiguous``: after a start, what nobody knows the end of."""
        ...

    async def next_delivery_ms(self, channel: str) -> int | None:
        """Milliseconds until the next reply of a channel is due (0: now), None if none waits."""
        ...

    async def settle_delivery(self, ident: str, how: str) -> View:
        """The owner's word on a row: ``sent``, ``again`` or ``drop``; the row as it is then.

        ``ident``: its number, or an id (or the end of one) of its message or job. Raises
        ``NotFound``, ``BadRequest``, or ``NotSettled`` where that cannot be done to it.
        """
        ...

    async def fetched(self, job_id: str) -> None:
        """The owner has read the reply of this job on the channel it came by."""
        ...

    async def fetched_messages(self, message_ids: Sequence[str]) -> None:
        """The owner has read these; those that waited to be fetched are delivered."""
        ...


class NodeStore(Protocol):
    """The nodes and their keys."""

    async def add_node(self, name: str, key_hash: str) -> str: ...

    async def node_by_key(self, key_hash: str, *, revoked: bool = False) -> NodeRow | None:
        """``revoked``: also one whose key was taken back."""

    async def nodes(self) -> list[NodeRow]: ...

    async def revoke_node(self, name: str) -> bool: ...

    async def drain_node(self, name: str, *, draining: bool) -> bool:
        """Give a node no new jobs, or again; False: there is no such node. A new key ends it."""

    async def note_given(self, job_id: str, epoch: int, why: str) -> None:
        """Keep why an attempt went to a node that its job does not prefer."""

    async def saw_node(
        self, node_id: str, *, boot: str | None = None, labels: Sequence[str] | None = None,
        version: str | None = None, facts: dict[str, Any] | None = None,
    ) -> None: ...  # fmt: skip


class DayStore(Protocol):
    """Lines on their way into the daily log."""

    async def day_lines(self, limit: int = 500) -> list[tuple[int, int, str]]:
        """(id, at, text) of lines not yet known to be in a file, oldest first."""
        ...

    async def day_lines_written(self, upto: int) -> None: ...

    async def add_day_line(self, text: str) -> None: ...


class FactStore(Protocol):
    """Small facts that stead keeps about itself."""

    async def fact(self, name: str) -> str | None: ...

    async def set_fact(self, name: str, value: str | None) -> None: ...


class ViewStore(Protocol):
    """Read-only looks, each in the shape the API answers with."""

    async def view_jobs(self, **filters: Any) -> View:
        """Newest first: ``state lane session before(id) limit``, ``person`` (the id of who asked),
        ``ids`` (only these)."""

    async def view_why(self, ident: str) -> View: ...

    async def view_attempts(self, ident: str) -> View:
        """A job's ``attempts`` as in :meth:`view_why`, the discarded ones with all that is kept."""
        ...

    async def view_counts(self) -> View: ...

    async def view_messages(self, session: str, after: int, limit: int) -> View: ...

    async def view_outbox(self, **filters: Any) -> View:
        """``deliveries``, the newest first: by ``state`` (default: the open ones), ``channel``,
        ``before`` (a number), ``limit``."""
        ...

    async def view_delivery(self, ident: str) -> View:
        """One row with its whole text. Raises ``NotFound``, ``BadRequest``."""
        ...

    async def view_demands(self) -> list[tuple[str, str, str]]:
        """What the jobs that are ready ask of a node: needs, preferred and avoided nodes."""

    async def view_open_demands(self) -> list[tuple[tuple[str, str, str], int]]:
        """What all jobs ask of a node that are not over, and how many ask for it."""

    async def view_waiting(self, demands: Collection[tuple[str, str, str]]) -> View:
        """The ready jobs with one of these demands: ``count`` (of at most 10,000), ``since`` (ms),
        ``jobs`` (the first 200), and the ``channel`` and ``session`` of the oldest message."""


class Store(
    RecordStore,
    JobStore,
    ApprovalStore,
    RecallStore,
    OutboxStore,
    LedgerStore,
    NodeStore,
    KeyStore,
    PersonStore,
    PushStore,
    SignInStore,
    DayStore,
    FactStore,
    PruneStore,
    ForgetStore,
    SessionStore,
    FileStore,
    ViewStore,
    Protocol,
):
    """A whole storage."""

    def close(self) -> None: ...
