"""The model door on the gateway's port: keys, the plane, and what is for the agent."""

from __future__ import annotations

from starlette.types import Scope

from stead.core.errors import SteadError, UnknownModel, WrongKey
from stead.gateway.auth import Keys, bearer
from stead.gateway.exchange import Exchange, Pairs, Place
from stead.gateway.meter import Meter
from stead.gateway.openai_routes import AGENT, STOPPING, OpenAI
from stead.gateway.talk import Stopping
from stead.inference.plane.plane import Plane
from stead.inference.plane.upstreams import WANTED
from stead.inference.seam import Api, Record, Who

_JSON, _PLAIN = "application/json", b"application/json"


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
            return self._keys.who(bearer(scope))
        except WrongKey:
            self._meter.wrong_key()
            raise

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        who: Who = exchange.who
        program = who.job_id is None
        if program and self._openai.stopping:
            stopping = Stopping(STOPPING)
            self.refused(exchange, stopping)
            raise stopping
        record = self._read(exchange, who)
        exchange.call_id = record.id.encode()
        asked = record.asked
        assert asked is not None
        if program:
            if asked.model == AGENT:
                self._agent(exchange, record)
                return
            self.plain += 1
        try:
            await self._plane.answer(record, exchange)
        except UnknownModel as error:  # the plane does not know of the agent
            if not program:
                raise
            raise self._openai.unknown(asked.model, who, asked.api) from error
        finally:
            self.plain -= program

    def refused(self, exchange: Exchange, error: SteadError) -> None:
        """It has a row all the same."""
        self._plane.refused(exchange.place.api, exchange.who, error)

    def _read(self, exchange: Exchange, who: Who) -> Record:
        api, query = exchange.place.api, exchange.query
        assert api is not None
        kind, headers = _JSON, None
        for name, value in exchange.headers:
            if name in WANTED:
                if name != b"content-type":
                    headers = {**(headers or {}), name: value}
                elif value != _PLAIN:
                    kind = value.decode("latin-1")
        return self._plane.read(
            api, who, exchange.body(), kind, headers, query.decode("latin-1") if query else ""
        )

    def _agent(self, exchange: Exchange, record: Record) -> None:
        """What is for the agent is for the application; it knows one shape."""
        if record.api is Api.CHAT:
            exchange.to_asgi()
            return
        error: SteadError = self._openai.unknown(AGENT, record.who)
        self._plane.refuse(record, error)
        raise error
