"""What a request at the model door costs, and what is written down of it and told to routing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypedDict

from stead.core.errors import NoPrice, OverBudget, SteadError
from stead.core.nouns import Usage
from stead.core.states import Failure
from stead.inference.backends import LOCAL, BackendModel
from stead.inference.plane.flow import Flow
from stead.inference.plane.outlet import Outlet
from stead.inference.plane.parts import Parts
from stead.inference.plane.upstreams import Line
from stead.inference.seam import Api, Asked, Ended, Plan, Record, Way
from stead.net.wire import Answer

#: What an answer may be long where the request does not say, for the reservation.
_MOST_TOKENS = 4096
LEFT = 499
#: Bytes of a second of sound, where only its size is known: what speech is mostly pressed into.
_SOUND = 4000


class _Units(TypedDict, total=False):
    seconds: float
    chars: int


class Booked:
    """A request on its way, as far as money, its row and routing are concerned."""

    __slots__ = (
        "_answer",
        "_begun",
        "_failed",
        "_go_on",
        "_line",
        "asked",
        "began",
        "body",
        "extra_micro",
        "first",
        "flow",
        "out",
        "plane",
        "record",
        "sent",
        "sent_at",
        "settled",
        "signs",
        "size",
        "stopped",
        "task",
        "told_of",
        "tried",
        "way",
    )  # fmt: skip

    def __init__(self, plane: Parts, record: Record, asked: Asked, out: Outlet) -> None:
        self.plane = plane
        self.record = record
        self.asked = asked
        self.body = asked.body
        self.out = out
        self.began = time.perf_counter()
        self.first = self.sent_at = 0.0
        self.sent = False
        """Whether the backend of this way may have begun with it."""
        self.size = 0
        self.way: Way | None = None
        self.flow: Flow | None = None
        self.tried: list[str] = []
        self.extra_micro = 0
        """What ways that failed may have cost."""
        self.settled = False
        self.told_of: Way | None = None
        """The way that routing was told of and that has not ended."""
        # What follows is :class:`~stead.inference.plane.call.Call`'s: one is made for each request.
        self.signs: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[Any] | None = None
        self.stopped: SteadError | None = None
        """Why it is to end, whatever has been answered."""
        self._begun = False
        self._failed: Exception | None = None
        """What was found before it could be told."""
        self._line: Line | None = None
        self._answer: Answer | None = None
        """What was sent for without a task, and no task has taken over."""
        self._go_on: Callable[[], None] | None = None

    async def afforded(self, plan: Plan) -> tuple[Way, ...]:
        """The ways there is money for; it is set aside, as much as the dearest may cost."""
        ways = tuple([way for way in plan.ways if not way.model.unpriced])
        if not ways:
            way = plan.ways[0]
            backend = way.backend.name if way.backend else LOCAL
            raise NoPrice(model=way.model.called, backend=backend)
        if not any(way.model.paid for way in ways):
            return ways
        most = max(self.most_micro(way.model) for way in ways)
        try:
            await self.plane.book.reserve(self.record, most)
        except OverBudget:
            free = tuple(way for way in ways if not way.model.paid)
            if not free:
                raise
            self.tried.append("the budget does not have as much as the paid models may cost")
            return free
        return ways

    def _most(self, model: BackendModel) -> Usage:
        """An upper estimate of the usage: three bytes of the request to a token."""
        context = model.context
        prompt = min(len(self.body) // 3 + 1, context)
        answer = self.asked.most_tokens
        return Usage(prompt, 0, min(_MOST_TOKENS, context) if answer is None else answer)

    def most_micro(self, model: BackendModel) -> int:
        return model.most_micro(self._most(model), **self._units())

    def _units(self) -> _Units:
        """What is paid for otherwise than by tokens: words that are spoken, sound that is heard."""
        asked = self.asked
        if asked.api is Api.SPEECH:
            return {"chars": asked.chars}
        if asked.api is Api.TRANSCRIPTIONS:
            return {"seconds": len(asked.body) / _SOUND}
        return {}

    def _guess(self, events: int) -> Usage:
        """The usage of an answer that told none: the whole prompt, and a token for each chunk."""
        if self.way is None or not self.sent:
            return Usage()
        return Usage(self._most(self.way.model).prompt_tokens, 0, events)

    def settle(
        self, usage: Usage | None, *, status: int, outcome: str = "ok", events: int = 0,
        error: SteadError | None = None,
    ) -> int:  # fmt: skip
        """Book it; only the first time counts. Returns the cost in micro-dollars.

        ``usage`` None: it is not known, and is guessed from what passed by.
        """
        if self.settled:
            return 0
        self.settled = True
        estimated = usage is None and self.sent
        if usage is None:
            usage = self._guess(events)
        way = self.way
        cost = self.extra_micro
        if way is not None and way.model.paid:
            cost += way.model.cost_micro(usage, **self._units())
        if cost:
            usage = replace(usage, cost_micro=cost)
        now, flow = time.perf_counter(), self.flow
        first = flow.first if flow is not None else self.first
        self.record.ended = Ended(
            usage, status, estimated, ((first or now) - self.began) * 1000,
            (now - self.began) * 1000, error.code if error else outcome, way, self.tried,
            error.message if error else "", (self.sent_at - self.began) * 1000 * bool(self.sent_at),
            flow.size if flow is not None else self.size,
        )  # fmt: skip
        verdict = self.record.verdict
        if verdict is not None and verdict.held is not None:
            self.plane.policy.ended(verdict, usage.tokens)
        self.plane.book.end(self.record)
        return cost

    def give_up(self, error: SteadError) -> None:
        """It failed: book nothing if nothing was sent, else what it may have used."""
        way = self.way
        unknown = (
            self.sent and way is not None and way.model.paid and error.failure is not Failure.AUTH
        )
        usage = self._most(way.model) if unknown and way is not None else Usage()
        self.settle(usage, status=error.status, error=error)

    def left(self, error: SteadError | None) -> None:
        """Nobody waits for its answer any more, or nobody may."""
        tail = self.flow.tail if self.flow is not None else None
        usage, events = (tail.usage, tail.events) if tail is not None else (None, 0)
        if error is not None:
            self.settle(usage, status=error.status, error=error, events=events)
        elif tail is not None and tail.done:  # which is no fault with all of the answer
            self.settle(usage, status=200, events=events)
        else:
            self.settle(usage, status=LEFT, outcome="left", events=events)

    # --- what routing is told ---

    def way_begun(self, way: Way) -> None:
        """Tell routing; once, however often its server is knocked at."""
        if self.told_of is None:
            self.told_of = way
            self.plane.routing.began(way)

    def way_over(self, status: int, retry_after_s: float = 0.0) -> None:
        """Tell routing how it ended, if it has not been told."""
        way, self.told_of = self.told_of, None
        if way is not None:
            self.plane.routing.ended(way, status=status, retry_after_s=retry_after_s)
