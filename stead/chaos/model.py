"""The model of a chaos run: the scripted model, which logs each call and can be told to fail.

What it is asked goes into a log that outlives it (a line when a call begins and
one when it ends). The fault in force stands in a file, looked at for each call,
so it outlives the process too.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

from stead.chaos.lines import append
from stead.chaos.talk import TAG
from stead.inference.directives import asked, text_of
from stead.inference.scripted import Scripted

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

LOG, FAULT = "model.calls.jsonl", "model.fault.json"

#: The kinds of faults of a model as directives of the scripted one; {} is how much of the
#: answer comes first.
DIRECTIVES = {
    "model-stall": "[[stall {}]]",
    "model-cut": "[[cut {}]]",
    "model-half": "[[short {}]]",
    "model-error": "[[error {}]]",
    "model-garbage": "[[garbage]]",
    "model-500": "[[fail 500]]",
    "model-429": "[[fail 429]]",
}


def set_fault(folder: Path, kind: str, after: int = 0) -> None:
    """Let every call fail in this way from now on; an empty kind ends it."""
    text = DIRECTIVES[kind].format(after) if kind else ""
    draft = folder / f".{FAULT}"
    draft.write_text(json.dumps({"directive": text}), "utf-8")
    os.replace(draft, folder / FAULT)


class Logged:
    """The scripted model, with a log and with faults."""

    def __init__(self, folder: Path) -> None:
        self._app = Scripted()
        self._log = folder / LOG
        self._fault = folder / FAULT
        self._numbers = itertools.count(1)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not str(scope["path"]).endswith("/chat/completions"):
            await self._app(scope, receive, send)
            return
        request = json.loads(await _body(receive))
        call = f"{os.getpid()}-{next(self._numbers)}"
        seen = {"id": call, **_about(request["messages"])}
        append(self._log, {"e": "begin", "t": time.time(), **seen})
        end = "broken"

        async def watched(event: dict[str, Any]) -> None:
            nonlocal end
            if event["type"] == "http.response.start" and event["status"] != 200:
                end = "failed"
            elif b"[DONE]" in event.get("body", b""):
                end = "whole"
            await send(event)

        try:
            await self._app(scope, _again(self._with_fault(request), receive), watched)
        finally:
            append(self._log, {"e": "end", "t": time.time(), "id": call, "how": end})
            self._app.calls.clear()

    def _with_fault(self, request: dict[str, Any]) -> bytes:
        directive = ""
        with contextlib.suppress(OSError, ValueError):
            directive = json.loads(self._fault.read_text("utf-8"))["directive"]
        if directive:
            for message in reversed(request["messages"]):
                if message.get("role") == "user":
                    message["content"] = f"{text_of(message.get('content'))} {directive}"
                    break
        return json.dumps(request).encode()


def _about(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Which message it is about, how many results of tools are in, which answer came before."""
    what = asked(messages)
    tag = TAG.search(what.owner)
    before = ""
    for message in messages:
        if message.get("role") == "assistant" and message.get("content"):
            named = TAG.search(text_of(message["content"]))
            before = named.group() if named else before
    return {"m": tag.group() if tag else "", "r": what.results, "before": before}


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        event = await receive()
        parts.append(event.get("body", b""))
        if not event.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """The body that was read, handed on; then whatever else comes (that the caller leaves)."""
    waiting = [body]

    async def more() -> dict[str, Any]:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return more


def serve(folder: Path, port: int) -> None:
    """Serve on a port of this machine until SIGTERM or SIGINT."""
    config = uvicorn.Config(
        Logged(folder), log_level="critical", access_log=False, lifespan="off", ws="none",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", port)) as listener:
        uvicorn.Server(config).run([listener])
