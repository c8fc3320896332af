"""The page, made when the first browser comes: a gateway that nobody looks at does without."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stead.config import parse_listen
from stead.config.settings import Settings
from stead.core.people import OTHERS
from stead.core.storage import Store
from stead.gateway.app import build
from stead.gateway.auth import Keys
from stead.gateway.signin import SignIns
from stead.gateway.signin_routes import SignInRoutes


class Pages:
    """The ASGI application of everything that is not API.

    ``right`` raises ``WrongKey`` unless the owner's key was shown. ``sign_ins``: how browsers are
    let in, at the addresses ``origins``; without, there is no way in but by key. What is needed to
    make the site (templates, Markdown) is loaded in a thread: other requests go on.
    """

    def __init__(
        self, key: str, right: Callable[[Scope], None], sign_ins: SignIns | None = None,
        origins: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self._key = key
        self._right = right
        self._sign_ins = sign_ins
        self._origins = origins
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

        gate = gates.KeyGate(right)
        if self._sign_ins is not None:
            addresses = importlib.import_module("stead.pages.signin.addresses")
            signing = importlib.import_module("stead.pages.signin.gate")
            gate = signing.SignInGate(self._sign_ins, addresses.Addresses(self._origins), gate)
        made: ASGIApp = site.Site(self.api, self._key, gate)
        return made


def whole(
    settings: Settings, store: Store, keys: Keys, owner_key: str, secret: bytes,
    why_not: Callable[[], str], routes: list[BaseRoute],
) -> ASGIApp:  # fmt: skip
    """The gateway's application: the routes of the API, and the page. ``why_not``: why it is not
    ready, in words."""
    most = int(settings.gateway.max_body_mb * 1e6)
    pages, entry = pages_of(settings, store, keys, owner_key, secret, most)
    app = pages.api = build([*routes, *entry], why_not, pages)
    return app


def pages_of(
    settings: Settings, store: Store, keys: Keys, owner_key: str, secret: bytes, max_body: int
) -> tuple[Pages, list[Route]]:
    """The page, and the API of who is let in to it."""
    sign_ins = SignIns(store, secret, int(settings.page.stay_days * 86_400_000))
    keys.when_revoked.append(lambda key: sign_ins.person_gone(key.removeprefix(OTHERS)))
    routes = SignInRoutes(sign_ins, keys, page_url(settings), max_body=max_body).routes()
    return Pages(owner_key, keys.owner, sign_ins, settings.page.origins), routes


def page_url(settings: Settings) -> str:
    """Where its owner finds the page: by a name, for passkeys are for names."""
    if settings.page.origins:
        return settings.page.origins[0]
    host, port = parse_listen(settings.listen)
    if host in ("127.0.0.1", "::1", "0.0.0.0", "::"):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
