"""The book over a purse: money aside before a paid call, every call written down after it."""

from __future__ import annotations

import asyncio
import logging

from stead.core.ports import Caller, Purse
from stead.inference.backends import LOCAL
from stead.inference.seam import Record

log = logging.getLogger(__name__)


class PurseBook:
    """The :class:`~stead.inference.seam.Book` over a :class:`~stead.core.ports.Purse`."""

    keeps = False

    def __init__(self, purse: Purse) -> None:
        self._purse = purse
        self._reserved: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, record: Record) -> None:
        pass

    async def reserve(self, record: Record, most_micro: int) -> None:
        record.reserved_micro = most_micro
        self._reserved[record.id] = await self._set_aside(record, most_micro)

    def end(self, record: Record) -> None:
        task = asyncio.create_task(self._book(record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Wait for what is being written."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _set_aside(self, record: Record, most_micro: int) -> str:
        who, plan = record.who, record.plan
        way = plan.ways[0] if plan is not None and plan.ways else None
        return await self._purse.reserve(
            Caller(who.name, who.job_id, who.lane),
            model=(way.model.called if way else "") or "local",
            backend=way.backend.name if way and way.backend else LOCAL,
            most_micro=most_micro,
            reason=plan.reason if plan is not None else "",
        )

    async def _book(self, record: Record) -> None:
        ended = record.ended
        assert ended is not None
        call_id = self._reserved.pop(record.id, None)
        if call_id is None:
            if record.plan is None:
                return
            call_id = await self._set_aside(record, 0)
        await self._purse.settle(
            call_id, ended.usage, status=ended.status, first_ms=ended.first_ms,
            total_ms=ended.total_ms,
        )  # fmt: skip
