"""The addresses of the chat room."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.pages.chat import live
from stead.pages.chat.given import fields, shown
from stead.pages.chat.markdown import harmless
from stead.pages.inside import Api, Refused
from stead.pages.rooms import House, Room

#: Messages of a page, and characters of each that are shown at once.
PAGE, MOST = 60, 20_000
#: Characters of a piece of a long message, where it is read by itself.
_PIECE = 200_000
_SESSIONS = 60

View = dict[str, Any]


def room(house: House) -> Room:
    chat = _Chat(house)
    return Room(
        "chat",
        "Chat",
        [
            Route("/chat", chat.talk, methods=["GET"]),
            Route("/chat/new", chat.new, methods=["GET"]),
            Route("/chat/older", chat.older, methods=["GET"]),
            Route("/chat/events", chat.events, methods=["GET"]),
            Route("/chat/conversations", chat.conversations, methods=["GET"]),
            Route("/chat/conversations", chat.change, methods=["POST"]),
            Route("/chat/message/{id}", chat.message, methods=["GET"]),
            Route("/chat/tools/{id}", chat.tools, methods=["GET"]),
            Route("/chat/say", chat.say, methods=["POST"]),
            Route("/chat/again", chat.again, methods=["POST"]),
            Route("/chat/stop", chat.stop, methods=["POST"]),
            Route("/chat/approve", chat.approve, methods=["POST"]),
        ],
        members=True,
    )


class _Chat:
    def __init__(self, house: House) -> None:
        self._house = house
        self._render = house.render
        self._render.filters["harmless"] = harmless

    # --- to read ------------------------------------------------------------------------

    async def talk(self, request: Request) -> Response:
        """One conversation: the newest messages, or those before a place."""
        api, query = self._house.api(request), request.query_params
        session = query.get("s") or await _last(api)
        before = _number(query.get("before"))
        page = await api.get("/api/v1/messages", session=session, before=before, limit=PAGE,
                             most=MOST, read="1")  # fmt: skip
        messages = await shown(page["messages"])
        state = await _state(api, session)
        return self._render.page(
            request,
            "chat/talk.html",
            session=session,
            state=state,
            messages=messages,
            more=page.get("more", False),
            before=before or 0,
            after=messages[-1]["seq"] if messages else 0,
            token=secrets.token_hex(12),
            recent=(await api.get("/api/v1/sessions", limit=12))["sessions"],
        )

    async def new(self, request: Request) -> Response:
        """A conversation in which nothing was said yet."""
        return RedirectResponse(_address(f"c-{secrets.token_hex(6)}"), 303)

    async def older(self, request: Request) -> Response:
        """Messages before a place, for a page that is there."""
        api, query = self._house.api(request), request.query_params
        page = await api.get("/api/v1/messages", session=query.get("s", "main"),
                             before=_number(query.get("before")), limit=PAGE, most=MOST,
                             read="1")  # fmt: skip
        html = "".join([self.one(request, message) for message in await shown(page["messages"])])
        return HTMLResponse(html, headers={"Stead-More": "1" if page.get("more") else "",
                                           "Cache-Control": "no-store"})  # fmt: skip

    def one(self, request: Request, message: View) -> str:
        """A message as HTML."""
        return self._render.part(request, "chat/message.html", "message", one=message)

    def standing(self, request: Request, state: View) -> str:
        """What is under way or asked in a conversation, as HTML."""
        return self._render.part(request, "chat/standing.html", "standing", state=state)

    async def events(self, request: Request) -> Response:
        return live.stream(self._house.api(request), request, self.one, self.standing, MOST)

    async def message(self, request: Request) -> Response:
        """One message by itself, in pieces where it is long."""
        api, ident = self._house.api(request), request.path_params["id"]
        at = _number(request.query_params.get("from")) or 0
        one = await api.get(f"/api/v1/messages/{quote(ident)}", **{"from": at, "most": _PIECE})
        return self._render.page(request, "chat/whole.html", one=one, at=at, piece=_PIECE)

    async def tools(self, request: Request) -> Response:
        """The tool calls of an answer."""
        story = await self._house.api(request).get(
            f"/api/v1/why/{quote(request.path_params['id'])}"
        )
        steps = [one for one in story["steps"] if one["name"].startswith("tool:")]
        return self._render.page(request, "chat/tools.html", steps=steps, job=story["job"])

    async def conversations(self, request: Request) -> Response:
        """All conversations, and a search in them."""
        api, query = self._house.api(request), request.query_params
        words, before = query.get("q", "").strip(), query.get("before", "")
        found: View = {"hits": [], "next": 0}
        listed: View = {"sessions": [], "next": ""}
        if words:
            found = await api.get("/api/v1/search", q=words, before=_number(before), limit=40)
            if not before:
                listed = await api.get("/api/v1/sessions", like=words, limit=10)
        else:
            listed = await api.get("/api/v1/sessions", before=before or None, limit=_SESSIONS)
        for hit in found["hits"]:
            hit["pieces"] = _pieces(hit["snippet"], hit["marks"])
        return self._render.page(
            request, "chat/conversations.html", words=words, hits=found["hits"],
            sessions=listed["sessions"], before=before,
            older=str(found["next"] or "") if words else listed["next"],
        )  # fmt: skip

    # --- to do ---------------------------------------------------------------------------

    async def say(self, request: Request) -> Response:
        """A message. The same ``token`` again changes nothing."""
        form = await fields(request)
        session = form.get("s") or "main"
        body: View = {
            "text": form.get("text", "").replace("\r\n", "\n"),
            "session": session,
            "channel": "page",
            "external_id": f"page:{form.get('token') or secrets.token_hex(12)}",
            "replaces": form.get("replaces", ""),
        }
        files = form.get("files", "").split()
        if files:
            body["files"] = files
        told = await self._house.api(request).post("/api/v1/messages", body)
        return _done(request, told, session)

    async def again(self, request: Request) -> Response:
        """The same once more, in its own place."""
        form = await fields(request)
        ident, token = form.get("id", ""), form.get("token", "")
        body = {"channel": "page"}
        if token:
            body["external_id"] = f"page:{token}"
        told = await self._house.api(request).post(f"/api/v1/messages/{quote(ident)}/again", body)
        return _done(request, told, told["session"])

    async def stop(self, request: Request) -> Response:
        """Stop what runs in a conversation, and what waits behind it."""
        session = (await fields(request)).get("s") or "main"
        api, stopped = self._house.api(request), 0
        for job in reversed((await _state(api, session))["jobs"]):
            if job["state"] in ("queued", "running"):
                try:
                    await api.post(f"/api/v1/jobs/{job['id']}/cancel")
                    stopped += 1
                except Refused as error:
                    if error.status != 409:  # it has just ended
                        raise
        return _done(request, {"stopped": stopped}, session)

    async def approve(self, request: Request) -> Response:
        """A word on a question about a call."""
        form = await fields(request)
        session, ident = form.get("s") or "main", form.get("id", "")
        body = {"answer": form.get("answer") or "answer", "text": form.get("text", "")}
        told = await self._house.api(request).post(f"/api/v1/approvals/{quote(ident)}/answer", body)
        return _done(request, told, session)

    async def change(self, request: Request) -> Response:
        """Name, end or put away a conversation."""
        form = await fields(request)
        session, what, name = form.get("s") or "main", form.get("do", ""), form.get("name", "")
        api, path = self._house.api(request), f"/api/v1/sessions/{session}"
        if what == "name":
            await api.post(path, {"name": name})
        elif what == "end":
            await api.post(f"{path}/end")
        elif what == "hide":
            await api.delete(path)
            return RedirectResponse("/chat/conversations", 303)
        else:
            raise BadRequest("A conversation can be named, ended or put away.")
        return RedirectResponse(_address(session), 303)


# --- what they share ------------------------------------------------------------------------


async def _last(api: Api) -> str:
    """The conversation that was used last."""
    found = (await api.get("/api/v1/sessions", limit=1))["sessions"]
    return str(found[0]["id"]) if found else "main"


async def _state(api: Api, session: str) -> View:
    try:
        found: View = await api.get(f"/api/v1/sessions/{session}")
    except Refused as error:
        if error.status != 404:
            raise
        found = {"id": session, "title": "", "name": "", "state": "idle", "waiting": 0,
                 "turns": 0, "last_at": 0, "ended_at": 0, "jobs": []}  # fmt: skip
    return found


def _pieces(text: str, marks: list[list[int]]) -> list[tuple[str, bool]]:
    """A text in pieces, and which of them were looked for."""
    pieces, at = [], 0
    for begin, end in marks:
        pieces += [(text[at:begin], False), (text[begin:end], True)]
        at = end
    return [*pieces, (text[at:], False)]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 18 else None


def _address(session: str) -> str:
    return f"/chat?{urlencode({'s': session})}"


def _done(request: Request, told: Any, session: str) -> Response:
    """To a script what the API said; to a form the conversation."""
    if "application/json" in request.headers.get("accept", ""):
        return JSONResponse(told)
    return RedirectResponse(f"{_address(session)}#end", 303)
