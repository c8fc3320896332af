"""One request at the model door, from what policy says of it to its row: one coroutine.

It is sent to the ways of its plan, one after the other, until one answers; once a piece of an
answer is out, that answer is the only one. Bytes go from the backend's connection to the client's
without a task in between.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Any, TypedDict

from stead.core.errors import BackendFailed, BadRequest, Forbidden, NoPrice, OverBudget, SteadError
from stead.core.nouns import Usage
from stead.core.states import Failure
from stead.inference import faults
from stead.inference.apis import table
from stead.inference.backends import LOCAL, Backend, BackendModel
from stead.inference.plane import reading, shapes, tails
from stead.inference.plane.failed import WayFailed, error_within, refused, unreachable
from stead.inference.plane.flow import STREAM, Flow
from stead.inference.plane.heads import headers_of
from stead.inference.plane.light import SERVICE
from stead.inference.plane.outlet import Headers, Outlet
from stead.inference.plane.parts import Parts
from stead.inference.seam import Api, Asked, Ended, Plan, Record, Translator, Way
from stead.net.http import ConnectFailed, HttpFailed, Unanswered
from stead.net.wire import Answer

log = logging.getLogger(__name__)

#: What an answer may be long where the request does not say, for the reservation.
_MOST_TOKENS = 4096
MAX_ANSWER = 64 * 1024 * 1024
_MAX_ERROR = 1024 * 1024
_LEFT = 499
#: Bytes of a second of sound, where only its size is known: what speech is mostly pressed into.
_SOUND = 4000
#: A local model that drops a call within this time has not begun with it: it was dying.
_AT_ONCE_S = 0.05


class _Units(TypedDict, total=False):
    seconds: float
    chars: int


class Call:
    """A request on its way. :meth:`run` once."""

    __slots__ = (
        "asked", "began", "body", "extra_micro", "first", "flow", "local_turn", "out", "plane",
        "record", "sent", "sent_at", "settled", "signs", "size", "stopped", "task", "told_of",
        "tried", "way",
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
        self.signs: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[Any] | None = None
        self.stopped: SteadError | None = None
        """Why it is to end, whatever has been answered."""

    async def run(self, plan: Plan | None = None) -> None:
        """Answer it, and book it once. Raises a ``SteadError`` where nothing of an answer is out.

        ``plan``: in place of the one that routing would make.
        """
        self.plane.book.begin(self.record)
        self.task = asyncio.current_task()
        self.plane.running.add(self)
        try:
            await self._through(plan)
        except SteadError as error:
            self._give_up(error)
            if not self.out.begun:
                raise
            self._tell(error)
        except asyncio.CancelledError:
            why = self.stopped
            self._left(why)
            if why is None or self.task is None:  # the client has left
                raise
            self.task.uncancel()
            if not self.out.begun:
                raise why from None
            self._tell(why)
        except BaseException:
            self.settle(None, status=500, outcome="internal")
            raise
        finally:
            self.plane.running.discard(self)
            self._way_over(_LEFT)  # if nothing else was said of it: of its server that says nothing
            if self.signs is not None:
                self.signs.cancel()

    async def _through(self, plan: Plan | None) -> None:
        plane, record, asked = self.plane, self.record, self.asked
        verdict = record.verdict
        if verdict is None:  # a shadow comes with that of its original
            verdict = record.verdict = plane.policy.check(record.who, asked)
        if verdict.look:
            verdict = record.verdict = await plane.policy.look(record.who, asked, verdict)
        if verdict.body is not None:
            self.body = verdict.body
        if plane.book.keeps and verdict.keep_body:
            record.answer = []
        plan = record.plan = plan or plane.routing.plan(record.who, asked, verdict)
        if plan.lane in verdict.barred_lanes:
            raise Forbidden(why=f"not in the lane {plan.lane}: {'; '.join(verdict.reasons)}")
        ways = plan.ways
        for way in ways:
            if way.model.paid or way.model.unpriced:
                ways = await self._afforded(plan)
                break
        if asked.stream and record.who.job_id is not None:
            self._show_signs()
        last = len(ways) - 1
        for number, way in enumerate(ways):
            self.way = way
            try:
                if way.backend is None:
                    await plane.local.answer(self, way)
                elif way.backend.kind == SERVICE:
                    await plane.light.answer(self, way, way.backend)
                else:
                    await self.send(way, way.backend, way.model)
                return
            except WayFailed as failed:
                self._way_over(failed.status, failed.retry_after_s)
                if number == last or not failed.elsewhere or self._told:
                    self._last_failed(way, failed)
                    return
                self._over(way, failed)

    # --- money ---

    async def _afforded(self, plan: Plan) -> tuple[Way, ...]:
        """The ways there is money for; it is set aside, as much as the dearest may cost."""
        ways = tuple([way for way in plan.ways if not way.model.unpriced])
        if not ways:
            way = plan.ways[0]
            backend = way.backend.name if way.backend else LOCAL
            raise NoPrice(model=way.model.called, backend=backend)
        if not any(way.model.paid for way in ways):
            return ways
        most = max(self._most_micro(way.model) for way in ways)
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

    def _most_micro(self, model: BackendModel) -> int:
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

    def _give_up(self, error: SteadError) -> None:
        """It failed: book nothing if nothing was sent, else what it may have used."""
        way = self.way
        unknown = (
            self.sent and way is not None and way.model.paid and error.failure is not Failure.AUTH
        )
        usage = self._most(way.model) if unknown and way is not None else Usage()
        self.settle(usage, status=error.status, error=error)

    def cut(self, error: SteadError) -> None:
        """End it, as soon as its task comes to it, with ``error``."""
        if self.task is not None and self.stopped is None:
            self.stopped = error
            self.task.cancel()

    def _left(self, error: SteadError | None) -> None:
        """Nobody waits for its answer any more, or nobody may."""
        tail = self.flow.tail if self.flow is not None else None
        usage, events = (tail.usage, tail.events) if tail is not None else (None, 0)
        if error is not None:
            self.settle(usage, status=error.status, error=error, events=events)
        elif tail is not None and tail.done:  # which is no fault with all of the answer
            self.settle(usage, status=200, events=events)
        else:
            self.settle(usage, status=_LEFT, outcome="left", events=events)

    # --- one way ---

    def _way_begun(self, way: Way) -> None:
        """Tell routing; once, however often its server is knocked at."""
        if self.told_of is None:
            self.told_of = way
            self.plane.routing.began(way)

    def _way_over(self, status: int, retry_after_s: float = 0.0) -> None:
        """Tell routing how it ended, if it has not been told."""
        way, self.told_of = self.told_of, None
        if way is not None:
            self.plane.routing.ended(way, status=status, retry_after_s=retry_after_s)

    async def send(self, way: Way, backend: Backend, model: BackendModel) -> None:
        """Ask a backend and pass its answer on. Raises ``WayFailed``."""
        plane, asked = self.plane, self.asked
        self.sent, self.flow = False, None
        self._way_begun(way)
        try:
            line = plane.upstreams.line(backend, asked, way.api)
        except BackendFailed as error:
            raise WayFailed(error) from None
        if asked.api is Api.COUNT_TOKENS and way.api is not asked.api:
            await self.count(way, backend)
            return
        translator, body = self._request(way, model.name or asked.model)
        at = self.sent_at = time.perf_counter()
        self.sent = True
        try:
            answer = await line.client.post(line.head, body, backend.timeout_s)
        except HttpFailed as error:
            if isinstance(error, ConnectFailed):
                self.sent = False
            elif isinstance(error, Unanswered) and (
                backend.name == LOCAL or backend.kind == SERVICE
            ):
                self.sent = time.perf_counter() - at >= _AT_ONCE_S
            raise unreachable(backend.name, error) from None
        try:
            if answer.status != 200:
                body = await self._all(answer, backend, _MAX_ERROR)
                raise refused(asked.api, way.api, answer, body, backend.name, line.key)
            kind, passed = headers_of(answer, backend.name)
            if kind[:17] == "text/event-stream":
                await self._stream(way, backend, answer, translator)
            elif asked.api is Api.SPEECH:
                await self._bytes(way, backend, answer)
            else:
                body = answer.here() or await self._all(answer, backend, MAX_ANSWER)
                self._whole(way, backend, body, (kind, passed), translator)
        finally:
            answer.leave()
            self.out.valve = None

    def _request(self, way: Way, name: str) -> tuple[Translator | None, bytes]:
        """The body for a backend, which calls the model ``name``."""
        asked = self.asked
        if way.api is asked.api:
            body = reading.body_for(asked, self.body, name)
            return None, table.without_unsigned(body) if way.api is Api.MESSAGES else body
        try:
            translator = self.plane.translator(asked, way.api)
            return translator, translator.request(self.body, name)
        except BadRequest as error:  # the next way may have words for it
            raise WayFailed(error, status=error.status) from None

    async def count(self, way: Way, backend: Backend | None) -> None:
        """Its tokens, for a model whose server has no such API; None: it is not there yet."""
        try:
            body = await self.plane.tokenizers.count(backend, way.model, self.body)
        except BadRequest as error:
            raise WayFailed(error, status=error.status) from None
        self.settle(Usage(), status=200)
        self._way_over(200)
        self.out.whole(200, [(b"content-type", b"application/json")], body)

    async def _all(self, answer: Answer, backend: Backend, most: int) -> bytes:
        try:
            return await answer.whole(most)
        except HttpFailed as error:
            raise unreachable(backend.name, error) from None

    def _whole(
        self, way: Way, backend: Backend, body: bytes, head: tuple[str, Headers],
        translator: Translator | None,
    ) -> None:  # fmt: skip
        self.first = time.perf_counter()
        usage: Usage | None = None
        kind, headers = head
        if kind[:5] != "text/" or self.asked.api is not Api.TRANSCRIPTIONS:
            try:
                usage = tails.whole(body)
                if translator is not None:
                    body = translator.whole(body)
            except tails.ErrorWithin:
                raise error_within(self.asked.api, way.api, body, backend.name) from None
            except (tails.NoAnswer, ValueError) as error:
                raise WayFailed(BackendFailed(backend=backend.name, why=str(error))) from None
        self._keep(body, kind or "application/json")
        cost = self.settle(usage, status=200, events=len(body) // 4)
        self._way_over(200)
        if self.out.begun:  # comments are out: what is no stream becomes an event
            lines = b"".join(b"data: %b\n" % line for line in body.splitlines())
            self.out.write(lines + b"\ndata: [DONE]\n\n")
            self.out.end()
            return
        if cost:
            headers = [*headers, (b"x-stead-cost-micro", b"%d" % cost)]
        self.out.whole(200, headers, body)

    async def _stream(
        self, way: Way, backend: Backend, answer: Answer, translator: Translator | None
    ) -> None:
        asked = self.asked
        strip = asked.stream and not asked.tells_usage and way.api is asked.api
        tail = tails.tail_of(way.api, strip=strip)
        flow = self._flow(way, backend, answer, tail, translator)
        broke = await flow.through()
        last: bytes | None = None
        if tail.done or (tail.whole and not broke):
            try:
                last = flow.rest()
            except ValueError as error:
                broke = str(error)
        if last is not None:
            # What ended in an error of the backend's own is passed on, and is no answer.
            status, outcome = (502, BackendFailed.code) if tail.failed else (200, "ok")
            cost = self.settle(tail.usage, status=status, outcome=outcome, events=tail.events)
            if cost and asked.api is Api.CHAT:
                last += b": stead-cost %d\n\n" % cost  # a comment: nobody else will notice
            self._way_over(status)
            self.out.write(last)
            self.out.end()
            return
        self.broken(backend)
        cut = faults.not_whole(backend.name, broke or "no end was sent")
        if not flow.told:
            raise WayFailed(cut, elsewhere=True)
        self._way_over(0)
        self.settle(tail.usage, status=cut.status, error=cut, events=tail.events)
        self._tell(cut)

    async def _bytes(self, way: Way, backend: Backend, answer: Answer) -> None:
        """An answer that is neither JSON nor events: speech. It passes as it comes."""
        flow = self._flow(way, backend, answer, tails.Tail(), None)
        broke = await flow.through()
        if broke:
            error = faults.not_whole(backend.name, broke)
            if not flow.told:
                raise WayFailed(error, elsewhere=True)
            self._way_over(0)
            self.settle(None, status=error.status, error=error)
            self.out.abort()
            return
        flow.begin()
        self.settle(None, status=200)
        self._way_over(200)
        self.out.end()

    def _flow(
        self, way: Way, backend: Backend, answer: Answer, tail: tails.Tail,
        translator: Translator | None,
    ) -> Flow:  # fmt: skip
        self.record.answer_type = answer.headers.get("content-type", "")
        self.flow = Flow(
            self.asked, self.out, answer, tail, translator, spoken=way.api,
            backend=backend.name, keep=self.record.answer,
        )  # fmt: skip
        return self.flow

    def broken(self, backend: Backend) -> None:
        """A backend broke an answer off: a local model is looked for anew."""
        if backend.name == LOCAL:
            self.plane.local.forget()

    # --- what is told ---

    @property
    def _told(self) -> bool:
        """Whether a piece of an answer is out, so that no other may follow."""
        return self.flow is not None and self.flow.told

    def _over(self, way: Way, failed: WayFailed) -> None:
        """On to the next way."""
        name = way.backend.name if way.backend else LOCAL
        self.tried.append(f"{way.model.called or name} at {name}: {failed.error.message}")
        log.info("a call goes on to the next model: %s", self.tried[-1])
        if self.sent and way.model.paid and failed.status == 0:
            self.extra_micro += self._most_micro(way.model)
        self.sent = False

    def _last_failed(self, way: Way, failed: WayFailed) -> None:
        """No way is left: an error of the backend's own is passed on, others are told."""
        if failed.body is None:
            raise failed.error
        self._keep(failed.body, "application/json")
        self.settle(Usage(), status=failed.status, error=failed.error)
        if self.out.begun:
            raise failed.error
        self.out.whole(failed.status, failed.headers, failed.body)

    def _tell(self, error: SteadError) -> None:
        """The head is out, so an error can only be told as an event."""
        flow, api = self.flow, self.asked.api
        if flow.between if flow is not None else self.asked.stream:
            self.out.write(flow.broken(error) if flow is not None else shapes.event(api, error))
            self.out.end()
        else:
            self.out.abort()

    def _keep(self, body: bytes, kind: str) -> None:
        self.size = len(body)
        if self.record.answer is not None:
            self.record.answer.append(body)
            self.record.answer_type = kind

    # --- signs of life, for who takes silence for a dead connection ---

    def _show_signs(self) -> None:
        loop, every = asyncio.get_running_loop(), self.plane.alive_s
        seen = [0]

        def show() -> None:
            flow = self.flow
            passed = flow.pieces if flow is not None else 0
            if passed == seen[0] and not self.settled and (flow is None or flow.between):
                self.comment(b":\n\n")
            seen[0] = passed
            self.signs = loop.call_later(every, show)

        self.signs = loop.call_later(every, show)

    def comment(self, words: bytes) -> None:
        """A comment, which clients pass over; the head of a stream goes before it."""
        if not self.out.begun:
            self.out.begin(200, STREAM)
        self.out.write(words)
