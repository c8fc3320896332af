"""No node for what waits: the owner is told once an outage, what is waiting, since when and why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from stead.core.storage import Store, View
from stead.flow import words
from stead.flow.live import Live

log = logging.getLogger(__name__)

_FACT = "outage"


Demand = tuple[str, str, str]


class Away:
    """Watches whether queued work has a node to go to.

    ``stuck`` gives what jobs ask for that no node that is there can give, each with why;
    ``any_alive`` says whether there is any node at all.
    """

    def __init__(
        self,
        store: Store,
        live: Live,
        *,
        stuck: Callable[[], Awaitable[Mapping[Demand, str]]],
        any_alive: Callable[[], bool],
        settled: Callable[[], bool],
        told: Callable[[], None],
        every_s: float = 1.0,
    ) -> None:
        self._store = store
        self._live = live
        self._stuck = stuck
        self._any_alive = any_alive
        self._settled = settled
        self._told = told
        self._every_s = every_s
        self._look = asyncio.Event()
        self._noted: set[str] = set()
        self._outage: str | None = None
        self._news = True
        self._stuck_before: Mapping[Demand, str] = {}

    def nudge(self) -> None:
        """Something was queued for a node."""
        self._news = True
        self._look.set()

    async def run(self) -> None:
        """Look after each message for a node, and now and then."""
        self._outage = await self._store.fact(_FACT)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._look.wait()
            self._look.clear()
            try:
                await self.look()
            except Exception:  # the edge of a service: it looks again in a moment
                log.exception("could not look whether nodes are away")
                await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """One look: begin or end an outage, and tell those who wait."""
        stuck = await self._stuck()
        if not stuck:
            if self._any_alive() and self._outage is not None:
                await self._store.set_fact(_FACT, None)
                await self._store.add_day_line("a node is back; what waited is being worked off")
                self._outage = None
                self._noted.clear()
            return
        if not self._settled():
            return
        if self._outage is not None and not self._news and stuck == self._stuck_before:
            return  # who waits is counted anew when another comes to wait, or for another reason
        self._news, self._stuck_before = False, dict(stuck)
        try:
            await self._tell_of(await self._store.view_waiting(list(stuck)), stuck)
        except Exception:
            self._news = True
            raise

    async def _tell_of(self, waiting: View, stuck: Mapping[Demand, str]) -> None:
        if not waiting["count"]:
            return
        text = await self._words(waiting, stuck)
        if self._outage is None:
            outage = str(waiting["since"])
            # First the notice, which is not said twice: a stop between the two must not hush it.
            await self._store.notice(
                waiting["channel"] or "cli", waiting["session"] or "main", f"away:{outage}", text
            )
            await self._store.set_fact(_FACT, outage)
            self._outage = outage
            self._told()
        if waiting["jobs"] and not self._noted.issuperset(waiting["jobs"]):
            for demand in stuck:
                one = waiting if len(stuck) == 1 else await self._store.view_waiting([demand])
                said = await self._words(one, {demand: stuck[demand]})
                for job_id in one["jobs"]:
                    if job_id not in self._noted:  # each asker sees once why nothing happens
                        self._noted.add(job_id)
                        self._live.note(job_id, said)

    async def _words(self, waiting: View, stuck: Mapping[Demand, str]) -> str:
        count, since = waiting["count"], waiting["since"]
        if self._any_alive():
            return words.waits_for_a_node(count, since, list(dict.fromkeys(stuck.values())))
        nodes = [node for node in await self._store.nodes() if not node.revoked]
        last = max((node.last_seen for node in nodes), default=0)
        return words.no_node(count, since, last)
