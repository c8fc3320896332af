"""The owner's API to what is remembered: search it, see how the index is, have it made anew."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest, SteadError
from stead.gateway.auth import Keys
from stead.gateway.http import Json, number
from stead.memory.client import Memory
from stead.memory.index import Report
from stead.memory.nouns import Found, Layer, Question

_MOST = 200
_WITHIN_S = 20.0
_LONGEST = 2000
"""Characters of a question."""
#: The end of the year 9999.
_LAST_MS = 253_402_300_799_999


class MemoryRoutes:
    """``/api/v1/memory``, with the owner's key."""

    def __init__(self, memory: Memory, keys: Keys) -> None:
        self._memory = memory
        self._keys = keys
        self._rebuilding: asyncio.Task[None] | None = None
        self._done = (0, 0)
        self._last: Report | None = None
        self._why = ""

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        asks: dict[str, type] = {
            **dict.fromkeys(("q", "layer", "person", "session"), str),
            **dict.fromkeys(("limit", "since", "until", "as_of", "exact"), int),
        }
        return [
            route("/memory/search", self._search, "GET", about="What is remembered", asks=asks),
            route("/memory/stats", self._stats, "GET", about="How the index is"),
            route("/memory/refresh", self._refresh, "POST", about="Read changed files now"),
            route("/memory/reindex", self._state, "GET", about="How far a new index is"),
            route(
                "/memory/reindex", self._reindex, "POST",
                about="Make the index anew; it goes on by itself",
            ),
        ]  # fmt: skip

    async def _search(self, request: Request) -> Response:
        found = await self._memory.search(question_of(request), _WITHIN_S)
        return Json(shown(found))

    async def _stats(self, request: Request) -> Response:
        return Json(await self._memory.stats())

    async def _refresh(self, request: Request) -> Response:
        return Json(await self._memory.refresh())

    async def _state(self, request: Request) -> Response:
        running = self._rebuilding is not None and not self._rebuilding.done()
        done, total = self._done
        return Json(
            {
                "running": running,
                "done": done,
                "total": total,
                "report": None if running else self._last,
                "why": "" if running else self._why,
            }
        )

    async def _reindex(self, request: Request) -> Response:
        """Begins one, if none is under way; 202. GET tells how far it is."""
        if self._rebuilding is None or self._rebuilding.done():
            self._done, self._last, self._why = (0, 0), None, ""
            self._rebuilding = asyncio.create_task(self._rebuild(), name="a new index")
        return Json({"running": True}, status_code=202)

    async def _rebuild(self) -> None:
        def progress(done: int, total: int) -> None:
            self._done = (done, total)

        try:
            self._last = await self._memory.reindex(progress)
        except SteadError as error:
            self._why = error.message


def question_of(request: Request) -> Question:
    """The question of a query string. Raises ``BadRequest``."""
    given = request.query_params
    text = given.get("q", "")
    if len(text) > _LONGEST:
        raise BadRequest(f"A question may have at most {_LONGEST} characters.", param="q")
    limit = number(given.get("limit"), "limit", 10)
    if not 1 <= limit <= _MOST:
        raise BadRequest(f"limit may be from 1 to {_MOST}.", param="limit")
    times = {}
    for name in ("since", "until", "as_of"):
        times[name] = number(given.get(name), name, 0)
        if not 0 <= times[name] <= _LAST_MS:
            raise BadRequest(f"{name} is a time in milliseconds.", param=name)
    return Question(
        text,
        limit=limit,
        layers=frozenset(map(_layer, given.getlist("layer"))),
        person=given.get("person", ""),
        session=given.get("session", ""),
        exact=given.get("exact", "") not in ("", "0", "false"),
        since=times["since"],
        until=times["until"],
        as_of=times["as_of"],
    )


def _layer(name: str) -> Layer:
    try:
        return Layer(name)
    except ValueError:
        said = f"there is no layer {name!r}; there are: {', '.join(Layer)}"
        raise BadRequest(f"{said}.", param="layer") from None


def shown(found: Found) -> dict[str, Any]:
    """An answer as it is sent."""
    return {
        "hits": [
            {
                "key": hit.entry.key,
                "source": hit.entry.source,
                "score": round(hit.score, 4),
                "signals": {name: round(value, 4) for name, value in hit.signals.items()},
                "layer": hit.entry.layer,
                "path": hit.entry.path,
                "lines": hit.entry.lines,
                "text": hit.entry.text,
                "title": hit.entry.title,
                "speaker": hit.entry.speaker,
                "session": hit.entry.session,
                "at": hit.entry.at,
                "until": hit.entry.until,
                "known_at": hit.entry.known_at,
                "tags": hit.entry.tags,
                "people": hit.entry.people,
                "foreign": hit.entry.foreign,
                "ident": hit.entry.ident,
                "confidence": hit.entry.confidence,
            }
            for hit in found.hits
        ],
        "stale": found.stale,
        "meant": found.meant,
        "took_ms": found.took_ms,
    }
