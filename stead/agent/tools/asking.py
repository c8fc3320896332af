"""Requests of tools, made in a sandbox of their own each: one page cannot see another's."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stead.agent.tools.base import Context, ToolError
from stead.agent.tools.urls import Url
from stead.sandbox.box import Bounds, Box, Host
from stead.sandbox.egress_relay import PORT
from stead.sandbox.view import interpreter

_CHILD = Path(__file__).with_name("asking_child.py")
_MOST_TOLD = 64_000_000
_MARGIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    url: str
    """The last one, after redirects."""
    status: int
    headers: dict[str, str]
    kind: str = ""
    """``page``, ``text``, ``pdf``, ``binary``; empty: only its head was read."""
    text: str = ""
    title: str = ""
    by: str = ""
    """What made the text of a page: ``trafilatura`` or ``plain``."""
    size: int = 0
    whole: bool = True
    elsewhere: str = ""
    """Where it leads to, if that is another place."""


@dataclass(frozen=True, slots=True)
class Order:
    """A request, and how much of it is taken."""

    url: Url
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = field(default_factory=tuple)
    body: bytes = b""
    redirects: int = 0
    page: bool = False
    most: int = 5_000_000


def box_of(tool: str, context: Context, host: Host, seconds: float) -> Box:
    """A sandbox that sees nothing but Python and this one host."""
    return Box(
        tool,
        mounts=interpreter(),
        hosts=(host,),
        env={"PYTHONDONTWRITEBYTECODE": "1"},
        bounds=Bounds(memory_mb=768, processes=16, cpu_s=60.0, wall_s=seconds, file_mb=16),
        low=context.low,
        job=context.job,
    )


async def ask(context: Context, tool: str, host: Host, order: Order) -> Answer:
    """Raises ``ToolError`` for whatever went wrong before an answer came."""
    if context.walls is None:
        raise ToolError("there are no sandboxes on this worker, so nothing may be asked from here")
    seconds = max(1.0, min(600.0, context.until - time.monotonic() - _MARGIN_S))
    boxed = await context.walls.start(
        box_of(tool, context, host, seconds + 5.0),
        [sys.executable, "-I", "-B", str(_CHILD)],
        stdin=PIPE,
        stdout=PIPE,
    )
    assert boxed.stdin is not None and boxed.stdout is not None
    try:
        boxed.stdin.write(_order(order, seconds))
        boxed.stdin.close()
        said = bytearray()
        while piece := await boxed.stdout.read(65536):
            said += piece
            if len(said) > _MOST_TOLD:
                raise ToolError("its answer is too large")
        ended = await boxed.wait()
    finally:
        if boxed.ended is None:
            await asyncio.shield(boxed.kill())
    if ended.why:
        raise ToolError(f"reading the answer was stopped: it {ended.why}")
    try:
        told = json.loads(said)
    except ValueError:
        raise ToolError(
            f"the process that asks ended with code {ended.code} and no answer"
        ) from None
    if "failed" in told:
        raise ToolError(str(told["failed"]))
    return _answer(told)


def _order(order: Order, seconds: float) -> bytes:
    return json.dumps(
        {
            "url": order.url.text,
            "method": order.method,
            "headers": list(order.headers),
            "body": base64.b64encode(order.body).decode(),
            "port": PORT,
            "most": order.most,
            "seconds": seconds,
            "redirects": order.redirects,
            "as": "page" if order.page else "text",
        }
    ).encode()


def _answer(told: dict[str, Any]) -> Answer:
    return Answer(
        url=str(told["url"]),
        status=int(told["status"]),
        headers={str(name): str(value) for name, value in told["headers"].items()},
        kind=str(told.get("kind", "")),
        text=str(told.get("text", "")),
        title=str(told.get("title", "")),
        by=str(told.get("by", "")),
        size=int(told.get("bytes", 0)),
        whole=bool(told.get("whole", True)),
        elsewhere=str(told.get("elsewhere", "")),
    )
