"""Which node gets what: the main node before others, others when it has been silent too long.

What is to be known of the nodes is kept in memory and looked at again now and then; what a claim
is answered is decided by the store, from the names in :meth:`Placement.there` (see
``stead.core.placement``). Nothing here waits for a node.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable

from stead.core.nouns import Job
from stead.core.placement import GATEWAY, may_take, names
from stead.core.storage import NodeRow, Store, View
from stead.flow.words import clock, seconds
from stead.gateway.presence import Presence

log = logging.getLogger(__name__)

Demand = tuple[str, str, str]
"""Needs, preferred and avoided nodes of jobs, each comma-joined."""

_FACT = "silent_nodes"
_AGAIN_S = 5.0


class Placement:
    """``main``: the node that gets what it can do while it is there; empty: all are alike.

    ``failover_s``: a node that was not heard of for this long leaves its jobs to others.
    """

    def __init__(
        self,
        store: Store,
        presence: Presence,
        *,
        main: str = "",
        failover_s: float = 300.0,
        every_s: float = 0.5,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self.main = main
        self.failover_s = failover_s
        self._store = store
        self._presence = presence
        self._every_s = every_s
        self._told = told
        self._nodes: dict[str, NodeRow] = {}
        self._silent: dict[str, int] = {}
        self._there: frozenset[str] = frozenset()

    # --- what is known of the nodes ---------------------------------------------------

    async def start(self) -> None:
        """Who was silent before a restart of the gateway is so until it is heard of again."""
        self._silent = json.loads(await self._store.fact(_FACT) or "{}")
        await self.refresh()

    async def refresh(self) -> None:
        """Nodes were invited, revoked, drained or have started: read them anew."""
        self._nodes = {node.name: node for node in await self._store.nodes() if not node.revoked}
        self._count()

    async def run(self) -> None:
        """Look at who is silent, for ever."""
        read = time.monotonic()
        while True:
            await asyncio.sleep(self._every_s)
            try:
                if time.monotonic() - read > _AGAIN_S:
                    read = time.monotonic()
                    await self.refresh()
                await self.look()
            except Exception:  # the edge of a service: it looks again in a moment
                log.exception("could not look which nodes are silent")

    async def look(self) -> None:
        """Note who has become silent, and who is back."""
        now = int(time.time() * 1000)
        silent: dict[str, int] = {}
        lines = []
        for name, node in self._nodes.items():
            quiet_s = self._presence.silent_s(node.id)
            heard = self._presence.idle_s(node.id) is not None
            if name in self._silent and not heard:
                silent[name] = self._silent[name]
            elif quiet_s >= self.failover_s:
                silent[name] = self._silent.get(name, now - int(quiet_s * 1000))
        for name in silent.keys() - self._silent.keys():
            lines.append(f"node {name} is silent since {clock(silent[name])}; {self._others(name)}")
        for name in self._silent.keys() - silent.keys():
            if name in self._nodes:
                lines.append(f"node {name} is heard again; what it can do goes to it as before")
        if silent == self._silent:
            return
        await self._store.set_fact(_FACT, json.dumps(silent) if silent else None)
        self._silent = silent
        self._count()
        for line in lines:
            log.warning(line)
            await self._store.add_day_line(line)
        self._told()

    def _others(self, name: str) -> str:
        if any(other != name and self._here(node) for other, node in self._nodes.items()):
            return "others do what they can of its work"
        return "no other node is there to do its work"

    def _count(self) -> None:
        self._there = frozenset(
            name
            for name, node in self._nodes.items()
            if not node.draining and name not in self._silent
        )

    def _here(self, node: NodeRow) -> bool:
        return not node.draining and self._presence.alive(node.id)

    def there(self) -> frozenset[str]:
        """The nodes to which others leave the jobs that prefer them."""
        return self._there

    def silent_s(self, name: str) -> float | None:
        """For how long a node has been silent beyond the limit; None: it has not been."""
        since = self._silent.get(name)
        return None if since is None else max(0.0, time.time() - since / 1000)

    # --- where a job goes ----------------------------------------------------------------

    def preferred(
        self, needs: Iterable[str], prefer: Iterable[str], avoid: Iterable[str]
    ) -> tuple[str, ...]:
        """Which nodes a new job goes to while they are there: those asked for, else the main
        one; only such as can do it, or it would wait in vain while they are there."""
        wanted = set(prefer) or ({self.main} & self._nodes.keys())
        needed = set(needs)
        can = [
            name
            for name in wanted - set(avoid)
            if name not in self._nodes or needed <= set(self._nodes[name].labels)
        ]
        return tuple(sorted(can))

    def why_given(self, job: Job, name: str) -> str:
        """Why a job went to a node that it does not prefer, in words; empty: no reason to ask."""
        preferred = names(job.prefer)
        if not preferred or name in preferred:
            return ""
        reasons = [reason for one in preferred if (reason := self._absent(one))]
        return f"given to {name}, because {' and '.join(reasons)}" if reasons else ""

    def _absent(self, name: str) -> str:
        node = self._nodes.get(name)
        if node is None:
            return f"there is no node {name}"
        if node.draining:
            return f"{name} was being drained"
        silent = self.silent_s(name)
        return f"{name} was silent for {seconds(silent)}" if silent is not None else ""

    # --- what waits, and for whom --------------------------------------------------------

    def waits(self, demand: Demand) -> str:
        """Why no node can take such a job now, in words; empty: one that is there can."""
        needs, prefer, avoid = demand
        if needs == GATEWAY:
            return ""
        able = [
            node
            for node in self._nodes.values()
            if set(names(needs)) <= set(node.labels) and node.name not in names(avoid)
        ]
        what = f"a node with {needs.replace(',', ' and ')}" if needs else "a node"
        if avoid:
            what += f" other than {avoid.replace(',', ' and ')}"
        if not able:
            return f"it needs {what}, and there is none"
        here = [node for node in able if self._here(node)]
        for node in here:
            if may_take(*demand, name=node.name, labels=node.labels, there=self._there):
                return ""
        states = " and ".join(self._state(node) for node in able if node not in here)
        if not here:
            return f"it needs {what}: {states}"
        held = [self._nodes[name] for name in names(prefer) if name in self._there]
        states = " and ".join(self._state(node) for node in held)
        others = " or ".join(node.name for node in here)
        return f"{states}; {others} gets it once that has lasted {seconds(self.failover_s)}"

    def _state(self, node: NodeRow) -> str:
        if node.draining:
            return f"{node.name} is being drained"
        if self._presence.alive(node.id):
            return f"{node.name} is there"
        silent = self.silent_s(node.name)
        quiet_s = self._presence.silent_s(node.id) if silent is None else silent
        return f"{node.name} is silent for {seconds(quiet_s)}"

    async def stuck(self) -> dict[Demand, str]:
        """What jobs ask for that nobody who is there can give, each with why."""
        demands = await self._store.view_demands()
        return {one: why for one in demands if (why := self.waits(one))}

    def stays(self, name: str, demands: Iterable[tuple[Demand, int]]) -> list[View]:
        """What cannot move when a node is retired: of these demands, those that nobody else can
        meet, here or away."""
        found = []
        for (needs, prefer, avoid), count in demands:
            able = {
                node.name
                for node in self._nodes.values()
                if set(names(needs)) <= set(node.labels) and node.name not in names(avoid)
            }
            others = {other for other in able - {name} if not self._nodes[other].draining}
            if needs != GATEWAY and name in able and not others:
                found.append({"needs": needs, "prefer": prefer, "avoid": avoid, "jobs": count})
        return found
