"""The parts of the model door, put together: reads requests, answers them, writes them down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from stead.core.errors import KeyRevoked, SteadError
from stead.core.ids import uuid7
from stead.core.nouns import Usage
from stead.inference.apis import table
from stead.inference.backends import LocalModel
from stead.inference.plane import reading
from stead.inference.plane.call import Call
from stead.inference.plane.light import Light
from stead.inference.plane.local import Local
from stead.inference.plane.outlet import Outlet, Pipe
from stead.inference.plane.parts import Parts, Translators
from stead.inference.plane.tokenizers import Tokenizers
from stead.inference.plane.upstreams import Upstreams
from stead.inference.seam import (
    Api,
    Asked,
    Book,
    Ended,
    LightServices,
    Plan,
    Policy,
    Record,
    Routing,
    Who,
)

log = logging.getLogger(__name__)

#: After so much silence an empty comment shows a job that we live.
ALIVE_S = 15.0


class Plane:
    """``wait_s``: how long a call waits for a local model that is not ready yet."""

    def __init__(
        self,
        *,
        policy: Policy,
        routing: Routing,
        book: Book,
        local: LocalModel | None = None,
        wait_s: float = 0.0,
        translators: Translators = table.for_asked,
        alive_s: float = ALIVE_S,
        services: LightServices | None = None,
    ) -> None:
        upstreams = Upstreams()
        self.parts = Parts(
            policy, routing, book, Local(local, wait_s=wait_s, alive_s=alive_s),
            Light(services, upstreams), upstreams, Tokenizers(upstreams), translators, alive_s,
        )  # fmt: skip
        self._beside: set[asyncio.Task[None]] = set()

    def read(
        self,
        api: Api,
        who: Who,
        body: bytes,
        content_type: str = "application/json",
        headers: Mapping[bytes, bytes] | None = None,
        query: str = "",
    ) -> Record:
        """A request as it came. Raises ``BadRequest``; that is written down, too."""
        record = Record(uuid7(), time.time_ns() // 1_000_000, who, api)
        try:
            record.asked = reading.read(api, body, content_type, headers, query)
        except SteadError as error:
            self.refuse(record, error)
            raise
        return record

    def refused(self, api: Api | None, who: Who, error: SteadError) -> None:
        """Write down a request that was refused before it was read."""
        if api is not None:
            self.refuse(Record(uuid7(), time.time_ns() // 1_000_000, who, api), error)

    def refuse(self, record: Record, error: SteadError) -> None:
        """Write down a request that came to nothing before it was asked of anybody."""
        if record.ended is None:
            record.ended = Ended(
                Usage(), error.status, False, 0.0, 0.0, error.code, None, error=error.message
            )
            self.parts.book.end(record)

    def call(self, record: Record, out: Outlet) -> Call:
        """A request that was read, on its way: to be started, or to be answered."""
        assert record.asked is not None
        return Call(self.parts, record, record.asked, out)

    async def answer(self, record: Record, out: Outlet) -> None:
        """Answer a request that was read. Raises a ``SteadError`` if nothing of an answer is out.

        Cancelled, it cuts the call at the backend and books what was used.
        """
        await self.go_on(self.call(record, out))

    async def go_on(self, call: Call) -> None:
        """As :meth:`answer`, with one that may have been started."""
        await call.run()
        plan = call.record.plan
        if plan is not None and plan.shadow is not None:
            self._ask_beside(call.record, call.asked, plan)

    def revoked(self, key_id: str) -> None:
        """That program's key was taken back: what is being answered to it ends in an error."""
        for call in list(self.parts.running):
            if call.record.who.key_id == key_id:
                call.cut(KeyRevoked())

    async def aclose(self) -> None:
        """Close the connections to the backends that nobody uses."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self.parts.upstreams.aclose()

    # --- the shadow: another model is asked as well, and its answer only recorded ---

    def _ask_beside(self, record: Record, asked: Asked, plan: Plan) -> None:
        assert plan.shadow is not None
        shadow = Record(uuid7(), time.time_ns() // 1_000_000, record.who, asked.api, asked)
        shadow.shadow_of = record.id
        if record.verdict is not None:  # of the rates of its key it takes nothing
            shadow.verdict = replace(record.verdict, held=None)
        only = Plan((plan.shadow,), plan.lane, f"shadow of {record.id}")
        task = asyncio.create_task(self._beside_it(shadow, asked, only))
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _beside_it(self, record: Record, asked: Asked, plan: Plan) -> None:
        pipe = Pipe()
        call = Call(self.parts, record, asked, pipe)
        try:
            answer = await pipe.answer(call.run(plan))
            async for _ in answer.body:
                pass
        except SteadError as error:
            log.info("a shadow call failed: %s", error.message)
