"""The gate of browsers: a cookie that is looked up by its hash, and the ways to get one."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stead.core.errors import BadRequest, SteadError, WrongKey
from stead.core.signin import Device
from stead.gateway.auth import bearer
from stead.gateway.http import Json, failed, read_body
from stead.gateway.signin import Comer, SignIns
from stead.pages.gate import KeyGate
from stead.pages.held import Held
from stead.pages.render import Renderer
from stead.pages.signin.addresses import Address, Addresses
from stead.pages.signin.browsers import in_words
from stead.pages.signin.passkeys import BadPasskey, Passkeys, names
from stead.pages.visitor import Visitor

#: Longest that browsers keep a cookie (RFC 6265bis, section 5.5). The gateway decides.
_YEAR_S = 400 * 86_400
_MOST_BODY = 64 * 1024
#: A passkey is added by who proved lately who he is, not by who found a browser open.
FRESH_S = 900
_LOCAL = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")


class NotFresh(SteadError):
    """Sign in again first: you did so too long ago for this."""

    status = 403
    kind = "permission_error"
    code = "sign_in_again"


class SignInGate:
    """Lets browsers in that were signed in, and who shows the owner's key (``key``)."""

    sign_in = "/sign-in"

    def __init__(self, sign_ins: SignIns, addresses: Addresses, key: KeyGate) -> None:
        self._sign_ins = sign_ins
        self._addresses = addresses
        self._key = key
        self._passkeys = Passkeys(sign_ins)
        self._held = Held()
        sign_ins.when_revoked.append(self._held.cut)

    # --- the gate ----------------------------------------------------------------------

    def check(self, request: Request) -> None:
        self._addresses.check(request, self._addresses.of(request))

    async def visitor(self, request: Request) -> Visitor | None:
        if bearer(request.scope):
            return await self._key.visitor(request)
        device = await self._device(request)
        return None if device is None else Visitor(device.person, device.called, device.id)

    async def serve(
        self, visitor: Visitor, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if not visitor.device:
            await app(scope, receive, send)
            return
        request = Request(scope)

        async def holds() -> bool:
            return await self._device(request) is not None

        await self._held.run(visitor.device, app, scope, receive, send, holds)

    async def _device(self, request: Request) -> Device | None:
        token = request.cookies.get(self._addresses.of(request).cookie, "")
        return await self._sign_ins.device(token) if len(token) == 43 else None

    # --- the ways in -------------------------------------------------------------------

    def routes(self, render: Renderer) -> Sequence[BaseRoute]:
        self._render = render
        return [
            Route("/sign-in", self._page, methods=["GET"]),
            Route("/sign-in", self._by_code, methods=["POST"]),
            Route("/sign-in/back", self._back, methods=["GET"]),
            Route("/sign-in/options", self._options, methods=["POST"]),
            Route("/sign-in/passkey", self._by_passkey, methods=["POST"]),
            Route("/sign-in/new/options", self._new_options, methods=["POST"]),
            Route("/sign-in/new", self._new, methods=["POST"]),
        ]

    async def _page(self, request: Request) -> Response:
        return await self._shown(request, _local(request.query_params.get("next", "")))

    async def _back(self, request: Request) -> Response:
        """Who came by a link from elsewhere is here a second time, now with the cookie."""
        to = _local(request.query_params.get("next", ""))
        if await self._device(request) is None:
            to = "/sign-in" if to == "/" else f"/sign-in?{urlencode({'next': to})}"
        return RedirectResponse(to, 303)

    async def _by_code(self, request: Request) -> Response:
        form = _form(await read_body(request.scope, request.receive, _MOST_BODY))
        to = _local(form.get("next", ""))
        try:
            token, device = await self._sign_ins.enter_by_code(
                form.get("code", ""), await self._comer(request)
            )
        except SteadError as error:
            return await self._shown(request, to, error)
        if to == "/" and self._addresses.of(request).rp:
            mine = names(await self._sign_ins.store.passkeys(device.person))
            if self._addresses.of(request).rp not in mine:
                to = "/devices"
        return self._in(request, RedirectResponse(to, 303), token)

    async def _options(self, request: Request) -> Response:
        return _answer(lambda: self._passkeys.to_sign_in(self._addresses.of(request)))

    async def _by_passkey(self, request: Request) -> Response:
        body = await read_body(request.scope, request.receive, _MOST_BODY)
        try:
            key, count = await self._passkeys.used(body)
            entered = await self._sign_ins.enter_by_passkey(key, count, await self._comer(request))
            if entered is None:
                raise BadPasskey(
                    why="it was removed, or there is a copy of it: its counter did not go on."
                )
        except SteadError as error:
            return failed(error)
        to = _local(request.query_params.get("next", ""))
        return self._in(request, Json({"next": to}), entered[0])

    async def _new_options(self, request: Request) -> Response:
        try:
            device = await self._fresh(request)
            options = await self._passkeys.to_add(
                device.person, device.called, self._addresses.of(request)
            )
        except SteadError as error:
            return failed(error)
        return Json(options)

    async def _new(self, request: Request) -> Response:
        body = await read_body(request.scope, request.receive, _MOST_BODY)
        try:
            device = await self._fresh(request)
            key = await self._passkeys.added(body, device.person, device.name)
        except SteadError as error:
            return failed(error)
        return Json({"id": key.id, "next": "/devices"}, 201)

    async def _fresh(self, request: Request) -> Device:
        """Who is in and proved it lately. Raises ``WrongKey``, ``NotFresh``."""
        device = await self._device(request)
        if device is None:
            raise WrongKey("You are not signed in.")
        if not is_fresh(device.proved_at):
            raise NotFresh
        return device

    async def _comer(self, request: Request) -> Comer:
        device = await self._device(request)
        return Comer(
            in_words(request.headers.get("user-agent", "")),
            request.client.host if request.client else "",
            device.id if device else "",
        )

    async def _shown(self, request: Request, to: str, error: SteadError | None = None) -> Response:
        device = await self._device(request)
        answer = self._render.page(
            request, "signin/sign_in.html", status=error.status if error else 200,
            to=to, wrong=error.message if error else "",
            signed_in=device.called if device else "",
            rp=self._addresses.of(request).rp,
            unclaimed=not await self._sign_ins.store.ever_entered(),
        )  # fmt: skip
        address = self._addresses.of(request)
        if device is None and address.cookie in request.cookies:  # it is worth nothing any more
            answer.delete_cookie(
                address.cookie, "/", secure=address.secure, httponly=True, samesite="strict"
            )
        if error is not None:
            answer.headers.update(error.headers())
        return answer

    def _in(self, request: Request, answer: Response, token: str) -> Response:
        set_cookie(answer, self._addresses.of(request), token)
        answer.headers["Cache-Control"] = "no-store"
        return answer


def set_cookie(answer: Response, address: Address, token: str) -> None:
    """Strict: no other page can make a browser send it. A visitor who comes by a link from
    elsewhere is brought here a second time, from here (``bounce.html``)."""
    answer.set_cookie(
        address.cookie, token, max_age=_YEAR_S, path="/", secure=address.secure, httponly=True,
        samesite="strict",
    )  # fmt: skip


def is_fresh(proved_at: int) -> bool:
    return abs(time.time() * 1000 - proved_at) < FRESH_S * 1000


def _answer(make: Any) -> Response:
    try:
        return Json(make())
    except SteadError as error:
        return failed(error)


def _form(body: bytes) -> dict[str, str]:
    """The fields of ``application/x-www-form-urlencoded``. Raises ``BadRequest``."""
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=20, errors="replace")
    except ValueError:
        raise BadRequest("The form cannot be read.") from None
    return {name: values[0] for name, values in fields.items()}


def _local(text: str) -> str:
    """A path of ours to go on to; ``/`` for anything else."""
    if len(text) > 2000 or not _LOCAL.fullmatch(text) or text.startswith("/sign-in"):
        return "/"
    return text
