"""Requests of browsers that are being answered, so that those of one can be ended."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The request that this is done for, also in tasks that it started.
_here: contextvars.ContextVar[object] = contextvars.ContextVar("request")
_LOOK_S = 5.0


class Held:
    """Event streams last for hours: whoever is signed out must not go on reading."""

    def __init__(self) -> None:
        self._open: dict[str, dict[object, asyncio.Task[None]]] = {}
        self._cut: set[object] = set()

    def cut(self, devices: Sequence[str]) -> None:
        """End what is being answered to these, but for the request that this is asked by: it has
        still to say that it was done."""
        for device in devices:
            for mark, task in self._open.get(device, {}).items():
                if mark is not _here.get(None):
                    self._cut.add(mark)
                    task.cancel()

    async def run(
        self, device: str, app: ASGIApp, scope: Scope, receive: Receive, send: Send,
        holds: Callable[[], Awaitable[bool]],
    ) -> None:  # fmt: skip
        """Answer a request of a device. ``holds``: whether it is still let in; asked now and then
        while an answer is sent, for what was changed behind our back."""
        task = asyncio.current_task()
        assert task is not None
        mark, begun, looked = object(), False, time.monotonic()

        async def watched(message: Message) -> None:
            nonlocal begun, looked
            if time.monotonic() - looked > _LOOK_S:
                looked = time.monotonic()
                if not await holds():
                    self._cut.add(mark)
                    task.cancel()
                    await asyncio.Event().wait()  # until that has reached us
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        here = _here.set(mark)
        self._open.setdefault(device, {})[mark] = task
        try:
            await app(scope, receive, watched)
        except asyncio.CancelledError:
            if mark not in self._cut:
                raise
            task.uncancel()
            if not begun:
                headers = [(b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            _here.reset(here)
            self._cut.discard(mark)
            open_ = self._open[device]
            del open_[mark]
            if not open_:
                del self._open[device]
