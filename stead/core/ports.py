"""Protocols: what one room asks of another without importing it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from stead.core.nouns import Inbound, Step, Usage
from stead.core.recall import MemoryAsk, MemoryReply
from stead.core.storage import Delivery
from stead.core.wire import (
    Claim,
    ClaimReply,
    Event,
    Events,
    EventsReply,
    Finish,
    FinishReply,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HelloReply,
)

# --- the agent and its model -------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model, in the shape of ``/v1/chat/completions``."""

    model: str
    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    """Native tool definitions; empty for a model that has none."""
    schema: dict[str, Any] | None = None
    """JSON Schema that the answer must match (``response_format``)."""
    max_tokens: int = 1024
    temperature: float | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool as the model asked for it. ``arguments`` is JSON text, unchecked."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ModelChunk:
    """A piece of a streamed answer; the last one carries ``finish`` and the usage."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    """Whole tool calls, on the last chunk only."""
    note: str = ""
    """What the door says while it waits (a model that is loading), for the owner."""
    finish: str = ""
    """``stop``, ``length``, ``tool_calls``; empty on all but the last."""
    usage: Usage | None = None


class ModelClient(Protocol):
    """The model door as an agent sees it."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        """Ask the model; yield its answer piece by piece.

        Raises a :class:`~stead.core.errors.SteadError` whose ``failure`` says
        what kind of failure it was. An answer that breaks off without a finish
        raises ``BackendFailed``; it is never passed off as whole.
        """
        ...


class Journal(Protocol):
    """The step journal of one job at one epoch (invariant 3)."""

    def past(self, seq: int) -> Step | None:
        """The step an earlier attempt recorded at this place, if any."""
        ...

    async def intend(self, step: Step) -> None:
        """Return only when the intent is durable where every other worker will see it."""
        ...

    async def settle(self, step: Step) -> None:
        """Record an outcome; return when it is durable on this machine at least."""
        ...

    async def replayed(self, step: Step) -> None:
        """Record that an earlier outcome was used again; with a note, what had changed since."""
        ...


class Emit(Protocol):
    """Where an agent tells what it is doing. Never blocks, never fails."""

    def __call__(self, type: str, text: str) -> None:
        """``type`` is ``token``, ``tool`` or ``note`` of :class:`~stead.core.wire.Event`."""
        ...


# --- the node and its gateway ------------------------------------------------


class Link(Protocol):
    """The node protocol, over HTTP or within the gateway's own process.

    ``GatewayAway`` is raised when the gateway cannot be reached (try again
    later), ``StaleEpoch`` when the job has another owner (stop).
    """

    async def hello(self, body: Hello) -> HelloReply: ...

    async def claim(self, body: Claim) -> ClaimReply: ...

    async def events(self, body: Events) -> EventsReply: ...

    async def finish(self, body: Finish) -> FinishReply: ...

    async def memory(self, body: MemoryAsk) -> MemoryReply: ...

    def file(self, job_id: str, epoch: int, ident: str) -> AsyncGenerator[bytes, None]:
        """The bytes of a file of the conversation of a job that is held. Raises ``NotFound``."""
        ...

    def heartbeat(self, body: Heartbeat) -> HeartbeatReply:
        """Called from the heartbeat's own thread, so it is not a coroutine."""
        ...


# --- the model door and its ledger -------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking the model door: a program with a key, or a job."""

    name: str
    """``owner``, ``job`` or the name of a program's key."""
    job_id: str | None = None
    lane: str = "chat"


class Channel(Protocol):
    """A way by which replies are pushed to the owner."""

    name: str
    dedupes: bool
    """Whether the other side drops a delivery it has had before (by its message id)."""

    async def send(self, delivery: Delivery) -> None:
        """Deliver; return only when the other side has it.

        What it raises decides what follows:

        ====================  =====================================================
        ``ChannelAway``       it takes nothing now: all of its replies wait
        ``DeliveryFailed``    not this one now: its conversation waits, others go on
        ``DeliveryRefused``   never this one: it is set aside, the next goes on
        ``DeliveryInDoubt``   nobody knows: the channel's rule decides
        ====================  =====================================================

        Another permanent ``SteadError`` counts as refused, any other as failed; another
        exception as in doubt.
        """
        ...

    async def seen(self, delivery: Delivery) -> bool | None:
        """Whether the other side has it, read back there; None where that cannot be said."""
        ...

    async def aclose(self) -> None: ...


class WayIn(Protocol):
    """A channel that is posted to."""

    def receive(self, headers: Mapping[str, str], body: bytes) -> Inbound:
        """The message in a request; ``headers`` with lower-case names.

        Raises ``WrongKey`` or ``BadRequest``. Nothing is recorded here.
        """
        ...


class Watcher(Protocol):
    """Receives the live events of jobs (for streams to the owner)."""

    def publish(self, job_id: str, epoch: int, events: Sequence[Event]) -> None: ...
