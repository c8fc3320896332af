"""The room *Health*: what works, what does not and what to do; services, backends, channels."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.pages.form import fields
from stead.pages.inside import Api
from stead.pages.render import say
from stead.pages.rooms import House, Room
from stead.pages.shown import Bundle, Make

#: Where something can be done about a sentence that has these words in it, and how it is called.
_WAYS = (
    ("state ambiguous", "#outbox", "Say what became of them"),
    ("state failed", "#outbox", "Say what becomes of them"),
    ("state dead", "/jobs?state=dead", "See these jobs"),
    ("state waiting", "/jobs?state=waiting", "See these jobs"),
    ("outbox resume", "#channels", "Let it go on"),
    ("node ", "/nodes", "See the nodes"),
    ("backend ", "#backends", "See the backends"),
    ("service ", "#services", "See the services"),
)
_PARTS = ("verdict", "sentences", "services", "backends", "channels", "today")
_DOUBTFUL = ("ambiguous", "failed")
_DOUBTS = 50
_SETTLED = {
    "sent": "Noted: it has arrived.", "again": "It is sent once more.",
    "drop": "It is not sent any more.",
}  # fmt: skip


class Health:
    """The handlers."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._parts = parts_of(house)

    async def index(self, request: Request) -> Response:
        api = self._house.api(request)
        status = known(await api.get("/api/v1/status"))
        return self._house.render.page(
            request, "health/index.html", told=status, doubts=await doubts(api),
            live="/live?on=status",
        )  # fmt: skip

    async def service(self, verb: str, request: Request) -> Response:
        """``start``, ``stop`` or ``test`` a light service."""
        name = quote(request.path_params["name"], safe="")
        done = await self._house.api(request).post(f"/api/v1/services/{name}/{verb}")
        if verb == "test":
            words = f"{done['name']}: {done['words']} (in {done['answer_ms']} ms)"
        else:
            words = f"{done['name']}: {done['words'] or done['phase']}"
        return await self._after(request, "services", words)

    async def backend(self, request: Request) -> Response:
        """Look whether a backend answers; no model works for that."""
        name = quote(request.path_params["name"], safe="")
        looks = (await self._house.api(request).post(f"/api/v1/backends/{name}/test"))["instances"]
        words = " ".join(_look(one) for one in looks)
        fine = all(one["ok"] and not one["lacking"] for one in looks)
        return await self._after(request, "backends", words, "good" if fine else "bad")

    async def channel(self, verb: str, request: Request) -> Response:
        """``pause`` or ``resume`` a channel."""
        name = quote(request.path_params["name"], safe="")
        await self._house.api(request).post(f"/api/v1/outbox/channels/{name}/{verb}")
        told = "is held back" if verb == "pause" else "goes on"
        return await self._after(request, "channels", f"{request.path_params['name']} {told}.")

    async def settle(self, request: Request) -> Response:
        """What becomes of a doubtful delivery: ``how`` is sent, again or drop."""
        how, ident = (await fields(request)).get("how", ""), request.path_params["id"]
        if how not in _SETTLED or not ident.isdecimal():
            raise BadRequest("Say sent, again or drop.")
        api = self._house.api(request)
        await api.post(f"/api/v1/outbox/{ident}/settle", {"how": how})
        if request.headers.get("hx-request") != "true":
            return RedirectResponse("/health#outbox", 303)
        html = self._house.render.macro("health/parts.html", "outbox")(await doubts(api))
        return say(Response(html, media_type="text/html"), _SETTLED[how])

    async def _after(self, request: Request, part: str, words: str, kind: str = "good") -> Response:
        api = self._house.api(request)
        status = known(await api.get("/api/v1/status"))
        if request.headers.get("hx-request") == "true":
            html = self._parts[part](status)
            return say(Response(html, media_type="text/html"), words, kind)
        return self._house.render.page(
            request, "health/index.html", told=status, doubts=await doubts(api), said=words,
            said_kind=kind, live="/live?on=status",
        )  # fmt: skip


def _look(one: dict[str, Any]) -> str:
    lacking = f" It lacks {', '.join(one['lacking'])}." if one["lacking"] else ""
    return f"{one['name']} ({one['url']}): {one['words']}, after {one['ms']} ms.{lacking}"


async def doubts(api: Api) -> dict[str, Any]:
    """Replies that the owner has a word on: nobody knows whether they arrived, or they cannot."""
    found: list[dict[str, Any]] = []
    more = False
    for state in _DOUBTFUL:
        page = await api.get("/api/v1/outbox", state=state, limit=_DOUBTS)
        found += page["deliveries"]
        more = more or len(page["deliveries"]) == _DOUBTS
    return {"deliveries": found, "more": more}


def known(status: dict[str, Any]) -> dict[str, Any]:
    """The status, with a way to where something can be done for each of ``not_yet``."""
    ways = []
    for sentence in status["not_yet"]:
        way = next(((url, words) for part, url, words in _WAYS if part in str(sentence)), ("", ""))
        ways.append((str(sentence), *way))
    return {**status, "ways": ways}


def parts_of(house: House) -> dict[str, Any]:
    """What renders each part of the status."""
    return {name: house.render.macro("health/parts.html", name) for name in _PARTS}


class Parts:
    """The parts of the status that differ from what the page has."""

    states = True

    def __init__(self, house: House, api: Api) -> None:
        self._api = api
        self._parts = parts_of(house)
        self._outbox = house.render.macro("health/parts.html", "outbox")
        self._sent: dict[str, bytes] = {}
        self._doubts: Any = None

    async def changed(self, bundle: Bundle) -> str:
        html = []
        for change in bundle.of("status"):
            status = change["row"]
            if status is None:
                continue
            for name, render in self._parts.items():
                part = bundle.once(("status", name), partial(render, known(status)))
                mark = hashlib.blake2b(part.encode("utf-8", "replace"), digest_size=16).digest()
                if self._sent.get(name) != mark:
                    self._sent[name] = mark
                    html.append(part)
            counts = {state: status["outbox"].get(state, 0) for state in _DOUBTFUL}
            if counts != self._doubts:
                self._doubts = counts
                html.append(self._outbox(await doubts(self._api)))
        return "".join(html)

    async def anew(self) -> str:
        return ""  # the status is told whole at the beginning


def parts(house: House) -> Make:
    """``on=status``."""
    return lambda api, query: Parts(house, api)


def room(house: House) -> Room:
    health = Health(house)
    services = [
        Route(f"/health/services/{{name}}/{verb}", partial(health.service, verb), methods=["POST"])
        for verb in ("start", "stop", "test")
    ]
    channels = [
        Route(f"/health/channels/{{name}}/{verb}", partial(health.channel, verb), methods=["POST"])
        for verb in ("pause", "resume")
    ]
    return Room(
        "health",
        "Health",
        [
            Route("/health", health.index, methods=["GET"]),
            *services,
            *channels,
            Route("/health/backends/{name}/test", health.backend, methods=["POST"]),
            Route("/health/outbox/{id}", health.settle, methods=["POST"]),
        ],
    )
