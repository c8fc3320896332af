"""The owner's API of people: add, list, change, remove; and who one is oneself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.audit import LedgerStore
from stead.core.errors import BadRequest
from stead.core.people import MEMBER_TOOLS, Person, PersonStore, is_person_name
from stead.core.scope import KeyScope
from stead.core.storage import View, ViewStore
from stead.flow.flow import Flow
from stead.gateway.auth import Keys
from stead.gateway.http import Json, decode, named, read_body
from stead.gateway.key_routes import changed, state_of
from stead.gateway.people import asker, key_of

_TOOL = re.compile(r"[a-zA-Z0-9_.*-]{1,64}")
_OPEN = ("queued", "running", "waiting")
_AT_ONCE = 500


class _Terms(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a person may; what is left out stays as it is. The fields of :class:`KeyScope` that
    mean something for a person, and ``tools``."""

    called: str | None = None
    tools: list[str] | None = None
    lanes: list[str] | None = None
    models: list[str] | None = None
    requests_per_min: int | None = None
    tokens_per_min: int | None = None
    at_once: int | None = None
    day_micro: int | None = None
    month_micro: int | None = None
    expires_at: int | None = None
    local_only: bool | None = None
    keep_bodies: bool | None = None
    chat: bool | None = None


class _Change(_Terms):
    name: str | None = None


class _NewPerson(_Terms):
    name: str = ""


class _Rows(PersonStore, LedgerStore, ViewStore, Protocol):
    """Where people are kept, with what they have spent and asked for."""


class PeopleRoutes:
    """``/api/v1/people...`` with the owner's key, ``/api/v1/me`` for everybody of the house."""

    def __init__(self, store: _Rows, keys: Keys, flow: Flow, *, max_body: int) -> None:
        self._store = store
        self._keys = keys
        self._flow = flow
        self._max_body = max_body

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route("/me", self._me, "GET", about="Who asks, and what they may", members=True),
            route("/people", self._list, "GET", about="The people of the house", asks={"all": str}),
            route("/people", self._add, "POST", about="Let somebody in", takes=_NewPerson),
            route("/people/{name}", self._show, "GET", about="Somebody and what they may"),
            route(
                "/people/{name}",
                self._change,
                "POST",
                about="Change what somebody may, or how they are called",
                takes=_Change,
            ),
            route(
                "/people/{name}",
                self._remove,
                "DELETE",
                about="Let somebody in no longer; what they asked for is stopped",
            ),
        ]

    async def _me(self, request: Request) -> Response:
        person = self._keys.people.named(asker(request))
        return Json(shown(person, await self._store.view_spent()))

    async def _list(self, request: Request) -> Response:
        """Those who are there; ``?all=1``: who was removed too."""
        everybody = bool(request.query_params.get("all"))
        spent = await self._store.view_spent()
        rows = await self._store.people()
        found = [shown(row, spent) for row in rows if everybody or not row.removed_at]
        return Json({"people": found})

    async def _add(self, request: Request) -> Response:
        body = decode(await self._body(request), _NewPerson)
        called = _called(body.called or body.name)
        name = _name(body.name or handle_of(called))
        scope, tools = _scope(KeyScope(), body), _tools(body)
        row = await self._store.add_person(name, called, scope, tools or ())
        await self._keys.refresh()
        return Json(shown(row, await self._store.view_spent()), status_code=201)

    async def _show(self, request: Request) -> Response:
        row = await self._store.person(request.path_params["name"])
        return Json(shown(row, await self._store.view_spent()))

    async def _change(self, request: Request) -> Response:
        change = decode(await self._body(request), _Change)
        row = await self._store.person(request.path_params["name"])
        scope = _scope(row.scope, change)
        row = await self._store.set_person(
            row.id,
            name=None if change.name is None else _name(change.name),
            called=None if change.called is None else _called(change.called),
            scope=None if scope == row.scope else scope,
            tools=_tools(change),
        )
        await self._keys.refresh()
        return Json(shown(row, await self._store.view_spent()))

    async def _remove(self, request: Request) -> Response:
        row = await self._store.remove_person(request.path_params["name"])
        await self._keys.refresh()
        stopped = await self._stop(row.id)
        told = shown(row, await self._store.view_spent())
        return Json({**told, "stopped": stopped})

    async def _stop(self, person: str) -> int:
        """Stop what a person has asked for and is not over; how many jobs that were."""
        many = 0
        for state in _OPEN:
            before = ""
            while True:
                page = await self._store.view_jobs(
                    person=person, state=state, before=before, limit=_AT_ONCE
                )
                for job in page["jobs"]:
                    await self._flow.cancel(job["id"])
                    many += 1
                    before = job["id"]
                if not page["more"]:
                    break
        return many

    async def _body(self, request: Request) -> bytes:
        return await read_body(request.scope, request.receive, self._max_body)


def shown(row: Person, spent: Mapping[str, tuple[int, int]]) -> View:
    """A person as the API tells of one. ``spent``: of today and of this month, micro-dollars; the
    owner's is not told apart."""
    scope: dict[str, Any] = msgspec.to_builtins(row.scope)
    for name in ("endpoints", "max_body_kb"):  # of programs
        scope.pop(name, None)
    today, month = spent.get(key_of(row.id), (0, 0))
    return {
        "id": row.id, "name": row.name, "called": row.called, "owner": row.is_owner,
        "state": "removed" if row.removed_at else state_of(row.scope), "scope": scope,
        "tools": ["*"] if row.is_owner else list(row.tools or MEMBER_TOOLS),
        "created_at": row.created_at, "removed_at": row.removed_at,
        "spent": {} if row.is_owner else {"day_micro": today, "month_micro": month},
    }  # fmt: skip


def handle_of(called: str) -> str:
    """The name for commands and rules of who is called so: ``Zoë Müller`` is ``zoe-muller``; empty
    where there is nothing to make it of."""
    plain = unicodedata.normalize("NFKD", called).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")


def _called(text: str) -> str:
    called = named(" ".join(text.split()), 80, "called", "")
    if any(unicodedata.category(one) == "Cf" and one != "\u200d" for one in called):
        # They turn the words around that stand beside them, or cannot be seen at all.
        raise BadRequest("called may hold no invisible characters.", param="called")
    if not called:
        raise BadRequest("Say how the person is called.", param="called")
    return called


def _name(name: str) -> str:
    if not is_person_name(name):
        raise BadRequest(
            f"{name[:80]!r} cannot be the name of a person in commands and rules: it has 1 to 63"
            " small letters (a to z), digits, dots, dashes, and means nothing else (as owner"
            " does). Give one as `name`; `called` may be any words.",
            param="name",
        )
    return name


def _scope(scope: KeyScope, change: _Terms) -> KeyScope:
    given = {
        name: value
        for name in _Terms.__struct_fields__
        if name not in ("called", "tools") and (value := getattr(change, name)) is not None
    }
    return changed(scope, given)


def _tools(change: _Terms) -> tuple[str, ...] | None:
    if change.tools is None:
        return None
    for one in change.tools:
        if not _TOOL.fullmatch(one):
            raise BadRequest(f"{one[:80]!r} is not the name of a tool.", param="tools")
    if len(change.tools) > 100:
        raise BadRequest("tools has more than 100 entries.", param="tools")
    return tuple(sorted({*change.tools}))
