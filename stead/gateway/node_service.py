"""The node protocol's five calls, whoever carries them: HTTP, or the worker in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from stead.blobs.handed import Handed
from stead.core.errors import BadRequest, NotFound, StaleEpoch, SteadError
from stead.core.ids import uuid7
from stead.core.nouns import Job, Limits, ModelProfile
from stead.core.people import MEMBER_TOOLS, OWNER, Person, person_of
from stead.core.permits import PermitRule
from stead.core.recall import MemoryAsk, MemoryReply, Recall
from stead.core.storage import Ended, Granted, NodeRow, Store
from stead.core.wire import (
    Claim,
    ClaimedJob,
    ClaimReply,
    Events,
    EventsReply,
    Finish,
    FinishReply,
    Heartbeat,
    HeartbeatReply,
    Hello,
    HelloReply,
)
from stead.flow.flow import Flow
from stead.flow.live import Live
from stead.gateway.placement import Placement
from stead.gateway.presence import CutShort, Presence
from stead.memory.recall.service import Recalls
from stead.queue.queue import Queue

log = logging.getLogger(__name__)

#: A claim is held open no longer than this, whatever the node asks for (seconds).
_LONGEST_WAIT_S = 60.0
#: How often the time of a node's last visit is written down (seconds).
_NOTE_S = 60.0
Asked = Callable[[MemoryAsk], Awaitable[MemoryReply]]
"""Looks into memory for a job."""

_OUTCOMES = ("done", "failed", "waiting", "cancelled")


class NodeService:
    """What a gateway does for its workers."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        flow: Flow,
        presence: Presence,
        live: Live,
        *,
        job_key: Callable[[str, int, str, str], str],
        profile: Callable[[str], ModelProfile],
        limits: Limits,
        version: str,
        placement: Placement,
    ) -> None:
        self._placement = placement
        self._store = store
        self._queue = queue
        self._flow = flow
        self._presence = presence
        self._live = live
        self._job_key = job_key
        self._profile = profile
        self.limits = limits
        self.permits: list[PermitRule] = []
        """The owner's rules and grants, which go with each job."""
        self.channels: list[str] = []
        """Names of those that a job can send a message by."""
        self.person: Callable[[str], Person | None] = lambda person: None
        """Who that is, by the id; None: nobody (any more)."""
        self.recalls: Recalls | None = None
        """What jobs are shown of memory."""
        self.memory: Asked | None = None
        """Answers a job that looks into memory."""
        self.handed: Handed | None = None
        """What hangs on messages."""
        self._version = version
        self.boot = uuid7()
        self.stopping = False
        """No job is given out any more; what was given is heard to its end."""
        self._stopped = asyncio.Event()
        self._noted: dict[str, float] = {}
        self._cancels: dict[str, list[str]] = {}
        """Jobs that nodes are to be told to stop, until each is told: the heartbeats say it too."""
        flow.on_cancel(self._cancel)
        queue.on_ended(self._taken_back)

    def let_go(self) -> None:
        """Those who wait for a job may stop waiting: the gateway ends."""
        self._stopped.set()

    async def hello(self, node: NodeRow, body: Hello) -> HelloReply:
        """A node has started: what its earlier process held is free at once."""
        await self._store.saw_node(
            node.id,
            boot=body.boot,
            labels=_labels(node, body.labels),
            version=body.version,
            facts=body.facts,
        )
        self._presence.heard(node.id)
        if node.id != IN_PROCESS.id:
            await self._placement.refresh()
        await self._queue.restarted(node.id, body.boot, self._flow.crash_rule)
        log.info("node %s is here (stead %s)", node.name, body.version)
        return HelloReply(node.id, node.name, self._queue.policy.lease_ms, self._version)

    def _cancel(self, job: Job) -> None:
        """The owner wants a running job stopped: its node need not wait for its heartbeat."""
        if job.node_id is not None:
            self._cancels.setdefault(job.node_id, []).append(job.id)
            self._presence.cut_short(job.node_id)

    def _taken_back(self, ended: Ended) -> None:
        """A job's worker vanished: what it holds open may be the claim of a stopped process."""
        if ended.job.node_id is not None:
            # Of a process that was stopped when it still kept its lease it is older than that.
            self._presence.cut_short(ended.job.node_id, self._queue.policy.lease_ms / 2000)

    async def _note(self, node: NodeRow) -> None:
        """Keep in the database when a node was last here, for after a restart; seldom, because
        an idle house should leave its disk alone."""
        now = time.monotonic()
        if node.id != IN_PROCESS.id and now - self._noted.get(node.id, now - _NOTE_S) >= _NOTE_S:
            self._noted[node.id] = now
            await self._store.saw_node(node.id)

    async def claim(self, node: NodeRow, body: Claim) -> ClaimReply:
        """The next job for this node, or none after ``wait_s``."""
        wait_s = 0.0 if self.stopping else min(max(body.wait_s, 0.0), _LONGEST_WAIT_S)
        if cancel := self._cancels.pop(node.id, None):
            return ClaimReply(again=True, cancel=cancel)
        try:
            with self._presence.claiming(node.id):
                granted = await self._queue.claim(
                    request_id=body.request_id,
                    node_id=node.id,
                    boot=body.boot,
                    # Without lanes it is given only what this very request was given before.
                    lanes=[] if self.stopping or node.draining else body.lanes,
                    labels=_labels(node, body.labels),
                    wait_s=wait_s,
                    name=node.name,
                )
                if granted is None and self.stopping:
                    await self._until_stopped(body.wait_s)
        except CutShort:
            return ClaimReply(again=True, cancel=self._cancels.pop(node.id, []))
        if granted is None:
            await self._note(node)  # here, where nobody waits for it
            return ClaimReply()
        if granted.job.prefer and (why := self._placement.why_given(granted.job, node.name)):
            await self._store.note_given(granted.job.id, granted.job.epoch, why)
        return ClaimReply(await self._claimed(granted))

    async def _until_stopped(self, most_s: float) -> None:
        """Hold a claim for which there will be no job: it would only be made again at once."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(max(most_s, 0.0), _LONGEST_WAIT_S)):
                await self._stopped.wait()

    async def _claimed(self, granted: Granted) -> ClaimedJob:
        job = granted.job
        person = person_of(job.session)
        lease = self._queue.policy.lease_ms
        role = str(job.payload.get("role", "main"))
        return ClaimedJob(
            id=job.id,
            epoch=job.epoch,
            kind=job.kind,
            lane=job.lane,
            payload=job.payload,
            lease_ms=lease,
            key=self._job_key(job.id, job.epoch, job.lane, person),
            session=job.session,
            history=await self._store.history(job) if job.message_id else [],
            recall=await self._recalled(job, begun=bool(granted.steps))
            if person == OWNER
            else None,
            steps=granted.steps,
            profile=self._profile_of(role) if job.kind == "chat" else ModelProfile(name=""),
            limits=_limits(self.limits, job.payload.get("overrides") or {}),
            tries=job.tries,
            crashes=job.crashes,
            # Both are times of the database's clock: the lease was set from its "now".
            age_ms=max(0, job.lease_until - lease - job.started_at),
            permits=self.permits if job.kind == "chat" else [],
            channels=self.channels if job.kind == "chat" and person == OWNER else [],
            **({} if person == OWNER else self._as_asked_by(person)),
        )

    def _as_asked_by(self, person: str) -> dict[str, Any]:
        """What is otherwise with a job of somebody else than the owner."""
        known = self.person(person)
        if known is None:
            return {"person": "nobody", "called": "nobody", "tools": []}
        tools = list(known.tools or MEMBER_TOOLS)
        return {"person": known.name, "called": known.called, "tools": tools}

    async def _recalled(self, job: Job, *, begun: bool) -> Recall | None:
        """Memory that is in trouble must not keep a job from being given out."""
        if self.recalls is None or job.kind != "chat":
            return None
        try:
            recall = await self.recalls.of(job, begun=begun)
        except SteadError as error:
            log.warning("job %s is given out without recall: %s", job.id, error.message)
            return None
        return recall if recall.items else None

    async def look_into_memory(self, node: NodeRow, body: MemoryAsk) -> MemoryReply:
        """For a job that this node holds. Raises ``StaleEpoch``."""
        if not self._queue.holds(body.job_id, body.epoch, node.id):
            raise StaleEpoch(job_id=body.job_id, epoch=body.epoch)
        if self.memory is None:
            return MemoryReply("There is no memory here.")
        if person_of((await self._store.job(body.job_id)).session) != OWNER:
            return MemoryReply("What is remembered here is the owner's.", private=False)
        return await self.memory(body)

    async def file(self, node: NodeRow, job_id: str, epoch: int, ident: str) -> tuple[Path, int]:
        """Where a file lies that hangs on a message of the conversation of a job that this node
        holds, and its size. Raises ``StaleEpoch``, ``NotFound``."""
        if not self._queue.holds(job_id, epoch, node.id):
            raise StaleEpoch(job_id=job_id, epoch=epoch)
        if self.handed is None:
            raise NotFound(what=f"file {ident}")
        file = await self._store.file_of_job(job_id, ident)
        return self.handed.path(file), file.size

    def _profile_of(self, role: str) -> ModelProfile:
        """With no model set up the job is given out all the same: its call then says what to do."""
        try:
            return self._profile(role)
        except SteadError:
            return ModelProfile(name=role)

    async def heartbeat(self, node: NodeRow, body: Heartbeat) -> HeartbeatReply:
        self._presence.heard(node.id)
        cancel, lost = await self._queue.heartbeat(node.id, body.jobs)
        return HeartbeatReply(cancel, lost, self._queue.policy.lease_ms, self.boot)

    def heartbeat_sync(self, node: NodeRow, body: Heartbeat) -> HeartbeatReply:
        """From the heartbeat thread of the worker in this process."""
        cancel, lost = self._queue.heartbeat_sync(node.id, body.jobs)
        return HeartbeatReply(cancel, lost, self._queue.policy.lease_ms, self.boot)

    async def events(self, node: NodeRow, body: Events) -> EventsReply:
        self._presence.heard(node.id)
        cancel = await self._flow.events(node.id, body)
        return EventsReply(cancel=cancel, have=self._live.have(body.job_id, body.epoch))

    async def finish(self, node: NodeRow, body: Finish) -> FinishReply:
        self._presence.heard(node.id)
        if body.outcome not in _OUTCOMES:
            raise BadRequest(f"outcome must be one of {', '.join(_OUTCOMES)}.", param="outcome")
        ended = await self._flow.settle(node.id, body)
        return FinishReply(ended.state)


#: The worker inside the gateway, as a node. It has no key, so nobody can be it over HTTP.
IN_PROCESS = NodeRow(
    id="@gateway", name="gateway", labels=("@gateway",), last_seen=0, boot="", revoked=False
)


class LocalLink:
    """A :class:`~stead.core.ports.Link` for the worker in the gateway's own process."""

    def __init__(self, service: NodeService) -> None:
        self._service = service

    async def hello(self, body: Hello) -> HelloReply:
        return await self._service.hello(IN_PROCESS, body)

    async def claim(self, body: Claim) -> ClaimReply:
        return await self._service.claim(IN_PROCESS, body)

    async def events(self, body: Events) -> EventsReply:
        return await self._service.events(IN_PROCESS, body)

    async def finish(self, body: Finish) -> FinishReply:
        return await self._service.finish(IN_PROCESS, body)

    async def memory(self, body: MemoryAsk) -> MemoryReply:
        return await self._service.look_into_memory(IN_PROCESS, body)

    async def file(self, job_id: str, epoch: int, ident: str) -> AsyncGenerator[bytes, None]:
        path, _ = await self._service.file(IN_PROCESS, job_id, epoch, ident)
        with await asyncio.to_thread(path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, 1 << 20):
                yield piece

    def heartbeat(self, body: Heartbeat) -> HeartbeatReply:
        return self._service.heartbeat_sync(IN_PROCESS, body)


def _labels(node: NodeRow, labels: list[str]) -> list[str]:
    """Labels that begin with @ are stead's own; nobody is given them by saying them."""
    if node.id == IN_PROCESS.id:
        return labels
    return [label for label in labels if not label.startswith("@")]


def _limits(limits: Limits, overrides: dict[str, Any]) -> Limits:
    """A job may ask for less than the owner's limits, never for more."""
    asked = overrides.get("max_tokens")
    if isinstance(asked, int) and asked > 0:
        return replace(limits, answer_tokens=min(limits.answer_tokens, asked))
    return limits
