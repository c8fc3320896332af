"""Forgetting, put together: by the gateway while it runs, else straight in the home directory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.routing import Route

from stead.app import memory
from stead.app.alone import alone
from stead.app.files import sweeping
from stead.blobs.handed import Handed
from stead.core.storage import Store
from stead.gateway.auth import Keys
from stead.gateway.file_routes import Files
from stead.gateway.forget_routes import ForgetRoutes
from stead.gateway.prune_routes import Prune
from stead.keep.retention import Retention
from stead.memory.client import Memory
from stead.memory.daily import DailyLog
from stead.memory.forget.wish import Wish


class Forgets:
    """Forgets in a home. What it needs is loaded when it is first asked: it seldom is."""

    def __init__(
        self, home: Path, store: Store, daily: DailyLog, index: Any = None,
        sweep: Callable[[], Awaitable[int]] | None = None,
    ) -> None:  # fmt: skip
        """``index``: see ``stead.memory.forget.forgetter.Index``; ``sweep`` removes the bytes of
        files that hang on nothing any more."""
        self._home = home
        self._sweep = sweep
        self._store = store
        self._daily = daily
        self._index = index
        self._made: Any = None

    def _forgetter(self) -> Any:
        from stead.memory.forget.forgetter import Forgetter  # late: seldom used

        if self._made is None:
            self._made = Forgetter(
                self._home, self._store, still=self._daily.still, flush=self._daily.write_pending,
                index=self._index, sweep=self._sweep,
            )  # fmt: skip
        return self._made

    async def plan(self, wish: Wish) -> dict[str, Any]:
        view: dict[str, Any] = (await self._forgetter().plan(wish)).view()
        return view

    async def run(self, wish: Wish) -> dict[str, Any]:
        receipt: dict[str, Any] = await self._forgetter().run(wish)
        return receipt

    async def resume(self) -> dict[str, Any] | None:
        if not (self._home / "memory" / ".forgetting").exists():
            return None
        receipt: dict[str, Any] | None = await self._forgetter().resume()
        return receipt


def upkeep_routes(
    home: Path,
    store: Store,
    daily: DailyLog,
    retention: Retention,
    keys: Keys,
    most: int,
    index: Memory,
    handed: Handed,
) -> list[Route]:
    """How the owner puts files in and has things taken out: what is old, and what is to be
    forgotten. What a crash cut off is ended by and by."""
    forgets = Forgets(home, store, daily, index, handed.sweep)
    forget = ForgetRoutes(forgets, keys, max_body=most)
    forget.begin()
    files = Files(store, handed, keys).routes()
    return [*Prune(retention, keys, max_body=most).routes(), *forget.routes(), *files]


def plan_at_home(home: Path, **wish: Any) -> dict[str, Any]:
    """What would go, while no gateway runs. Raises ``HomeUnusable`` when one does."""
    return asyncio.run(_at_home(home, Wish(**wish), False))


def run_at_home(home: Path, **wish: Any) -> dict[str, Any]:
    """Forget while no gateway runs; the receipt."""
    return asyncio.run(_at_home(home, Wish(**wish), True))


class _IndexAtHome:
    """The index, where no gateway keeps it."""

    def __init__(self, home: Path) -> None:
        self._home = home

    async def reindex(self) -> object:
        return await asyncio.to_thread(memory.reindex, self._home, lambda done, total: None)


async def _at_home(home: Path, wish: Wish, doing: bool) -> dict[str, Any]:
    from stead.store.sqlite import SqliteStore  # late: only while the gateway is down

    (home / "run").mkdir(mode=0o700, exist_ok=True)
    with alone(home):
        store = SqliteStore(home / "state.db", home / "backups")
        try:
            daily = DailyLog(home / "memory", store)
            forgets = Forgets(home, store, daily, _IndexAtHome(home), sweeping(home, store))
            return await (forgets.run(wish) if doing else forgets.plan(wish))
        finally:
            store.close()
