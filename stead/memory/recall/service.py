"""Looks for what a message brings to mind, while it is on its way to a worker.

Begun when the message is accepted, beside the commit that records it, so that it is mostly there
when a worker has claimed the job. What comes of it is kept with the job (``keep_recall``: the
first one stays), so an attempt that follows, here or on another node, is shown the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from stead.core.errors import SteadError
from stead.core.nouns import Job, ModelProfile
from stead.core.recall import Recall
from stead.core.storage import Store
from stead.memory.nouns import Found, Hit, Question
from stead.memory.recall.choose import BUDGETS, Budget, Visible, chosen, question, told

log = logging.getLogger(__name__)

_WINDOW_CHARS = {"small": 6_000, "full": 60_000}
"""As many characters of a conversation an agent is shown (stead.agent.prompt)."""
_TURNS = 60

_SHARE = 0.5
_SEARCH_S = 5.0
"""A job that nobody has claimed yet has time: only who has claimed it does not wait so long."""
_CHECK_S = 0.05
_AT_ONCE = 4
_MOST_NOTHING = 10_000

NOTHING = Recall()


class Searches(Protocol):
    """The index, as recall needs it."""

    @property
    def ready(self) -> bool:
        """Whether there is anything to search at all."""
        ...

    async def search(
        self, question: Question, within_s: float = 5.0, *, fresh: bool = True
    ) -> Found:
        """Never raises; what could not be looked at is said in ``Found.stale``."""
        ...


Check = Callable[[Sequence[Hit], float], Awaitable[dict[str, str]]]
"""Looks at the live state for what entries claim, within so many seconds: what speaks against
each, in words, by key."""


@dataclass(frozen=True, slots=True)
class RecallTerms:
    """Whether there is recall, and how long a job waits for it (seconds)."""

    on: bool = True
    within_s: float = 0.25


class Recalls:
    """Recall for the jobs of a gateway."""

    def __init__(
        self,
        store: Store,
        searches: Searches | None,
        profile: Callable[[str], ModelProfile],
        check: Check | None = None,
        terms: RecallTerms | None = None,
    ) -> None:
        self._store = store
        self.searches = searches
        self._profile = profile
        self._check = check
        self.terms = terms or RecallTerms()
        self.used: Callable[[Iterable[str]], None] = lambda paths: None
        """Told the files of what was recalled."""
        self._under_way: dict[str, tuple[asyncio.Task[Recall], float]] = {}
        self._few = asyncio.Semaphore(_AT_ONCE)
        self._nothing: dict[str, None] = {}
        """Jobs that nothing fitted, and nothing was kept of; the last ones."""
        self._writing: set[asyncio.Task[Recall]] = set()

    def wanted(self, text: str, role: str) -> bool:
        """Whether a message could bring anything to mind. The small talk of the role ``light``
        does not, and what it costs would be most of its answer's time."""
        if self.searches is None or not self.terms.on or role == "light":
            return False
        return question(text) is not None and self.searches.ready

    def begin(self, text: str, session: str, role: str) -> asyncio.Task[Recall] | None:
        """Start to look for what a message brings to mind; None: nothing to look for."""
        if not self.wanted(text, role):
            return None
        return asyncio.create_task(self._find(text, session, role), name="recall")

    def bind(self, job_id: str, finding: asyncio.Task[Recall]) -> None:
        """It is recall for this job: what comes of it is kept with the job."""
        task = asyncio.create_task(self._keep(job_id, finding), name="recall of a job")
        self._under_way[job_id] = task, time.monotonic()

        def ended(task: asyncio.Task[Recall]) -> None:
            finding.cancel()
            held = self._under_way.get(job_id)
            if held is not None and held[0] is task:
                del self._under_way[job_id]  # it is kept; many jobs may wait for a worker
            if not task.cancelled() and task.exception() is not None:
                log.error("recall failed", exc_info=task.exception())

        task.add_done_callback(ended)

    async def of(self, job: Job, *, begun: bool) -> Recall:
        """What a claimed job is shown; waits for it no longer than the owner set. ``begun``: there
        are steps in its journal, so what it was shown is settled."""
        text, role = job.payload.get("text"), str(job.payload.get("role", "main"))
        if job.message_id is None or not isinstance(text, str) or not self.wanted(text, role):
            return await self._store.recalled(job.id) or NOTHING if begun else NOTHING
        if job.id in self._nothing:
            return NOTHING
        if job.id not in self._under_way:
            kept = await self._store.recalled(job.id)
            if kept is not None or begun:
                return kept or NOTHING
            finding = self.begin(text, job.session or "", role)
            if finding is None:
                return NOTHING
            self.bind(job.id, finding)
        task, since = self._under_way[job.id]
        left = max(0.0, since + self.terms.within_s - time.monotonic())
        await asyncio.wait({task}, timeout=left)
        if task.done() and not task.cancelled() and task.exception() is None:
            return task.result()
        why = "memory could not be searched"
        if not task.done():
            task.cancel()
            why = f"memory did not answer within {self.terms.within_s * 1000:.0f} ms"
        return await self._store.keep_recall(job.id, Recall(why=f"{why}; the job went on without"))

    async def _keep(self, job_id: str, finding: asyncio.Task[Recall]) -> Recall:
        recall = await finding
        if not recall.items:
            self._nothing[job_id] = None
            while len(self._nothing) > _MOST_NOTHING:
                del self._nothing[next(iter(self._nothing))]
        if not recall.why and not recall.items:
            return recall  # there is no memory: then there is nothing to keep either
        if recall.items:
            self.used({item.source.partition("#")[0] for item in recall.items})
            return await self._store.keep_recall(job_id, recall)
        # Nobody need wait for that: a later attempt would be shown nothing either.
        writing = asyncio.create_task(self._store.keep_recall(job_id, recall))
        self._writing.add(writing)
        writing.add_done_callback(self._written)
        return recall

    def _written(self, task: asyncio.Task[Recall]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("that nothing was recalled could not be kept: %s", task.exception())

    async def _find(self, text: str, session: str, role: str) -> Recall:
        began = time.monotonic()
        profile = self._profile_of(role)
        budget = BUDGETS.get(profile.prompt, BUDGETS["full"])
        now = time.time_ns() // 1_000_000
        try:
            async with self._few:
                seen = await self._visible(session, text, profile)
                recall = await self._look(text, seen, budget, now)
        except SteadError as error:
            recall = Recall(why=f"memory could not be searched: {error.message}")
        return replace(recall, took_ms=round((time.monotonic() - began) * 1000, 1))

    async def _look(self, text: str, seen: Visible, budget: Budget, now: int) -> Recall:
        asked = question(text, seen.last, now=now)
        assert asked is not None and self.searches is not None
        # What was said just now is in the conversation: the index need not read it first. It takes
        # a share of this time for the meaning of words.
        share_s = self.terms.within_s * _SHARE
        found = await self.searches.search(asked, within_s=share_s, fresh=False)
        if found.stale and not found.hits:
            found = await self.searches.search(asked, within_s=_SEARCH_S)
        known = [hit for hit in found.hits if seen.has(hit.entry)]
        if len(found.hits) >= asked.limit and len(known) > len(found.hits) // 2:
            # What was said over and over in this very conversation hides all else.
            skip = frozenset(hit.entry.key for hit in known)
            found = await self.searches.search(
                replace(asked, skip=skip), within_s=share_s, fresh=False
            )
        hits = chosen(found, text, seen, budget)
        against: dict[str, str] = {}
        if hits and self._check is not None:
            against = await self._check(hits, _CHECK_S)
        items = tuple(told(hit, budget, now, against.get(hit.entry.key, "")) for hit in hits)
        why = ""
        if not items:
            fits = "what fits is in the conversation already" if found.hits else ""
            why = found.stale or fits or ""
            if found.hits and not any(seen.has(hit.entry) for hit in found.hits):
                why = found.stale or "nothing that is remembered fits"
        return Recall(items, why, found.stale if items else "", found.meant)

    def _profile_of(self, role: str) -> ModelProfile:
        try:
            return self._profile(role)
        except SteadError:
            return ModelProfile(name=role)

    async def _visible(self, session: str, text: str, profile: ModelProfile) -> Visible:
        """What the agent will be shown of the conversation."""
        if not session:
            return Visible(texts=(text,))
        page = await self._store.view_messages(session, -1, _TURNS)
        most = _WINDOW_CHARS.get(profile.prompt, _WINDOW_CHARS["full"])
        texts = [text]  # the message itself may stand in the log before memory has answered
        jobs: set[str] = set()
        since, last = 0, ""
        for message in reversed(page["messages"]):
            most -= len(message["text"])
            if most < 0:
                break
            texts.append(message["text"])
            jobs.add(str(message["job_id"] or ""))
            since = int(message["at"]) // 1000 * 1000  # the daily log knows the second only
            if message["role"] == "owner" and not last and message["text"] != text:
                last = message["text"]
        return Visible(session, since, tuple(reversed(texts)), frozenset(jobs - {""}), last)
