"""Model clients: over HTTP, and within the process. Both must tell the same."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import BackendFailed, GatewayAway, ModelNotReady, OverBudget, SteadError
from stead.core.ports import ModelChunk, ModelClient, ModelRequest, ToolCall
from stead.core.states import Failure
from stead.inference import modelstate
from stead.inference.backends import Backend, BackendModel
from stead.inference.client import DoorModelClient, HttpModelClient
from stead.inference.modelstate import ModelState
from stead.inference.scripted import Running
from stead.net.http import Client
from tests.unit.inference.doors import CHAT, JOB, answering, door_to, raw_backend, table, until

TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def ask(text: str, model: str = "free", **more: Any) -> ModelRequest:
    return ModelRequest(model, [{"role": "user", "content": text}], **more)


async def collect(client: ModelClient, request: ModelRequest) -> list[ModelChunk]:
    return [chunk async for chunk in client.stream(request)]


def text(chunks: list[ModelChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


@asynccontextmanager
async def over_http(scripted: Running) -> AsyncIterator[ModelClient]:
    root = scripted.url.removesuffix("/v1")
    async with Client(root) as client:
        yield HttpModelClient(client, scripted.key, silence_s=5)


@asynccontextmanager
async def in_process(scripted: Running) -> AsyncIterator[ModelClient]:
    async with door_to(table(scripted)) as made:
        yield DoorModelClient(made.door, CHAT)
        assert made.purse.reserved == {} and made.purse.twice == 0


BOTH = pytest.mark.parametrize("way", [over_http, in_process])


@BOTH
async def test_words(scripted: Running, way: Any) -> None:
    """Promise: words come piece by piece; the last chunk has the finish and the usage."""
    async with way(scripted) as client:
        chunks = await collect(client, ask("[[say Grüße an alle]]"))
        assert text(chunks) == "Grüße an alle" and len(chunks) == 4
        last = chunks[-1]
        assert (last.finish, last.text, last.calls) == ("stop", "", ())
        assert last.usage is not None and last.usage.completion_tokens == 3
        assert not any(chunk.finish for chunk in chunks[:-1])
        cut = await collect(client, ask("[[tokens 99]]", max_tokens=5))
        assert cut[-1].finish == "length"


@BOTH
async def test_native_tool_calls(scripted: Running, way: Any) -> None:
    """Promise: tool calls arrive whole, on the last chunk, with their arguments as given."""
    async with way(scripted) as client:
        request = ask('[[tool find {"text": "two words"}]]', tools=[TOOL])
        chunks = await collect(client, request)
        (call,) = chunks[-1].calls
        assert isinstance(call, ToolCall) and call.id.startswith("call_")
        assert (call.name, json.loads(call.arguments)) == ("find", {"text": "two words"})
        assert chunks[-1].finish == "tool_calls" and text(chunks) == ""


@BOTH
async def test_schema(scripted: Running, way: Any) -> None:
    """Promise: a schema reaches the model as response_format, and its JSON comes back."""
    async with way(scripted) as client:
        request = ask("[[tool clock]]", schema={"type": "object"}, temperature=0.0)
        assert json.loads(text(await collect(client, request))) == {"tool": "clock", "args": {}}
        assert scripted.calls[-1].mode == "schema"


@BOTH
@pytest.mark.parametrize(
    ("directive", "failure"),
    [
        ("[[fail 400]]", Failure.SCHEMA),
        ("[[fail 408]]", Failure.TIMEOUT),
        ("[[fail 401]]", Failure.AUTH),
        ("[[fail 429]]", Failure.RATE_LIMIT),
        ("[[fail 500]]", Failure.UNAVAILABLE),
        ("[[fail 503]]", Failure.UNAVAILABLE),
        ("[[tokens 9]] [[cut 3]]", Failure.NETWORK),
        ("[[tokens 9]] [[cut 0]]", Failure.NETWORK),
        ("[[tokens 9]] [[short 3]]", Failure.NETWORK),
        ("[[tokens 9]] [[error 3]]", Failure.UNAVAILABLE),
        ("[[garbage]]", Failure.UNAVAILABLE),
    ],
)
async def test_failures(scripted: Running, way: Any, directive: str, failure: Failure) -> None:
    """Promise: each fault is raised with its failure class, and never passed off as an answer."""
    async with way(scripted) as client:
        chunks: list[ModelChunk] = []
        with pytest.raises(SteadError) as caught:
            async for chunk in client.stream(ask(directive)):
                chunks.append(chunk)
        if way is over_http and failure is Failure.NETWORK and "short" not in directive:
            # The connection to the gateway itself broke, which is not the backend's fault.
            assert isinstance(caught.value, GatewayAway)
        else:
            assert caught.value.failure is failure, caught.value
        assert caught.value.message
        assert not any(chunk.finish for chunk in chunks)


async def test_silence(scripted: Running) -> None:
    """Promise: a door that falls silent is a timeout."""
    root = scripted.url.removesuffix("/v1")
    async with Client(root) as client:
        model = HttpModelClient(client, scripted.key, silence_s=0.1)
        with pytest.raises(BackendFailed) as caught:
            await collect(model, ask("[[tokens 9]] [[stall 3]]"))
        assert caught.value.failure is Failure.TIMEOUT


async def test_the_gateway_is_away() -> None:
    """Promise: where there is no door, GatewayAway says so: nothing was sent."""
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(GatewayAway, match=r"127\.0\.0\.1:1"):
            await collect(HttpModelClient(client, "key"), ask("hello"))


async def test_a_wrong_key(scripted: Running) -> None:
    """Promise: a key that the door does not know is a permanent failure, and is not repeated."""
    root = scripted.url.removesuffix("/v1")
    async with Client(root) as client:
        with pytest.raises(SteadError) as caught:
            await collect(HttpModelClient(client, "wrong-secret"), ask("hello"))
        assert caught.value.failure is Failure.AUTH and "wrong-secret" not in str(caught.value)


async def test_cost_and_budget(scripted: Running) -> None:
    """Promise: an agent learns what its call cost; an empty purse is a permanent budget failure."""
    async with door_to(table(scripted)) as made:
        chunks = await collect(DoorModelClient(made.door, JOB), ask("[[say a b c]]", "paid"))
        usage = chunks[-1].usage
        assert usage is not None and usage == made.purse.one().usage and usage.cost_micro > 45
    async with door_to(table(scripted), money=1) as made:
        with pytest.raises(OverBudget):
            await collect(DoorModelClient(made.door, JOB), ask("hello", "paid"))
    body = json.dumps(OverBudget(why="all spent").as_dict()).encode()
    async with gateway(answering(429, body)) as client:
        with pytest.raises(OverBudget, match="all spent") as caught:
            await collect(client, ask("hello"))
        assert caught.value.failure is Failure.BUDGET


async def test_notes_while_it_waits(tmp_path: Path, scripted: Running) -> None:
    """Promise: what the door says while a model loads arrives as notes."""
    modelstate.write(tmp_path, ModelState("loading", "tiny-1"))
    async with door_to([], home=tmp_path) as made:
        stream = DoorModelClient(made.door, CHAT).stream(ask("[[say ok]]", "main"))
        first = await anext(stream)
        assert first.note == "waiting for model tiny-1: loading into memory"
        key = tmp_path / "key"
        key.write_text(scripted.key)
        modelstate.write(
            tmp_path, ModelState("ready", "tiny-1", url=scripted.url, key_file=str(key))
        )
        assert text([chunk async for chunk in stream]) == "ok"
    modelstate.write(tmp_path, ModelState("failed", "tiny-1", why="no memory"))
    async with door_to([], home=tmp_path) as made:
        with pytest.raises(ModelNotReady, match="no memory"):
            await collect(DoorModelClient(made.door, CHAT), ask("hello", "main"))


async def test_leaving_early_cuts_the_call(scripted: Running) -> None:
    """Promise: an agent that stops reading (cancel) takes the call at the backend with it."""
    async with door_to(table(scripted)) as made:
        client = DoorModelClient(made.door, CHAT)

        async def work() -> None:
            async for _ in client.stream(ask("[[tokens 9]] [[stall 3]]")):
                pass

        before = len(scripted.calls)
        task = asyncio.create_task(work())
        await until(lambda: len(scripted.calls) > before and scripted.calls[-1].tokens == 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: scripted.calls[-1].outcome == "left")
        assert made.purse.one().status == 499


@asynccontextmanager
async def gateway(handler: Callable[..., Awaitable[None]]) -> AsyncIterator[ModelClient]:
    """A client to a server that answers what ``handler`` writes."""
    async with raw_backend(handler) as backend, Client(backend.url.removesuffix("/v1")) as client:
        yield HttpModelClient(client, "key", silence_s=5)


async def test_calls_of_servers_with_habits_of_their_own() -> None:
    """Promise: tool calls without index, with arguments as an object, or unstreamed, are read."""
    parts = [
        {"tool_calls": [{"id": "a", "function": {"name": "one", "arguments": {"x": 1}}}]},
        {"tool_calls": [{"id": "b", "function": {"name": "two", "arguments": '{"y"'}}]},
        {"tool_calls": [{"function": {"arguments": ":2}"}}]},
    ]
    lines = [{"choices": [{"index": 0, "delta": part}]} for part in parts]
    end: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    body = "".join(f"data: {json.dumps(line)}\n\n" for line in [*lines, end]).encode()
    async with gateway(answering(200, body, "content-type: text/event-stream")) as client:
        last = (await collect(client, ask("hello")))[-1]
    assert last.calls == (ToolCall("a", "one", '{"x":1}'), ToolCall("b", "two", '{"y":2}'))
    assert last.finish == "tool_calls"
    whole = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
    handler = answering(200, json.dumps(whole).encode(), "content-type: application/json")
    async with gateway(handler) as client:
        assert [c.text or c.finish for c in await collect(client, ask("x"))] == ["hi", "stop"]


async def test_a_backend_behind_the_door_that_is_down() -> None:
    """Promise: the words for a dead backend name it, and the failure may be tried again."""
    backend = Backend("cloud", "http://127.0.0.1:1/v1", "k", (BackendModel("m"),))
    async with door_to([backend]) as made:
        with pytest.raises(BackendFailed, match="cloud") as caught:
            await collect(DoorModelClient(made.door, CHAT), ask("hello", "m"))
        assert not caught.value.failure.permanent
