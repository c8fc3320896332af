"""The model door on the gateway's port: keys, the plane, and what is for the agent."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from stead.core.errors import SteadError, UnknownModel, WrongKey
from stead.gateway.auth import Keys, Shown
from stead.gateway.exchange import Exchange, Pairs, Place
from stead.gateway.meter import Meter
from stead.gateway.openai_routes import AGENT, STOPPING, OpenAI
from stead.gateway.talk import Stopping
from stead.inference.plane.call import Call
from stead.inference.plane.plane import Plane
from stead.inference.plane.upstreams import WANTED
from stead.inference.seam import Api, Record, Who

_JSON, _PLAIN = "application/json", b"application/json"


@dataclass(frozen=True, slots=True)
class Asker:
    """What a head says of who asks, and how."""

    key: Shown
    kind: str
    """Of the body."""
    wanted: dict[bytes, bytes] | None
    """Headers that a backend may have to see."""


def _wanted(headers: Pairs) -> tuple[str, dict[bytes, bytes] | None]:
    """The content type, and the headers that a backend may have to see."""
    kind, wanted = _JSON, None
    for name, value in headers:
        if name in WANTED:
            if name != b"content-type":
                wanted = {**(wanted or {}), name: value}
            elif value != _PLAIN:
                kind = value.decode("latin-1")
    return kind, wanted


class ModelDoors:
    """The :class:`~stead.gateway.exchange.Door` to the models. ``max_body`` in bytes."""

    def __init__(
        self, plane: Plane, keys: Keys, openai: OpenAI, meter: Meter, *, max_body: int
    ) -> None:
        self.max_body = max_body
        self._plane = plane
        self._keys = keys
        keys.when_revoked.append(plane.revoked)
        self._openai = openai
        self._meter = meter
        self.plain = 0
        """Calls of programs, straight to a model, that are not answered to their end yet."""

    def places(self) -> list[Place]:
        """Its paths: one an API."""
        return [Place(b"/v1/" + api.value.encode(), self, api) for api in Api]

    def who(self, headers: Pairs) -> Who:
        """Whose request that is. Raises ``WrongKey``; ``Forbidden`` for a job that is over."""
        scope: Scope = {"headers": headers}
        try:
            return self._keys.asks(scope)
        except WrongKey:
            self._meter.wrong_key()
            raise

    def asker(self, headers: Pairs) -> Asker | None:
        """Who asks by such a head, and how; good while the keys stay as they are."""
        shown = self._keys.shown({"headers": headers})
        return Asker(shown, *_wanted(headers)) if shown is not None else None

    def still(self, asker: Asker) -> Who | None:
        """Whose request that is, if his key is as it was."""
        return asker.key.who if self._keys.holds(asker.key) else None

    def begin(self, exchange: Exchange) -> bool:
        """Begin to answer one request; a program's needs no task while all goes well."""
        who: Who = exchange.who
        program = who.job_id is None
        if program and self._openai.stopping:
            stopping = Stopping(STOPPING)
            self.refused(exchange, stopping)
            raise stopping
        asker: Asker | None = exchange.asker
        kind, headers = (asker.kind, asker.wanted) if asker else _wanted(exchange.headers)
        record = self._plane.read(
            exchange.place.api or Api.CHAT, who, exchange.body(), kind, headers,
            exchange.query.decode("latin-1") if exchange.query else "",
        )  # fmt: skip
        exchange.call_id = record.id.encode()
        if program and record.asked is not None and record.asked.model == AGENT:
            self._agent(exchange, record)
            return True
        call = exchange.call = self._plane.call(record, exchange)
        if not program:
            return False
        self.plain += 1
        exchange.taskless = began = call.start(exchange.go_on)
        return began

    def over(self, exchange: Exchange) -> None:
        """What was begun is answered."""
        self.plain -= 1

    def left(self, exchange: Exchange) -> None:
        """Its client has gone: the backend is told so, and what it used is booked."""
        self.plain -= 1
        exchange.call.leave()

    async def serve(self, exchange: Exchange) -> None:
        """Answer what was begun, with all that may have to be waited for."""
        call: Call = exchange.call
        program = call.record.who.job_id is None
        try:
            await self._plane.go_on(call)
        except UnknownModel as error:  # the plane does not know of the agent
            if not program:
                raise
            asked, who = call.asked, call.record.who
            raise self._openai.unknown(asked.model, who, asked.api) from error
        finally:
            self.plain -= program

    def refused(self, exchange: Exchange, error: SteadError) -> None:
        """It has a row all the same."""
        self._plane.refused(exchange.place.api, exchange.who, error)

    def _agent(self, exchange: Exchange, record: Record) -> None:
        """What is for the agent is for the application; it knows one shape."""
        if record.api is Api.CHAT:
            exchange.to_asgi()
            return
        error: SteadError = self._openai.unknown(AGENT, record.who)
        self._plane.refuse(record, error)
        raise error
