"""What works and what does not, in words (K1): the one look that is needed after a reboot."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from stead.core.storage import Store, View
from stead.flow.words import clock, counted, duration
from stead.gateway.presence import Presence
from stead.keep.retention import words as retention_words
from stead.queue.queue import Queue


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
        home: str,
        url: str,
        version: str,
        troubles: Callable[[], list[str]] = list,
    ) -> None:
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
        self.complaints: dict[str, str] = {}
        """What a part has to say against itself, by part."""

    async def nodes(self) -> list[View]:
        found = []
        for node in await self._store.nodes():
            idle = self._presence.idle_s(node.id)
            found.append(
                {
                    "name": node.name,
                    "alive": self._presence.alive(node.id) and not node.revoked,
                    "last_seen": int((time.time() - idle) * 1000)
                    if idle is not None
                    else node.last_seen,
                    "running": self._queue.running(node.id),
                    "labels": list(node.labels),
                    "revoked": node.revoked,
                }
            )
        return found

    async def whole(self) -> View:
        """Everything `stead status` shows."""
        counts = await self._store.view_counts()
        nodes = [node for node in await self.nodes() if not node["revoked"]]
        model = self._model()
        works, not_yet = self._words(counts, nodes, model)
        retention = await self._retention()
        if retention["last"] is not None or retention["running"]:
            works.append(retention_words(retention, time.time() * 1000))
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
            "today": counts["today"],
            "retention": retention,
            "outbox": counts["outbox"],
            "channels": [
                {**channel, "open": counts["channels"].get(channel["name"], {})}
                for channel in self._channels()
            ],
        }

    def _words(
        self, counts: View, nodes: list[View], model: dict[str, Any]
    ) -> tuple[list[str], list[str]]:
        works = [f"gateway at {self._url}, up for {duration((time.time() - self._since) * 1000)}"]
        not_yet = [*self._troubles(), *self.complaints.values()]
        for node in nodes:
            if node["alive"]:
                doing = f", working on {node['running']}" if node["running"] else ""
                works.append(f"node {node['name']} is connected{doing}")
            else:
                last = node["last_seen"]
                seen = f"last seen {clock(last)}" if last else "never seen"
                not_yet.append(f"node {node['name']} is away ({seen})")
        if not nodes:
            not_yet.append("no node is known; add one with `stead node invite NAME`")
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


def _channel(channel: View, waiting: int) -> str:
    """``channel mail is away since 14:02 (...); 3 replies wait``."""
    name, waits = channel["name"], f"; {waiting} replies wait" if waiting else ""
    if channel["state"] == "paused":
        return f"channel {name} is paused{waits}: `stead outbox resume {name}`"
    if channel["state"] == "away":
        return f"channel {name} is away since {clock(channel['since'])} ({channel['why']}){waits}"
    return f"channel {name} delivers replies{waits}"
