"""The book: each request at the model door becomes a row, written with others a moment later.

What is under way for longer than a moment is written, too, so that even what a crash cuts off
has its row. While the store cannot write (its disk is full, say) rows wait in memory.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from stead.core.audit import LedgerStore
from stead.core.errors import OverBudget, StoreUnusable
from stead.core.nouns import Call, Cap, Usage
from stead.inference.audit.bodies import Bodies
from stead.inference.backends import LOCAL, Backend
from stead.inference.seam import Record

log = logging.getLogger(__name__)

#: How long a row may wait for others, and how old a request is before it is written as under way.
_FLUSH_S = 0.05
_OPEN_S = 0.5
_AGAIN_S, _AGAIN_MOST_S = 0.5, 30.0
#: Rows that may wait for a store that cannot write. Then the oldest that cost nothing go.
_MOST_WAITING = 100_000
_NOTHING = Usage()


class Meter(Protocol):
    """Counts what is over (for ``/metrics``)."""

    def ended(self, call: Call) -> None: ...


class Budgets(Protocol):
    """Which limits on money hold for whom."""

    def caps(self, share: str, *, key: str = "", key_id: str = "", lane: str = "") -> list[Cap]:
        """What holds for a paid call."""
        ...

    def refusal(
        self,
        cap: Cap,
        spent: Mapping[str, tuple[int, int]],
        *,
        model: str,
        wanted_micro: int,
        share: str,
        key: str = "",
    ) -> OverBudget:
        """The error for a call that a cap does not let through."""
        ...


class StoreBook:
    """The :class:`~stead.inference.seam.Book` over the store's rows."""

    def __init__(
        self,
        store: LedgerStore,
        budgets: Budgets,
        meter: Meter | None = None,
        bodies: Bodies | None = None,
    ) -> None:
        self._store = store
        self.budgets = budgets
        """May be replaced by others at any time."""
        self._meter = meter
        self._bodies = bodies
        self._ended: list[Call] = []
        self._open: dict[str, Record] = {}
        self._written: set[str] = set()
        """Those of the open ones that have a row."""
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self.lost = 0
        """Rows that could not be kept until the store was well again."""

    @property
    def keeps(self) -> bool:
        """Whether answers are to be gathered."""
        return self._bodies is not None and self._bodies.keeps

    @property
    def under_way(self) -> int:
        """Requests that have begun and are not over."""
        return len(self._open)

    def begin(self, record: Record) -> None:
        """A request has come. If it takes a while, it is written that it is under way."""
        self._open[record.id] = record
        if self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(_OPEN_S, self._look_at_open)

    async def reserve(self, record: Record, most_micro: int) -> None:
        """Set aside so much; durable when it returns. Raises ``OverBudget``."""
        record.reserved_micro = most = max(0, most_micro)
        call = row_of(record)
        caps = self.budgets.caps(call.share, key=call.caller, key_id=call.key_id, lane=call.lane)
        self._written.add(record.id)
        # A caller that leaves meanwhile has its row settled like any other, after this one.
        passed = await asyncio.shield(asyncio.ensure_future(self._store.reserve(call, caps)))
        if passed is None:
            return
        record.reserved_micro = 0
        self._written.discard(record.id)
        raise self.budgets.refusal(
            passed, await self._store.view_spent(), model=call.model, wanted_micro=most,
            share=call.share, key=call.caller,
        )  # fmt: skip

    def end(self, record: Record) -> None:
        """It is over (``record.ended`` says how). Never waits, never fails."""
        self._open.pop(record.id, None)
        self._written.discard(record.id)
        call = row_of(record)
        if self._meter is not None:
            self._meter.ended(call)
        verdict = record.verdict
        if (
            self._bodies is not None
            and record.answer is not None
            and (verdict is None or verdict.keep_body)
        ):
            self._keep(call, record)
        self._ended.append(call)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)

    def _keep(self, call: Call, record: Record) -> None:
        asked, verdict = record.asked, record.verdict
        if self._bodies is None or asked is None or record.answer is None:
            return
        body = asked.body if verdict is None or verdict.body is None else verdict.body
        self._bodies.keep(
            call, body, record.answer, types=(asked.content_type, record.answer_type),
            answer_size=call.bytes_out,
        )  # fmt: skip

    # --- on its way to the store -------------------------------------------------------------

    def _look_at_open(self) -> None:
        self._look = None
        if not self._open:
            return
        self._look = asyncio.get_running_loop().call_later(_OPEN_S, self._look_at_open)
        old = time.time() * 1000 - _OPEN_S * 1000
        if any(
            record.at_ms <= old and record.id not in self._written for record in self._open.values()
        ):
            self._flush()

    def _flush(self) -> None:
        """Have what waits written, unless that is being done."""
        self._timer = None
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        try:
            while await self._some():
                pass
        finally:
            self._flushing = None
            if self._ended and self._timer is None:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(_FLUSH_S, self._flush)

    async def _some(self) -> bool:
        """Write all that waits now; whether more has come meanwhile."""
        ended, self._ended = self._ended, []
        old = time.time() * 1000 - _OPEN_S * 1000
        opened = [
            record
            for record in self._open.values()
            if record.at_ms <= old and record.id not in self._written
        ]
        self._written.update(record.id for record in opened)
        rows = [row_of(record) for record in opened]
        wait_s = _AGAIN_S
        while ended or rows:
            try:
                await self._store.record_calls(rows, ended)
                break
            except StoreUnusable as error:
                if self._closing.is_set():
                    self.lost += len(ended)
                    log.error("%d calls could not be written: %s", len(ended), error)
                    break
                ended = self._fewer(ended)
                await self._pause(wait_s)
                wait_s = min(2 * wait_s, _AGAIN_MOST_S)
            except Exception:  # the edge of a request: its answer stands, whatever is here
                self.lost += len(ended)
                log.exception("%d calls could not be written", len(ended))
                break
        self._written.intersection_update(self._open)
        return False

    def _fewer(self, ended: list[Call]) -> list[Call]:
        """Not more than may wait, those first that cost money."""
        ended, self._ended = ended + self._ended, []
        if len(ended) > _MOST_WAITING:
            kept = [one for one in ended if one.reserved_micro or one.usage.cost_micro]
            free = [one for one in ended if not (one.reserved_micro or one.usage.cost_micro)]
            room = max(0, _MOST_WAITING - len(kept))
            self.lost += len(free) - room
            log.error("%d rows of calls that cost nothing were given up", len(free) - room)
            ended = kept + free[len(free) - room :]
        return ended

    async def _pause(self, wait_s: float) -> None:
        try:
            async with asyncio.timeout(wait_s):
                await self._closing.wait()
        except TimeoutError:
            pass

    async def aclose(self) -> None:
        """Write what waits; what cannot be written now is tried once more."""
        self._closing.set()
        for handle in (self._timer, self._look):
            if handle is not None:
                handle.cancel()
        self._timer = self._look = None
        while self._flushing is not None or self._ended:
            if self._flushing is None:
                self._flush()
            if self._flushing is not None:
                await self._flushing


def row_of(record: Record) -> Call:
    """The row of a request as it is now."""
    who, asked, plan, ended = record.who, record.asked, record.plan, record.ended
    verdict = record.verdict
    way = ended.way if ended is not None else (plan.ways[0] if plan and plan.ways else None)
    reasons = [plan.reason] if plan is not None else []
    if verdict is not None:
        reasons += verdict.reasons
    call = Call(
        record.id, 0, "", "", who.name, who.job_id, who.lane, _NOTHING, record.reserved_micro,
        "reserved", 0, 0.0, 0.0, "; ".join(reasons), who.key_id, record.api.value,
    )  # fmt: skip
    call.began = time.monotonic() - (time.time() - record.at_ms / 1000)
    if asked is not None:
        call.asked, call.stream, call.bytes_in = asked.model, asked.stream, len(asked.body)
    if plan is not None:
        call.lane = plan.lane
    if way is not None:
        call.model = way.model.called
        call.backend, call.instance = (LOCAL, "") if way.backend is None else _place(way.backend)
    if ended is not None:
        call.state, call.usage, call.status = "settled", ended.usage, ended.status
        call.estimated, call.outcome = ended.estimated, ended.outcome
        call.first_ms, call.total_ms, call.waited_ms = (
            ended.first_ms, ended.total_ms, ended.waited_ms,
        )  # fmt: skip
        call.tried, call.error, call.bytes_out = ended.tried, ended.error, ended.bytes_out
    return call


_places: dict[str, tuple[str, str]] = {}


def _place(backend: Backend) -> tuple[str, str]:
    """Backend and instance; of a URL only host and port, since it may hold a password."""
    found = _places.get(backend.place)
    if found is None:
        if len(_places) > 1000:
            _places.clear()
        found = _places[backend.place] = (
            backend.name,
            urlsplit(backend.url).netloc.rpartition("@")[2],
        )
    return found
