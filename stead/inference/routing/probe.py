"""Looks at instances of which no traffic tells how they are. It never costs anything.

One in the house is asked for its list of models (``GET /models``): no model has to work for that.
One in the cloud is not looked at; its calls tell enough, and nobody there need know when this
house is awake.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import msgspec

from stead.core.errors import SteadError
from stead.inference.backends import Backend
from stead.inference.routing.routes import Routes
from stead.net.http import Client, HttpFailed

#: How often is thought about whom to look at; one that rests is looked at each time.
_ROUND_S = 2.0
_PATIENCE_S = 5.0
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at an instance told."""

    ok: bool
    words: str
    models: tuple[str, ...] | None = None
    """What it says it has; None if it does not say."""
    ms: float = 0.0


class _Entry(msgspec.Struct):
    id: str = ""


class _List(msgspec.Struct):
    data: list[_Entry] | None = None


async def look(backend: Backend, patience_s: float = _PATIENCE_S) -> Look:
    """Ask an instance for its models. Never raises for what the instance does."""
    began = time.perf_counter()
    try:
        headers = backend.auth()
        if backend.kind == "anthropic":
            headers["anthropic-version"] = "2023-06-01"
        async with Client(backend.url, connect_timeout=patience_s, max_body=4_000_000) as client:
            answer = await client.request("GET", "/models", headers=headers, timeout=patience_s)
    except (HttpFailed, SteadError) as error:
        return Look(False, str(error))
    except ValueError:
        return Look(False, "its address or its key holds characters that HTTP does not allow")
    ms = (time.perf_counter() - began) * 1000
    if answer.status in (401, 403):
        return Look(False, f"it refused stead's key ({answer.status})", None, ms)
    if answer.status >= 500:
        return Look(False, f"it answered {answer.status}", None, ms)
    models = None
    if answer.status == 200:
        try:
            listed = msgspec.json.decode(answer.body, type=_List)
            models = None if listed.data is None else tuple(entry.id for entry in listed.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            models = None
    return Look(True, "it answers", models, ms)


class Prober:
    """Looks now and then; its :meth:`run` is a task of the gateway."""

    def __init__(self, routes: Routes, *, round_s: float = _ROUND_S) -> None:
        self._routes = routes
        self._round_s = round_s
        self._looked: dict[str, float] = {}
        self._some = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        while True:
            await self.round()
            self._routes.health.sweep()
            await asyncio.sleep(self._round_s)

    async def round(self) -> None:
        """Look at those that are due, side by side."""
        due = self._due()
        if due:
            await asyncio.gather(*(self._look(backend) for backend in due))

    def _due(self) -> list[Backend]:
        routes = self._routes
        now = routes.health.clock()
        setup = routes.setup
        known = {backend.place for backend in setup.backends}
        self._looked = {place: at for place, at in self._looked.items() if place in known}
        due = []
        for backend in setup.backends:
            every = setup.probe_s.get(backend.name, 0.0)
            if not every or not backend.house:
                continue
            place = routes.health.place(backend.place)
            last = max(place.heard_at, self._looked.get(backend.place, -1e9))
            if now - last >= (self._round_s if place.rests_until else every):
                self._looked[backend.place] = now
                due.append(backend)
        return due

    async def _look(self, backend: Backend) -> None:
        health = self._routes.health
        async with self._some:
            before = health.place(backend.place).calls
            found = await look(backend)
        place = health.places.get(backend.place)
        if place is None:
            return  # the setup has changed meanwhile
        if found.ok:
            health.reached(backend.place)
        elif place.calls == before:  # else its calls tell better
            health.failure(backend.place, found.words, by_look=True)
