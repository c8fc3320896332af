"""The book: each request at the model door becomes a row, written with others a moment later.

What is under way for longer than a moment is written, too, so that even what a crash cuts off
has its row. While the store cannot write (its disk is full, say) rows wait in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine
from typing import Protocol
from urllib.parse import urlsplit

from stead.core.audit import LedgerStore
from stead.core.errors import StoreUnusable
from stead.core.nouns import Call, Usage
from stead.inference.audit.bodies import Bodies
from stead.inference.backends import LOCAL, Backend
from stead.inference.seam import Ended, Record
from stead.ledger.budgets import Budgets

log = logging.getLogger(__name__)

#: How long a row may wait for others, and how old a request is before it is written as under way.
_FLUSH_S = 0.05
_OPEN_S = 0.5
_AGAIN_S, _AGAIN_MOST_S = 0.5, 30.0
#: A request with a body that is longer is made a row at once.
_SMALL = 16_384
#: Rows that may wait for a store that cannot write. Then the oldest that cost nothing go.
_MOST_WAITING = 100_000
_UNDER_WAY = Ended(Usage(), 0, False, 0.0, 0.0, "", None)


class Meter(Protocol):
    """Counts what is over (for ``/metrics``)."""

    def ended(self, call: Call) -> None: ...


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
        self._over: list[Record] = []
        """Requests that are over and have not become rows: many at once cost less than each when
        it ends."""
        self._ended: list[Call] = []
        self._open: dict[str, Record] = {}
        self._written: set[str] = set()
        """Those of the open ones that have a row."""
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stuck: asyncio.Task[None] | None = None
        """Tries again while the store cannot write."""
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
            self._look = asyncio.get_running_loop().call_later(_OPEN_S, self._look_at_open)
        if record.who.job_id is not None:  # a moment later it is known where it goes
            asyncio.get_running_loop().call_soon(self._job_began)

    async def reserve(self, record: Record, most_micro: int) -> None:
        """Set aside so much; durable when it returns. Raises ``OverBudget``."""
        record.reserved_micro = most = max(0, most_micro)
        call = row_of(record)
        caps = self.budgets.caps(call.share, key=call.caller, key_id=call.key_id, lane=call.lane)
        self._written.add(record.id)
        if self._ended or self._over:
            self._flush()  # what is over frees its money before more is set aside
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
        self._over.append(record)
        asked = record.asked
        if record.answer is not None or (asked is not None and len(asked.body) > _SMALL):
            self.catch_up()  # its bodies are let go of
        if record.who.job_id is not None:  # its end is told from its rows, and may come at once
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)

    def catch_up(self) -> None:
        """Count all that is over, and make its rows."""
        over, self._over = self._over, []
        meter, bodies, ended = self._meter, self._bodies, self._ended
        for record in over:
            call = row_of(record)
            if meter is not None:
                meter.ended(call)
            if bodies is not None and record.answer is not None:
                verdict = record.verdict
                if verdict is None or verdict.keep_body:
                    self._keep(call, record)
            ended.append(call)

    def _keep(self, call: Call, record: Record) -> None:
        asked, verdict = record.asked, record.verdict
        if self._bodies is None or asked is None or record.answer is None:
            return
        body = asked.body if verdict is None or verdict.body is None else verdict.body
        if not record.answer and call.error:
            record.answer, record.answer_type = [call.error.encode()], "text/plain; charset=utf-8"
        self._bodies.keep(
            call, body, record.answer, types=(asked.content_type, record.answer_type),
            answer_size=max(call.bytes_out, sum(map(len, record.answer))),
        )  # fmt: skip

    # --- on its way to the store -------------------------------------------------------------

    def _job_began(self) -> None:
        """The story of a job has its calls, whatever cuts them off: they are written at once."""
        if self._unwritten():
            self._flush()

    def _look_at_open(self) -> None:
        self._look = None
        if self._open:
            self._look = asyncio.get_running_loop().call_later(_OPEN_S, self._look_at_open)
            if self._unwritten():
                self._flush()

    def _unwritten(self) -> list[Record]:
        """What has been under way for a while and has no row."""
        old = time.time() * 1000 - _OPEN_S * 1000
        return [
            record
            for record in self._open.values()
            if (record.at_ms <= old or record.who.job_id is not None)
            and record.id not in self._written
        ]

    def _flush(self) -> None:
        """Have what waits written, unless the store is known to be in trouble."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stuck is None:
            self._do(self._write())
        else:
            self.catch_up()

    def _do(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _write(self) -> None:
        self.catch_up()
        ended, self._ended = self._ended, []
        opened = self._unwritten()
        ids = {record.id for record in opened}
        self._written |= ids
        try:
            await self._store.record_calls([row_of(record) for record in opened], ended)
        except StoreUnusable as error:
            self._written -= ids
            self._ended[:0] = ended
            self._give_up_some()
            if self._closing.is_set():
                self.lost += len(self._ended)
                log.error("%d calls could not be written: %s", len(self._ended), error)
                self._ended = []
            elif self._stuck is None:
                self._stuck = self._do(self._try_again())
        except Exception:  # the edge of a request: its answer stands, whatever is here
            self.lost += len(ended)
            log.exception("%d calls could not be written", len(ended))

    async def _try_again(self) -> None:
        """Until the store can write, or all is to end."""
        wait_s = _AGAIN_S
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._closing.wait()
            await self._write()
            if not self._ended:
                break
            wait_s = min(2 * wait_s, _AGAIN_MOST_S)
        self._stuck = None

    def _give_up_some(self) -> None:
        """No more may wait than there is room for; what cost money stays longest."""
        waiting = self._ended
        if len(waiting) > _MOST_WAITING:
            kept = [one for one in waiting if one.reserved_micro or one.usage.cost_micro]
            free = [one for one in waiting if not (one.reserved_micro or one.usage.cost_micro)]
            gone = min(len(free), len(waiting) - _MOST_WAITING)
            self.lost += gone
            log.error("%d rows of calls that cost nothing were given up", gone)
            self._ended = kept + free[gone:]

    async def aclose(self) -> None:
        """Write what waits; what cannot be written now is tried once more."""
        self._closing.set()
        if self._look is not None:
            self._look.cancel()
        while self._tasks or self._ended or self._over:
            if not self._tasks:
                self._flush()
            await asyncio.gather(*self._tasks)


def row_of(record: Record) -> Call:
    """The row of a request as it is now."""
    who, asked, plan, ended = record.who, record.asked, record.plan, record.ended
    verdict, reason = record.verdict, "" if plan is None else plan.reason
    if verdict is not None and verdict.reasons:
        reason = "; ".join((reason, *verdict.reasons) if plan is not None else verdict.reasons)
    if ended is None:
        ended, state = _UNDER_WAY, "reserved"
        way = plan.ways[0] if plan is not None and plan.ways else None
    else:
        way, state = ended.way, "settled"
    model = backend = instance = ""
    if way is not None:
        model = way.model.called
        backend, instance = (LOCAL, "") if way.backend is None else _place(way.backend)
    # All at once and by place: one is made for each request.
    return Call(
        record.id, 0, model, backend, who.name, who.job_id, who.lane, ended.usage,
        record.reserved_micro, state, ended.status, ended.first_ms, ended.total_ms, reason,
        who.key_id, record.api._value_, "" if asked is None else asked.model,
        "" if plan is None else plan.lane, instance, asked is not None and asked.stream,
        ended.estimated, ended.waited_ms, ended.outcome, ended.error, tuple(ended.tried),
        0 if asked is None else len(asked.body), ended.bytes_out, record.shadow_of,
        time.monotonic() - time.time() + record.at_ms * 0.001,
    )  # fmt: skip


_places: dict[str, tuple[str, str]] = {}


def _place(backend: Backend) -> tuple[str, str]:
    """Backend and instance."""
    found = _places.get(backend.place)
    if found is None:
        if len(_places) > 1000:
            _places.clear()
        found = _places[backend.place] = backend.name, instance_of(backend)
    return found


def instance_of(backend: Backend) -> str:
    """Which of several instances: of its URL only host and port, since it may hold a password."""
    return urlsplit(backend.url).netloc.rpartition("@")[2]
