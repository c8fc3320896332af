"""Templates: a whole page for a browser that comes in, the middle of it for one that is here."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from stead.pages import plain, seen, words
from stead.pages.forms import address
from stead.pages.visitor import visitor_of

_FOLDER = Path(__file__).parent
_SYMBOL = re.compile(r'<symbol id="([^"]+)"[^>]*>(.*?)</symbol>', re.S)
#: The colours somebody has chosen, kept by their browser; anything else: as the machine has it.
_THEME = "stead-theme"


class Renderer:
    """Jinja2 over ``templates/``; everything is escaped that is not marked safe.

    Every template knows ``visitor``, ``path``, ``rooms_of(visitor)`` (what stands in the
    navigation), ``asset(name)`` (the address of a file of ``static/``), ``icon(name)`` (of
    ``static/icons.svg``), ``m`` (the macros of ``macros.html``), ``address`` (of ``forms``) and the
    filters of ``words`` and ``seen``.
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
        self.known.update(icon=_icons(), now_ms=_now_ms, address=address)
        self.filters = self._templates.filters
        """Filters of templates, by name."""
        self.filters.update(words.FILTERS, ago=_ago, **seen.FILTERS)
        self.filters.update(plain=plain.plain, line=plain.line, cut=plain.cut)
        self.known["m"] = self._templates.get_template("macros.html").module

    def page(
        self, request: Request, template: str, *, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """The template whole, or its block ``content`` alone where htmx asks for it."""
        theme = request.cookies.get(_THEME, "")
        given = {
            "visitor": request.scope.get("stead.visitor"),
            "path": request.url.path,
            "counts": request.scope.get("stead.counts", {}),
            "theme": theme if theme in ("light", "dark") else "",
            **context,
        }
        found = self._templates.get_template(template)
        if request.headers.get("hx-request") == "true" and "content" in found.blocks:
            html = "".join(found.blocks["content"](found.new_context(given)))
        else:
            html = found.render(given)
        headers = {"Cache-Control": "no-store", "Vary": "HX-Request"}
        return HTMLResponse(html, status, headers)

    def macro(self, template: str, name: str) -> Callable[..., str]:
        """A macro of a template, to be called with what it takes: HTML that is the same for all."""
        found: Callable[..., str] = getattr(self._templates.get_template(template).module, name)
        return found

    def part(self, request: Request, template: str, block: str, **context: Any) -> str:
        """One block of a template, as text: for an event of a stream."""
        given = {"visitor": visitor_of(request), "path": request.url.path, **context}
        found = self._templates.get_template(template)
        return "".join(found.blocks[block](found.new_context(given)))


def say(response: Response, told: str, kind: str = "good") -> Response:
    """Have these words shown, and read aloud, when htmx gets this answer. ``kind``: good or bad."""
    response.headers["Stead-Say"] = quote(told)
    response.headers["Stead-Say-Kind"] = kind
    return response


def _icons() -> Any:
    """The global ``icon``: a picture of ``icons.svg`` in line, so that it costs no request."""
    found = dict(_SYMBOL.findall((_FOLDER / "static" / "icons.svg").read_text("utf-8")))

    def icon(name: str) -> Markup:
        drawn = found.get(name) or found["room"]
        return Markup(f'<svg class="i" viewBox="0 0 24 24" aria-hidden="true">{drawn}</svg>')

    return icon


def _now_ms() -> int:
    return int(time.time() * 1000)


def _ago(ms: int) -> str:
    return words.ago(ms, _now_ms())
