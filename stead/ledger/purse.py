"""The purse: reserves money for a model call before it is made, books it after (invariant 7)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from stead.core.audit import LedgerStore
from stead.core.errors import OverBudget, StoreUnusable
from stead.core.ids import uuid7
from stead.core.nouns import Call, Cap, Usage
from stead.core.ports import Caller

log = logging.getLogger(__name__)

_LEFT = 499
"""The status of a call whose caller left before it was made."""
_AGAIN_S = 0.5
_AGAIN_MOST_S = 30.0


@dataclass(frozen=True, slots=True)
class Budget:
    """Micro-dollars for one UTC day; ``chat_reserve`` is out of reach of background work."""

    daily_micro: int
    chat_reserve_micro: int


class StorePurse:
    """The :class:`~stead.core.ports.Purse` over the ledger's rows."""

    def __init__(self, store: LedgerStore, budget: Budget) -> None:
        self._store = store
        self.budget = budget
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def reserve(
        self, caller: Caller, *, model: str, backend: str, most_micro: int, reason: str
    ) -> str:
        """Set aside ``most_micro`` micro-dollars; raises ``OverBudget`` if the day has not as much.

        A free call is never refused: an empty purse must not silence a local model.
        """
        daily = self.budget.daily_micro
        background = max(0, daily - self.budget.chat_reserve_micro)
        call = Call(
            id=uuid7(), at=0, model=model, backend=backend, caller=caller.name,
            job_id=caller.job_id, share=caller.lane, usage=Usage(),
            reserved_micro=max(0, most_micro), state="reserved", status=0, first_ms=0.0,
            total_ms=0.0, reason=reason,
        )  # fmt: skip
        if most_micro <= 0:
            # Nothing to set aside, so nobody waits for its row; the writer keeps the order.
            self._off_the_path(lambda: self._store.record_call(call), call.id)
            return call.id
        limit = daily if caller.lane == "chat" else background
        writing = asyncio.ensure_future(
            self._store.reserve(call, [Cap("", limit), Cap(caller.lane, limit)])
        )
        try:
            passed = await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The caller has left, but the row may be written all the same: it is taken back then.
            self._off_the_path(lambda: self._take_back(writing, call.id), call.id)
            raise
        if passed is not None:
            raise OverBudget(
                why=f"this call of {model} may cost up to ${most_micro / 1e6:.4f}, and the "
                f"day's ${daily / 1e6:.2f} do not have that left for {caller.lane} work"
            )
        return call.id

    async def settle(
        self, call_id: str, usage: Usage, *, status: int, first_ms: float, total_ms: float
    ) -> None:
        """Book what was used. Off the answer's path; failures are logged, never raised.

        While the store cannot write (its disk is full, say) it is tried again.
        """
        self._off_the_path(
            lambda: self._store.book(
                call_id, usage, status=status, first_ms=first_ms, total_ms=total_ms
            ),
            call_id,
        )

    async def _take_back(self, writing: asyncio.Future[Cap | None], call_id: str) -> None:
        if await writing is None:
            await self._store.book(call_id, Usage(), status=_LEFT, first_ms=0.0, total_ms=0.0)

    def _off_the_path(self, write: Callable[[], Awaitable[None]], call_id: str) -> None:
        task = asyncio.create_task(self._written(write, call_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _written(self, write: Callable[[], Awaitable[None]], call_id: str) -> None:
        wait_s = _AGAIN_S
        while True:
            try:
                await write()
                return
            except Exception as error:  # the edge of a call: its answer stands, whatever is here
                if not isinstance(error, StoreUnusable) or self._closing.is_set():
                    told = {"fields": {"call": call_id}}
                    log.exception("a model call could not be booked", extra=told)
                    return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._closing.wait()
            wait_s = min(2 * wait_s, _AGAIN_MOST_S)

    async def aclose(self) -> None:
        """Wait for the bookings under way; what cannot be written now is tried once more."""
        self._closing.set()
        while self._tasks:
            await asyncio.gather(*self._tasks)
