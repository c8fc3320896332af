"""The owner's API to conversations: their list, what happens in them, what was said, a search."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.core.errors import BadRequest, NotFound
from stead.core.nouns import Inbound
from stead.core.people import OWNER, inside, outside, person_of
from stead.core.recall import is_off_the_record
from stead.core.storage import Store, View
from stead.flow.flow import Flow
from stead.flow.live import Live
from stead.flow.sessions import Conversations, Where, without_epoch
from stead.gateway.auth import Keys
from stead.gateway.http import (
    Endpoint,
    Json,
    comment,
    decode,
    named,
    number,
    read_body,
    sse,
    stream,
)
from stead.gateway.owner_routes import identity, receipt
from stead.gateway.people import asker, note


class _Name(msgspec.Struct):
    name: str
    """Empty: it is shown by its first words again."""


class _Again(msgspec.Struct):
    external_id: str = ""
    channel: str = ""
    """Empty: that of the message."""


class Sessions:
    """``/api/v1/sessions/...`` and what belongs to it, all with the owner's key."""

    def __init__(
        self, store: Store, flow: Flow, conversations: Conversations, keys: Keys, *, max_body: int
    ) -> None:
        self._store = store
        self._flow = flow
        self._conversations = conversations
        self._keys = keys
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/sessions",
                self._list,
                "GET",
                about="Conversations, the last one used first",
                asks={"like": str, "before": str, "limit": int, "all": str},
                members=True,
            ),
            # An id may hold slashes.
            Route("/api/v1/sessions/{id:path}/events", Endpoint(self._events), methods=["GET"]),
            route(
                "/sessions/{id:path}/end",
                self._end,
                "POST",
                about="A conversation is over, until something is said in it",
                members=True,
            ),
            route(
                "/sessions/{id:path}",
                self._show,
                "GET",
                about="A conversation, and what runs",
                members=True,
            ),
            route(
                "/sessions/{id:path}",
                self._name,
                "POST",
                about="Give it a name",
                takes=_Name,
                members=True,
            ),
            route(
                "/sessions/{id:path}",
                self._hide,
                "DELETE",
                about="Take it out of the list, until something is said in it; the record keeps it",
                members=True,
            ),
            route(
                "/messages/{id}",
                self._message,
                "GET",
                about="One message, or a piece of its text",
                asks={"from": int, "most": int},
                members=True,
            ),
            route(
                "/messages/{id}/again",
                self._again,
                "POST",
                about="Say the same once more, in the place of what was said",
                takes=_Again,
                members=True,
            ),
            route(
                "/search",
                self._search,
                "GET",
                about="Words in all conversations, the newest first",
                asks={"q": str, "session": str, "before": int, "limit": int},
                members=True,
            ),
        ]

    # --- conversations -------------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        page = await self._store.view_sessions(
            person=asker(request),
            before=query.get("before", ""),
            like=query.get("like", ""),
            hidden=bool(query.get("all")),
            limit=max(1, min(500, number(query.get("limit"), "limit", 50))),
        )
        return Json({**page, "sessions": [_as_called(one, "id") for one in page["sessions"]]})

    async def _show(self, request: Request) -> Response:
        return Json(await self._view(_session(request)))

    async def _view(self, session: str) -> View:
        view = await self._store.view_session(session)
        return _as_called({**view, "jobs": [without_epoch(job) for job in view["jobs"]]}, "id")

    async def _name(self, request: Request) -> Response:
        session = _session(request)
        body = decode(await read_body(request.scope, request.receive, self._max_body), _Name)
        await self._store.name_session(session, named(body.name.strip(), 200, "name", ""))
        return await self._done(session)

    async def _end(self, request: Request) -> Response:
        session = _session(request)
        off = self._flow.off_record
        if is_off_the_record(session) and off is not None:
            await off.end(session)
        await self._store.end_session(session)
        return await self._done(session)

    async def _hide(self, request: Request) -> Response:
        session = _session(request)
        await self._store.hide_session(session)
        return await self._done(session)

    async def _done(self, session: str) -> Response:
        self._conversations.news.touch("session", session)
        return Json(await self._view(session))

    # --- what happens in one -----------------------------------------------------------------

    async def _events(self, scope: Scope, receive: Receive, send: Send) -> None:
        note(scope, self._keys.asker(scope))
        request = Request(scope, receive)
        query = request.query_params
        last, after = request.headers.get("last-event-id"), query.get("after")
        where = Where.parse(last) if last else None
        if where is None and after:
            where = Where(number(after, "after", -1))
        most = number(query.get("most"), "most", -1)
        told = self._told(
            _session(request), where, most, bool(query.get("read")), bool(query.get("quiet"))
        )
        await stream(receive, send, told)

    async def _told(
        self, session: str, where: Where | None, most: int, read: bool, quiet: bool
    ) -> AsyncIterator[bytes]:
        """``quiet``: without what is said while an answer comes, for who follows its job."""
        yield comment("is there")
        async for told in self._conversations.watch(session, where):
            if told is None:
                yield comment("is there")
                continue
            if quiet and told.type not in ("message", "state"):
                continue
            data = _as_called(told.data, "session" if told.type == "message" else "id")
            if told.type == "message" and most >= 0:
                data = cut(data, most)
            yield sse(data, event=told.type, ident=told.ident)
            if read and told.type == "message" and data["role"] != "owner":
                await self._store.fetched_messages([data["id"]])
        yield b"retry: 500\n" + comment("is being stopped; connect again")

    # --- what was said -----------------------------------------------------------------------

    async def _message(self, request: Request) -> Response:
        query = request.query_params
        found = await self._store.view_message(
            request.path_params["id"],
            at=max(0, number(query.get("from"), "from", 0)),
            most=number(query.get("most"), "most", -1),
        )
        person = asker(request)
        if person not in (OWNER, person_of(found["session"])):
            raise NotFound(what=f"message {request.path_params['id'][:80]!r}")
        return Json(_as_called(found, "session") if person != OWNER else found)

    async def _again(self, request: Request) -> Response:
        body = decode(await read_body(request.scope, request.receive, self._max_body), _Again)
        old, person = await self._store.view_message(request.path_params["id"]), asker(request)
        if person_of(old["session"]) != person:
            raise NotFound(what=f"message {request.path_params['id'][:80]!r} of yours")
        if old["pruned_at"]:
            raise BadRequest("Its words were taken out, so they cannot be said again.")
        channel = named(body.channel, 64, "channel", old["channel"])
        if person != OWNER and channel in self._flow.channels:
            channel = old["channel"]
        session = outside(old["session"])
        files = await self._store.files([one["id"] for one in old["files"]])
        accepted = await self._flow.accept(
            Inbound(
                channel=channel,
                external_id=identity(body.external_id, person),
                text=old["text"],
                session=session,
                replaces=old["id"],
                person=person,
                files=tuple(files),
            )
        )
        return Json(receipt(accepted, session), status_code=202)

    async def _search(self, request: Request) -> Response:
        query, person = request.query_params, asker(request)
        session = query.get("session", "")
        page = await self._store.view_search(
            query.get("q", ""),
            person=person,
            session=inside(person, session) if session else "",
            before=max(0, number(query.get("before"), "before", 0)),
            limit=max(1, min(200, number(query.get("limit"), "limit", 20))),
        )
        return Json({**page, "hits": [_as_called(one, "session") for one in page["hits"]]})


def routes(store: Store, flow: Flow, live: Live, keys: Keys, most: int) -> list[Route]:
    """With who looks what happens in conversations."""
    conversations = Conversations(store, live, flow.news)
    return Sessions(store, flow, conversations, keys, max_body=most).routes()


def cut(message: View, most: int) -> View:
    """A message with so much of its text, and its whole ``length``."""
    text = message["text"]
    return {**message, "text": text[:most], "length": len(text)}


def _session(request: Request) -> str:
    return inside(asker(request), named(request.path_params["id"], 200, "session", "main"))


def _as_called(view: View, where: str) -> View:
    """With the conversation called as the person does whose it is."""
    return {**view, where: outside(view[where])} if where in view else view
