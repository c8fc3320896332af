"""The owner's API of what changes: lists are told of each row, and need not be read again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.core.errors import BadRequest, NotFound, SteadError
from stead.core.news import News
from stead.core.people import OWNER
from stead.core.storage import Store, View
from stead.gateway.auth import Keys
from stead.gateway.http import Endpoint, Json, comment, number, sse, stream
from stead.gateway.status import Status

TOPICS = ("job", "approval", "grant", "node", "status")
#: Of these all that there is is told at the beginning, and then what differs.
_STATES = ("node", "status")
#: Changes of so long are told together.
_TOGETHER_S = 0.2
_BEAT_S = 15.0
#: How often nodes and status are held against what was told of them, while somebody looks.
_LOOK_S = 1.0
#: Things of one look.
_MOST = 200


class Changes:
    """``GET /api/v1/changes`` and the same as a stream, ``GET /api/v1/events``.

    A change is ``{"topic", "id", "row"}``; its row is as the list of its topic has it: ``job``,
    ``approval``, ``grant``, ``node``; or ``status`` whole. ``row`` null: it is not there any more.
    ``whole`` false (in the stream: ``again``): not all changes since then are known, so look at
    your lists anew; what comes from that ``place`` on is told.
    """

    def __init__(self, store: Store, news: News, status: Status, keys: Keys) -> None:
        self._store = store
        self._news = news
        self._status = status
        self._keys = keys
        self._told: dict[tuple[str, str], View] = {}
        self._watched: dict[str, int] = dict.fromkeys(_STATES, 0)
        self._watch: asyncio.Task[None] | None = None

    def routes(self) -> list[Route]:
        return [
            self._keys.owner_route(
                "/changes",
                self._changes,
                "GET",
                about="What has changed since a place in time, row by row",
                asks={"since": int, "topics": str},
            ),
            Route("/api/v1/events", Endpoint(self._events), methods=["GET"]),
        ]

    async def _changes(self, request: Request) -> Response:
        place = number(request.query_params.get("since"), "since", -1)
        topics = _topics(request)
        if place < 0:
            return Json({"place": str(self._news.place), "whole": True, "changes": []})
        whole, changes = self._news.knows(place), list[View]()
        if whole:
            place, changes = await self._look(place, topics)
        else:
            place = self._news.place
        for topic in _STATES:
            changes += await self._state(topic) if topic in topics else []
        return Json({"place": str(place), "whole": whole, "changes": changes})

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._keys.owner(scope)
        request = Request(scope, receive)
        since = request.headers.get("last-event-id") or request.query_params.get("since")
        place = number(since, "since", self._news.place)
        await stream(receive, send, self._told_of(place, _topics(request)))

    async def _told_of(self, place: int, topics: Collection[str]) -> AsyncIterator[bytes]:
        news = self._news
        if not news.knows(place):
            place = news.place
            yield sse({}, event="again", ident=str(place))
        else:
            yield b": stead\n\n"  # so that who asks knows that it has begun
        async with self._looked_at(topics):
            there = [await self._state(topic) for topic in _STATES if topic in topics]
            if there:
                yield b"".join(_event(one) for state in there for one in state) + _place(place)
            while not news.closed:
                if not await news.wait(place, _BEAT_S):
                    yield comment("nothing new")
                    continue
                await asyncio.sleep(_TOGETHER_S)
                if not news.knows(place):
                    place = news.place
                    yield sse({}, event="again", ident=str(place))
                    continue
                at, changes = await self._look(place, topics)
                if changes:
                    yield b"".join(_event(one) for one in changes) + _place(at)
                place = at
        yield b"retry: 500\n" + comment("is being stopped; connect again")

    # --- the rows ------------------------------------------------------------------------

    async def _look(self, place: int, topics: Collection[str]) -> tuple[int, list[View]]:
        """What has changed after a place, as it is now; and the place that one is at then."""
        place, keys = self._news.since(place, topics, _MOST)
        by: dict[str, list[str]] = {}
        for topic, ident in keys:
            by.setdefault(topic, []).append(ident)
        found: list[View] = []
        if "job" in by:
            page = await self._store.view_jobs(ids=by["job"], limit=_MOST)
            told = self._keys.people.told
            found += [_change("job", row["id"], told(row, OWNER)) for row in page["jobs"]]
        if "approval" in by:
            page = await self._store.view_approvals(state="", jobs=by["approval"], limit=_MOST)
            rows = page["approvals"]
            found += [_change("approval", row["id"], row, open=page["open"]) for row in rows]
        for ident in by.get("grant", ()):
            found += [_change("grant", row["id"], row) for row in await self._grant(ident)]
        for ident in by.get("node", ()):
            found.append(_change("node", ident, self._told.get(("node", ident))))
        if "status" in by:
            found.append(_change("status", "", self._told.get(("status", ""))))
        return place, found

    async def _grant(self, ident: str) -> list[View]:
        if not ident:  # a new one
            return list((await self._store.view_grants(limit=5))["grants"])
        with contextlib.suppress(NotFound):
            return [await self._store.view_grant(ident)]
        return []

    async def _state(self, topic: str) -> list[View]:
        if topic == "status":
            return [_change("status", "", await self._status.whole())]
        return [_change("node", node["name"], node) for node in await self._status.nodes()]

    # --- what changes without anybody's doing --------------------------------------------

    @contextlib.asynccontextmanager
    async def _looked_at(self, topics: Collection[str]) -> AsyncIterator[None]:
        """While somebody looks at nodes or status, they are held against what was told."""
        mine = [topic for topic in _STATES if topic in topics]
        for topic in mine:
            self._watched[topic] += 1
        if mine and self._watch is None:
            self._watch = asyncio.create_task(self._compare(), name="look for changes")
        try:
            yield
        finally:
            for topic in mine:
                self._watched[topic] -= 1

    async def _compare(self) -> None:
        try:
            while any(self._watched.values()) and not self._news.closed:
                for topic in _STATES:
                    if self._watched[topic]:
                        with contextlib.suppress(SteadError):  # told by `status` when it can be
                            self._hold(topic, await self._state(topic))
                await asyncio.sleep(_LOOK_S)
        finally:
            self._watch = None

    def _hold(self, topic: str, changes: list[View]) -> None:
        now = {(topic, one["id"]): one["row"] for one in changes}
        for key in [key for key in self._told if key[0] == topic and key not in now]:
            del self._told[key]
            self._news.touch(*key)
        for key, row in now.items():
            before = self._told.get(key)
            self._told[key] = row
            if before is None or _steady(before) != _steady(row):
                self._news.touch(*key)


def _steady(row: View) -> View:
    """A row without what changes all the time of itself."""
    rest = {name: value for name, value in row.items() if name not in ("last_seen", "silent_ms")}
    if "works" in rest:
        rest["works"] = rest["works"][1:]  # how long the gateway is up
        rest["nodes"] = [_steady(node) for node in rest["nodes"]]
        rest["queue"] = {**rest["queue"], "oldest_ms": 0}
    return rest


def _change(topic: str, ident: str, row: View | None, **more: Any) -> View:
    return {"topic": topic, "id": ident, "row": row, **more}


def _event(change: View) -> bytes:
    return sse(change, event=change["topic"])


def _place(place: int) -> bytes:
    """Ends changes that are told together: where one is with them."""
    return sse({}, event="place", ident=str(place))


def _topics(request: Request) -> frozenset[str]:
    asked = request.query_params.get("topics", "")
    topics = frozenset(one for one in asked.split(",") if one) or frozenset(TOPICS)
    for topic in topics - frozenset(TOPICS):
        raise BadRequest(
            f"There is no topic {topic[:80]!r}; there are {', '.join(TOPICS)}.", param="topics"
        )
    return topics
