"""Lanes over real sockets: servers that fall, refuse, are slow or come back, and the calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import BackendFailed, ModelsResting, SteadError
from stead.inference.backends import Backend, BackendModel
from stead.inference.door import Door
from stead.inference.plane.plane import Plane
from stead.inference.routing.routes import Routes
from stead.inference.routing.rules import Lane, Setup
from tests.unit.inference.doors import (
    CHAT,
    AllowAll,
    NotingPurse,
    Raw,
    answering,
    chat,
    raw_backend,
    read,
    until,
)
from tests.unit.inference.routing.houses import Clock


def said(text: str) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        }
    ).encode()


def error(status: int, *headers: str) -> Raw:
    body = json.dumps({"error": {"message": f"no: {status}", "type": "x", "code": None}}).encode()
    return answering(status, body, "content-type: application/json", *headers)


def good(text: str) -> Raw:
    return answering(200, said(text), "content-type: application/json")


async def silent(request: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def hangs_up(request: bytes, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def half(request: bytes, writer: asyncio.StreamWriter) -> None:
    """A stream that breaks off after its first words."""
    chunk = {"choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": None}]}
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    event = b"data: %b\n\n" % json.dumps(chunk).encode()
    writer.write(b"%x\r\n%b\r\n" % (len(event), event))
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.transport.abort()


@dataclass
class House:
    """A plane before servers, with the calls that each got."""

    routes: Routes
    door: Door
    purse: NotingPurse
    clock: Clock
    backends: list[Backend]
    calls: list[str] = field(default_factory=list)

    async def ask(self, model: str = "a", **more: Any) -> tuple[int, str]:
        answer = await self.door.chat(chat("hello", model, **more), CHAT)
        async with aclosing(answer):
            body = await read(answer)
        if answer.status != 200:
            return answer.status, body.decode()
        if more.get("stream"):
            return 200, body.decode()
        return 200, json.loads(body)["choices"][0]["message"]["content"]


@asynccontextmanager
async def house(*handlers: Raw, one: bool = False, **lane: Any) -> AsyncIterator[House]:
    """A lane ``a`` over free servers ``m0``, ``m1``...; ``one``: instances of one backend."""
    calls: list[str] = []

    def noting(name: str, handler: Raw) -> Raw:
        async def serve(request: bytes, writer: asyncio.StreamWriter) -> None:
            calls.append(name)
            await handler(request, writer)

        return serve

    async with AsyncExitStack() as stack:
        backends = []
        for number, handler in enumerate(handlers):
            raw = await stack.enter_async_context(
                raw_backend(noting(f"m{number}", handler), timeout_s=0.5)
            )
            name = "b" if one else f"b{number}"
            model = BackendModel("m" if one else f"m{number}")
            backends.append(replace(raw, name=name, models=(model,)))
        names = ("m",) if one else tuple(f"m{n}" for n in range(len(handlers)))
        clock = Clock()
        routes = Routes(Setup(tuple(backends), (Lane("a", names, **lane),)), clock=clock)
        purse = NotingPurse()
        plane = Plane(policy=AllowAll(), routing=routes, book=purse)
        try:
            yield House(routes, Door(routes, plane), purse, clock, backends, calls)
        finally:
            await plane.aclose()


@pytest.mark.parametrize(
    "bad",
    [error(500), error(503), error(429), error(401), error(404), silent, hangs_up],
    ids=["500", "503", "429", "401", "404", "silent", "hangs up"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_one_answers(bad: Raw, stream: bool) -> None:
    """Whatever keeps the first server of a lane from answering, the next one does, and one row
    tells both."""
    async with house(bad, good("second")) as found:
        status, text = await found.ask(stream=stream)
        assert status == 200 and "second" in text
        assert found.calls == ["m0", "m1"]
        ended = found.purse.records[0].ended
        assert ended is not None and ended.way is not None and ended.way.model.name == "m1"
        assert len(ended.tried) == 1 and "b0" in ended.tried[0]
        assert all(place.load == 0 for place in found.routes.health.places.values())


async def test_a_fault_of_the_request_is_told() -> None:
    """What the first server says against the request itself is the answer: no other is asked."""
    async with house(error(422), good("second")) as found:
        status, text = await found.ask()
        assert status == 422 and "no: 422" in text and found.calls == ["m0"]


async def test_a_dead_one_is_not_asked_again_and_again() -> None:
    """After a failure the next requests go straight to the one that works, and one of them tries
    the first again when its rest is over."""
    async with house(hangs_up, good("second")) as found:
        for _ in range(4):
            assert (await found.ask())[1] == "second"
        assert found.calls == ["m0", "m1", "m1", "m1", "m1"]
        found.clock.now += 2
        assert (await found.ask())[1] == "second"
        assert found.calls[-2:] == ["m0", "m1"]


async def test_retry_after_is_kept() -> None:
    """A server that asks to be left alone is, for as long as it said; then it is asked again."""
    async with house(error(429, "retry-after: 20"), good("second")) as found:
        for _ in range(3):
            assert (await found.ask())[1] == "second"
        assert found.calls.count("m0") == 1
        with pytest.raises(ModelsResting) as caught:
            await found.ask("m0")
        assert 19 <= caught.value.retry_after_s <= 20 and found.calls.count("m0") == 1
        found.clock.now += 20.1
        await found.ask()
        assert found.calls.count("m0") == 2


async def test_all_fail() -> None:
    """When nobody answers, the last error is told, and the row has the others."""
    async with house(hangs_up, error(500), hangs_up) as found:
        with pytest.raises(BackendFailed, match="b2"):
            await found.ask()
        assert found.calls == ["m0", "m1", "m2"]
        ended = found.purse.records[0].ended
        assert ended is not None and len(ended.tried) == 2


async def test_half_an_answer_is_never_begun_anew() -> None:
    """A stream that breaks off after its first words ends with an error: no other model adds to
    it, and the next request goes elsewhere."""
    async with house(half, good("second")) as found:
        status, text = await found.ask(stream=True)
        assert status == 200 and "half" in text and "second" not in text
        assert "broke off" in text and "[DONE]" not in text and found.calls == ["m0"]
        assert (await found.ask())[1] == "second"


async def test_instances_share_the_work() -> None:
    """Requests at the same time are spread over the instances; those of one conversation stay."""

    async def slow(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await good("done")(request, writer)

    async with house(slow, slow, one=True) as found:
        talks = [[{"role": "user", "content": f"talk {n}"}] for n in range(6)]
        await asyncio.gather(*(found.ask(messages=talk) for talk in talks))
        assert min(found.calls.count(one) for one in ("m0", "m1")) >= 2
    async with house(good("x"), good("x"), one=True) as found:
        talk: list[dict[str, str]] = [{"role": "user", "content": "a conversation of its own"}]
        for _ in range(4):
            await found.ask(messages=talk)
            talk += [{"role": "assistant", "content": "x"}, {"role": "user", "content": "go on"}]
        assert len(set(found.calls)) == 1 and len(found.calls) == 4


async def test_an_instance_that_falls_loses_no_request() -> None:
    """With one of two instances gone every request is answered by the other."""
    async with house(hangs_up, good("here"), one=True) as found:
        answers = [await found.ask() for _ in range(8)]
        assert answers == [(200, "here")] * 8
        assert found.calls.count("m0") <= 1


async def test_a_new_setup_drops_no_request() -> None:
    """While requests are under way the whole table of models is replaced again and again: each
    is answered, those under way by whom they went to."""

    async def slow(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        await good("old")(request, writer)

    async with house(slow, good("new")) as found:
        first, second = found.backends
        setups = [
            Setup((first, second), (Lane("a", ("m0",)),)),
            Setup((second,), (Lane("a", ("m1",)),)),
        ]
        found.routes.prepare(setups[0])()
        under_way = [asyncio.ensure_future(found.ask()) for _ in range(8)]
        await until(lambda: found.calls.count("m0") == 8)
        found.routes.prepare(setups[1])()
        assert (await found.ask())[1] == "new"
        assert [(await one)[1] for one in under_way] == ["old"] * 8
        for turn in range(20):
            found.routes.prepare(setups[turn % 2])()
            assert (await found.ask())[0] == 200
        with pytest.raises(SteadError):
            found.routes.prepare(Setup((second,), (Lane("a", ("m0",)),)))
        assert (await found.ask())[0] == 200


async def test_a_shadow_is_asked_and_not_heard() -> None:
    """The answer is the first model's; the shadow is asked as well, and has a row of its own."""
    async with house(good("first"), good("shadow")) as found:
        lane = Lane("a", ("m0",), shadow="m1")
        found.routes.prepare(Setup(tuple(found.backends), (lane,)))()
        assert (await found.ask())[1] == "first"
        await until(lambda: len(found.purse.records) == 2)
        ways = [one.ended.way for one in found.purse.records if one.ended is not None]
        assert [way.model.name for way in ways if way is not None] == ["m0", "m1"]


async def test_no_call_is_counted_for_ever(tmp_path: Path) -> None:
    """However a request ends (translated or not at all, its client gone, its key unreadable),
    its instance has no call under way afterwards."""
    async with house(silent, good("x"), one=True) as found:
        places = found.routes.health.places.values()
        leaving = asyncio.ensure_future(found.ask())
        await until(lambda: bool(found.calls))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert all(place.load == 0 for place in places)
        broken = replace(found.backends[1], key=(tmp_path / "none").read_text)
        found.routes.prepare(Setup((broken,), (Lane("a", ("m",)),)))()
        with pytest.raises(BackendFailed, match="key_file"):
            await found.ask()
        deaf = replace(found.backends[1], kind="anthropic", apis=frozenset())
        found.routes.prepare(Setup((deaf,), (Lane("a", ("m",)),)))()
        with pytest.raises(SteadError):
            await found.ask(messages=[{"role": "user", "content": [{"type": "no such part"}]}])
        assert all(place.load == 0 for place in found.routes.health.places.values())
