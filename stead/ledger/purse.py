"""The purse: reserves money for a model call before it is made, books it after (invariant 7)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from stead.core.errors import OverBudget
from stead.core.ids import uuid7
from stead.core.nouns import Call, Usage
from stead.core.ports import Caller
from stead.core.storage import LedgerStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Budget:
    """Micro-dollars for one UTC day; ``chat_reserve`` is out of reach of background work."""

    daily_micro: int
    chat_reserve_micro: int


class StorePurse:
    """The :class:`~stead.core.ports.Purse` over the ledger's rows."""

    def __init__(self, store: LedgerStore, budget: Budget) -> None:
        self._store = store
        self._budget = budget
        self._tasks: set[asyncio.Task[None]] = set()

    async def reserve(
        self, caller: Caller, *, model: str, backend: str, most_micro: int, reason: str
    ) -> str:
        """Set aside ``most_micro`` micro-dollars; raises ``OverBudget`` if the day has not as much.

        A free call is never refused: an empty purse must not silence a local model.
        """
        daily = self._budget.daily_micro
        background = max(0, daily - self._budget.chat_reserve_micro)
        call = Call(
            id=uuid7(), at=0, model=model, backend=backend, caller=caller.name,
            job_id=caller.job_id, lane=caller.lane, usage=Usage(),
            reserved_micro=max(0, most_micro), state="reserved", status=0, first_ms=0.0,
            total_ms=0.0, reason=reason,
        )  # fmt: skip
        if most_micro <= 0:
            # Nothing to set aside, so nobody waits for its row; the writer keeps the order.
            self._off_the_path(self._store.record_call(call), call.id)
            return call.id
        granted = await self._store.reserve(
            call,
            limit_micro=daily if caller.lane == "chat" else background,
            lane_limit_micro=daily if caller.lane == "chat" else background,
        )
        if not granted:
            raise OverBudget(
                why=f"this call of {model} may cost up to ${most_micro / 1e6:.4f}, and the "
                f"day's ${daily / 1e6:.2f} do not have that left for {caller.lane} work"
            )
        return call.id

    async def settle(
        self, call_id: str, usage: Usage, *, status: int, first_ms: float, total_ms: float
    ) -> None:
        """Book what was used. Off the answer's path; failures are logged, never raised."""
        self._off_the_path(
            self._store.book(call_id, usage, status=status, first_ms=first_ms, total_ms=total_ms),
            call_id,
        )

    def _off_the_path(self, writing: Coroutine[Any, Any, None], call_id: str) -> None:
        task = asyncio.create_task(self._written(writing, call_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _written(writing: Coroutine[Any, Any, None], call_id: str) -> None:
        try:
            await writing
        except Exception:  # the edge of a call: its answer stands, the row is missing and said so
            log.exception("a model call could not be booked", extra={"fields": {"call": call_id}})

    async def aclose(self) -> None:
        """Wait for the bookings under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
