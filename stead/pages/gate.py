"""The gate of who shows the owner's key with each request: programs, tests, and curl."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from stead.core.errors import WrongKey
from stead.gateway.auth import bearer
from stead.pages.visitor import Visitor


class KeyGate:
    """Lets in who shows the owner's key. ``right`` raises ``WrongKey`` for another."""

    sign_in = ""

    def __init__(self, right: Callable[[Request], None]) -> None:
        self._right = right

    def routes(self, render: Any) -> Sequence[BaseRoute]:
        return ()

    def check(self, request: Request) -> None:
        """Who shows a key is no browser that another page could lead."""

    async def visitor(self, request: Request) -> Visitor | None:
        if not bearer(request.scope):
            return None
        try:
            self._right(request)
        except WrongKey:
            return None
        return Visitor()

    async def serve(
        self, visitor: Visitor, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await app(scope, receive, send)
