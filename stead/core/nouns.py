"""What stead talks about: messages, jobs, steps, usage, calls.

All times are milliseconds since the Unix epoch on the database's clock, all
money is integer micro-dollars (1 USD = 1,000,000), all ids are UUIDv7 text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stead.core.states import Effects, Failure, JobState, Lane, OnUnknown, StepState


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message as a channel hands it in; ``(channel, external_id)`` is its identity."""

    channel: str
    external_id: str
    text: str
    session: str = "main"
    mark: str = ""
    """``light`` or ``heavy`` where the sender said so, else empty."""
    lane: Lane = Lane.CHAT
    instructions: str = ""
    """A client's own system text for this turn."""
    body_hash: str = ""
    """Hash of the whole request, by which a client's own retry is recognised."""
    is_retry: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)
    """Limits for this job alone: max_tokens, temperature."""
    needs: tuple[str, ...] = ()
    """Labels its node must carry, beside what its route asks for."""
    prefer: tuple[str, ...] = ()
    """Names of nodes that get it while they are there."""
    avoid: tuple[str, ...] = ()
    """Names of nodes that never get it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One line of the record. ``seq`` is its place in the order of recording."""

    id: str
    seq: int
    channel: str
    external_id: str
    session: str
    role: str
    """``owner``, ``assistant`` or ``notice`` (stead itself speaking)."""
    text: str
    at: int
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What the router decided, and which rule decided it."""

    to: str
    """``light`` (answered in the gateway) or ``node``."""
    rule: str
    role: str
    """The model role: ``light`` or ``main``."""
    needs: tuple[str, ...] = ()
    """Labels a node must carry to take the job."""
    prefer: tuple[str, ...] = ()
    """Names of nodes that get it while they are there."""
    avoid: tuple[str, ...] = ()
    """Names of nodes that never get it."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is needed to put a job in the queue."""

    kind: str
    payload: dict[str, Any]
    lane: Lane = Lane.CHAT
    prio: int = 0
    """Lower goes first within a lane, unless the other has waited so much longer."""
    needs: str = ""
    """Comma-joined sorted labels; ``@gateway`` is the worker inside the gateway."""
    prefer: str = ""
    """Comma-joined names of nodes; another gets it only while none of them is there."""
    avoid: str = ""
    """Comma-joined names of nodes that never get it."""
    run_at: int = 0
    """Not before; 0 is at once."""
    deadline_at: int = 0
    """Not after; 0 is never."""
    conc_key: str | None = None
    """Jobs that share it run ``conc_limit`` at a time, begun in the order of arrival."""
    conc_limit: int = 1
    """With 1 a job that is to be tried again keeps its turn; with more it lets others go first."""
    limits: str = ""
    """Further keys that it counts against, and limits of its own: see ``stead.core.limits``."""
    idem_key: str | None = None
    """The same key twice is the same job."""
    max_tries: int = 3
    max_crashes: int = 3
    message_id: str | None = None
    session: str | None = None
    route: str = ""
    """Which rule sent it where, for `stead why`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and money of one call or a sum of calls."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_micro: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_micro + other.cost_micro,
        )

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Step:
    """One journalled step of a job: a model call or a tool call."""

    seq: int
    """Place in the job, from 1, the same on every worker that replays it."""
    name: str
    """``model:<role>`` or ``tool:<name>``."""
    input_hash: str
    """SHA-256 of the step's input as canonical JSON."""
    state: StepState
    rule: OnUnknown = OnUnknown.REPEAT
    input: str = ""
    """A short text of what was asked, for people (never the whole prompt)."""
    output: str = ""
    """The outcome as JSON text; empty while it is not known."""
    usage: Usage = field(default_factory=Usage)
    started_at: int = 0
    ended_at: int = 0
    epoch: int = 0
    note: str = ""
    """What resume did with it, in words."""
    effects: Effects = Effects.NONE
    """What it may have changed."""
    parts: str = ""
    """A short hash of each part of its input, so that a resume can say what has changed."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a job failed."""

    failure: Failure
    message: str
    permanent: bool = False


@dataclass(slots=True)
class Job:
    """A job as the queue sees it: a copy of its row, never written back.

    Not frozen, because making a frozen object of so many fields takes longer than
    the statement that reads them.
    """

    id: str
    lane: Lane
    prio: int
    kind: str
    needs: str
    prefer: str
    avoid: str
    payload: dict[str, Any]
    state: JobState
    created_at: int
    run_at: int
    deadline_at: int
    epoch: int
    tries: int
    crashes: int
    max_tries: int
    max_crashes: int
    node_id: str | None
    lease_until: int
    cancel_req: bool
    conc_key: str | None
    conc_limit: int
    idem_key: str | None
    message_id: str | None
    session: str | None
    route: str
    started_at: int
    ended_at: int
    error: str
    waiting_for: str
    history_upto: int
    beside: int = 0
    """How many other jobs its worker held, when that vanished, that may as well be the cause."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation as an agent reads it."""

    role: str
    """``user`` or ``assistant``."""
    text: str


@dataclass(frozen=True, slots=True)
class Limits:
    """What one job may use; each is checked before every call. 0 is no limit."""

    steps: int = 20
    tokens: int = 200_000
    cost_micro: int = 1_000_000
    wall_s: float = 900.0
    answer_tokens: int = 1024
    """The most one model call may write."""


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """How to talk to one model; data, never guessed from its name."""

    name: str
    """The name it has at the model door."""
    tools: str = "native"
    """``native`` (tool calls of the API), ``schema`` (constrained JSON) or ``none``."""
    prompt: str = "full"
    """``full`` or ``small`` (models that read slowly get a short prompt)."""
    context: int = 8192
    """Context window in tokens."""


@dataclass(frozen=True, slots=True)
class Call:
    """One row of the ledger: a model call, what it used and what it cost."""

    id: str
    at: int
    model: str
    backend: str
    caller: str
    job_id: str | None
    lane: str
    usage: Usage
    reserved_micro: int
    state: str
    """``reserved``, ``settled`` or ``unknown`` (cut off: counted at what was reserved)."""
    status: int
    first_ms: float
    total_ms: float
    reason: str
    """Why it went to this backend, in words."""
