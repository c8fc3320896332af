"""Everything at the gateway's port that is not API: the gate, the rooms, files, errors in words."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stead.core.errors import SteadError
from stead.gateway.http import failed
from stead.pages import pwa
from stead.pages.inside import Api
from stead.pages.render import Renderer
from stead.pages.rooms import House, Room, letters, make
from stead.pages.static_files import Static
from stead.pages.visitor import Gate, Visitor, visitor_of

log = logging.getLogger(__name__)

#: https://www.w3.org/TR/CSP3/: nothing from elsewhere, nothing inline, in nobody's frame.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}
#: Of errors that a program is told.
_CODES = {404: "not_found", 405: "method_not_allowed", 500: "internal"}


class Site:
    """The ASGI application. ``api`` is the gateway's own, ``key`` the owner's."""

    def __init__(self, api: ASGIApp, key: str, gate: Gate) -> None:
        static = Static()
        self._render = Renderer(asset=static.url)
        self._asked: Callable[[Visitor], Api] = lambda visitor: Api(api, key, visitor)
        house = House(self._asked, self._render)
        rooms = make(house)
        self._gate = gate
        self._render.known.update(rooms_of=partial(_seen, rooms), letters_of=letters)
        # Files come before the gate: the page on which one signs in has them too.
        open_routes = [
            Route("/static/{mark}/{name:path}", static.serve, methods=["GET"]),
            *pwa.routes(static, self._render),
            *gate.routes(self._render),
        ]
        self._open = Starlette(routes=open_routes, exception_handlers=self._handlers())
        self._open_routes = open_routes
        self._shown = partial(_seen, rooms)
        inner = [Route("/", self._root, methods=["GET"])]
        self._rooms = Starlette(
            routes=[*inner, *(route for room in rooms for route in room.routes)],
            exception_handlers=self._handlers(),
        )
        self._members = {room.start for room in rooms if room.members} | {"/"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        request = Request(scope, receive)
        try:
            # Some clients (Claude Code) look whether anybody is there before they ask.
            if request.method != "HEAD" or request.url.path != "/":
                self._gate.check(request)
        except SteadError as error:
            await self._said(request, error.status, error.message)(scope, receive, safe)
            return
        app = await self._choose(request)
        visitor = scope.get("stead.visitor")
        if visitor is None:
            await app(scope, receive, safe)
        else:
            await self._gate.serve(visitor, app, scope, receive, safe)

    async def _choose(self, request: Request) -> ASGIApp:
        """What answers: an open page, a room, or the way to where one signs in."""
        if request.method == "HEAD" and request.url.path == "/":
            return Response()
        scope = request.scope
        if any(route.matches(scope)[0].value for route in self._open_routes):
            return self._open
        visitor = await self._gate.visitor(request)
        if visitor is None:
            return self._stranger(request)
        if not visitor.owner and not self._may(request.url.path):
            return self._said(request, 403, "This room is for the owner of the house.")
        scope["stead.visitor"] = visitor
        if visitor.owner and _whole_page(request):
            scope["stead.counts"] = await self._counts(visitor)
        return self._rooms

    async def _counts(self, visitor: Visitor) -> dict[str, int]:
        """What waits, by room, for the navigation; open pages have it from their stream."""
        try:
            return {
                "approvals": (await self._asked(visitor).get("/api/v1/approvals", limit=1))["open"]
            }
        except SteadError:
            return {}

    def _may(self, path: str) -> bool:
        return any(path == start or path.startswith(f"{start}/") for start in self._members)

    def _stranger(self, request: Request) -> Response:
        headers, way_in = request.headers, self._gate.sign_in
        html = "text/html" in headers.get("accept", "")
        seen = headers.get("sec-fetch-mode", "navigate") == "navigate"
        if way_in and request.method == "GET" and html and seen:
            asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            query = f"?{urlencode({'next': asked})}" if asked != "/" else ""
            if headers.get("sec-fetch-site") == "cross-site":
                # Who follows a link from elsewhere shows no cookie; who comes from here does.
                return self._render.page(request, "bounce.html", to=f"{way_in}/back{query}")
            return RedirectResponse(f"{way_in}{query}", 303)
        if not html and not headers.get("hx-request"):
            return self._said(request, 404, f"There is no {request.url.path} here.")
        answer = self._said(request, 401, "You are not signed in.")
        if way_in:
            answer.headers["HX-Redirect"] = way_in  # the page that asked goes there
        return answer

    async def _root(self, request: Request) -> Response:
        seen = self._shown(visitor_of(request))
        if not seen:
            return self._render.page(request, "empty.html")
        return RedirectResponse(seen[0].start, 303)

    def _handlers(self) -> dict[int | type[Exception], Callable[..., Response]]:
        def known(request: Request, error: SteadError) -> Response:
            return self._said(request, error.status, error.message)

        def nothing(request: Request, error: Exception) -> Response:
            return self._said(request, 404, "There is no such page here.")

        def method(request: Request, error: Exception) -> Response:
            return self._said(request, 405, f"This page does not take {request.method}.")

        def unknown(request: Request, error: Exception) -> Response:
            log.error("%s %s failed", request.method, request.url.path, exc_info=error)
            return self._said(request, 500, "stead failed on this; `stead logs` says more.")

        return {SteadError: known, 404: nothing, 405: method, Exception: unknown}

    def _said(self, request: Request, status: int, words: str) -> Response:
        if "text/html" not in request.headers.get("accept", ""):  # a program, perhaps astray
            astray = SteadError(f"{words} README.md lists what there is.")
            astray.status, astray.kind, astray.code = (
                status,
                "invalid_request_error",
                _CODES.get(status, "refused"),
            )
            return failed(astray)
        return self._render.page(request, "error.html", status=status, code=status, words=words)


def _whole_page(request: Request) -> bool:
    """Whether a browser comes for a page with its navigation."""
    head = request.headers
    return (
        request.method == "GET"
        and "text/html" in head.get("accept", "")
        and head.get("hx-request") != "true"
    )


def _seen(rooms: list[Room], visitor: Visitor | None) -> list[Room]:
    """The rooms that stand in the navigation of a visitor."""
    if visitor is None:
        return []
    return [room for room in rooms if room.shown and (visitor.owner or room.members)]
