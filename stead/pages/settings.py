"""The room *Settings*: what holds, and from where; changes, checked before they are written."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from stead.core.errors import NotFound, SteadError
from stead.pages.forms import form_of, go
from stead.pages.rooms import House, Room

_SETTINGS = "/api/v1/config/settings"
_FILE = "/api/v1/config/file"


def room(house: House) -> Room:
    """All values; one of them; a new table; the file itself."""
    part = _Settings(house)
    routes = [
        Route("/settings", part.overview, methods=["GET"]),
        Route("/settings/edit", part.opened, methods=["GET"]),
        Route("/settings/edit", part.edited, methods=["POST"]),
        Route("/settings/add", part.table, methods=["GET"]),
        Route("/settings/add", part.added, methods=["POST"]),
        Route("/settings/file", part.file, methods=["GET"]),
        Route("/settings/file", part.replaced, methods=["POST"]),
    ]
    return Room("settings", "Settings", routes)


class _Settings:
    def __init__(self, house: House) -> None:
        self._house = house

    def _page(self, request: Request, template: str, status: int = 200, **given: Any) -> Response:
        return self._house.render.page(request, f"settings/{template}", status=status, **given)

    async def overview(self, request: Request) -> Response:
        query = request.query_params
        told = await self._house.api(request).get(_SETTINGS)
        like, changed = query.get("like", ""), bool(query.get("changed"))
        words = like.casefold().split()
        rows = [
            row
            for row in told["settings"]
            if (not changed or row["origin"] != "default" or row.get("waits"))
            and all(word in f"{row['path']} {row['help']}".casefold() for word in words)
        ]
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            groups.setdefault(row["path"].rpartition(".")[0], []).append(row)
        return self._page(
            request, "overview.html", told=told, groups=groups, like=like, changed=changed,
            open=bool(like or changed), done=query.get("done", ""), kept=query.get("kept", ""),
        )  # fmt: skip

    # --- one value -----------------------------------------------------------------------

    async def opened(self, request: Request) -> Response:
        return await self._form(request, request.query_params.get("path", ""))

    async def _form(self, request: Request, path: str, status: int = 200, **more: Any) -> Response:
        told = await self._house.api(request).get(_SETTINGS)
        row = next((one for one in told["settings"] if one["path"] == path), None)
        if row is None:
            raise NotFound(what=f"setting {path!r}")
        table = re.match(r"(.+\[\d+\])\.[^.\[\]]+\Z", path)
        given = {"draft": None, "wrong": "", "typed": None, "base": told["base"], **more}
        return self._page(
            request, "edit.html", status, row=row, table=table[1] if table else "",
            shown=row["wanted"] if row.get("waits") else row["value"], **given,
        )  # fmt: skip

    async def edited(self, request: Request) -> Response:
        """``do``: ``check``, ``save``, ``default`` (out of the file), ``drop`` (its table)."""
        form = await form_of(request)
        path, verb = form.get("path", ""), form.get("do", "check")
        typed = form.get("value", "")
        value = None if verb in ("default", "drop") else _value(form.get("kind", ""), typed)
        if verb == "drop":
            path = re.sub(r"\.[^.\[\]]+\Z", "", path)
        body = {"values": {path: value}, "base": form.get("base", ""), "dry_run": verb == "check"}
        try:
            done = await self._house.api(request).post(_SETTINGS, body)
        except SteadError as error:
            back = form.get("path", "")
            return await self._form(request, back, 422, wrong=error.message, typed=typed)
        if verb == "check":
            return await self._form(request, path, draft=done, typed=typed, base=body["base"])
        return _gone(done)

    # --- a new table ---------------------------------------------------------------------

    async def table(self, request: Request) -> Response:
        return await self._table(request, request.query_params.get("table", ""))

    async def _table(self, request: Request, name: str, status: int = 200, **more: Any) -> Response:
        told = await self._house.api(request).get(_SETTINGS)
        table = next((one for one in told["tables"] if one["name"] == name), None)
        if table is None:
            raise NotFound(what=f"table {name!r} that there can be several of")
        given = {"draft": None, "wrong": "", "typed": {}, "base": told["base"], **more}
        return self._page(request, "add.html", status, table=table, **given)

    async def added(self, request: Request) -> Response:
        form = await form_of(request)
        name = form.get("table", "")
        api = self._house.api(request)
        told = await api.get(_SETTINGS)
        place = re.compile(rf"{re.escape(name)}\[(\d+)\]")
        there = {int(hit[1]) for one in told["settings"] if (hit := place.match(one["path"]))}
        values = {
            f"{name}[{len(there)}].{field['name']}": _value(field["kind"], typed)
            for table in told["tables"]
            if table["name"] == name
            for field in table["fields"]
            if (typed := form.get(f"v-{field['name']}", "")).strip()
        }
        check = form.get("do") != "save"
        body = {"values": values, "base": form.get("base", ""), "dry_run": check}
        given: dict[str, Any] = {"typed": form, "base": body["base"]}
        try:
            done = await api.post(_SETTINGS, body)
        except SteadError as error:
            return await self._table(request, name, 422, wrong=error.message, **given)
        if check:
            return await self._table(request, name, draft=done, **given)
        return _gone(done)

    # --- the file ------------------------------------------------------------------------

    async def file(self, request: Request) -> Response:
        held = await self._house.api(request).get(_FILE)
        return self._page(request, "file.html", held=held, draft=None, wrong="")

    async def replaced(self, request: Request) -> Response:
        form = await form_of(request)
        check = form.get("do") != "save"
        text = form.get("text", "").replace("\r\n", "\n")
        body = {"text": text, "base": form.get("base", "")}
        held = {**body, "hidden": "(hidden)" in body["text"]}
        try:
            done = await self._house.api(request).put(_FILE, {**body, "dry_run": check})
        except SteadError as error:
            return self._page(request, "file.html", 422, held=held, draft=None, wrong=error.message)
        if check:
            return self._page(request, "file.html", held=held, draft=done, wrong="")
        return _gone(done)


def _gone(done: dict[str, Any]) -> Response:
    """Where it is told what became of it."""
    if not done["written"]:
        return go("/settings", done="same")
    said = "live" if not done["restart"] else "both" if done["live"] else "restart"
    return go("/settings", done=said, kept=done["kept"], changed=1)


def _value(kind: str, typed: str) -> Any:
    """What was typed, as the API takes it; the check says what is wrong with it."""
    typed = typed.replace("\r\n", "\n")
    if not kind.startswith("list"):
        return typed.strip() if kind != "text" else typed.replace("\n", " ")
    lines = [line.strip() for line in typed.split("\n") if line.strip()]
    return lines if "number" not in kind else [_number(line) for line in lines]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
