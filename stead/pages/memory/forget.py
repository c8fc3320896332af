"""Have something forgotten for good: first what would go, then the receipt."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from stead.core.errors import BadRequest, SteadError
from stead.pages.forms import Fields, form_of, go, moment
from stead.pages.rooms import House

_AT = "/api/v1/forget"
KINDS = (
    ("text", "An exact text"), ("topic", "A topic: all entries with these words"),
    ("person", "A person"), ("message", "A message, by its id"), ("span", "A span of time"),
)  # fmt: skip


def routes(house: House) -> list[BaseRoute]:
    part = _Forget(house)
    return [
        Route("/memory/forget", part.shown, methods=["GET"]),
        Route("/memory/forget", part.forget, methods=["POST"]),
        Route("/memory/forget/state", part.state, methods=["GET"]),
    ]


class _Forget:
    def __init__(self, house: House) -> None:
        self._house = house

    async def shown(self, request: Request) -> Response:
        query = request.query_params
        typed = {"kind": query.get("kind", ""), "words": query.get("words", "")}
        return await self._page(request, typed, done=query.get("done", ""))

    async def _page(
        self, request: Request, typed: Any, status: int = 200, **more: Any
    ) -> Response:  # fmt: skip
        told = await self._house.api(request).get(_AT)
        given = {"plan": None, "wrong": "", "done": "", **more}
        return self._house.render.page(
            request, "memory/forget.html", status=status, tab="forget", told=told, typed=typed,
            kinds=KINDS, **given,
        )  # fmt: skip

    async def state(self, request: Request) -> Response:
        told = await self._house.api(request).get(_AT)
        part = self._house.render.part(request, "memory/forget.html", "state", told=told)
        return HTMLResponse(part)

    async def forget(self, request: Request) -> Response:
        """``do``: ``plan`` shows what would go, ``forget`` does it."""
        form = await form_of(request)
        api = self._house.api(request)
        try:
            wish = _wish(form)
            if form.get("do") == "forget":
                await api.post(_AT, wish)
                return go("/memory/forget", done="begun")
            plan = await api.post(f"{_AT}/plan", wish)
        except SteadError as error:
            return await self._page(request, form, 422, wrong=error.message)
        return await self._page(request, form, plan=plan)


def _wish(form: Fields) -> dict[str, Any]:
    """Raises ``BadRequest``."""
    kind = form.get("kind", "")
    wish: dict[str, Any] = {"kind": kind, "backups": bool(form.get("backups"))}
    if kind != "span":
        words = form.get("words", "").replace("\r\n", "\n").strip("\n")
        if not words.strip():
            raise BadRequest("Say what is to be forgotten.", param="words")
        return {**wish, "words": words}
    since = moment(form.get("since", ""), "since")
    until = moment(form.get("until", ""), "until", end=True)
    if since is None or until is None:
        raise BadRequest("Say from when to when.", param="since")
    return {**wish, "since": since, "until": until, "session": form.get("session", "")}
