"""The owner's API, asked from inside its process: the page has no other way to anything.

So what the page can do, a program can, and there is one place that checks what is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope

from stead.core.errors import SteadError
from stead.pages.visitor import Visitor

#: With the owner's key: on behalf of this person, who may less.
PERSON = b"x-stead-person"

Headers = list[tuple[bytes, bytes]]


class Refused(SteadError):
    """The API said no. Its words, its status and its code."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(str(error.get("message") or f"The API answered {status}."))
        self.status = status
        self.code = str(error.get("code") or "")
        self.param = error.get("param")


class Api:
    """Requests of one visitor. ``key`` is the owner's; it never leaves the process."""

    def __init__(self, app: ASGIApp, key: str, visitor: Visitor) -> None:
        self._app = app
        self._headers: Headers = [(b"authorization", f"Bearer {key}".encode())]
        if not visitor.owner:
            self._headers.append((PERSON, visitor.person.encode()))

    async def get(self, path: str, **query: Any) -> Any:
        """The decoded answer; None values are left out of the query. Raises ``Refused``."""
        return await self._json("GET", path, None, query)

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """As :meth:`get`, with a JSON body."""
        return await self._json("POST", path, body, query)

    async def put(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self._json("PUT", path, body, query)

    async def patch(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self._json("PATCH", path, body, query)

    async def delete(self, path: str, **query: Any) -> Any:
        return await self._json("DELETE", path, None, query)

    @contextlib.asynccontextmanager
    async def stream(
        self, method: str, path: str, *, body: bytes = b"", headers: Headers | None = None,
        query: dict[str, Any] | None = None, coming: Receive | None = None,
    ) -> AsyncIterator[tuple[int, Headers, AsyncIterator[bytes]]]:  # fmt: skip
        """Status, headers and the pieces of an answer as they come. ``coming``: the body comes from
        there, piece by piece, as a browser sends it.

        Leaving the block hangs up, as a client that goes away.
        """
        answers: asyncio.Queue[Message | None] = asyncio.Queue(8)
        left = asyncio.Event()
        given = iter([{"type": "http.request", "body": body, "more_body": False}])

        whole = False

        async def receive() -> Message:
            nonlocal whole
            if coming is not None and not whole:
                message = await coming()
                whole = not message.get("more_body", False)
                return message
            for message in given if coming is None else ():
                return message
            await left.wait()
            return {"type": "http.disconnect"}

        async def run() -> None:
            try:
                await self._app(self._scope(method, path, query, headers), receive, answers.put)
            finally:
                with contextlib.suppress(asyncio.QueueFull):
                    answers.put_nowait(None)

        async def pieces() -> AsyncIterator[bytes]:
            while True:
                if task.done() and answers.empty():
                    break
                message = await answers.get()
                if message is None:
                    break
                piece = message.get("body", b"")
                if piece:
                    yield piece
                if not message.get("more_body", False):
                    break

        task = asyncio.ensure_future(run())
        try:
            start = await answers.get()
            if start is None:
                await task
                raise Refused(500, {})
            yield start["status"], list(start["headers"]), pieces()
        finally:
            left.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _json(self, method: str, path: str, body: Any, query: dict[str, Any]) -> Any:
        data, headers = b"", None
        if body is not None:
            data, headers = msgspec.json.encode(body), [(b"content-type", b"application/json")]
        async with self.stream(method, path, body=data, headers=headers, query=query) as answer:
            status, _, pieces = answer
            raw = b"".join([piece async for piece in pieces])
        try:
            told = msgspec.json.decode(raw) if raw else None
        except msgspec.DecodeError:
            raise Refused(status, {}) from None
        if status >= 400:
            error = told.get("error") if isinstance(told, dict) else None
            raise Refused(status, error if isinstance(error, dict) else {})
        return told

    def _scope(
        self, method: str, path: str, query: dict[str, Any] | None, headers: Headers | None
    ) -> Scope:
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": urlencode(asked, doseq=True).encode(),
            "root_path": "",
            "headers": [*self._headers, *(headers or [])],
            "client": None,
            "server": None,
            "state": {},
        }
