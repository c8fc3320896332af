"""The owner's files over HTTP: handed in as they are, given back so that no browser runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.types import Receive

from stead.blobs.handed import Handed
from stead.blobs.sniff import SHOWN
from stead.core.attached import Attached, FileStore
from stead.core.errors import BadRequest, SteadError
from stead.core.states import Failure
from stead.gateway.auth import Keys
from stead.gateway.http import Json, number
from stead.gateway.people import asker

_SILENT_S = 60.0
"""A sender that says nothing for so long is taken to have gone."""

#: What a file may do in a browser, whatever it holds: nothing (CSP 3, section 6; Fetch, 3.6).
_TAME = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    # It may be forgotten, and who has signed out must not find it: asked for anew each time, which
    # costs little (304).
    "cache-control": "private, no-cache",
}


class CutOff(BadRequest):
    """The file was cut off after {size} bytes; nothing of it was kept. Send it again."""

    code = "cut_off"


class TooQuiet(SteadError):
    """Nothing more of the file came for {seconds:g} s, after {size} bytes; nothing of it was kept.
    Send it again."""

    status = 408
    kind = "invalid_request_error"
    code = "request_timeout"
    failure = Failure.TIMEOUT


class Files:
    """``/api/v1/files``, all with the owner's key; each of the house has their own."""

    def __init__(self, store: FileStore, handed: Handed, keys: Keys) -> None:
        self._store = store
        self._handed = handed
        self._keys = keys

    def routes(self) -> list[Route]:
        route = self._keys.owner_route
        return [
            route(
                "/files",
                self._post,
                "POST",
                about="Hand in a file: the body as it is. It goes with a message that names its id",
                asks={"name": str},
                members=True,
            ),
            route(
                "/files",
                self._list,
                "GET",
                about="The files that are kept, the newest first",
                asks={"before": str, "limit": int},
                members=True,
            ),
            route("/files/{id}", self._get, "GET", about="What is known of a file", members=True),
            route(
                "/files/{id}/content",
                self._content,
                "GET",
                about="The bytes of a file, or a part of them (Range)",
                asks={"download": str},
                members=True,
            ),
            route(
                "/files/{id}",
                self._drop,
                "DELETE",
                about="Give up a file that was not sent yet",
                members=True,
            ),
        ]

    async def _post(self, request: Request) -> Response:
        size = number(request.headers.get("content-length"), "content-length", 0)
        name = request.query_params.get("name", "")
        file = await self._handed.take(
            coming(request.receive), name[:1000], max(0, size), asker(request)
        )
        shown = asdict(file)
        shown.pop("person")
        return Json(shown, status_code=201)

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        limit = max(1, min(500, number(query.get("limit"), "limit", 50)))
        return Json(await self._store.view_files(query.get("before", ""), limit, asker(request)))

    async def _get(self, request: Request) -> Response:
        file = await self._handed.one(request.path_params["id"], asker(request))
        return Json(await self._store.view_file(file.id))

    async def _drop(self, request: Request) -> Response:
        await self._handed.drop(request.path_params["id"], asker(request))
        return Response(status_code=204)

    async def _content(self, request: Request) -> Response:
        file = await self._handed.one(request.path_params["id"], asker(request))
        if f'"{file.sha256}"' in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={**_TAME, "etag": f'"{file.sha256}"'})
        return content(self._handed, file, download=bool(request.query_params.get("download")))


def content(handed: Handed, file: Attached, *, download: bool = False) -> Response:
    """The bytes of a file, as an answer that no browser runs anything of: what may be shown or
    played is, all else is offered to be saved. Raises ``NotFound``."""
    shown = file.type in SHOWN or file.kind in ("sound", "film")
    return FileResponse(
        handed.path(file),
        media_type=file.type if shown or file.kind in ("text", "pdf") else _BYTES,
        filename=file.name,
        content_disposition_type="inline" if shown and not download else "attachment",
        headers={**_TAME, "etag": f'"{file.sha256}"'},
    )


_BYTES = "application/octet-stream"


async def coming(receive: Receive) -> AsyncIterator[bytes]:
    """The pieces of a body as they come. Raises ``CutOff``, ``TooQuiet``."""
    size = 0
    while True:
        try:
            async with asyncio.timeout(_SILENT_S):
                message = await receive()
        except TimeoutError:
            raise TooQuiet(seconds=_SILENT_S, size=size) from None
        if message["type"] == "http.disconnect":
            raise CutOff(size=size)
        piece = message.get("body", b"")
        size += len(piece)
        if piece:
            yield piece
        if not message.get("more_body", False):
            return
