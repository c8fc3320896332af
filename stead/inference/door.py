"""The model door: every model call of every caller goes through here (invariant 7).

A request is read once and passed on raw, its answer is passed back raw. Around
that: the backend is chosen, money is set aside before and booked after, a
model that is still loading is waited for, and a caller that leaves takes the
call at the backend with it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from stead.core.errors import BackendFailed, ModelNotReady, SteadError
from stead.core.nouns import ModelProfile
from stead.core.ports import Caller, Purse
from stead.core.states import Failure, Lane
from stead.inference import faults, modelstate
from stead.inference.backends import Backend, Backends, LocalModel
from stead.inference.call import DoorAnswer, ModelCall, Upstream, is_stream
from stead.inference.request import ChatRequest
from stead.inference.turns import Turns
from stead.net.http import Client

__all__ = ["ALIVE_S", "Door", "DoorAnswer"]

#: How often a model that is not ready is looked at.
_LOOK_S = 0.1
#: How often the words may change.
_WORDS_S = 1.0
#: After so much silence an empty comment shows that we live.
ALIVE_S = 15.0
#: How often a local model that says it is ready, but refuses, is tried again.
_KNOCKS = 20
#: Local models that answer as many at once as there are.
_ROOMY = frozenset({"scripted"})
_STREAM = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
]


class Door:
    """``wait_s``: how long a call waits for a local model that is not ready yet."""

    def __init__(self, backends: Backends, purse: Purse, *, wait_s: float) -> None:
        self._backends = backends
        self._purse = purse
        self._wait_s = wait_s
        self._clients: dict[str, tuple[str, Client]] = {}
        self._turns = Turns()

    async def chat(self, body: bytes, caller: Caller) -> DoorAnswer:
        """Answer ``POST /v1/chat/completions``.

        Raises a :class:`~stead.core.errors.SteadError` before the first byte.
        The answer must be iterated to its end or closed with ``aclose()``: that
        cuts the call at the backend and books what it used.
        """
        request = ChatRequest.parse(body)
        target = self._backends.find(request.model)
        local = self._backends.local
        forget = local.forget if local is not None else _nothing
        call = ModelCall(request, target, caller, self._purse, forget)
        if target.backend is not None:
            return await call.begin(self._upstream(target.backend))
        assert local is not None
        if caller.lane == Lane.CHAT or local.state().model in _ROOMY:
            return await self._local(call, local)
        if request.stream:
            return DoorAnswer(200, _STREAM, self._in_turn(call, local))
        turn = self._turns.ask()
        try:
            await turn
            return await self._local(call, local)  # all of it is here when this returns
        finally:
            self._turns.end(turn)

    async def _local(self, call: ModelCall, local: LocalModel) -> DoorAnswer:
        request = call.request
        if request.stream and local.state().phase != "ready":
            return DoorAnswer(200, _STREAM, self._late(call, local))
        async with aclosing(self._arrive(call, local)) as arriving:
            async for item in arriving:
                if isinstance(item, DoorAnswer):
                    return item
                if request.stream:  # it was said to be ready and is not: tell the client
                    return DoorAnswer(200, _STREAM, self._late(call, local))
        raise AssertionError("unreachable: _arrive yields an answer or raises")

    def models(self) -> list[dict[str, object]]:
        """The entries of ``/v1/models``."""
        return self._backends.entries()

    def profile(self, role_or_name: str) -> ModelProfile:
        """How to talk to the model that plays a role (``main``, ``light``) or has a name."""
        return self._backends.profile(role_or_name)

    async def aclose(self) -> None:
        """Close the idle connections to all backends."""
        for _, client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _upstream(self, backend: Backend) -> Upstream:
        kept = self._clients.get(backend.name)
        if kept is None or kept[0] != backend.url:
            try:
                kept = (backend.url, Client(backend.url, connect_timeout=10.0))
            except ValueError as error:
                raise BackendFailed(backend=backend.name, why=str(error)) from None
            self._clients[backend.name] = kept
        return Upstream(backend, kept[1])

    async def alive(self, body: bytes, caller: Caller) -> DoorAnswer:
        """As :meth:`chat`, for a streamed call: while its head is long in coming, comments are."""
        asked = asyncio.ensure_future(self.chat(body, caller))
        try:
            await asyncio.wait((asked,), timeout=ALIVE_S)
        except BaseException:
            await _leave(asked)
            raise
        return asked.result() if asked.done() else DoorAnswer(200, _STREAM, self._headless(asked))

    async def _headless(self, asked: asyncio.Future[DoorAnswer]) -> AsyncGenerator[bytes, None]:
        """The body of an answer that was begun before its head was known."""
        try:
            while not asked.done():
                yield b":\n\n"
                await asyncio.wait((asked,), timeout=ALIVE_S)
            async with aclosing(self._told(asked.result())) as body:
                async for piece in body:
                    yield piece
        except SteadError as error:
            yield faults.event(error)
        finally:
            await _leave(asked)

    async def _told(self, answer: DoorAnswer) -> AsyncGenerator[bytes, None]:
        """An answer whose head is out already: what is no stream becomes an event."""
        async with aclosing(answer):
            if answer.status == 200 and is_stream(dict(answer.headers)):
                async for piece in answer.body:
                    yield piece
                return
            body = b"".join([piece async for piece in answer.body])
            if answer.status == 200:
                lines = b"".join(b"data: %b\n" % line for line in body.splitlines())
                yield lines + b"\ndata: [DONE]\n\n"
            else:
                yield faults.event(faults.refusal(answer.status, body))

    # --- the local model, which has little room and may not be there yet ---

    async def _in_turn(self, call: ModelCall, local: LocalModel) -> AsyncGenerator[bytes, None]:
        """The body of a background answer, which waits for its turn first."""
        turn = self._turns.ask()
        try:
            while not turn.done():
                await asyncio.wait((turn,), timeout=ALIVE_S)
                if not turn.done():
                    yield b":\n\n"
            async with aclosing(self._late(call, local)) as body:
                async for piece in body:
                    yield piece
        finally:
            self._turns.end(turn)

    async def _late(self, call: ModelCall, local: LocalModel) -> AsyncGenerator[bytes, None]:
        """The body of a streamed answer that begins with waiting."""
        answer: DoorAnswer | None = None
        try:
            async for item in self._arrive(call, local):
                if isinstance(item, DoorAnswer):
                    answer = item
                else:
                    yield item
            assert answer is not None
            async with aclosing(self._told(answer)) as body:
                async for piece in body:
                    yield piece
        except SteadError as error:
            yield faults.event(error)
        finally:
            if answer is not None:
                await answer.aclose()

    async def _arrive(
        self, call: ModelCall, local: LocalModel
    ) -> AsyncGenerator[bytes | DoorAnswer, None]:
        """Comments while the model is not ready, and then the answer."""
        until = time.monotonic() + self._wait_s
        knocks = 0
        while True:
            async for note in self._until_ready(local, until):
                yield note
            if not call.target.model.name:  # it was not known when the call came
                call.target = self._backends.find(call.request.model)
            try:
                answer = await call.begin(self._upstream(local.backend(local.state())))
            except BackendFailed as error:
                # Its process may have died a moment ago; nothing was sent, so ask again.
                knocks += 1
                if call.sent or error.failure is not Failure.NETWORK or knocks > _KNOCKS:
                    await call.give_up(error)
                    raise
                await asyncio.sleep(_LOOK_S * 2)
                continue
            yield answer
            return

    async def _until_ready(self, local: LocalModel, until: float) -> AsyncIterator[bytes]:
        """Return when the local model is ready; say meanwhile what it is doing."""
        said, said_at = "", 0.0
        while (state := local.state()).phase != "ready":
            words = modelstate.words(state)
            if state.phase in ("failed", "missing", "off"):
                raise ModelNotReady(why=words)
            now = time.monotonic()
            if now >= until:
                raise ModelNotReady(
                    why=f"{words}, and {self._wait_s:g} s of waiting are over (model.wait_s)"
                )
            if words != said and now - said_at >= _WORDS_S:
                said, said_at = words, now
                verb = "waiting for" if state.phase in ("fetching", "loading") else "waiting:"
                yield f": stead {verb} {words}\n\n".encode()
            elif now - said_at >= ALIVE_S:
                said_at = now
                yield b":\n\n"
            await asyncio.sleep(_LOOK_S)


async def _leave(asked: asyncio.Future[DoorAnswer]) -> None:
    """Nobody waits for that call any more."""
    if asked.cancel():
        await asyncio.wait((asked,))
    if not asked.cancelled() and asked.exception() is None:
        await asked.result().aclose()


def _nothing() -> None:
    pass
