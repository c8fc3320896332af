"""The ASGI application: every route of the gateway, the hot ones first."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stead.core.errors import SteadError
from stead.gateway.http import Json, failed


def build(routes: list[BaseRoute], ready: Callable[[], str]) -> Starlette:
    """The application. ``ready()`` is empty when all is well, else what is missing, in words."""

    async def healthz(request: Request) -> Response:
        return Json({"ok": True})

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

    return Starlette(
        routes=[
            *routes,
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
        ],
        exception_handlers={404: not_found, 405: wrong_method},
    )
