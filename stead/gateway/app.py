"""The ASGI application: every route of the gateway, the hot ones first."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stead import __version__
from stead.core.errors import SteadError
from stead.gateway.http import Json, failed
from stead.gateway.openapi import document


class _HotFirst:
    """Finds POSTs to fixed paths by one look into a table.

    Nodes and clients make hardly any other request, and the general way (its
    middleware, and a regular expression a route) costs as much as the answer.
    """

    def __init__(self, routes: list[BaseRoute], rest: ASGIApp, page: ASGIApp | None) -> None:
        self._rest = rest
        self._page = page
        #: The first words of paths that are API. What begins with another is a page.
        self._api = {"api", "v1", *(_first(str(getattr(route, "path", ""))) for route in routes)}
        self._hot = {
            route.path: route.app
            for route in routes
            if isinstance(route, Route) and route.methods == {"POST"} and "{" not in route.path
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._rest
        if scope["type"] == "http" and scope["method"] == "POST":
            app = self._hot.get(scope["path"], app)
        if app is self._rest and self._page is not None and _first(scope["path"]) not in self._api:
            app = self._page
        await app(scope, receive, send)


def _first(path: str) -> str:
    return path.split("/", 2)[1] if path.startswith("/") else path


def build(
    routes: list[BaseRoute], ready: Callable[[], str], page: ASGIApp | None = None
) -> ASGIApp:
    """The application. ``ready()`` is empty when all is well, else what is missing, in words.

    ``page`` answers all that is not API.
    """

    async def openapi(request: Request) -> Response:
        return Json(document(general.routes, __version__))

    async def healthz(request: Request) -> Response:
        return Json({"ok": True})

    async def root(request: Request) -> Response:
        if request.method != "HEAD":
            return await not_found(request, KeyError())
        return Response()

    async def readyz(request: Request) -> Response:
        missing = ready()
        return Json({"ready": not missing, "why": missing}, status_code=503 if missing else 200)

    async def not_found(request: Request, error: Exception) -> Response:
        missing = SteadError(f"There is no {request.url.path} here; README.md lists what there is.")
        missing.status, missing.kind, missing.code = 404, "invalid_request_error", "not_found"
        return failed(missing)

    async def wrong_method(request: Request, error: Exception) -> Response:
        wrong = SteadError(f"{request.url.path} does not take {request.method}.")
        wrong.status, wrong.kind, wrong.code = 405, "invalid_request_error", "method_not_allowed"
        answer = failed(wrong)
        answer.headers.update(getattr(error, "headers", None) or {})  # Allow (RFC 9110, 15.5.6)
        return answer

    general = Starlette(
        routes=[
            *routes,
            # Some clients (Claude Code) look whether anybody is there before they ask.
            *([Route("/", root, methods=["GET", "HEAD"])] if page is None else []),
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/openapi.json", openapi, methods=["GET"]),
        ],
        exception_handlers={404: not_found, 405: wrong_method},
    )
    return _HotFirst(list(general.routes), general, page)
