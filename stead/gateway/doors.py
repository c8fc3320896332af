"""The model door on the gateway's port: keys, the plane, and what is for the agent."""

from __future__ import annotations

from starlette.types import Scope

from stead.core.errors import SteadError, UnknownModel
from stead.gateway.auth import Keys, bearer
from stead.gateway.exchange import Exchange, Pairs, Place
from stead.gateway.openai_routes import AGENT, STOPPING, OpenAI
from stead.gateway.talk import Stopping
from stead.inference.plane.plane import Plane
from stead.inference.seam import Api, Who

_JSON = "application/json"
_KEYS = (b"authorization", b"x-api-key", b"cookie")


class ModelDoors:
    """The :class:`~stead.gateway.exchange.Door` to the models. ``max_body`` in bytes."""

    def __init__(self, plane: Plane, keys: Keys, openai: OpenAI, *, max_body: int) -> None:
        self.max_body = max_body
        self._plane = plane
        self._keys = keys
        self._openai = openai
        self.plain = 0
        """Calls of programs, straight to a model, that are not answered to their end yet."""

    def places(self) -> list[Place]:
        """Its paths: one an API."""
        return [Place(b"/v1/" + api.value.encode(), self, api) for api in Api]

    def who(self, headers: Pairs) -> Who:
        """Whose request that is. Raises ``WrongKey``; ``Forbidden`` for a job that is over."""
        scope: Scope = {"headers": headers}
        return self._keys.who(bearer(scope))

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        who: Who = exchange.who
        if who.job_id is not None:
            await self._answer(exchange, who)
            return
        if self._openai.stopping:
            raise Stopping(STOPPING)
        self.plain += 1
        try:
            await self._answer(exchange, who)
        finally:
            self.plain -= 1

    async def _answer(self, exchange: Exchange, who: Who) -> None:
        plane, api = self._plane, exchange.place.api
        assert api is not None
        headers = dict(exchange.headers)
        for name in _KEYS:
            headers.pop(name, None)
        kind = headers.get(b"content-type")
        record = plane.read(
            api, who, exchange.body(),
            _JSON if kind is None else kind.decode("latin-1"), headers,
            exchange.query.decode("latin-1"),
        )  # fmt: skip
        asked = record.asked
        if asked is not None and asked.model == AGENT and who.job_id is None:
            if api is Api.CHAT:
                exchange.to_asgi()
                return
            error: SteadError = self._openai.unknown(AGENT, who)
            plane.refuse(record, error)
            raise error
        try:
            await plane.answer(record, exchange)
        except UnknownModel as error:  # the plane does not know of the agent
            if asked is None or who.job_id is not None:
                raise
            raise self._openai.unknown(asked.model, who) from error
