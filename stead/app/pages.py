"""The page, made when the first browser comes: a gateway that nobody looks at does without."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class Pages:
    """The ASGI application of everything that is not API.

    ``right`` raises ``WrongKey`` unless the owner's key was shown. What is needed to make the site
    (templates, Markdown) is loaded in a thread: other requests go on.
    """

    def __init__(self, key: str, right: Callable[[Scope], None]) -> None:
        self._key = key
        self._right = right
        self._made: ASGIApp | None = None
        self._making = asyncio.Lock()
        self.api: ASGIApp | None = None
        """The gateway's own; given before the first request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._made or await self._once())(scope, receive, send)

    async def _once(self) -> ASGIApp:
        async with self._making:
            if self._made is None:
                self._made = await asyncio.to_thread(self._make)
            return self._made

    def _make(self) -> ASGIApp:
        assert self.api is not None
        gates = importlib.import_module("stead.pages.gate")
        site = importlib.import_module("stead.pages.site")

        def right(request: Request) -> None:
            self._right(request.scope)

        made: ASGIApp = site.Site(self.api, self._key, gates.KeyGate(right))
        return made
