"""One request at the model door, from what policy says of it to its row.

It is sent to the ways of its plan, one after the other, until one answers; once a piece of an
answer is out, that answer is the only one. Bytes go from the backend's connection to the client's
without a task in between.

A request that has nothing to wait for but its answer is sent by :meth:`Call.start` and answered
from the backend's own callback, so that no task is made for it. Whatever else there is to do, at
any stage, :meth:`Call.run` does: it goes on where the other stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from stead.core.errors import BackendFailed, BadRequest, Forbidden, SteadError
from stead.core.nouns import Usage
from stead.inference import faults
from stead.inference.apis import table
from stead.inference.backends import LOCAL, Backend, BackendModel
from stead.inference.plane import reading, shapes, tails
from stead.inference.plane.booked import LEFT, Booked
from stead.inference.plane.failed import WayFailed, error_within, refused, unreachable
from stead.inference.plane.flow import STREAM, Flow
from stead.inference.plane.heads import headers_of
from stead.inference.plane.light import SERVICE
from stead.inference.plane.outlet import Headers
from stead.inference.plane.upstreams import Line
from stead.inference.seam import Api, Plan, Translator, Verdict, Way
from stead.net.http import ConnectFailed, HttpFailed, Unanswered
from stead.net.wire import Answer

log = logging.getLogger(__name__)

MAX_ANSWER = 64 * 1024 * 1024
_MAX_ERROR = 1024 * 1024
#: A local model that drops a call within this time has not begun with it: it was dying.
_AT_ONCE_S = 0.05


class Call(Booked):
    """A request on its way. :meth:`run` it once, or :meth:`start` it."""

    __slots__ = ()

    async def run(self, plan: Plan | None = None) -> None:
        """Answer it, and book it once. Raises a ``SteadError`` where nothing of an answer is out.

        ``plan``: in place of the one that routing would make.
        """
        self._begin()
        self.task = asyncio.current_task()
        try:
            await self._through(plan)
        except SteadError as error:
            self.give_up(error)
            if not self.out.begun:
                raise
            self._tell(error)
        except asyncio.CancelledError:
            why = self.stopped
            self.left(why)
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
            self._drop()
            self.plane.running.discard(self)
            self.way_over(LEFT)  # if nothing else was said of it: of its server that says nothing
            if self.signs is not None:
                self.signs.cancel()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self.plane.book.begin(self.record)
            self.plane.running.add(self)

    def cut(self, error: SteadError) -> None:
        """End it, as soon as its task comes to it, with ``error``."""
        if self.stopped is not None:
            return
        self.stopped = error
        if self.task is not None:
            self.task.cancel()
            return
        self._drop()
        self.left(error)
        self._failed = error
        go_on, self._go_on = self._go_on, None
        if go_on is not None:
            go_on()

    # --- without a task ---

    def start(self, go_on: Callable[[], None]) -> bool:
        """Send it, if there is nothing to wait for before.

        True: it is answered later, or ``go_on`` is called, and :meth:`run` is to go on with it.
        False: it is to do so now.
        """
        self._begin()
        try:
            answer = self._sent()
        except WayFailed:  # nothing was sent: `run` comes to the same, and goes on from there
            return False
        except Exception as error:  # noqa: BLE001  the edge of a request: `run` tells it
            self._failed = error
            return False
        if answer is None:
            return False
        self._answer = answer
        self._go_on = go_on
        answer.then = self._answered
        return True

    def _sent(self) -> Answer | None:
        asked, record = self.asked, self.record
        verdict = self._checked()
        if verdict.look:
            return None
        plan = self._planned(verdict, None)
        way = plan.ways[0]
        backend = way.backend
        if (
            backend is None or backend.kind == SERVICE or way.api is not asked.api
            or plan.costs or plan.shadow is not None or record.who.job_id is not None
        ):  # fmt: skip
            return None
        self.way = way
        self.way_begun(way)
        line = self._line = self._lined(way, backend)
        _, body = self._request(way, way.model.name or asked.model)
        answer = line.client.post_now(line.head, body, backend.timeout_s)
        if answer is not None:
            self.sent_at = time.perf_counter()
            self.sent = True
        return answer

    def _answered(self, answer: Answer) -> None:
        """Its head is here, or all of it, or it failed."""
        way = self.way
        go_on, self._go_on = self._go_on, None
        assert way is not None and way.backend is not None and go_on is not None
        body = answer.plain()
        if body is None or self.asked.api is Api.SPEECH:
            go_on()
            return
        try:
            head = headers_of(answer, way.backend.name)
            if head[0][:17] == "text/event-stream":
                go_on()
                return
            self._answer = None
            self.plane.running.discard(self)
            self._whole(way, way.backend, body, head, None)
        except Exception:
            if not self.settled:  # `run` finds the same, and deals with it
                self._answer = answer
                self.plane.running.add(self)
                go_on()
                return
            log.exception("an answer could not be given")
            self.out.abort()

    def leave(self) -> None:
        """The client has gone, of what was started and is not over: cut it and book it."""
        self._drop()
        self.plane.running.discard(self)
        self.left(None)
        self.way_over(LEFT)

    def _drop(self) -> None:
        """Cut what was sent for, if nobody has taken it over."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.then = None
            answer.leave()

    # --- all that may have to be waited for ---

    def _checked(self) -> Verdict:
        verdict = self.record.verdict
        if verdict is None:  # a shadow comes with that of its original
            verdict = self.record.verdict = self.plane.policy.check(self.record.who, self.asked)
        return verdict

    def _planned(self, verdict: Verdict, plan: Plan | None) -> Plan:
        plane, record = self.plane, self.record
        if record.plan is not None:
            return record.plan
        if verdict.body is not None:
            self.body = verdict.body
        if plane.book.keeps and verdict.keep_body:
            record.answer = []
        plan = record.plan = plan or plane.routing.plan(record.who, self.asked, verdict)
        if plan.lane in verdict.barred_lanes:
            raise Forbidden(why=f"not in the lane {plan.lane}: {'; '.join(verdict.reasons)}")
        return plan

    async def _through(self, plan: Plan | None) -> None:
        plane, record, asked = self.plane, self.record, self.asked
        if self._failed is not None:
            raise self._failed
        verdict = self._checked()
        if verdict.look:
            verdict = record.verdict = await plane.policy.look(record.who, asked, verdict)
        plan = self._planned(verdict, plan)
        ways = await self.afforded(plan) if plan.costs else plan.ways
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
                self.way_over(failed.status, failed.retry_after_s)
                if number == last or not failed.elsewhere or self._told:
                    self._last_failed(way, failed)
                    return
                self._over_to_next(way, failed)

    # --- one way ---

    async def send(self, way: Way, backend: Backend, model: BackendModel) -> None:
        """Ask a backend and pass its answer on. Raises ``WayFailed``."""
        asked = self.asked
        answer, self._answer = self._answer, None
        translator: Translator | None = None
        if answer is not None and self._line is not None:
            line, at = self._line, self.sent_at
        else:
            self.sent, self.flow = False, None
            self.way_begun(way)
            line = self._lined(way, backend)
            if asked.api is Api.COUNT_TOKENS and way.api is not asked.api:
                await self.count(way, backend)
                return
            translator, body = self._request(way, model.name or asked.model)
            at = self.sent_at = time.perf_counter()
            self.sent = True
        try:
            if answer is None:
                answer = await line.client.post(line.head, body, backend.timeout_s)
            else:
                await answer.headed()
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
                body = answer.plain() or await self._all(answer, backend, MAX_ANSWER)
                self._whole(way, backend, body, (kind, passed), translator)
        finally:
            answer.leave()
            self.out.valve = None

    def _lined(self, way: Way, backend: Backend) -> Line:
        try:
            return self.plane.upstreams.line(backend, self.asked, way.api)
        except BackendFailed as error:
            raise WayFailed(error) from None

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
        self.way_over(200)
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
        self.way_over(200)
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
            self.way_over(status)
            self.out.write(last)
            self.out.end()
            return
        self.broken(backend)
        cut = faults.not_whole(backend.name, broke or "no end was sent")
        if not flow.told:
            raise WayFailed(cut, elsewhere=True)
        self.way_over(0)
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
            self.way_over(0)
            self.settle(None, status=error.status, error=error)
            self.out.abort()
            return
        flow.begin()
        self.settle(None, status=200)
        self.way_over(200)
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

    def _over_to_next(self, way: Way, failed: WayFailed) -> None:
        """On to the next way."""
        name = way.backend.name if way.backend else LOCAL
        self.tried.append(f"{way.model.called or name} at {name}: {failed.error.message}")
        log.info("a call goes on to the next model: %s", self.tried[-1])
        if self.sent and way.model.paid and failed.status == 0:
            self.extra_micro += self.most_micro(way.model)
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
