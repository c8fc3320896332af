"""The nightly review as the gateway runs it. What it is made of is loaded when it is first needed:
most of the time there is only a look at the clock."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.routing import Route

from stead.app.reload import Reload
from stead.config import Settings
from stead.core.errors import NotFound, SteadError
from stead.core.permits import ALWAYS, JOB
from stead.core.ports import Caller
from stead.core.storage import Store, View
from stead.flow.flow import Flow
from stead.flow.said import Decide, Settled
from stead.gateway.auth import Keys
from stead.gateway.review_routes import ReviewRoutes
from stead.inference.client import DoorModelClient
from stead.inference.door import Door
from stead.memory.review import slots

if TYPE_CHECKING:
    from stead.memory.review.nouns import Terms
    from stead.memory.review.service import Review

log = logging.getLogger("stead.review")

LANE = "review"
_LOOK_S = 20.0


@dataclass(frozen=True, slots=True)
class _Word:
    """The owner's word on a proposal, in the shape of one on a question."""

    approval: View


def reviews_of(
    home: Path, store: Store, door: Door, reload: Reload, flow: Flow, told: Callable[[], None]
) -> Reviews:
    """The review of a home, with the answers that the owner gives it in conversations."""
    made = Reviews(home, store, door, lambda: reload.settings, told)
    flow.answers = made.answers(flow.answers)
    return made


class Reviews:
    """The review of one house."""

    def __init__(
        self, home: Path, store: Store, door: Door, settings: Callable[[], Settings],
        told: Callable[[], None],
    ) -> None:  # fmt: skip
        self._home = home
        self._store = store
        self._door = door
        self._settings = settings
        self._told = told
        self._over = ""
        self.remarks: list[str] = []
        """What `status` says of it."""

    @functools.cached_property
    def review(self) -> Review:
        """Made at its first use."""
        from stead.app.review_parts import make  # late: 1 MB that a gateway seldom needs

        return make(
            self._home,
            client=DoorModelClient(self._door, Caller("review", lane="background")),
            profile=lambda: self._door.profile(LANE),
            terms=self._terms,
            at=lambda: self._settings().memory.review_at,
            ready=self._no_model,
            tell=self._tell,
        )

    def routes(self, keys: Keys, max_body: int) -> list[Route]:
        return ReviewRoutes(lambda: self.review, keys, max_body=max_body).routes()

    async def run(self) -> None:
        """Look at the clock, for ever."""
        while True:
            try:
                if self._due(datetime.now()):
                    await self.review.look()
                self.remarks = await asyncio.to_thread(slots.words, self._home)
            except Exception as error:  # the edge of a service: tonight's review is not the house
                log.exception("the review failed")
                why = error.message if isinstance(error, SteadError) else str(error)
                self.remarks = [f"the nightly review could not work: {why}"]
            await asyncio.sleep(_LOOK_S)

    def _due(self, now: datetime) -> bool:
        """Whether the newest slot is not over. Costs nothing once that is known."""
        at = slots.parsed(self._settings().memory.review_at)
        if at is None:
            return False
        slot = slots.due(at, now).isoformat()
        if slot == self._over:
            return False
        over = slots.first(self._home, slot)
        if over or slots.record(self._home, slot).get("state") in slots.OVER:
            self._over = slot
            return False
        return True

    def answers(self, ask_first: Decide) -> Decide:
        """``approve ID`` and ``deny ID`` said in a conversation: of questions about calls, and
        where there is none of that name, of proposals."""

        async def decide(ident: str, word: str, text: str, by: str) -> Settled:
            try:
                return await ask_first(ident, word, text, by)
            except NotFound:
                if word in (JOB, ALWAYS, "answer") or not self._asked():
                    raise
            return await self._proposal(ident, word, text, by)

        return decide

    async def _proposal(self, ident: str, word: str, text: str, by: str) -> Settled:
        from stead.memory.review.service import preview  # late: as above

        found = await self.review.proposal(ident)
        if word == "no":
            await self.review.reject(found["id"], by, text)
        else:
            await self.review.accept([found["id"]], by)
        return _Word({"preview": preview(found)})

    def _asked(self) -> bool:
        return (self._home / slots.FOLDER / "proposals").is_dir()

    async def _tell(self, ident: str, words: str) -> None:
        await self._store.tell(ident, words)
        self._told()
        self.remarks = await asyncio.to_thread(slots.words, self._home)

    def _no_model(self) -> str:
        try:
            self._door.profile(LANE)
        except SteadError as error:
            return error.message.rstrip(".")
        return ""

    def _terms(self) -> Terms:
        from stead.memory.review.nouns import Terms  # late: as above

        said = self._settings().memory
        return Terms(
            tokens=said.review_tokens,
            cost_micro=int(said.review_usd * 1_000_000),
            auto=said.review_auto,
            standing_bytes=int(said.memory_md_kb * 1000),
            shrink=said.max_shrink,
            most_changed=said.max_changed,
            decay_days=said.decay_days,
        )

    async def aclose(self) -> None:
        if "review" in self.__dict__:
            await self.review.aclose()
