"""The room *People*: who may talk with this stead besides its owner, and what they may."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stead.core.errors import BadRequest
from stead.core.people import MEMBER_TOOLS
from stead.gateway.http import read_body
from stead.pages.inside import Refused
from stead.pages.rooms import House, Room

_MOST = 100_000
_MICRO = 1_000_000
_INVITED_S = 86_400

#: Fields of the form that are check boxes, and how the API calls them.
_BOXES = ("local_only", "keep_bodies", "chat")
_NAMES = ("tools", "models", "lanes")
_MONEY = ("day_micro", "month_micro")
_COUNTS = ("requests_per_min", "tokens_per_min", "at_once")


class People:
    """The handlers."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def index(self, request: Request) -> Response:
        """All who are there; ``?gone=1``: who was removed, too."""
        gone = bool(request.query_params.get("gone"))
        data = await self._house.api(request).get("/api/v1/people", all="1")
        return self._house.render.page(
            request, "people/index.html", gone=gone,
            people=[one for one in data["people"] if gone or one["state"] != "removed"],
            removed=sum(one["state"] == "removed" for one in data["people"]),
        )  # fmt: skip

    async def new(self, request: Request) -> Response:
        return self._form(request, None, {"keep_bodies": "on"})

    async def add(self, request: Request) -> Response:
        """Let somebody in."""
        given = await _fields(request)
        try:
            made = await self._house.api(request).post("/api/v1/people", _terms(given, new=True))
        except (Refused, BadRequest) as error:
            return self._again(request, None, given, error)
        return RedirectResponse(_page_of(made["name"]), 303)

    async def show(self, request: Request) -> Response:
        person = await self._house.api(request).get(_path(request))
        return self._form(request, person, _shown(person))

    async def change(self, request: Request) -> Response:
        """What somebody may, or how they are called."""
        given = await _fields(request)
        api = self._house.api(request)
        person = await api.get(_path(request))
        try:
            changed = await api.post(_path(request), _terms(given, owner=person["owner"]))
        except (Refused, BadRequest) as error:
            return self._again(request, person, given, error)
        return RedirectResponse(f"{_page_of(changed['name'])}?saved=1", 303)

    async def invite(self, request: Request) -> Response:
        """A code with which they sign in, once. It is shown this once."""
        api = self._house.api(request)
        person = await api.get(_path(request))
        made = await api.post("/api/v1/logins", {"person": person["id"], "for_s": _INVITED_S})
        return self._house.render.page(request, "people/invited.html", person=person, made=made)

    async def remove(self, request: Request) -> Response:
        await self._house.api(request).delete(_path(request))
        return RedirectResponse("/people", 303)

    def _again(
        self, request: Request, person: dict[str, Any] | None, given: dict[str, str],
        error: Refused | BadRequest,
    ) -> Response:  # fmt: skip
        """The form once more, with what is wrong with it."""
        if error.status not in (400, 422):
            raise error
        wrong = {str(error.param or ""): error.message}
        return self._form(request, person, given, wrong=wrong, status=422)

    def _form(
        self, request: Request, person: dict[str, Any] | None, given: dict[str, str],
        *, wrong: dict[str, str] | None = None, status: int = 200,
    ) -> Response:  # fmt: skip
        return self._house.render.page(
            request, "people/one.html", status=status, person=person,
            given=defaultdict(str, given), wrong=defaultdict(str, wrong or {}),
            saved=bool(request.query_params.get("saved")),
        )  # fmt: skip


def room(house: House) -> Room:
    """The owner's alone."""
    people = People(house)
    return Room(
        "people",
        "People",
        [
            Route("/people", people.index, methods=["GET"]),
            Route("/people", people.add, methods=["POST"]),
            Route("/people/new", people.new, methods=["GET"]),
            Route("/people/is/{name}", people.show, methods=["GET"]),
            Route("/people/is/{name}", people.change, methods=["POST"]),
            Route("/people/is/{name}/invite", people.invite, methods=["POST"]),
            Route("/people/is/{name}/remove", people.remove, methods=["POST"]),
        ],
    )


def _page_of(name: str) -> str:
    return f"/people/is/{quote(name, safe='')}"


def _path(request: Request) -> str:
    return f"/api/v1/people/{quote(request.path_params['name'], safe='')}"


async def _fields(request: Request) -> dict[str, str]:
    raw = await read_body(request.scope, request.receive, _MOST)
    try:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise BadRequest("The form could not be read: it is not text.") from None


def _shown(person: dict[str, Any]) -> dict[str, str]:
    """A person as the fields of the form."""
    scope = person["scope"]
    found = {"called": person["called"], "name": person["name"]}
    found |= {name: " ".join(scope.get(name, ())) for name in ("models", "lanes")}
    found["tools"] = "" if person["tools"] == [*MEMBER_TOOLS] else " ".join(person["tools"])
    for name in _MONEY:
        found[name] = (
            "" if scope[name] < 0 else f"{scope[name] / _MICRO:.6f}".rstrip("0").rstrip(".")
        )
    for name in _COUNTS:
        found[name] = str(scope[name] or "")
    if scope["expires_at"]:
        # The last day on which they are let in; the moment after it is midnight.
        last = datetime.fromtimestamp(scope["expires_at"] / 1000 - 1)
        found["expires"] = last.strftime("%Y-%m-%d")
    return found | {name: "on" for name in _BOXES if scope[name]}


def _terms(given: dict[str, str], *, new: bool = False, owner: bool = False) -> dict[str, Any]:
    """The fields of the form as the API takes them. Raises ``BadRequest``."""
    called = given.get("called", "").strip()
    if owner:
        return {"called": called}
    terms: dict[str, Any] = {"called": called}
    if name := given.get("name", "").strip():
        terms["name"] = name
    for field in _NAMES:
        if new and not given.get(field, "").strip():
            continue
        terms[field] = given.get(field, "").replace(",", " ").split()
    for field in _MONEY:
        terms[field] = _micro(given.get(field, ""), field)
    for field in _COUNTS:
        terms[field] = _count(given.get(field, ""), field)
    terms["expires_at"] = _after(given.get("expires", ""))
    return terms | {field: field in given for field in _BOXES}


def _micro(text: str, param: str) -> int:
    text = text.strip().lstrip("$").replace(",", ".")
    if not text:
        return -1
    try:
        micro = round(float(text) * _MICRO)
    except (ValueError, OverflowError):
        micro = -1
    if micro < 0:
        raise BadRequest("Say dollars, such as 0.50; nothing: no limit.", param=param)
    return micro


def _count(text: str, param: str) -> int:
    text = text.strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 12):
        raise BadRequest("Say a whole number; nothing: no limit.", param=param)
    return int(text or 0)


def _after(text: str) -> int:
    """The end of a day in milliseconds; 0 for none."""
    if not text.strip():
        return 0
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d") + timedelta(days=1)
        return int(day.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise BadRequest("Say a day, such as 2026-12-31.", param="expires_at") from None
