"""The files of memory: read, edit with a look at the difference, history, undo."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from stead.core.errors import SteadError
from stead.pages.forms import Fields, form_of, go
from stead.pages.inside import Api, Refused
from stead.pages.rooms import House

_FILE = "/api/v1/memory/file"
_LINES = 300
#: What there is to be said against an edit that the owner may overrule.
_DOUBTS = frozenset({"memory_shrinks", "memory_changes_much", "memory_too_long", "bad_request"})


def routes(house: House) -> list[BaseRoute]:
    part = _Files(house)
    return [
        Route("/memory/files", part.listed, methods=["GET"]),
        Route("/memory/file", part.shown, methods=["GET"]),
        Route("/memory/edit", part.opened, methods=["GET"]),
        Route("/memory/edit", part.edited, methods=["POST"]),
        Route("/memory/history", part.changes, methods=["GET"]),
        Route("/memory/history/{id}", part.change, methods=["GET"]),
        Route("/memory/undo", part.undo, methods=["POST"]),
    ]


class _Files:
    def __init__(self, house: House) -> None:
        self._house = house

    def _page(self, request: Request, template: str, status: int = 200, **given: Any) -> Response:
        return self._house.render.page(request, f"memory/{template}", status=status, **given)

    async def listed(self, request: Request) -> Response:
        query = request.query_params
        layer, like = query.get("layer", ""), query.get("like", "")
        found = await self._house.api(request).get(
            "/api/v1/memory/files", layer=layer or None, like=like or None,
            before=query.get("before") or None,
        )  # fmt: skip
        return self._page(
            request, "files.html", tab="files", found=found, layer=layer, like=like,
            before=query.get("before", ""),
        )  # fmt: skip

    async def shown(self, request: Request) -> Response:
        query = request.query_params
        found = await self._house.api(request).get(
            _FILE, what=query.get("what", ""), at=query.get("at") or None,
            first=query.get("first") or None, lines=_LINES,
        )  # fmt: skip
        return self._page(request, "file.html", tab="files", found=found, lines=_LINES,
                          done=query.get("done", ""))  # fmt: skip

    # --- editing -------------------------------------------------------------------------

    async def opened(self, request: Request) -> Response:
        what = request.query_params.get("path", "").strip()
        if not what:
            return RedirectResponse("/memory/files", 303)
        held = await self._house.api(request).get(f"{_FILE}/text", what=what)
        return self._form(request, held)

    def _form(
        self, request: Request, held: dict[str, Any], status: int = 200, **more: Any
    ) -> Response:
        given = {"draft": None, "stale": False, "wrong": "", "doubts": "", **more}
        return self._page(request, "edit.html", status, tab="files", held=held, **given)

    async def edited(self, request: Request) -> Response:
        """``do``: ``check`` shows the difference, ``save`` writes if the file is what it was,
        ``over`` though it is not (the version seen is named by ``now``)."""
        form = await form_of(request)
        api = self._house.api(request)
        verb = form.get("do", "check")
        body = _body(form)
        if verb == "over":
            body["base"] = form.get("now", "")
        held = {"path": body["path"], "text": body["text"], "base": form.get("base", ""),
                "layer": "", "new": not form.get("base")}  # fmt: skip
        if verb == "check":
            draft = await self._draft(api, body)
            return self._form(request, held, draft=draft, stale=draft["stale"],
                              doubts=draft["doubts"])  # fmt: skip
        try:
            done = await api.put(_FILE, {**body, "sure": bool(form.get("sure"))})
        except Refused as error:
            return await self._refused(request, held, body, error)
        return go("/memory/file", what=done["path"], done="same" if done["same"] else "saved")

    async def _refused(
        self, request: Request, held: dict[str, Any], body: dict[str, Any], error: Refused
    ) -> Response:
        """The form again, with what was typed, what is wrong with it, and what it would change."""
        api = self._house.api(request)
        try:
            draft = await self._draft(api, body)
        except SteadError:
            return self._form(request, held, 422, wrong=error.message)
        if error.code == "memory_stale":
            return self._form(request, held, 422, draft=draft, stale=True)
        if error.code in _DOUBTS:
            doubts = draft["doubts"] or error.message
            return self._form(request, held, 422, draft=draft, doubts=doubts)
        return self._form(request, held, 422, draft=draft, wrong=error.message)

    async def _draft(self, api: Api, body: dict[str, Any]) -> dict[str, Any]:
        draft: dict[str, Any] = await api.put(_FILE, {**body, "dry_run": True})
        return draft

    # --- history -------------------------------------------------------------------------

    async def changes(self, request: Request) -> Response:
        query = request.query_params
        what = query.get("what", "")
        found = await self._house.api(request).get(
            "/api/v1/memory/history", what=what or None, before=query.get("before") or None
        )
        return self._page(request, "history.html", tab="history", found=found, what=what,
                          before=query.get("before", ""))  # fmt: skip

    async def change(self, request: Request) -> Response:
        ident = request.path_params["id"]
        found = await self._house.api(request).get(f"/api/v1/memory/history/{ident}")
        return self._page(request, "change.html", tab="history", found=found, wrong="",
                          done=request.query_params.get("done", ""))  # fmt: skip

    async def undo(self, request: Request) -> Response:
        form = await form_of(request)
        ident = form.get("change", "")
        api = self._house.api(request)
        try:
            done = await api.post("/api/v1/memory/undo", {"change": ident})
        except Refused as error:
            if error.status != 409:
                raise
            found = await api.get(f"/api/v1/memory/history/{ident}")
            return self._page(request, "change.html", 409, tab="history", found=found,
                              wrong=error.message, done="")  # fmt: skip
        return go(f"/memory/history/{done['change']}", done="undone")


def _body(form: Fields) -> dict[str, Any]:
    given = {name: form.get(name, "") for name in ("path", "base")}
    return {**given, "text": form.get("text", "").replace("\r\n", "\n")}
