"""A light service as a way: where it answers is found, and it is started, when it is asked."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Protocol

from stead.core.errors import ServiceUnavailable
from stead.inference.backends import Backend, BackendModel
from stead.inference.plane.failed import WayFailed
from stead.inference.plane.upstreams import Upstreams
from stead.inference.seam import LightServices, Way

#: What a backend is whose address is found like this.
SERVICE = "service"
#: How often, and how many seconds apart, one that could not be reached is looked for.
_LOOKS, _LOOK_S = 40, 0.05


class Call(Protocol):
    """A call as it is seen from here."""

    sent: bool

    async def send(self, way: Way, backend: Backend, model: BackendModel) -> None: ...


class Light:
    """Finds the services; their connections are dropped with their processes."""

    def __init__(self, services: LightServices | None, upstreams: Upstreams) -> None:
        self._services = services
        self._upstreams = upstreams
        self._last: dict[str, Backend] = {}

    async def answer(self, call: Call, way: Way, backend: Backend) -> None:
        """Raises ``WayFailed``, with what installs a service that is missing."""
        found = await self._found(backend)
        try:
            await call.send(way, found, way.model)
        except WayFailed:
            if call.sent:
                raise
            # Its process may have ended in this very moment, which is noticed in the next: nothing
            # was sent, so the one that comes after it is asked.
            another = await self._another(backend, found)
            await call.send(way, another, way.model)

    async def _another(self, backend: Backend, found: Backend) -> Backend:
        for _ in range(_LOOKS):
            await asyncio.sleep(_LOOK_S)
            another = await self._found(backend)
            if another is not found:
                return another
        return found

    async def _found(self, backend: Backend) -> Backend:
        if self._services is None:
            raise WayFailed(ServiceUnavailable(name=backend.name, why="there are none here"))
        try:
            at = await self._services.backend(backend.name)
        except ServiceUnavailable as error:
            raise WayFailed(error, status=error.status) from None
        last = self._last.get(backend.name)
        if last is not None and last.url == at.url and last.key == at.key:
            return last
        if last is not None:
            self._upstreams.forget(last)
        found = self._last[backend.name] = replace(backend, url=at.url, key=at.key)
        return found
