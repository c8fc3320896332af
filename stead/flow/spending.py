"""Budgets that run out: the owner is told once when much of one is used, and once when all is."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable

from stead.core.errors import StoreUnusable
from stead.core.storage import Store
from stead.ledger.budgets import Spent, Standing, dollars

log = logging.getLogger(__name__)

#: The fact that remembers what was told, so that a restart tells nothing twice.
_FACT = "budgets_told"
_EVERY_S = 10.0


class Spending:
    """Looks now and then at how the budgets stand.

    ``standings``: all of them, by what is spent. ``warn_at``: the share that is worth a word.
    ``told`` is called when the owner was told something.
    """

    def __init__(
        self,
        store: Store,
        standings: Callable[[Spent], list[Standing]],
        *,
        warn_at: Callable[[], float],
        told: Callable[[], None],
        every_s: float = _EVERY_S,
    ) -> None:
        self._store = store
        self._standings = standings
        self._warn_at = warn_at
        self._told = told
        self._every_s = every_s
        self._known: list[str] | None = None
        self.remarks: list[str] = []
        """Of those of which much is used, for `status`."""
        self.troubles: list[str] = []
        """Of those that are used up and stop paid calls."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except StoreUnusable as error:
                log.warning("could not look at the budgets: %s", error)
            await asyncio.sleep(self._every_s)

    async def look(self) -> None:
        """One look: tell what is new."""
        spent = await self._store.view_spent()
        much = [
            one
            for one in self._standings(spent)
            if one.spent_micro and one.share >= self._warn_at()
        ]
        up = [one for one in much if one.spent_micro >= one.limit_micro]
        self.troubles = [one.words for one in up if one.stop]
        self.remarks = [one.words for one in much if one.words not in self.troubles]
        if self._known is None:
            self._known = _list(await self._store.fact(_FACT))
        now = [f"{_name(one)}:{level}" for one in much for level in _levels(one)]
        if set(now) == set(self._known):
            return
        for one in much:
            for level in reversed(_levels(one)):
                ident = f"{_name(one)}:{level}"
                if ident not in self._known:
                    await self._store.tell(f"budget:{ident}", _words(one))
                    self._told()
                    break  # who is told that all is used need not hear that much is
        # Only then, so that a stop between the two tells it again and hushes nothing.
        await self._store.set_fact(_FACT, json.dumps(now) if now else None)
        self._known = now


def _name(one: Standing) -> str:
    """Of a budget, for as long as it is this one: a day's, a month's, and of this size."""
    return f"{one.scope}:{one.renews_at}:{one.limit_micro}"


def _levels(one: Standing) -> list[str]:
    return ["much", "all"] if one.spent_micro >= one.limit_micro else ["much"]


def _words(one: Standing) -> str:
    if one.spent_micro >= one.limit_micro:
        return f"The {one.words}."
    left = dollars(one.limit_micro - one.spent_micro)
    then = "Then paid models are refused." if one.stop else "Nothing is stopped by that."
    return f"Of the {one.words} ({one.share:.0%}) are used, {left} is left. {then}"


def _list(text: str | None) -> list[str]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return [str(one) for one in found] if isinstance(found, list) else []
