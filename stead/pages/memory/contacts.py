"""People: how to reach them, what is noted of them, what is to be done."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route

from stead.core.errors import SteadError
from stead.pages.forms import Fields, form_of, go, moment
from stead.pages.inside import Api
from stead.pages.rooms import House

_AT = "/api/v1/contacts"
_SOON_MS = 30 * 86_400_000


def routes(house: House) -> list[BaseRoute]:
    part = _Contacts(house)
    return [
        Route("/memory/contacts", part.overview, methods=["GET"]),
        Route("/memory/contacts", part.change, methods=["POST"]),
        Route("/memory/contacts/of", part.person, methods=["GET"]),
        Route("/memory/contacts/last", part.last, methods=["GET"]),
    ]


class _Contacts:
    def __init__(self, house: House) -> None:
        self._house = house

    async def overview(self, request: Request) -> Response:
        return await self._overview(request, "", {})

    async def _overview(self, request: Request, wrong: str, typed: Any) -> Response:
        query, api = request.query_params, self._house.api(request)
        like = query.get("like", "")
        now = time.time_ns() // 1_000_000
        return self._house.render.page(
            request, "memory/contacts.html", status=422 if wrong else 200, tab="contacts",
            found=await api.get(_AT, like=like or None, after=query.get("after") or None),
            due=(await api.get(f"{_AT}/due", until=now + _SOON_MS))["due"], now=now, like=like,
            wrong=wrong, typed=typed, done=query.get("done", ""),
            removed=query.get("operation", ""),
        )  # fmt: skip

    async def person(self, request: Request) -> Response:
        return await self._person(request, request.query_params.get("who", ""))

    async def _person(
        self, request: Request, who: str, wrong: str = "", typed: Any = ()
    ) -> Response:
        found = await self._house.api(request).get(_path(who))
        return self._house.render.page(
            request, "memory/contact.html", status=422 if wrong else 200, tab="contacts",
            found=found, wrong=wrong, typed=dict(typed), last=None, asked=False,
            now=time.time_ns() // 1_000_000, done=request.query_params.get("done", ""),
        )  # fmt: skip

    async def last(self, request: Request) -> Response:
        """When they were last heard of: asked for by itself, since it reads the daily logs."""
        who = request.query_params.get("who", "")
        api = self._house.api(request)
        last = (await api.get(f"{_path(who)}/last"))["last"]
        if request.headers.get("hx-request") == "true":
            part = self._house.render.part(
                request, "memory/contact.html", "last", last=last, asked=True, found={"id": who}
            )
            return HTMLResponse(part)
        return self._house.render.page(
            request, "memory/contact.html", tab="contacts", found=await api.get(_path(who)),
            wrong="", typed={}, last=last, asked=True, now=time.time_ns() // 1_000_000, done="",
        )  # fmt: skip

    async def change(self, request: Request) -> Response:
        """``do``: ``add``, ``note``, ``follow``, ``done``, ``remove``, ``undo``."""
        form = await form_of(request)
        api, verb, who = self._house.api(request), form.get("do", ""), form.get("who", "")
        try:
            return await _change(api, verb, who, form)
        except SteadError as error:
            if who and verb in ("note", "follow"):
                return await self._person(request, who, error.message, form.items())
            return await self._overview(request, error.message, form)


async def _change(api: Api, verb: str, who: str, form: Fields) -> Response:
    if verb == "add":
        made = await api.post(
            _AT,
            {
                "name": form.get("name", ""), "emails": form.get("emails", "").split("\n"),
                "phones": form.get("phones", "").split("\n"),
                "organisation": form.get("organisation", ""),
            },
        )  # fmt: skip
        return go("/memory/contacts/of", who=made["id"], done="added")
    if verb == "note":
        await api.post(f"{_path(who)}/notes", {"text": form.get("text", "")})
    elif verb == "follow":
        due = moment(form.get("due", ""), "due") or 0
        await api.post(f"{_path(who)}/follow-ups", {"text": form.get("text", ""), "due": due})
    elif verb == "done":
        await api.post(f"{_AT}/due/{form.get('fact', '')}/done")
    elif verb == "remove":
        gone = await api.delete(_path(who))
        return go("/memory/contacts", done="removed", operation=gone["operation"])
    elif verb == "undo":
        operation = form.get("operation", "")
        await api.post("/api/v1/memory/graph/undo", {"operation": operation})
        return go("/memory/contacts", done="undone")
    if who:
        return go("/memory/contacts/of", who=who, done=verb)
    return go("/memory/contacts", done=verb)


def _path(who: str) -> str:
    return f"{_AT}/{who}"
