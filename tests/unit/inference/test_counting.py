"""Tokens of an Anthropic client's request, counted by the server of another kind of model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from stead.core.errors import SteadError
from stead.inference.backends import Backend, BackendModel
from stead.inference.plane.outlet import Pipe
from stead.inference.seam import Api, Who
from tests.unit.inference.doors import Setup, door_to

Told = tuple[int, Any]


@dataclass
class Server:
    """A real server that tells what it is told to, and what it was asked."""

    answers: dict[str, Callable[[Any], Told]]
    asked: list[str] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ")[1]
                fields = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
                self.asked.append(path)
                self.keys.add(fields.get("authorization", ""))
                body = json.loads(await reader.readexactly(int(fields["content-length"])))
                known = self.answers.get(path)
                status, data = known(body) if known else (404, {"error": "no such path"})
                text = data if isinstance(data, bytes) else json.dumps(data).encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(text)))
                writer.write(text)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def template(body: Any) -> Told:
    """A template whose every message has one word of its own around it."""
    said = " ".join(f"<{m['role']}> {m['content']}" for m in body["messages"])
    return 200, {"prompt": said + " <tools>" * len(body.get("tools", []))}


def words(body: Any) -> Told:
    assert body["add_special"] is True
    return 200, {"tokens": [1, *range(len(body["content"].split()))]}


@asynccontextmanager
async def counting(**answers: Callable[[Any], Told]) -> AsyncIterator[tuple[Server, Setup]]:
    """A door to a model whose server answers at these paths (``_`` is ``-``), with a key."""
    server = Server({f"/{name.replace('_', '-')}": told for name, told in answers.items()})
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{server.port}/v1"
    house = Backend("home", url, "hushhush", (BackendModel("m"),))
    abroad = Backend("abroad", url, models=(BackendModel("far"),), where="cloud")
    try:
        async with door_to([house, abroad]) as made:
            yield server, made
    finally:
        listener.close()


async def count(made: Setup, model: str = "m", **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "How are you?"}]} | more
    plane, pipe = made.door.plane, Pipe()
    record = plane.read(Api.COUNT_TOKENS, Who("owner"), json.dumps(body).encode())
    answer = await pipe.answer(plane.answer(record, pipe))
    return json.loads(b"".join([piece async for piece in answer.body]))


async def test_a_server_with_template_and_tokenizer_counts() -> None:
    """The whole prompt is counted as the server itself would make it, tools too: no estimate. It is
    asked beside its API, with its key, and the row costs nothing."""
    async with counting(apply_template=template, tokenize=words) as (server, made):
        assert await count(made) == {"input_tokens": 5}
        tool = {"name": "clock", "input_schema": {"type": "object"}}
        assert await count(made, system="Be kind.", tools=[tool]) == {"input_tokens": 9}
        assert server.asked == ["/apply-template", "/tokenize"] * 2
        assert server.keys == {"bearer hushhush"}
        assert [one.usage.tokens for one in made.purse.settled] == [0, 0]


async def test_without_a_template_the_text_is_counted() -> None:
    """A server that has no template, or none for this request, counts the text; the answer says
    what is not in it."""
    mark = {"estimated": True, "by": "its tokens, without its template"}
    for status, odd in ((404, {}), (500, {"error": "no pictures"}), (200, {"error": "?"})):
        async with counting(
            apply_template=lambda body, told=(status, odd): told,  # type: ignore[misc]
            tokenize=words,
        ) as (server, made):
            assert await count(made) == {"input_tokens": 1 + 3 + 4, "stead": mark}
            await count(made)
            asked = server.asked.count("/apply-template")
            assert asked == (2 if status == 500 else 1), "who does not know it is not asked again"


@pytest.mark.parametrize(
    "told", [(404, {}), (200, {"error": "unexpected endpoint"}), (500, b"oops"), (200, b"<html>")]
)
async def test_what_nobody_counts_is_estimated(told: Told) -> None:
    """Whatever a server says to a question it does not know, there is an estimate, marked so."""
    async with counting(tokenize=lambda body: told) as (server, made):
        answer = await count(made)
        assert answer["stead"] == {"estimated": True, "by": "its letters"}
        assert 4 <= answer["input_tokens"] <= 12
        await count(made)
        assert len(server.asked) == (2 if told[0] != 500 else 3)


async def test_nobody_abroad_is_asked_to_count() -> None:
    """What is to be counted is not sent to a cloud that may charge for it; and a server that is
    gone takes no count with it."""
    async with counting(apply_template=template, tokenize=words) as (server, made):
        assert (await count(made, "far"))["stead"]["by"] == "its letters"
        assert not server.asked
    async with door_to(
        [Backend("gone", "http://127.0.0.1:9/v1", models=(BackendModel("m"),))]
    ) as m:
        assert (await count(m))["stead"]["by"] == "its letters"


async def test_what_could_not_be_sent_is_not_counted() -> None:
    """A request that such a model could not be asked is refused as the call would be."""
    async with counting(apply_template=template, tokenize=words) as (server, made):
        for wrong in ({"messages": 3}, {"tools": [{"type": "bash_20250124", "name": "bash"}]}):
            with pytest.raises(SteadError) as refused:
                await count(made, **wrong)
            assert refused.value.status == 400
        assert not server.asked
