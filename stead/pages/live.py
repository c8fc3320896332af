"""What changes, pushed to open pages: one look for all of them, each row rendered once.

A page names what it shows (``/live?on=job&state=dead``), and gets HTML whose elements take the
place of those of the same id (``static/live.js``). Its place in the stream of changes comes with
each message, so that one that was away gets what it missed: of what is not known any more, the
rows it shows are read again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from stead.core.errors import SteadError
from stead.net.sse import Event, Parser
from stead.pages import approvals, health, jobs, nodes
from stead.pages.inside import Api
from stead.pages.rooms import House, Room
from stead.pages.shown import Bundle, Make, Shown
from stead.pages.visitor import Visitor

log = logging.getLogger(__name__)

#: Those with a place in the stream of changes, and those that are told whole at the beginning.
_PLACED = "job,approval,grant"
_STATES = "node,status"
_BEAT_S = 15.0
#: What may wait for one page. One that takes nothing for so long is let go, and comes back.
_MOST = 64


class Feed:
    """One stream of the API for all pages; it runs while there is one."""

    def __init__(self, api: Callable[[], Api], topics: str) -> None:
        self._api = api
        self._topics = topics
        self._pages: set[asyncio.Queue[Bundle | None]] = set()
        self._now: dict[tuple[str, str], dict[str, Any]] = {}
        self._task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def join(self, queue: asyncio.Queue[Bundle | None]) -> AsyncIterator[None]:
        """Put there what comes from now on; None: it has ended, or the page was too slow."""
        if self._now:  # states are told whole, to the first by the API and to the others by us
            queue.put_nowait(Bundle("", list(self._now.values())))
        self._pages.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"changes for pages: {self._topics}")
        try:
            yield
        finally:
            self._pages.discard(queue)
            if not self._pages and self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        try:
            query = {"topics": self._topics}
            async with self._api().stream("GET", "/api/v1/events", query=query) as answer:
                status, _, pieces = answer
                if status != 200:
                    log.warning("no changes for the pages: the API answered %d", status)
                    return
                await self._pass_on(pieces)
        finally:
            self._task = None
            self._now.clear()
            for queue in list(self._pages):
                _put(queue, None)

    async def _pass_on(self, pieces: AsyncIterator[bytes]) -> None:
        parser, changes = Parser(), list[dict[str, Any]]()
        async for piece in pieces:
            for item in parser.feed(piece):
                if not isinstance(item, Event):
                    continue
                if item.event == "again":
                    return  # too much at once: pages come back, and look
                if item.event != "place":
                    changes.append(msgspec.json.decode(item.data))
                    continue
                bundle, changes = Bundle(item.id, changes), []
                self._remember(bundle)
                for queue in list(self._pages):
                    _put(queue, bundle)

    def _remember(self, bundle: Bundle) -> None:
        for change in bundle.changes if self._topics == _STATES else ():
            key = change["topic"], change["id"]
            self._now.pop(key, None)
            if change["row"] is not None:
                self._now[key] = change


def _put(queue: asyncio.Queue[Bundle | None], bundle: Bundle | None) -> None:
    try:
        queue.put_nowait(bundle)
    except asyncio.QueueFull:
        queue.get_nowait()
        queue.put_nowait(None)


class Nothing:
    """A page that shows nothing of what changes, but the badges."""

    states = False

    async def changed(self, bundle: Bundle) -> str:
        return ""

    async def anew(self) -> str:
        return ""


class Live:
    """``GET /live``, for every page of the owner's."""

    def __init__(self, house: House, kinds: dict[str, Make]) -> None:
        self._house = house
        self._kinds = kinds

        def api() -> Api:
            return house.asked(Visitor())

        self._placed = Feed(api, _PLACED)
        self._states = Feed(api, _STATES)

    async def get(self, request: Request) -> StreamingResponse:
        api, query = self._house.api(request), request.query_params
        make = self._kinds.get(query.get("on", ""))
        shown = Nothing() if make is None else make(api, query)
        since = request.headers.get("last-event-id") or query.get("since", "")
        return StreamingResponse(
            self._pieces(api, shown, since if since.isdecimal() else "0"),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def _pieces(self, api: Api, shown: Shown, since: str) -> AsyncIterator[str]:
        queue: asyncio.Queue[Bundle | None] = asyncio.Queue(_MOST)
        try:
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(self._placed.join(queue))
                if shown.states:
                    await stack.enter_async_context(self._states.join(queue))
                told = await api.get("/api/v1/changes", since=since[:18], topics=_PLACED)
                place = str(told["place"])
                badge = (await api.get("/api/v1/approvals", limit=1))["open"]
                if told["whole"]:
                    html = await shown.changed(Bundle(place, told["changes"]))
                else:
                    html = await shown.anew()
                yield _message(_badge(badge) + html, place)
                async for piece in self._following(queue, shown, place):
                    yield piece
        except SteadError as error:  # the page comes back, and is told where it asks
            log.info("a page was left: %s", error.message)
        yield "retry: 1000\n\n"

    async def _following(
        self, queue: asyncio.Queue[Bundle | None], shown: Shown, place: str
    ) -> AsyncIterator[str]:
        while True:
            try:
                async with asyncio.timeout(_BEAT_S):
                    bundle = await queue.get()
            except TimeoutError:
                yield f"event: beat\nid: {place}\ndata:\n\n"
                continue
            if bundle is None:
                return
            placed = not bundle.of("node") and not bundle.of("status")
            if placed and int(bundle.place or 0) <= int(place):
                continue  # read just now
            if placed:
                place = bundle.place
            opened = [change["open"] for change in bundle.of("approval")]
            html = (_badge(opened[-1]) if opened else "") + await shown.changed(bundle)
            if html:
                yield _message(html, place)


def _message(html: str, place: str) -> str:
    """An event with HTML as a JSON text: so it is one line, whatever is in it."""
    return f"id: {place}\ndata: {msgspec.json.encode(html).decode()}\n\n"


def _badge(many: int) -> str:
    words = f'{many}<span class="sr"> waiting for your word</span>' if many else ""
    return f'<span class="count" id="count-approvals">{words}</span>'


def room(house: House) -> Room:
    """The stream, and what each room shows in it."""
    kinds: dict[str, Make] = {
        "job": jobs.rows(house),
        "story": jobs.story(house),
        "approval": approvals.rows(house),
        "node": nodes.rows(house),
        "status": health.parts(house),
    }
    live = Live(house, kinds)
    return Room("live", "", [Route("/live", live.get, methods=["GET"])], shown=False)
