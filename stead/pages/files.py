"""What a browser hands in and is given back: files, as the API has them. No page of its own."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from stead.pages.inside import Api, Headers
from stead.pages.rooms import House, Room

#: Of a file's answer: what the browser is told. What it may do with it is the API's own word.
_PASSED = frozenset({
    b"content-type", b"content-length", b"content-disposition", b"content-range", b"accept-ranges",
    b"etag", b"last-modified", b"cache-control", b"content-security-policy",
    b"x-content-type-options",
})  # fmt: skip
_ASKED = ("range", "if-none-match", "if-range")


def room(house: House) -> Room:
    files = _Files(house)
    return Room(
        "files",
        "Files",
        [
            Route("/files", files.take, methods=["POST"]),
            Route("/files/voice", files.voice, methods=["GET"]),
            Route("/files/voice/words", files.words, methods=["POST"]),
            Route("/files/voice/sound", files.sound, methods=["POST"]),
            Route("/files/{id}", files.give, methods=["GET"]),
            Route("/files/{id}", files.drop, methods=["DELETE"]),
        ],
        members=True,
        shown=False,
    )


class _Files:
    def __init__(self, house: House) -> None:
        self._house = house

    async def take(self, request: Request) -> Response:
        """A file: the body as it is, by its name. Never held here: it streams to the disk."""
        headers: Headers = []
        if "content-length" in request.headers:
            headers.append((b"content-length", request.headers["content-length"].encode()))
        api, query = self._house.api(request), {"name": request.query_params.get("name", "")}
        async with api.stream(
            "POST", "/api/v1/files", headers=headers, query=query, coming=request.receive
        ) as (status, _, pieces):
            told = b"".join([piece async for piece in pieces])
        return JSONResponse(msgspec.json.decode(told), status)

    async def give(self, request: Request) -> Response:
        """The bytes of a file, or a part of them."""
        return _Passed(self._house.api(request), request)

    async def voice(self, request: Request) -> Response:
        """Whether one can speak, and be spoken to."""
        return JSONResponse(await self._house.api(request).get("/api/v1/voice"))

    async def words(self, request: Request) -> Response:
        """The words of a recording."""
        return await self._passed(request, "/api/v1/voice/words")

    async def sound(self, request: Request) -> Response:
        """A text, spoken."""
        return await self._passed(request, "/api/v1/voice/sound")

    async def _passed(self, request: Request, path: str) -> Response:
        async with self._house.api(request).stream("POST", path, coming=request.receive) as answer:
            status, headers, pieces = answer
            told = b"".join([piece async for piece in pieces])
        kind = dict(headers).get(b"content-type", b"application/json").decode("latin-1")
        return Response(told, status, media_type=kind, headers={"cache-control": "no-store"})

    async def drop(self, request: Request) -> Response:
        """One that was not sent after all."""
        ident = quote(request.path_params["id"], safe="")
        await self._house.api(request).delete(f"/api/v1/files/{ident}")
        return Response(status_code=204)


class _Passed(Response):
    """The API's answer as it comes, with what a browser needs of its head."""

    def __init__(self, api: Api, request: Request) -> None:
        super().__init__()
        self._api, self._request = api, request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._request
        headers = [
            (name.encode(), request.headers[name].encode("latin-1"))
            for name in _ASKED
            if name in request.headers
        ]
        path = f"/api/v1/files/{quote(request.path_params['id'], safe='')}/content"
        asked = {"download": request.query_params.get("download") or None}
        async with self._api.stream("GET", path, headers=headers, query=asked) as answer:
            status, told, pieces = answer
            kept = [one for one in told if one[0] in _PASSED]
            await send({"type": "http.response.start", "status": status, "headers": kept})
            async for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
