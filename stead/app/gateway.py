"""The gateway process: every part made once, started in order, stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from stead import __version__
from stead.app import (
    channels,
    owner_memory,
    people,
    permits,
    prices,
    routing,
    services,
    terms,
)
from stead.app.alone import alone, bound
from stead.app.audit import Audit, Standing, audit_of
from stead.app.audit import routes as audit_routes
from stead.app.audit import taker as audit_taker
from stead.app.calm import calm_collector
from stead.app.files import FileTerms, files_into
from stead.app.forget import upkeep_routes
from stead.app.hands import known_tools, limit_undo
from stead.app.hup import terminal
from stead.app.memory import memory_of
from stead.app.own_node import own_node
from stead.app.pages import whole
from stead.app.policy import LivePolicy, budgets_of
from stead.app.push import pusher_of
from stead.app.recall import recall_into
from stead.app.reload import Reload
from stead.app.review import Reviews, reviews_of
from stead.app.server import Server
from stead.app.warm import keep_warm
from stead.blobs.handed import Handed
from stead.config import Loaded, local_url, path_at
from stead.core import logs
from stead.core.errors import SteadError
from stead.core.keys import ensure_key, read_key
from stead.core.ports import Caller
from stead.flow.approvals import Approvals
from stead.flow.away import Away
from stead.flow.flow import Flow, Tries
from stead.flow.live import Live
from stead.flow.off_record import OffRecord
from stead.flow.sender import Sender
from stead.flow.spending import Spending
from stead.gateway import channel_routes, node_routes, session_routes
from stead.gateway.approval_routes import ApprovalRoutes
from stead.gateway.auth import Keys
from stead.gateway.backend_routes import Backends
from stead.gateway.changes import Changes
from stead.gateway.doors import ModelDoors
from stead.gateway.front import front
from stead.gateway.memory_routes import MemoryRoutes
from stead.gateway.node_routes import NodeDoors
from stead.gateway.node_service import LocalLink, NodeService
from stead.gateway.openai_routes import OpenAI
from stead.gateway.outbox_routes import Outbox
from stead.gateway.owner_nodes import Nodes
from stead.gateway.owner_routes import Owner
from stead.gateway.placement import Placement
from stead.gateway.presence import Presence
from stead.gateway.push_routes import PushRoutes
from stead.gateway.service_routes import ServiceRoutes
from stead.gateway.status import Status
from stead.gateway.talk import Talk
from stead.inference import modelstate
from stead.inference.client import DoorModelClient
from stead.inference.door import Door
from stead.inference.plane.plane import Plane
from stead.inference.routing import view
from stead.inference.routing.probe import Prober
from stead.inference.routing.routes import Routes
from stead.keep.retention import Retention
from stead.memory.client import Memory
from stead.memory.daily import DailyLog
from stead.node.runner import Runner
from stead.push.pusher import Pusher
from stead.queue.queue import Queue
from stead.services.supervisor import Services
from stead.store.sqlite import SqliteStore

log = logging.getLogger("stead.gateway")


def run_gateway(home: Path, loaded: Loaded) -> int:
    """Run the gateway until SIGTERM or SIGINT; returns the exit code.

    What keeps it from starting is one sentence on stderr and code 1.
    """
    settings = loaded.settings
    # The event loop and the store's writer share one lock; the default of 5 ms would let the
    # one wait that long for the other on each hand-over.
    sys.setswitchinterval(0.001)
    logs.setup(
        home / "logs", "gateway", settings.log.level, settings.log.max_mb, settings.log.keep,
        to_stderr=False,
    )  # fmt: skip
    try:
        with alone(home), bound(settings) as sock:
            store = SqliteStore(
                home / "state.db", home / "backups", age_ms=int(settings.queue.age_s * 1000),
                limits=terms.queue_limits(settings),
            )  # fmt: skip
            try:
                uvloop.run(Gateway(loaded, store).serve(sock))
            finally:
                store.close()
    except SteadError as error:
        log.error("%s", error.message)
        sys.stderr.write(error.message + "\n")
        return 1
    return 0


@dataclass(frozen=True)
class _Parts:
    """What runs in a gateway, in the order of making."""

    queue: Queue
    live: Live
    daily: DailyLog
    flow: Flow
    keys: Keys
    policy: LivePolicy
    routes: Routes
    reload: Reload
    door: Door
    service: NodeService
    presence: Presence
    placement: Placement
    status: Status
    away: Away
    sender: Sender
    retention: Retention
    services: Services
    openai: OpenAI
    doors: ModelDoors
    node_doors: NodeDoors
    audit: Audit
    spending: Spending
    approvals: Approvals
    memory: Memory
    off_record: OffRecord
    reviews: Reviews
    pusher: Pusher
    app: Any


class Gateway:
    """The composition root of the gateway."""

    def __init__(self, loaded: Loaded, store: SqliteStore) -> None:
        home, settings = loaded.home, loaded.settings
        self._loaded = loaded
        self._home = home
        self._settings = settings
        self._store = store
        self._tools = known_tools(loaded)
        limit_undo(home, loaded)
        self._channels = channels.make(home, settings)
        self._held = FileTerms(settings)
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._why_not_ready = "starting"

    async def serve(self, sock: socket.socket) -> None:
        """Start everything in order, serve, and stop in reverse."""
        parts = self._build(self._owner_key(), await self._secret())
        await parts.keys.refresh()
        await own_node(self._home, self._settings, self._store)
        await parts.approvals.refresh()
        await parts.off_record.start()
        cut = await self._store.close_open_calls()
        if cut:
            log.warning("%d model calls were cut off by the last stop", cut)
        await parts.placement.start()
        await parts.queue.start()
        light = self._light_worker(parts)
        sending = asyncio.create_task(parts.sender.run(), name="sender")
        tasks = [
            asyncio.create_task(parts.daily.run(), name="daily log"),
            asyncio.create_task(parts.queue.run_rescue(parts.flow.crash_rule), name="rescue"),
            asyncio.create_task(parts.away.run(), name="away"),
            asyncio.create_task(parts.placement.run(), name="look at the nodes"),
            sending,
            asyncio.create_task(parts.retention.run(), name="retention"),
            asyncio.create_task(parts.spending.run(), name="budgets"),
            asyncio.create_task(parts.approvals.run(), name="questions to the owner"),
            asyncio.create_task(parts.reload.run(), name="look at stead.toml"),
            asyncio.create_task(Prober(parts.routes).run(), name="look at the backends"),
            asyncio.create_task(
                keep_warm(self._home, parts.routes, parts.door, self._tools), name="warm-up"
            ),
            asyncio.create_task(parts.off_record.run(), name="off the record"),
            asyncio.create_task(parts.reviews.run(), name="nightly review"),
            asyncio.create_task(parts.pusher.run(), name="web push"),
            asyncio.create_task(light.run(), name="light worker"),
        ]
        self._watch(tasks, parts.status)
        calm_collector()
        server = Server(parts.app, front(*parts.doors.places(), *parts.node_doors.places()))
        try:
            parts.reload.on_signal(terminal(), self._told_to_stop)
            await self._until_stopped(server, sock)
        finally:
            await self._drain(parts, light, sending)
            await server.end()
            await asyncio.wait((tasks[-1],), timeout=6.0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await parts.reviews.aclose()
            await parts.pusher.aclose()
            await self._channels.aclose()
            await parts.door.aclose()
            await parts.memory.aclose()
            await parts.services.aclose()
            await parts.policy.aclose()
            await parts.audit.aclose()
            with contextlib.suppress(SteadError, OSError):  # the lines wait in the database
                await parts.daily.write_pending()

    async def _drain(self, parts: _Parts, light: Runner, sending: asyncio.Task[None]) -> None:
        """Begin nothing new, and let end what is under way, for ``gateway.drain_s`` at most:
        answers that workers are giving (they may use the models meanwhile, and hand back what
        they cannot end), and replies that are being sent. A second signal cuts it short.

        Then who still watches an answer is told to come back.
        """
        self._why_not_ready = "stopping"
        parts.service.stopping = parts.openai.stopping = True
        parts.sender.stop()
        light.stop()
        parts.queue.close()

        def busy() -> int:
            """Jobs of nodes that are there, and calls of programs straight to a model. Whose job
            nobody has begun cannot be answered now, so it is not waited for."""
            jobs = sum(parts.presence.alive(node) for node in parts.queue.holders())
            return jobs + parts.doors.plain

        loop = asyncio.get_running_loop()
        until = loop.time() + self._settings.gateway.drain_s
        if busy() or parts.sender.sending:
            log.info("stopping: %d jobs and %d sends may end", busy(), parts.sender.sending)
        while busy() and loop.time() < until and not self._hurry.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await self._hurry.wait()
        if not self._hurry.is_set():
            await asyncio.wait((sending,), timeout=max(0.0, until - loop.time()))
        parts.service.let_go()
        parts.live.close()
        parts.queue.news.close()

    def _build(self, owner_key: str, secret: bytes) -> _Parts:
        """Every part, made once and handed what it needs."""
        settings, store = self._settings, self._store
        live, presence = Live(), Presence(settings.node.away_after_s)
        placement, light = self._placement(presence), services.make(self._home, settings)
        queue = Queue(store, terms.policy(settings), placement.there)
        memory = memory_of(self._home, settings, light)
        daily = DailyLog(self._home / "memory", store, memory.nudge)
        tries = Tries(settings.queue.max_tries, settings.queue.max_crashes)
        flow = Flow(store, queue, terms.router(settings), live, daily, tries, placement.preferred)
        routes = routing.routes(self._home, settings, light)
        keys = Keys(owner_key, secret, store, queue.holds)
        policy = LivePolicy(self._home, settings, keys.scope)
        audit = audit_of(self._home, settings, store, budgets_of(settings.budget, keys.scope))
        plane = self._plane(policy, routes, audit, light)
        door = Door(routes, plane)
        service = NodeService(
            store, queue, flow, presence, live, job_key=keys.job_key, profile=door.profile,
            limits=terms.limits(settings), version=__version__, placement=placement,
        )  # fmt: skip
        approvals = permits.approvals_of(settings, store, flow, service)
        off = recall_into(self._home, settings, store, flow, service, audit, door.profile, memory)
        handed = files_into(self._home, store, self._held, off, service)
        reload = self._reload(policy, routes, light, flow, service, plane, audit, keys, approvals)
        retention = self._retention(audit, handed)
        sender = self._sender(flow)
        spending = self._spending(audit, keys, reload, daily)
        reviews = reviews_of(self._home, store, door, reload, flow, daily.nudge)
        status = self._status(
            queue, presence, placement, daily, routes, reload, light, sender, retention, audit,
            spending, memory, reviews,
        )  # fmt: skip
        talk, away = Talk(store, live), self._away(flow, live, placement, presence, daily)
        pusher = pusher_of(settings, store, secret, flow)
        most, wait_s = int(settings.gateway.max_body_mb * 1e6), settings.gateway.answer_wait_s
        openai = OpenAI(flow, talk, door, keys, policy, handed, max_body=most, wait_s=wait_s)
        standing = Standing(store, status, audit.book, routes, keys)
        app = whole(
            settings, store, keys, owner_key, secret, lambda: self._why_not_ready or store.trouble,
            [
                *node_routes.routes(service, keys, most),
                *openai.routes(),
                *Owner(store, flow, talk, keys, placement, status, handed, max_body=most).routes(),
                *session_routes.routes(store, flow, live, keys, most),
                *Nodes(store, keys, presence, placement, status, max_body=most).routes(),
                *Changes(store, queue.news, status, keys).routes(),
                *Outbox(store, sender, keys, max_body=most).routes(),
                *ApprovalRoutes(store, approvals, keys, max_body=most).routes(),
                *upkeep_routes(self._home, store, daily, retention, keys, most, memory, handed),
                *Backends(routes, keys).routes(),
                *owner_memory.routes(self._home, reload, keys, most),
                *ServiceRoutes(light, keys, door, max_body=most).routes(),
                *MemoryRoutes(memory, keys).routes(),
                *people.routes(store, keys, flow, service, most),
                *reviews.routes(keys, most),
                *PushRoutes(store, pusher, keys).routes(),
                *audit_routes(self._home, reload, audit, standing, keys),
                *channel_routes.routes(self._channels.ways_in, flow, most),
            ],
        )  # fmt: skip
        return _Parts(
            queue, live, daily, flow, keys, policy, routes, reload, door, service, presence,
            placement, status, away, sender, retention, light, openai,
            ModelDoors(plane, keys, openai, audit.meter, max_body=most),
            NodeDoors(service, keys, max_body=most), audit, spending, approvals, memory, off,
            reviews, pusher, app,
        )  # fmt: skip

    def _plane(self, policy: LivePolicy, routes: Routes, audit: Audit, light: Services) -> Plane:
        return Plane(
            policy=policy, routing=routes, book=audit.book, local=routes.local,
            wait_s=self._settings.model.wait_s, services=light,
        )  # fmt: skip

    def _sender(self, flow: Flow) -> Sender:
        """Terminal and API are read by their clients; the sender is for channels pushed to."""
        sender = Sender(self._store, self._channels.pushed, self._channels.manners)
        flow.on_reply(sender.nudge)
        return sender

    def _retention(self, audit: Audit, handed: Handed) -> Retention:
        kept, days = terms.terms(self._settings), self._home / "memory"
        return Retention(self._store, kept, days, audit.bodies.prune, handed.tidy)

    def _placement(self, presence: Presence) -> Placement:
        nodes = self._settings.nodes
        return Placement(self._store, presence, main=nodes.main, failover_s=nodes.failover_s)

    def _reload(
        self, policy: LivePolicy, routes: Routes, light: Services, flow: Flow,
        service: NodeService, plane: Plane, audit: Audit, keys: Keys, approvals: Approvals,
    ) -> Reload:  # fmt: skip
        """Who takes over what of a changed stead.toml."""
        takers = [
            ("rules of the house", policy.prepare),
            ("models", routing.taker(self._home, routes)),
            ("light services", services.taker(self._home, light)),
            ("budgets and audit", audit_taker(self._home, audit, keys)),
            ("permissions", permits.taker(approvals, flow)),
            ("files", self._held.prepare),
            ("the rest", terms.taker(flow, service, plane)),
        ]
        return Reload(self._loaded, takers)

    def _away(
        self, flow: Flow, live: Live, placement: Placement, presence: Presence, daily: DailyLog
    ) -> Away:
        """Who tells the owner that no node is there."""
        away = Away(
            self._store, live, stuck=placement.stuck, any_alive=presence.any_alive,
            settled=presence.settled, told=daily.nudge,
        )  # fmt: skip
        flow.on_accept(away.nudge)
        return away

    def _spending(self, audit: Audit, keys: Keys, reload: Reload, daily: DailyLog) -> Spending:
        """Who tells the owner of budgets that run out."""
        return Spending(
            self._store, lambda spent: audit.book.budgets.standings(spent, keys.names()),
            warn_at=lambda: reload.settings.budget.warn_at, told=daily.nudge,
        )  # fmt: skip

    def _status(
        self, queue: Queue, presence: Presence, placement: Placement, daily: DailyLog,
        routes: Routes, reload: Reload, light: Services, sender: Sender, retention: Retention,
        audit: Audit, spending: Spending, memory: Memory, reviews: Reviews,
    ) -> Status:  # fmt: skip
        """What is told of every part."""
        store = self._store

        def troubles() -> list[str]:
            said = filter(None, (store.trouble, daily.trouble))
            money = [*spending.troubles, *prices.unknown(routes.setup.backends)]
            return [*said, *audit.troubles(), *reload.troubles(), *money, *memory.troubles()]

        return Status(
            store, queue, presence, model=lambda: self._model_words(routes),
            channels=sender.channels, retention=retention.state, placement=placement,
            home=str(self._home), url=local_url(self._settings.listen), version=__version__,
            troubles=troubles, services=light.states,
            backends=lambda: view.whole(routes), config=reload.view,
            remarks=lambda: [*spending.remarks, *memory.remarks(), *reviews.remarks],
            memory=memory.state,
        )  # fmt: skip

    def _light_worker(self, parts: _Parts) -> Runner:
        """The node's own runner, in this process, for what needs neither tools nor a node."""
        return Runner(
            LocalLink(parts.service),
            lambda job: DoorModelClient(parts.door, Caller("job", job.id, job.lane)),
            self._tools,
            slots=max(1, self._settings.gateway.light_slots),
            chat_slots=0,
            labels=("@gateway",),
            grace_s=self._settings.gateway.drain_s,
            version=__version__,
        )

    async def _until_stopped(self, server: Server, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._told_to_stop)
        serving = asyncio.create_task(server.run(sock))
        self._why_not_ready = ""
        log.info("listening on %s", self._settings.listen)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if serving.done():
            serving.result()

    def _told_to_stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def _watch(self, tasks: list[asyncio.Task[None]], status: Status) -> None:
        """A part that ends while the rest goes on shows up in `status` (invariant 12)."""

        def ended(task: asyncio.Task[None]) -> None:
            if not self._stopping.is_set() and not task.cancelled():
                error = task.exception()
                status.complaints[task.get_name()] = f"the {task.get_name()} has ended: {error}"
                log.error("the %s has ended", task.get_name(), exc_info=error)

        for task in tasks:
            task.add_done_callback(ended)

    # --- what is needed first ------------------------------------------------------------

    def _owner_key(self) -> str:
        named = self._settings.gateway.key_file
        if named:
            return read_key(path_at(self._home, named))
        return ensure_key(self._home / "secrets" / "owner.key", "owner")

    async def _secret(self) -> bytes:
        """The secret that job keys are made with; it lives as long as the database."""
        known = await self._store.fact("job_secret")
        if known is None:
            known = secrets.token_hex(32)
            await self._store.set_fact("job_secret", known)
        return bytes.fromhex(known)

    def _model_words(self, routes: Routes) -> dict[str, Any]:
        state = modelstate.read(self._home)
        remote = list(dict.fromkeys(backend.name for backend in routes.setup.backends))
        if state.phase == "off" and remote:
            return {"ready": True, "phase": "off", "words": f"models by {', '.join(remote)}"}
        return {
            "ready": state.phase == "ready",
            "phase": state.phase,
            "name": state.model,
            "done": state.done,
            "total": state.total,
            "words": modelstate.words(state),
        }
