"""What stead talks about: messages, jobs, steps, usage, calls.

All times are milliseconds since the Unix epoch on the database's clock, all
money is integer micro-dollars (1 USD = 1,000,000), all ids are UUIDv7 text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stead.core.attached import Attached
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
    foreign: bool = False
    """Others than the owner write what comes by this channel: it is material, never an order."""
    person: str = "owner"
    """The id of who says it (:mod:`stead.core.people`); ``session`` is as that person calls it."""
    replaces: str = ""
    """The id of an earlier message of this conversation whose place it takes, with all that was
    said after it, in prompts. The record keeps both."""
    files: tuple[Attached, ...] = ()
    """What is handed in with it; known to the storage before."""


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


@dataclass(slots=True, unsafe_hash=True)
class Usage:
    """Tokens and money of one call or a sum of calls.

    Never changed once it is made. Not frozen, because one is made for each request, and to make
    a frozen one takes five times as long.
    """

    prompt_tokens: int = 0
    """All of the prompt, with what was read from or written to a cache."""
    cached_tokens: int = 0
    """Of the prompt: read from a cache."""
    completion_tokens: int = 0
    """All that was written, reasoning included."""
    cost_micro: int = 0
    cache_write_tokens: int = 0
    """Of the prompt: written to a cache, where the backend says so (and charges for it)."""
    reasoning_tokens: int = 0
    """Of what was written: not part of the answer."""

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cost_micro + other.cost_micro,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


#: One for all that used nothing.
UNUSED = Usage()


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
    usage: Usage = UNUSED
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
class Post:
    """A message that a job sends beside its answer."""

    to: str
    """``owner`` (where the job came from), or the name of a channel."""
    text: str


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
    read: str = ""
    """What the run had read that said it: ``foreign``, ``private``, both, or nothing of that."""
    files: tuple[Attached, ...] = ()
    """What was handed in with it."""
    pictures: tuple[str, ...] = ()
    """On the node alone: what of that a model is shown, as ``data:`` addresses."""


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
    seeing: str = ""
    """The name to ask where pictures go with the request; empty: nothing here sees any."""


@dataclass(slots=True)
class Call:
    """One row of the audit: a request at the model door, where it went, why, and what it cost.

    Every request has one, also one that is refused. Not frozen, because one is made for each
    request, and filled in as it goes.
    """

    id: str
    at: int
    """When it came, on the database's clock; what a caller puts here is not read (``began``)."""
    model: str
    """That was asked last, by its name in stead; empty if it came to none."""
    backend: str
    caller: str
    """``owner``, ``job`` or the name of a program's key."""
    job_id: str | None
    share: str
    """``chat`` or ``background``: out of whose share of the money it is paid."""
    usage: Usage
    reserved_micro: int
    state: str
    """``reserved`` (under way), ``settled`` or ``unknown`` (cut off: counted at what was
    reserved)."""
    status: int
    """HTTP status of the answer; 499 where the client left."""
    first_ms: float
    """From its coming until the first byte of the answer; 0: there was none."""
    total_ms: float
    reason: str
    """Why it went there, in words: of routing and of policy."""
    key_id: str = ""
    """Of a program's key; ``person:ID`` of what somebody besides the owner asks, or a job of
    theirs."""
    api: str = ""
    """The path below ``/v1/``."""
    asked: str = ""
    """What the client named: a model or a lane."""
    lane: str = ""
    """The lane that was named or judged; empty where a model was named."""
    instance: str = ""
    """Which of several of the backend's."""
    stream: bool = False
    estimated: bool = False
    """The backend told no usage, so it is a guess."""
    waited_ms: float = 0.0
    """Of the time until the first byte: until it was sent to the backend that answered."""
    outcome: str = ""
    """``ok``, ``left`` (the client went), ``cut_off`` (by a stop of the gateway), or the code of
    the error; empty while it is under way."""
    error: str = ""
    """What was told to the client, where it was an error."""
    tried: Sequence[str] = ()
    """What went wrong at other places before, in words."""
    bytes_in: int = 0
    bytes_out: int = 0
    shadow_of: str = ""
    """The call whose request was also sent here, its answer only recorded."""
    began: float = 0.0
    """When it came, on ``time.monotonic()``; 0: now."""


@dataclass(frozen=True, slots=True)
class Cap:
    """A limit on money: what is spent and set aside in a scope may not pass it.

    Scopes: empty (all), ``chat`` or ``background`` (a share), ``key:ID``, ``person:ID``,
    ``lane:NAME``.
    """

    scope: str
    micro: int
    month: bool = False
    """For the calendar month (UTC), else for the day."""
