"""Questions to the owner that run out of time, and what he allowed for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence

from stead.core.approvals import Decided
from stead.core.errors import StoreUnusable
from stead.core.permits import ALWAYS, PermitRule
from stead.core.storage import Store, View
from stead.flow.flow import Flow

log = logging.getLogger(__name__)

#: However far off the next expiry is, the clock may be set meanwhile.
_LOOK_S = 60.0
_FIRST_S = 0.05


class Approvals:
    """Hands the owner's words on, and keeps the rules that go with each job.

    ``hold``: is given the rules that hold from now on, those of the settings and the grants.
    """

    def __init__(self, store: Store, flow: Flow, hold: Callable[[list[PermitRule]], None]) -> None:
        self._store = store
        self._flow = flow
        self._hold = hold
        self._rules: list[PermitRule] = []
        self._grants: list[PermitRule] = []
        self._news = asyncio.Event()

    def set_rules(self, rules: Sequence[PermitRule]) -> None:
        """The rules of the settings."""
        self._rules = list(rules)
        self._hold([*self._rules, *self._grants])

    async def refresh(self) -> None:
        """Read the grants again."""
        self._grants = await self._store.grants()
        self._hold([*self._rules, *self._grants])

    def nudge(self) -> None:
        """A question was asked: look when it runs out."""
        self._news.set()

    async def decide(self, ident: str, word: str, text: str, by: str) -> Decided:
        """The owner's word. What is allowed for ever holds for the very job that asked."""
        question = await self._store.view_approval(ident)
        decided = await self._flow.decide(question["id"], word, text=text, by=by)
        if word == ALWAYS:
            await self.refresh()
            self._flow.news.touch("grant", "")
        return decided

    async def revoke(self, ident: str) -> View:
        """Take a grant back, for the jobs that are given out from now on."""
        grant = await self._store.revoke_grant(ident)
        await self.refresh()
        self._flow.news.touch("grant", grant["id"])
        return grant

    async def run(self) -> None:
        """End what runs out of time, until cancelled."""
        while True:
            wait_s = _LOOK_S
            try:
                for decided in await self._flow.expire():
                    log.info("job %s goes on without an answer", decided.job.id)
                self._news.clear()
                due = await self._store.next_expiry_ms()
                if due is not None:
                    wait_s = min(_LOOK_S, max(_FIRST_S, due / 1000))
            except StoreUnusable as error:
                log.warning("could not look at what waits for the owner: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._news.wait()
