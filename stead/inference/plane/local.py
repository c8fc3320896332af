"""The local model as a way: it has little room, and may not be there yet."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Protocol

from stead.core.errors import ModelNotReady
from stead.core.states import Failure, Lane
from stead.inference import modelstate
from stead.inference.backends import Backend, BackendModel, LocalModel
from stead.inference.plane.failed import WayFailed
from stead.inference.seam import Api, Asked, Record, Way
from stead.inference.turns import Turns

#: How often a model that is not ready is looked at.
_LOOK_S = 0.1
#: How often the words may change.
_WORDS_S = 1.0
#: How often a local model that says it is ready, but refuses, is tried again.
_KNOCKS = 20
#: Local models that answer as many at once as there are.
_ROOMY = frozenset({"scripted"})


class Call(Protocol):
    """A call as it is seen from here."""

    record: Record
    asked: Asked
    way: Way | None
    sent: bool

    async def send(self, way: Way, backend: Backend, model: BackendModel) -> None: ...

    async def count(self, way: Way, backend: Backend | None) -> None: ...

    def comment(self, words: bytes) -> None: ...


class Local:
    """Waits for the local model, gives background calls their turns, asks it.

    ``wait_s``: how long a call waits for a model that is not ready yet.
    """

    def __init__(self, model: LocalModel | None, *, wait_s: float, alive_s: float) -> None:
        self._model = model
        self.wait_s = wait_s
        self._alive_s = alive_s
        self._turns = Turns()

    def forget(self) -> None:
        """Look at its state anew."""
        if self._model is not None:
            self._model.forget()

    async def answer(self, call: Call, way: Way) -> None:
        """Raises ``WayFailed`` or ``ModelNotReady``."""
        local = self._model
        if local is None:
            raise WayFailed(ModelNotReady(why="the local model is off"))
        if call.asked.api is Api.COUNT_TOKENS:  # which needs no turn, nor a model that is ready
            state = local.state()
            await call.count(way, local.backend(state) if state.phase == "ready" else None)
            return
        if call.record.who.lane == Lane.CHAT or local.state().model in _ROOMY:
            await self._arrive(call, way, local)
            return
        turn = self._turns.ask()
        try:
            await self._in_turn(call, turn)
            await self._arrive(call, way, local)
        finally:
            self._turns.end(turn)

    async def _in_turn(self, call: Call, turn: asyncio.Future[None]) -> None:
        if not call.asked.stream:
            await turn
            return
        while not turn.done():
            await asyncio.wait((turn,), timeout=self._alive_s)
            if not turn.done():
                call.comment(b":\n\n")

    async def _arrive(self, call: Call, way: Way, local: LocalModel) -> None:
        until = time.monotonic() + self.wait_s
        knocks = 0
        while True:
            state = local.state()
            if state.phase != "ready":
                await self._until_ready(call, local, until)
                state = local.state()
            if not way.model.name:  # it was not known when the call came
                model = replace(
                    way.model, name=state.model, tools=state.tools, prompt=state.prompt,
                    context=state.context,
                )  # fmt: skip
                way = call.way = replace(way, model=model)
            try:
                await call.send(way, local.backend(state), way.model)
                return
            except WayFailed as failed:
                local.forget()
                # Its process may have died a moment ago; nothing was sent, so ask again.
                knocks += 1
                if call.sent or failed.error.failure is not Failure.NETWORK or knocks > _KNOCKS:
                    raise
                await asyncio.sleep(_LOOK_S * 2)

    async def _until_ready(self, call: Call, local: LocalModel, until: float) -> None:
        """Return when the local model is ready; say meanwhile what it is doing."""
        said, said_at = "", 0.0
        while (state := local.state()).phase != "ready":
            words = modelstate.words(state)
            if state.phase in ("failed", "missing", "off"):
                raise WayFailed(ModelNotReady(why=words))
            now = time.monotonic()
            if now >= until:
                why = f"{words}, and {self.wait_s:g} s of waiting are over (model.wait_s)"
                raise WayFailed(ModelNotReady(why=why))
            if not call.asked.stream:
                pass
            elif words != said and now - said_at >= _WORDS_S:
                said, said_at = words, now
                verb = "waiting for" if state.phase in ("fetching", "loading") else "waiting:"
                call.comment(f": stead {verb} {words}\n\n".encode())
            elif now - said_at >= self._alive_s:
                said_at = now
                call.comment(b":\n\n")
            await asyncio.sleep(_LOOK_S)
