"""Templates: a whole page for a browser that comes in, the middle of it for one that is here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from stead.pages.visitor import visitor_of

_FOLDER = Path(__file__).parent


class Renderer:
    """Jinja2 over ``templates/``; everything is escaped that is not marked safe.

    Every template knows ``visitor``, ``path``, ``rooms_of(visitor)`` (what stands in the
    navigation) and ``asset(name)`` (the address of a file of ``static/``).
    """

    def __init__(self, **known: Any) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        self.known: dict[str, Any] = self._templates.globals
        self.known.update(known)
        self.filters = self._templates.filters
        """Filters of templates, by name."""

    def page(
        self, request: Request, template: str, *, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """The template whole, or its block ``content`` alone where htmx asks for it."""
        given = {"visitor": request.scope.get("stead.visitor"), "path": request.url.path, **context}
        found = self._templates.get_template(template)
        if request.headers.get("hx-request") == "true" and "content" in found.blocks:
            html = "".join(found.blocks["content"](found.new_context(given)))
        else:
            html = found.render(given)
        headers = {"Cache-Control": "no-store", "Vary": "HX-Request"}
        return HTMLResponse(html, status, headers)

    def part(self, request: Request, template: str, block: str, **context: Any) -> str:
        """One block of a template, as text: for an event of a stream."""
        given = {"visitor": visitor_of(request), "path": request.url.path, **context}
        found = self._templates.get_template(template)
        return "".join(found.blocks[block](found.new_context(given)))
