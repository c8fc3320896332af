"""A node takes silence for a dead connection, so its streams are never silent for long."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from stead.inference.backends import Backend, BackendModel
from tests.unit.inference.doors import (
    JOB,
    answering,
    chat,
    door_to,
    events,
    raw_backend,
    read,
    text_of,
)


def thinking(seconds: float, status: int, body: bytes, kind: str) -> Any:
    """A backend that sends nothing, not even a head, before it has thought."""

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await answering(status, body, f"content-type: {kind}")(request, writer)

    return handler


def chunk(text: str, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


async def test_comments_until_the_head() -> None:
    """Promise: while a model reads its prompt, comments come; then its answer, all of it."""
    body = chunk("two ") + chunk("words", "stop") + b"data: [DONE]\n\n"
    slow = thinking(0.2, 200, body, "text/event-stream")
    async with raw_backend(slow) as backend, door_to([backend], alive_s=0.02) as made:
        answer = await made.door.chat(chat("hello", "m", stream=True), JOB)
        told = await read(answer)
        assert answer.status == 200 and told.count(b":\n\n") >= 3
        assert text_of(told) == "two words" and b"data: [DONE]\n\n" in told
        assert made.purse.one().status == 200


@pytest.mark.parametrize("seconds", [0.0, 0.2])
async def test_an_error_is_told_early_or_late(seconds: float) -> None:
    """Promise: an error before the comments keeps its status; later it is an event."""
    error = json.dumps({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}).encode()
    failing = thinking(seconds, 429, error, "application/json")
    async with raw_backend(failing) as backend, door_to([backend], alive_s=0.02) as made:
        answer = await made.door.chat(chat("hello", "m", stream=True), JOB)
        told = await read(answer)
        assert b"slow down" in told
        if seconds:
            assert answer.status == 200 and "error" in events(told)[-1]
        else:
            assert answer.status == 429
        assert made.purse.one().status == 429


async def test_a_backend_that_does_not_stream() -> None:
    """Promise: a whole answer that comes late is told as one event, and ends."""
    whole = json.dumps({"choices": [{"message": {"content": "all"}}]}, indent=1).encode()
    slow = thinking(0.2, 200, whole, "application/json")
    async with raw_backend(slow) as backend, door_to([backend], alive_s=0.02) as made:
        told = await read(await made.door.chat(chat("hello", "m", stream=True), JOB))
        data = [line[6:] for line in told.splitlines() if line.startswith(b"data: ")]
        assert json.loads(b"\n".join(data[:-1]))["choices"][0]["message"]["content"] == "all"
        assert data[-1] == b"[DONE]"


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_takes_the_call_with_it(begun: bool) -> None:
    """Promise: whoever goes before the head has come cuts the call, and it is booked once."""
    began, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        began.set()
        await reader.read()  # to the end of what the door sends
        gone.set()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    backend = Backend("raw", url, "key", (BackendModel("m"),))
    async with listener, door_to([backend], alive_s=0.02) as made:
        asked = asyncio.ensure_future(made.door.chat(chat("hello", "m", stream=True), JOB))
        if begun:
            answer = await asked
            assert await anext(answer.body) == b":\n\n"
            await answer.aclose()
        else:
            await began.wait()
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
        async with asyncio.timeout(60):
            await gone.wait()
        assert made.purse.one().status == 499
