"""What works and what does not, in words (K1): the one look that is needed after a reboot."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from stead.core.storage import Store, View
from stead.flow.words import clock, counted, duration, seconds
from stead.gateway.placement import Placement
from stead.gateway.presence import Presence
from stead.keep.retention import words as retention_words
from stead.queue.queue import Queue
from stead.services.supervisor import ServiceState, words_for_status


class Status:
    """Gathers the state of every part; a part that cannot be asked says so and hides no other."""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        presence: Presence,
        *,
        model: Callable[[], dict[str, Any]],
        channels: Callable[[], list[View]],
        retention: Callable[[], Awaitable[View]],
        placement: Placement,
        home: str,
        url: str,
        version: str,
        troubles: Callable[[], list[str]] = list,
        services: Callable[[], list[ServiceState]] = list,
        backends: Callable[[], View] = dict,
        config: Callable[[], View] = dict,
        remarks: Callable[[], list[str]] = list,
        memory: Callable[[], View] = dict,
    ) -> None:
        self._placement = placement
        self._store = store
        self._queue = queue
        self._presence = presence
        self._model = model
        self._channels = channels
        self._retention = retention
        self._home = home
        self._url = url
        self._version = version
        self._since = time.time()
        self._troubles = troubles
        self._services = services
        self._backends = backends
        self._config = config
        self._remarks = remarks
        self._memory = memory
        self.complaints: dict[str, str] = {}
        """What a part has to say against itself, by part."""

    async def nodes(self) -> list[View]:
        found = []
        nodes = await self._store.nodes()
        held = {node.id: self._queue.held_by(node.id) for node in nodes}
        known = await self._jobs([job for jobs in held.values() for job in jobs])
        for node in nodes:
            idle = self._presence.idle_s(node.id)
            found.append(
                {
                    "name": node.name,
                    "alive": self._presence.alive(node.id) and not node.revoked,
                    "last_seen": int((time.time() - idle) * 1000)
                    if idle is not None
                    else node.last_seen,
                    "running": self._queue.running(node.id),
                    "doing": [known[job] for job in held[node.id] if job in known],
                    "labels": list(node.labels),
                    "revoked": node.revoked,
                    "draining": node.draining and not node.revoked,
                    "main": node.name == self._placement.main,
                    "silent_ms": _ms(self._placement.silent_s(node.name)),
                    "sandbox": node.facts.get("sandbox"),
                }
            )
        return found

    async def _jobs(self, ids: list[str]) -> dict[str, View]:
        """What jobs are about, by their ids."""
        if not ids:
            return {}
        rows = (await self._store.view_jobs(ids=ids, limit=len(ids)))["jobs"]
        fields = ("id", "text", "kind", "session", "started_at")
        return {row["id"]: {name: row[name] for name in fields} for row in rows}

    async def whole(self) -> View:
        """Everything `stead status` shows."""
        counts = await self._store.view_counts()
        nodes = [node for node in await self.nodes() if not node["revoked"]]
        model = self._model()
        works, not_yet = self._words(counts, nodes, model)
        retention = await self._retention()
        if retention["last"] is not None or retention["running"]:
            works.append(retention_words(retention, time.time() * 1000))
        works += self._remarks()
        not_yet += await self._waiting()
        services = self._services()
        running, fallen = words_for_status(services)
        works += running
        not_yet += fallen
        routing = self._backends()
        not_yet += routing.get("not_yet", [])
        return {
            "ok": not not_yet,
            "version": self._version,
            "home": self._home,
            "url": self._url,
            "since": int(self._since * 1000),
            "works": works,
            "not_yet": not_yet,
            "model": model,
            "nodes": nodes,
            "queue": counts["queue"],
            "today": {**counts["today"], "backends": counts["backends"]},
            "retention": retention,
            "outbox": counts["outbox"],
            "services": services,
            "backends": routing.get("backends", []),
            "lanes": routing.get("lanes", []),
            "config": self._config(),
            "memory": self._memory(),
            "channels": [
                {**channel, "open": counts["channels"].get(channel["name"], {})}
                for channel in self._channels()
            ],
        }

    async def _waiting(self) -> list[str]:
        """What waits for a node that is not there, kind by kind."""
        told = []
        for demand, why in (await self._placement.stuck()).items():
            waiting = await self._store.view_waiting([demand])
            if count := waiting["count"]:
                jobs = "1 job waits" if count == 1 else f"{count} jobs wait"
                told.append(f"{jobs} since {clock(waiting['since'])}: {why}")
        return told

    def _words(
        self, counts: View, nodes: list[View], model: dict[str, Any]
    ) -> tuple[list[str], list[str]]:
        works = [f"gateway at {self._url}, up for {duration((time.time() - self._since) * 1000)}"]
        not_yet = [*self._troubles(), *self.complaints.values()]
        for node in nodes:
            (works if node["alive"] else not_yet).append(self._node(node))
            if node["alive"] and node["sandbox"]:
                (works if node["sandbox"]["ok"] else not_yet).append(_sandbox(node))
        if not nodes:
            not_yet.append("no node is known; add one with `stead node invite NAME`")
        main = self._placement.main
        if main and main not in [node["name"] for node in nodes]:
            not_yet.append(f"there is no node {main}, which nodes.main names as the main one")
        (works if model["ready"] else not_yet).append(model["words"])
        queue = counts["queue"]
        if queue["dead"]:
            not_yet.append(
                f"{counted(queue['dead'], 'job')} could not be done: `stead jobs --state dead`"
            )
        if queue["waiting"]:
            wait = "waits" if queue["waiting"] == 1 else "wait"
            not_yet.append(
                f"{counted(queue['waiting'], 'job')} {wait} for your answer:"
                " `stead jobs --state waiting`"
            )
        outbox = counts["outbox"]
        if outbox.get("failed"):
            not_yet.append(
                f"{outbox['failed']} replies could not be delivered:"
                " `stead outbox list --state failed`"
            )
        if outbox.get("ambiguous"):
            not_yet.append(
                f"{outbox['ambiguous']} replies may or may not have arrived:"
                " `stead outbox list --state ambiguous`"
            )
        for channel in self._channels():
            waiting = counts["channels"].get(channel["name"], {}).get("pending", 0)
            (works if channel["state"] == "ok" else not_yet).append(_channel(channel, waiting))
        return works, not_yet

    def _node(self, node: View) -> str:
        """``node home (main) is away (last seen 14:02), silent for 312 s: ...``."""
        name = f"node {node['name']}" + (" (main)" if node["main"] else "")
        doing = f", working on {node['running']}" if node["running"] else ""
        if node["alive"]:
            drained = ", and is being drained: it gets no new jobs" if node["draining"] else ""
            return f"{name} is connected{doing}{drained}"
        last = node["last_seen"]
        told = f"{name} is away ({f'last seen {clock(last)}' if last else 'never seen'})"
        if node["draining"]:
            return f"{told}, and is being drained"
        if node["silent_ms"] is not None:
            silent = seconds(node["silent_ms"] / 1000)
            return f"{told}, silent for {silent}: others get what they can do of its work"
        if node["main"]:
            limit = seconds(self._placement.failover_s)
            return f"{told}: once it is silent for {limit} others get what they can do of its work"
        return told


def _sandbox(node: View) -> str:
    """``tools on node home run in sandboxes (bubblewrap)``, or why none of them may."""
    found = node["sandbox"]
    if not found["ok"]:
        return f"tools that change things are off on node {node['name']}: {found['why']}"
    weaker = "".join(f"; {what}" for what in found.get("weaker", ()))
    return f"tools on node {node['name']} run in sandboxes ({found['kind']}){weaker}"


def _ms(value: float | None) -> int | None:
    return None if value is None else int(value * 1000)


def _channel(channel: View, waiting: int) -> str:
    """``channel mail is away since 14:02 (...); 3 replies wait``."""
    name, waits = channel["name"], f"; {waiting} replies wait" if waiting else ""
    if channel["state"] == "paused":
        return f"channel {name} is paused{waits}: `stead outbox resume {name}`"
    if channel["state"] == "away":
        return f"channel {name} is away since {clock(channel['since'])} ({channel['why']}){waits}"
    return f"channel {name} delivers replies{waits}"
