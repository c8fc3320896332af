"""The owner's API to what is known of people and things: the graph, and contacts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, number, read_body
from stead.gateway.remembered_routes import between, text

_LAST_MS = 253_402_300_799_999
"""The end of the year 9999."""


class Known(Protocol):
    """What the routes ask (:mod:`stead.app.known`); all of it waits for the disk."""

    def entities(self, *, like: str, kind: str, after: str, limit: int) -> dict[str, Any]: ...

    def entity(self, name: str, *, as_of: int, known_at: int, history: bool) -> dict[str, Any]: ...

    def operations(self, limit: int) -> dict[str, Any]: ...

    def assert_fact(self, **words: Any) -> dict[str, Any]: ...

    def close(self, fact: str, at: int, why: str) -> dict[str, Any]: ...

    def retract(self, ids: list[str], why: str) -> dict[str, Any]: ...

    def undo(self, operation: str) -> dict[str, Any]: ...

    def contacts(self, *, like: str, after: str, limit: int) -> dict[str, Any]: ...

    def contact(self, who: str) -> dict[str, Any]: ...

    def last_contact(self, who: str) -> dict[str, Any]: ...

    def add_contact(self, **words: Any) -> dict[str, Any]: ...

    def note(self, who: str, text: str) -> dict[str, Any]: ...

    def follow_up(self, who: str, text: str, due: int) -> dict[str, Any]: ...

    def due(self, until: int) -> dict[str, Any]: ...

    def done(self, what: str) -> dict[str, Any]: ...

    def remove(self, who: str) -> dict[str, Any]: ...


class _Fact(msgspec.Struct):
    subject: str
    predicate: str
    value: str
    since: int = 0
    until: int = 0
    """When it held, in ms; 0: not said."""
    kind: str = ""
    """Of a subject that is new."""
    entity: bool = False
    """``value`` is a thing of its own, too."""


class _Close(msgspec.Struct):
    at: int = 0
    """0: now."""
    why: str = ""


class _Retract(msgspec.Struct):
    ids: list[str]
    """Of facts, or of things that are not wanted."""
    why: str = ""


class _UndoOperation(msgspec.Struct):
    operation: str = ""
    """Empty: the last."""


class _Contact(msgspec.Struct):
    name: str
    emails: list[str] = []
    phones: list[str] = []
    organisation: str = ""


class _Note(msgspec.Struct):
    text: str


class _FollowUp(msgspec.Struct):
    text: str
    due: int
    """In ms."""


class KnownRoutes:
    """``/api/v1/memory/graph`` and ``/api/v1/contacts``, with the owner's key."""

    def __init__(self, known: Callable[[], Known], keys: Keys, *, max_body: int) -> None:
        self._known = known
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        return [*self._graph_routes(), *self._contact_routes()]

    def _graph_routes(self) -> list[Route]:
        route, at = self._keys.owner_route, "/memory/graph"
        pages = {"like": str, "after": str, "limit": int}
        times = {"as_of": int, "known_at": int, "history": int}
        return [
            route(
                at, self._entities, "GET", about="People, places and things that are known",
                asks={**pages, "kind": str},
            ),
            route(
                f"{at}/entity", self._entity, "GET",
                about="What is known of one, or was, or held then", asks={"name": str, **times},
            ),
            route(
                f"{at}/operations", self._operations, "GET", about="What was written, last first",
                asks={"limit": int},
            ),
            route(f"{at}/facts", self._assert, "POST", about="Say that it holds", takes=_Fact),
            route(
                f"{at}/facts/{{id}}/close", self._close, "POST", about="Say that it ended",
                takes=_Close,
            ),
            route(
                f"{at}/retract", self._retract, "POST", about="Say that it never held",
                takes=_Retract,
            ),
            route(
                f"{at}/undo", self._undo, "POST", about="Take back what was written",
                takes=_UndoOperation,
            ),
        ]  # fmt: skip

    def _contact_routes(self) -> list[Route]:
        route, at = self._keys.owner_route, "/contacts"
        return [
            route(
                at, self._contacts, "GET", about="People one can reach",
                asks={"like": str, "after": str, "limit": int},
            ),
            route(at, self._add, "POST", about="Add somebody", takes=_Contact),
            route(f"{at}/due", self._due, "GET", about="What is due", asks={"until": int}),
            route(f"{at}/due/{{id}}/done", self._done, "POST", about="It is done"),
            route(f"{at}/{{who}}", self._contact, "GET", about="All that is known of somebody"),
            route(f"{at}/{{who}}", self._remove, "DELETE", about="Take out; it can be undone"),
            route(
                f"{at}/{{who}}/last", self._last, "GET", about="When they were last heard of"
            ),
            route(f"{at}/{{who}}/notes", self._note, "POST", about="A note", takes=_Note),
            route(
                f"{at}/{{who}}/follow-ups", self._follow_up, "POST",
                about="Something to be done by a day", takes=_FollowUp,
            ),
        ]  # fmt: skip

    # --- the graph -----------------------------------------------------------------------

    async def _entities(self, request: Request) -> Response:
        kind = text(request.query_params.get("kind", ""), "kind")
        found = await asyncio.to_thread(self._known().entities, kind=kind, **_page(request))
        return Json(found)

    async def _entity(self, request: Request) -> Response:
        query = request.query_params
        name = text(query.get("name", ""), "name")
        if not name:
            raise BadRequest("Say of whom or what: name=Anna.", param="name")
        found = await asyncio.to_thread(
            self._known().entity, name, as_of=_moment(query.get("as_of"), "as_of"),
            known_at=_moment(query.get("known_at"), "known_at"),
            history=query.get("history", "") not in ("", "0", "false"),
        )  # fmt: skip
        return Json(found)

    async def _operations(self, request: Request) -> Response:
        limit = between(request.query_params.get("limit"), "limit", 50, 1000)
        return Json(await asyncio.to_thread(self._known().operations, limit))

    async def _assert(self, request: Request) -> Response:
        body = await self._body(request, _Fact)
        for name in ("since", "until"):
            _in_time(getattr(body, name), name)
        words = msgspec.structs.asdict(body)
        return Json(await asyncio.to_thread(lambda: self._known().assert_fact(**words)))

    async def _close(self, request: Request) -> Response:
        body = await self._body(request, _Close)
        at, ident = _in_time(body.at, "at"), request.path_params["id"]
        return Json(await asyncio.to_thread(self._known().close, ident, at, body.why[:1000]))

    async def _retract(self, request: Request) -> Response:
        body = await self._body(request, _Retract)
        if not body.ids:
            raise BadRequest("Say which: ids.", param="ids")
        return Json(await asyncio.to_thread(self._known().retract, body.ids, body.why[:1000]))

    async def _undo(self, request: Request) -> Response:
        body = await self._body(request, _UndoOperation)
        return Json(await asyncio.to_thread(self._known().undo, body.operation))

    # --- contacts ------------------------------------------------------------------------

    async def _contacts(self, request: Request) -> Response:
        return Json(await asyncio.to_thread(self._known().contacts, **_page(request)))

    async def _contact(self, request: Request) -> Response:
        return Json(await asyncio.to_thread(self._known().contact, _who(request)))

    async def _last(self, request: Request) -> Response:
        return Json(await asyncio.to_thread(self._known().last_contact, _who(request)))

    async def _add(self, request: Request) -> Response:
        words = msgspec.structs.asdict(await self._body(request, _Contact))
        made = await asyncio.to_thread(lambda: self._known().add_contact(**words))
        return Json(made, status_code=201)

    async def _note(self, request: Request) -> Response:
        body = await self._body(request, _Note)
        return Json(await asyncio.to_thread(self._known().note, _who(request), body.text))

    async def _follow_up(self, request: Request) -> Response:
        body = await self._body(request, _FollowUp)
        due = _in_time(body.due, "due")
        made = await asyncio.to_thread(self._known().follow_up, _who(request), body.text, due)
        return Json(made)

    async def _due(self, request: Request) -> Response:
        until = _moment(request.query_params.get("until"), "until")
        return Json(await asyncio.to_thread(self._known().due, until))

    async def _done(self, request: Request) -> Response:
        return Json(await asyncio.to_thread(self._known().done, request.path_params["id"]))

    async def _remove(self, request: Request) -> Response:
        return Json(await asyncio.to_thread(self._known().remove, _who(request)))

    async def _body(self, request: Request, kind: type[Any]) -> Any:
        raw = await read_body(request.scope, request.receive, self._max_body)
        return decode(raw or b"{}", kind)


def _page(request: Request) -> dict[str, Any]:
    query = request.query_params
    return {
        "like": text(query.get("like", ""), "like"),
        "after": text(query.get("after", ""), "after"),
        "limit": between(query.get("limit"), "limit", 50, 500),
    }


def _who(request: Request) -> str:
    return text(request.path_params["who"], "who")


def _moment(given: str | None, param: str) -> int:
    return _in_time(number(given, param, 0), param)


def _in_time(at: int, param: str) -> int:
    if not 0 <= at <= _LAST_MS:
        raise BadRequest(f"{param} is a time in milliseconds.", param=param)
    return at
