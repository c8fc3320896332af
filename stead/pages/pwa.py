"""What makes the page an app: the manifest, the worker in the background, the page shown offline.

All three are there for who has not signed in, and say nothing of the house.
Sources: https://www.w3.org/TR/appmanifest/ and https://www.w3.org/TR/service-workers/
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from stead.pages.render import Renderer
from stead.pages.static_files import Static

#: Kept by the worker, with the offline page: enough for that page to look as it should.
_KEPT = ("site.css", "site.js", "offline.js", "icon.svg", "icon-192.png")
_WORKER = Path(__file__).parent / "worker.js"


def routes(static: Static, render: Renderer) -> list[BaseRoute]:
    """Routes that are open to everybody."""
    manifest = msgspec.json.encode(_manifest(static))
    kept = ["/offline", *(static.url(name) for name in _KEPT)]
    code = _WORKER.read_text("utf-8")
    # A browser takes a new worker when a byte of it is another: so the files it keeps are in it.
    mark = hashlib.sha256(f"{kept}{code}".encode()).hexdigest()[:12]
    worker = f"const MARK = {msgspec.json.encode(mark).decode()};\n"
    worker += f"const KEPT = {msgspec.json.encode(kept).decode()};\n{code}"

    async def app_manifest(request: Request) -> Response:
        return Response(manifest, 200, {"Cache-Control": "no-cache"}, "application/manifest+json")

    async def background(request: Request) -> Response:
        return Response(worker, 200, {"Cache-Control": "no-cache"}, "text/javascript")

    async def offline(request: Request) -> Response:
        return render.page(request, "offline.html")

    return [
        Route("/manifest.webmanifest", app_manifest, methods=["GET"]),
        Route("/sw.js", background, methods=["GET"]),
        Route("/offline", offline, methods=["GET"]),
    ]


def _manifest(static: Static) -> dict[str, object]:
    icons = [
        {"src": static.url(f"icon-{side}.png"), "sizes": f"{side}x{side}", "type": "image/png",
         "purpose": purpose}
        for side in (192, 512) for purpose in ("any", "maskable")
    ]  # fmt: skip
    return {
        "id": "/",
        "name": "stead",
        "short_name": "stead",
        "description": "Your own AI house, at your own address.",
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "background_color": "#f8f7f4",
        "theme_color": "#1c5d99",
        "icons": icons,
    }
