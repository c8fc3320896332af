"""Streams: signs of life between the pieces, never within an event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message

from stead.gateway.http import stream


async def _sent(*pieces: bytes, alive_s: float) -> bytes:
    """What a client gets of pieces that are a tenth of a second apart."""
    out: list[bytes] = []

    async def slowly() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
            await asyncio.sleep(0.1)

    async def send(message: Message) -> None:
        out.append(message.get("body", b""))

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("never")

    assert await stream(receive, send, slowly(), alive_s=alive_s)
    return b"".join(out)


async def test_signs_of_life() -> None:
    """A stream that is silent for too long says a comment, again and again."""
    told = await _sent(b"data: a\n\n", b"data: b\n\n", alive_s=0.01)
    assert told.count(b":\n\n") >= 4
    assert told.replace(b":\n\n", b"") == b"data: a\n\ndata: b\n\n"


async def test_never_within_an_event() -> None:
    """An event that comes in parts is not broken by a comment."""
    told = await _sent(b"data: a", b"bc\n\n", alive_s=0.01)
    assert told.startswith(b"data: abc\n\n") and b":\n\n" in told


async def test_no_signs_unasked() -> None:
    """Who did not ask for signs of life gets the pieces and nothing else."""
    assert await _sent(b"data: a\n\n", alive_s=0.0) == b"data: a\n\n"
