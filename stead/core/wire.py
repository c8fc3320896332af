"""The node protocol: what a node says to the gateway and what it is answered.

JSON over HTTP, always opened by the node. Every write carries ``(job id,
epoch)``; a stale one is answered 409 and the node stops that work. Every report
has an ``id``; the gateway answers a repeat with what it answered before.

==============================  ==========================================
``POST /node/v1/hello``         once at start, after the spool was sent
``POST /node/v1/claim``         long-polls; same ``request_id``, same job
``POST /node/v1/heartbeat``     at most every third of the lease
``POST /node/v1/events``        in order, with sequence numbers, batched
``POST /node/v1/finish``        the end of an attempt
``POST /node/v1/memory``        a job looks into memory (``stead.core.recall``)
==============================  ==========================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stead.core.nouns import UNUSED, Limits, ModelProfile, Step, Trouble, Turn, Usage
from stead.core.permits import Approval, PermitRule
from stead.core.recall import Recall


@dataclass(slots=True)
class Hello:
    """A node has started. ``boot`` is new at each start of its process: jobs that an
    earlier boot of the same node still holds are taken back at once as crashed."""

    boot: str
    labels: list[str] = field(default_factory=list)
    version: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class HelloReply:
    node_id: str
    name: str
    lease_ms: int
    version: str = ""


@dataclass(slots=True)
class Claim:
    """``lanes`` in the order wanted; ``wait_s`` how long the gateway may hold the call. Without
    lanes no new job is given out; the call then waits for what there is to be said."""

    request_id: str
    boot: str
    lanes: list[str] = field(default_factory=lambda: ["chat", "background"])
    labels: list[str] = field(default_factory=list)
    wait_s: float = 25.0


@dataclass(slots=True)
class ClaimedJob:
    """Everything a worker needs to run a job, or to resume it."""

    id: str
    epoch: int
    kind: str
    lane: str
    payload: dict[str, Any]
    lease_ms: int
    key: str
    """Opens the model door for this job at this epoch, and nothing else."""
    session: str | None = None
    history: list[Turn] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    profile: ModelProfile = field(default_factory=lambda: ModelProfile(name=""))
    limits: Limits = field(default_factory=Limits)
    tries: int = 0
    crashes: int = 0
    age_ms: int = 0
    """How long ago its first attempt began; the wall-time limit counts from there."""
    permits: list[PermitRule] = field(default_factory=list)
    """The owner's rules and grants. A node may only be stricter."""
    channels: list[str] = field(default_factory=list)
    """Names of the channels that a message can be sent by."""
    recall: Recall | None = None
    """What of memory it is shown: the same at each attempt."""
    person: str = "owner"
    """Who asks, by the name that rules have for them."""
    called: str = ""
    """As who asks is addressed, where it is not the owner."""
    tools: list[str] | None = None
    """Names (with ``*``) of the tools that it may use; None: all there are."""


@dataclass(slots=True)
class ClaimReply:
    job: ClaimedJob | None = None
    again: bool = False
    """The claim was cut short. Ask again under the same request id: a job may have been given
    out to it just then."""
    cancel: list[str] = field(default_factory=list)
    """Jobs the owner wants stopped. Said once here, to be quick; each heartbeat says it too."""


@dataclass(slots=True)
class Held:
    """A job a worker believes to hold."""

    job_id: str
    epoch: int


@dataclass(slots=True)
class Heartbeat:
    boot: str
    jobs: list[Held] = field(default_factory=list)


@dataclass(slots=True)
class HeartbeatReply:
    cancel: list[str] = field(default_factory=list)
    """Jobs the owner wants stopped."""
    lost: list[str] = field(default_factory=list)
    """Jobs that are no longer this worker's."""
    lease_ms: int = 0
    boot: str = ""
    """New at each start of the gateway."""


@dataclass(slots=True)
class Event:
    """Something that happened in a job. ``seq`` counts from 1 in each epoch.

    =========  ==============================================================
    ``token``  ``text``: more of the answer
    ``step``   ``step``: a journal entry (intent or outcome); durable
    ``tool``   ``text``: one line on what a tool is doing or found
    ``note``   ``text``: something the owner should know (waiting for a model)
    =========  ==============================================================
    """

    seq: int
    type: str
    text: str = ""
    step: Step | None = None
    at: int = -1
    """With ``token``: where in the text of this attempt it begins, in characters. So text may be
    said again, as after a restart of the gateway, and none is shown twice. -1: behind the last."""


@dataclass(slots=True)
class Events:
    id: str
    job_id: str
    epoch: int
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class EventsReply:
    ok: bool = True
    cancel: bool = False
    have: int = -1
    """So many characters of this attempt's text the gateway has from its beginning on; what is
    missing (it has restarted) is to be said again. -1: it wants none."""


@dataclass(slots=True)
class Finish:
    """The end of an attempt: ``done``, ``failed``, ``waiting`` or ``cancelled``."""

    id: str
    job_id: str
    epoch: int
    outcome: str
    text: str = ""
    trouble: Trouble | None = None
    usage: Usage = UNUSED
    waiting_for: str = ""
    """With ``waiting``: the question to the owner, in words."""
    worked_ms: int = 0
    read: str = ""
    """What the run has read: ``foreign``, ``private``, both with a space, or nothing of that."""
    approval: Approval | None = None
    """With ``waiting``: the question as data, where it is about a call that is not made yet."""


@dataclass(slots=True)
class FinishReply:
    state: str
    """The state the job is in now."""
