"""A door of nothing but translators, over the scripted model, for foreign clients to knock at."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from stead.core.errors import BackendFailed, SteadError
from stead.inference.apis import count, errors, table
from stead.inference.apis.base import Translation, load
from stead.inference.scripted import Running
from stead.inference.seam import Api
from stead.net.http import Client, HttpFailed

NOW = 1_800_000_000
_STREAM = [(b"content-type", b"text/event-stream")]
_JSON = [(b"content-type", b"application/json")]


@dataclass
class Foreign:
    """Where it is, and what the model behind it got and used."""

    url: str
    """Without ``/v1``."""
    app: Mounted
    model: Running

    @property
    def upstream(self) -> Any:
        """The last request that the model got."""
        return load(self.model.app.bodies[-1])


class Mounted:
    """ASGI. A model whose name begins with ``claude`` is asked in Anthropic's messages."""

    def __init__(self, model: Running) -> None:
        self._model = model
        self.last: Translation | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        api = Api(scope["path"].removeprefix("/v1/"))
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        try:
            await self._answer(api, body, send)
        except SteadError as error:
            await _whole(send, error.status, errors.told(api, error))

    async def _answer(self, api: Api, body: bytes, send: Any) -> None:
        request = load(body)
        model = str(request["model"])
        spoken = Api.MESSAGES if model.startswith("claude") else Api.CHAT
        if api is Api.COUNT_TOKENS:
            await _whole(send, 200, count.answer(count.estimate(body), "its letters"))
            return
        headers = {"authorization": f"Bearer {self._model.key}"} | dict(table.headers(spoken))
        self.last = made = None if spoken is api else table.translator(api, spoken, now=NOW)
        body = made.request(body, model) if made else table.without_unsigned(body)
        client = Client(self._model.url)
        try:
            answer = await client.stream("POST", f"/{spoken.value}", body=body, headers=headers)
            if answer.status != 200:
                told = b"".join([piece async for piece in answer])
                told = errors.translated(api, answer.status, told)
                await _whole(send, answer.status, told)
            elif request.get("stream"):
                await _start(send, 200, _STREAM)
                await _pass(answer, made, spoken, send)
            else:
                whole = b"".join([piece async for piece in answer])
                await _whole(send, 200, made.whole(whole) if made else whole)
        except (ValueError, HttpFailed) as error:
            raise BackendFailed(backend="scripted", why=str(error)) from None
        finally:
            await client.aclose()


async def _pass(answer: Any, made: Translation | None, spoken: Api, send: Any) -> None:
    try:
        async for piece in answer:
            await _more(send, made.feed(piece) if made else piece)
        await _more(send, made.end() if made else b"")
    except (ValueError, HttpFailed) as error:
        failed = BackendFailed(backend="scripted", why=str(error))
        await _more(send, made.broken(failed) if made else errors.event(spoken, failed))
    await send({"type": "http.response.body", "body": b""})


async def _start(send: Any, status: int, headers: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


async def _more(send: Any, body: bytes) -> None:
    if body:
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def _whole(send: Any, status: int, body: bytes) -> None:
    await _start(send, status, _JSON)
    await send({"type": "http.response.body", "body": body})


class _Server(uvicorn.Server):
    def __init__(self, app: Mounted) -> None:
        super().__init__(
            uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", access_log=False)
        )
        self.up = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()


@contextmanager
def mounted(model: Running) -> Iterator[Foreign]:
    """Serve while the block runs."""
    app = Mounted(model)
    server = _Server(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        assert server.up.wait(30)
        try:
            yield Foreign(f"http://127.0.0.1:{listener.getsockname()[1]}", app, model)
        finally:
            server.should_exit = True
            thread.join(10)
