"""Retention: what is over is pruned by age and by size, a little at a time.

Once a day, and soon after a start that comes later than that. Each batch is one short write;
between two of them others write for longer than the batch took. The record of messages is
pruned only when the owner says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from stead.core.errors import SteadError
from stead.core.pruning import Batch, PruneRule, PruneStore
from stead.core.states import JobState
from stead.core.storage import FactStore

log = logging.getLogger("stead.retention")

FACT = "retention"
"""The name under which the last run is kept."""

_DAY_MS = 86_400_000
_AIM_MS = 3.0
"""How long one batch should keep others from writing."""
_LEAST, _FIRST, _MOST = 8, 50, 2000
_REST_MS = 2.0
_SOON_S = 60.0
_YOUNG_MS = _DAY_MS
"""What ended later than this is not pruned for its size either."""
_ROOM = 0.9
"""A database that is too large is brought down to this part of what it may be."""

_OVER = (JobState.DONE, JobState.CANCELLED)


#: Prunes what is kept of what was said in model calls: what its own terms say, or all from before
#: a time (ms). Returns how many.
PruneBodies = Callable[[int | None], Awaitable[int]]


Tidy = Callable[[], Awaitable[int]]


class Keeps(PruneStore, FactStore, Protocol):
    """What retention asks of a storage."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long what is kept. 0: for ever (``max_bytes``: of any size)."""

    jobs_ms: int
    dead_ms: int
    calls_ms: int
    max_bytes: int
    every_ms: int = _DAY_MS

    def rules(self) -> list[PruneRule]:
        """The rules by age."""
        made = []
        for states, kept, who, setting in (
            (_OVER, self.jobs_ms, "done or cancelled", "jobs_days"),
            ((JobState.DEAD,), self.dead_ms, "given up", "dead_days"),
        ):
            if kept:
                days = kept / _DAY_MS
                words = f"{who} more than {days:g} days ago ([retention] {setting} = {days:g})"
                made.append(PruneRule(states, kept, words))
        return made

    def by_size(self) -> PruneRule:
        """The rule for a database that is too large."""
        most = self.max_bytes / 1_000_000
        words = f"the oldest finished, as the database was larger than {most:g} MB"
        return PruneRule((*_OVER, JobState.DEAD), _YOUNG_MS, f"{words} ([retention] max_mb)")


class Retention:
    """Applies the terms, and tells what it did."""

    def __init__(
        self, store: Keeps, terms: Terms, memory: Path, bodies: PruneBodies | None = None,
        tidy: Tidy | None = None,
    ) -> None:  # fmt: skip
        """``tidy``: removes files that hang on nothing; how many."""
        self._store = store
        self._tidy = tidy
        self._bodies = bodies
        self._terms = terms
        self._memory = memory
        self._working = asyncio.Lock()
        self._now: dict[str, Any] = {}

    async def run(self) -> None:
        """Prune whenever it is due, for ever; a run that fails is tried again an hour later. What
        an earlier process was cut off in the midst of is put right first."""
        await asyncio.sleep(_SOON_S)
        if self._tidy is not None:
            with contextlib.suppress(SteadError, OSError):  # the daily run tells of it
                await self._tidy()
        while True:
            due_s = await self._due_s()
            if due_s > 0:  # in short sleeps, since a suspended machine does not count them
                await asyncio.sleep(min(due_s, 600.0))
                continue
            try:
                await self.prune()
            except Exception:  # the edge of a service: one bad run must not end it
                log.exception("retention failed")
                await asyncio.sleep(3600)

    async def _due_s(self) -> float:
        last = (await self.state())["last"]
        if last is None:
            return 0.0
        return float(last["at"] + self._terms.every_ms - time.time() * 1000) / 1000

    async def state(self) -> dict[str, Any]:
        """``running``, what it has pruned so far (``now``), and the ``last`` run (None: never)."""
        known = await self._store.fact(FACT)
        return {
            "running": self._working.locked(),
            "now": dict(self._now),
            "last": json.loads(known) if known else None,
        }

    async def plan(self, before: int | None = None) -> dict[str, Any]:
        """What a run would prune now; ``before``: and the words of messages before a time (ms)."""
        terms = self._terms
        calls_ms = terms.calls_ms or int(time.time() * 1000)
        found = await self._store.prune_plan(terms.rules(), calls_ms, before)
        size = await self._store.size()
        found["size"] = size
        found["too_large"] = bool(terms.max_bytes) and size["used"] > terms.max_bytes
        if before is not None:
            found["days"] = len(self._days(before))
        return found

    async def prune(self, before: int | None = None) -> dict[str, Any]:
        """One run; what it did. Waits for another that is under way.

        ``before``: the owner wants the words of messages from before then gone too (ms).
        """
        async with self._working:
            begun = time.time()
            size = await self._store.size()
            self._now = {
                "jobs": 0, "calls": 0, "notices": 0, "messages": 0, "days": 0, "bodies": 0,
            }  # fmt: skip
            try:
                await self._rules()
                if before is not None:
                    await self._words(before)
                if self._tidy is not None:
                    self._now["files"] = await self._tidy()
                await self._space()
                after = await self._store.size()
                done = {
                    **self._now,
                    "at": int(begun * 1000),
                    "took_ms": int((time.time() - begun) * 1000),
                    "given_back": max(0, sum(size.values()) - sum(after.values())),
                    "size": sum(after.values()),
                }
            finally:
                self._now = {}
        await self._store.set_fact(FACT, json.dumps(done))
        log.info("retention", extra={"fields": done})
        return done

    async def _rules(self) -> None:
        store, terms = self._store, self._terms
        for rule in terms.rules():
            await self._jobs(rule)
        if terms.jobs_ms:
            await self._all(
                "notices", lambda after, most: store.prune_notices(terms.jobs_ms, after, most)
            )
        if terms.calls_ms:
            await self._all("calls", lambda _, most: store.prune_calls(terms.calls_ms, most))
        if self._bodies is not None:
            self._now["bodies"] += await self._bodies(None)
        if terms.max_bytes and (await store.size())["used"] > terms.max_bytes:
            await self._jobs(terms.by_size(), down_to=int(terms.max_bytes * _ROOM))
            await self._calls_by_size(int(terms.max_bytes * _ROOM))

    async def _jobs(self, rule: PruneRule, down_to: int = 0) -> None:
        store = self._store
        plan = await store.prune_plan([rule], int(time.time() * 1000), None)
        if not plan["jobs"][0]["jobs"]:
            return
        pruning = await store.prune_begin(rule.words)

        async def enough() -> bool:
            return down_to > 0 and (await store.size())["used"] <= down_to

        await self._all(
            "jobs", lambda after, most: store.prune_jobs(rule, pruning, after, most), enough
        )

    async def _calls_by_size(self, down_to: int) -> None:
        """If the jobs were not all that there was too much of: the oldest calls, to their sums."""
        store = self._store

        async def enough() -> bool:
            return bool((await store.size())["used"] <= down_to)

        if not await enough():
            await self._all("calls", lambda _, most: store.prune_calls(_YOUNG_MS, most), enough)

    async def _words(self, before: int) -> None:
        """As the owner asked: the words of messages, the jobs made of them, what was said in model
        calls, the days' logs."""
        store = self._store
        day = datetime.fromtimestamp(before / 1000).strftime("%Y-%m-%d")
        older = max(0, int(time.time() * 1000) - before)
        await self._jobs(
            PruneRule(
                (*_OVER, JobState.DEAD), older, f"you asked for messages before {day} to be pruned"
            )
        )
        await self._all("messages", lambda after, most: store.prune_messages(before, after, most))
        if self._bodies is not None:
            self._now["bodies"] += await self._bodies(before)
        for path in self._days(before):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                self._now["days"] += 1

    def _days(self, before: int) -> list[Path]:
        """The daily logs that lie wholly before a time."""
        first = datetime.fromtimestamp(before / 1000).strftime("%Y-%m-%d")
        found = sorted(self._memory.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].md"))
        return [path for path in found if path.stem < first]

    async def _space(self) -> None:
        self._now["pages"] = 0
        await self._all("pages", lambda _, most: self._store.give_back(most))
        del self._now["pages"]
        await self._store.trim()

    async def _all(
        self,
        what: str,
        batch: Callable[[str, int], Awaitable[Batch]],
        enough: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Batch after batch, each as large as fits into its time, with a rest after each."""
        after, most = "", _FIRST
        while True:
            did = await batch(after, most)
            self._now[what] += did.many
            after = did.after
            if not after or (enough is not None and did.many and await enough()):
                return
            wanted = most * _AIM_MS / max(0.05, did.took_ms)
            most = int(max(_LEAST, most / 2, min(_MOST, most * 2, wanted)))
            await asyncio.sleep(max(_REST_MS, did.took_ms) / 1000)


def words(state: dict[str, Any], now_ms: float) -> str:
    """What `status` says: that it prunes just now, or what the last run did."""
    if state["running"]:
        return "old detail is being pruned just now"
    last = state["last"]
    fresh = now_ms - last["at"] < _DAY_MS
    at = datetime.fromtimestamp(last["at"] / 1000).strftime("%H:%M" if fresh else "%Y-%m-%d %H:%M")
    return (
        f"old detail was pruned at {at}: {last['jobs']} jobs, {last['calls']} model calls;"
        f" the database has {last['size'] / 1_000_000:.1f} MB"
    )
