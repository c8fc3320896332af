"""The room *Approvals*: what exactly waits for the owner's word, what he said, what he allowed."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.pages.form import fields
from stead.pages.inside import Api, Refused
from stead.pages.plain import plain
from stead.pages.render import say
from stead.pages.rooms import House, Room
from stead.pages.shown import Bundle, Make

_PAGE = 20
_OPEN = 200
#: Characters of an argument that are shown; the rest is a click away.
_SHOWN = 12_000
_SAID = {
    "once": "Allowed, this once.", "job": "Allowed for the rest of this job.",
    "always": "Allowed for ever.", "no": "Not allowed.", "answer": "Answered.",
}  # fmt: skip


class Approvals:
    """The handlers."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._card = house.render.macro("approvals/parts.html", "card")
        self._grant = house.render.macro("approvals/parts.html", "grant")

    async def index(self, request: Request) -> Response:
        """What waits; what is over (``before``: an id, those older than it); what is allowed."""
        api, query = self._house.api(request), request.query_params
        place = (await api.get("/api/v1/changes"))["place"]
        asked = await api.get("/api/v1/approvals", limit=_OPEN)
        before = query.get("before") or None
        past = await api.get("/api/v1/approvals", state="all", limit=_PAGE, before=before)
        grants = await api.get("/api/v1/grants", limit=_OPEN)
        over = [one for one in past["approvals"] if one["state"] != "open"]
        last = past["approvals"][-1]["id"] if past["approvals"] else ""
        return self._house.render.page(
            request, "approvals/index.html", asked=[known(one) for one in asked["approvals"]],
            more_asked=asked["more"], past=over, more=past["more"], grants=grants["grants"],
            more_grants=grants["more"], older="/approvals?" + urlencode({"before": last}),
            live="/live?" + urlencode({"on": "approval", "since": place}),
        )  # fmt: skip

    async def show(self, request: Request) -> Response:
        """One question, whole."""
        api = self._house.api(request)
        place = (await api.get("/api/v1/changes"))["place"]
        one = await api.get(f"/api/v1/approvals/{_safe(request)}")
        return self._house.render.page(
            request, "approvals/one.html", one=known(one),
            live="/live?" + urlencode({"on": "approval", "since": place}),
        )  # fmt: skip

    async def whole(self, request: Request) -> Response:
        """The arguments of a call as they are, however long: as text."""
        one = await self._house.api(request).get(f"/api/v1/approvals/{_safe(request)}")
        text = "\n\n".join(
            f"--- {name} ---\n{value}" for name, value, _ in arguments(str(one["args"]), 0)
        )
        return PlainTextResponse(text, headers={"Cache-Control": "no-store"})

    async def answer(self, request: Request) -> Response:
        """The owner's word: ``answer`` (once, job, always, no, answer) and ``text``."""
        given = await fields(request)
        word, ident = given.get("answer", ""), _safe(request)
        if word not in _SAID:
            raise BadRequest("Say once, job, always, no or an answer.")
        api = self._house.api(request)
        body = {"answer": word, "text": given.get("text", "")}
        done = await api.post(f"/api/v1/approvals/{ident}/answer", body)
        one = done["approval"]
        if request.headers.get("hx-request") != "true":
            return RedirectResponse(f"/approvals/{one['id']}", 303)
        html = self._card(known(one))
        return say(Response(html, media_type="text/html"), f"{_SAID[word]} Its job goes on.")

    async def revoke(self, request: Request) -> Response:
        """Take back what was allowed for ever."""
        grant = await self._house.api(request).post(f"/api/v1/grants/{_safe(request)}/revoke")
        if request.headers.get("hx-request") != "true":
            return RedirectResponse("/approvals#grants", 303)
        html = self._grant(grant)
        words = "Taken back. Jobs that run already may still have it."
        return say(Response(html, media_type="text/html"), words)


def _safe(request: Request) -> str:
    ident = str(request.path_params["id"])
    if not ident.replace("-", "").isalnum() or not ident.isascii():
        raise Refused(404, {"message": f"There is no {ident[:80]!r} here.", "code": "not_found"})
    return ident


def known(one: dict[str, Any]) -> dict[str, Any]:
    """A question with its arguments told apart: ``told`` is (name, value, characters left out)."""
    return {**one, "told": arguments(str(one["args"]), _SHOWN)}


def arguments(args: str, most: int) -> list[tuple[str, str, int]]:
    """The arguments of a call one by one, as a person reads them: texts as they are, with what
    would hide made visible; all else as JSON. ``most``: characters of each; 0: all."""
    try:
        data = msgspec.json.decode(args) if args else {}
    except (msgspec.DecodeError, RecursionError):
        data = {"": args}
    if not isinstance(data, dict):
        data = {"": data}
    told = []
    for name, value in data.items():
        text = value if isinstance(value, str) else _json(value)
        shown = text[:most] if most else text
        told.append((plain(name)[:200], plain(shown), len(text) - len(shown)))
    return told


def _json(value: object) -> str:
    try:
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    except RecursionError:
        return msgspec.json.encode(value).decode()


class Rows:
    """Questions and grants, as they come and go."""

    states = False

    def __init__(self, house: House, api: Api) -> None:
        self._api = api
        macro = partial(house.render.macro, "approvals/parts.html")
        self._card, self._past, self._grant = macro("card"), macro("past"), macro("grant")

    def _whole(self, one: dict[str, Any]) -> str:
        return self._card(known(one))

    async def changed(self, bundle: Bundle) -> str:
        html = []
        for change in bundle.of("approval"):
            one = change["row"]
            html.append(bundle.once(("card", one["id"]), partial(self._whole, one)))
            if one["state"] != "open":
                html.append(bundle.once(("past", one["id"]), partial(self._past, one)))
        for change in bundle.of("grant"):
            one = change["row"]
            html.append(bundle.once(("grant", one["id"]), partial(self._grant, one)))
        return "".join(html)

    async def anew(self) -> str:
        asked = await self._api.get("/api/v1/approvals", limit=_OPEN)
        grants = await self._api.get("/api/v1/grants", limit=_OPEN)
        past = await self._api.get("/api/v1/approvals", state="all", limit=_PAGE)
        over = [one for one in past["approvals"] if one["state"] != "open"]
        return "".join(
            [
                *(self._card(known(one)) for one in [*asked["approvals"], *over]),
                '<i data-live-clear="questions"></i><i data-live-clear="grants"></i>',
                *(self._past(one) for one in over),
                *(self._grant(one) for one in grants["grants"]),
            ]
        )


def rows(house: House) -> Make:
    """``on=approval``."""
    return lambda api, query: Rows(house, api)


def room(house: House) -> Room:
    approvals = Approvals(house)
    return Room(
        "approvals",
        "Approvals",
        [
            Route("/approvals", approvals.index, methods=["GET"]),
            Route("/approvals/{id}", approvals.show, methods=["GET"]),
            Route("/approvals/{id}", approvals.answer, methods=["POST"]),
            Route("/approvals/{id}/whole", approvals.whole, methods=["GET"]),
            Route("/approvals/grants/{id}/revoke", approvals.revoke, methods=["POST"]),
        ],
    )
