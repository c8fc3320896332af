"""The model door over real sockets: passing on, money, faults, leaving."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import BackendFailed, ModelNotReady, NoPrice, OverBudget, UnknownModel
from stead.core.nouns import ModelProfile, Usage
from stead.core.states import Failure
from stead.inference.backends import Backend, BackendModel
from stead.inference.scripted import Running
from tests.unit.inference.doors import (
    CHAT,
    JOB,
    KEY,
    answering,
    chat,
    door_to,
    events,
    raw_backend,
    read,
    table,
    text_of,
    until,
)

ASK_USAGE = {"include_usage": True}


async def test_a_whole_answer(scripted: Running) -> None:
    """Promise: an unstreamed answer passes as it is and is booked with its usage."""
    async with door_to(table(scripted)) as made:
        answer = await made.door.chat(chat("[[say hello there]]"), CHAT)
        body = json.loads(await read(answer))
        assert answer.status == 200
        assert ("content-type", "application/json") in answer.headers
        assert body["choices"][0]["message"]["content"] == "hello there"
        booked = made.purse.one()
        assert booked.status == 200 and booked.usage.completion_tokens == 2
        assert booked.usage.prompt_tokens == body["usage"]["prompt_tokens"]
        assert 0 < booked.first_ms <= booked.total_ms
        row = made.purse.rows[0]
        assert (row["model"], row["backend"], row["most"]) == ("free", "cloud", 0)


@pytest.mark.parametrize("asked", [True, False])
async def test_a_streamed_answer(scripted: Running, asked: bool) -> None:
    """Promise: a stream passes whole; its usage is known to the purse in any case, and to the
    client only if it asked."""
    more: dict[str, Any] = {"stream": True} | ({"stream_options": ASK_USAGE} if asked else {})
    async with door_to(table(scripted)) as made:
        answer = await made.door.chat(chat("[[say one two three]]", **more), CHAT)
        assert dict(answer.headers)["x-accel-buffering"] == "no"
        body = await read(answer)
        assert text_of(body) == "one two three"
        assert body.endswith(b"data: [DONE]\n\n")
        assert (b'"usage":{' in body) is asked
        assert made.purse.one().usage.completion_tokens == 3
    assert scripted.calls[-1].model == "free"


async def test_a_paid_call(scripted: Running) -> None:
    """Promise: enough is set aside before, and what was used is booked after, cached tokens apart;
    a job is told the cost in a comment that no client minds."""
    body = chat("[[say a b]] [[cached 10]] " + "x" * 400, "paid", max_tokens=50, stream=True)
    async with door_to(table(scripted)) as made:
        passed = await read(await made.door.chat(body, JOB))
        booked = made.purse.one()
        usage = booked.usage
        assert usage.cached_tokens == 10 and usage.prompt_tokens > 100
        dear = (usage.prompt_tokens - 10) * 3.0 + 10 * 0.3 + usage.completion_tokens * 15.0
        assert dear <= usage.cost_micro < dear + 1
        assert made.purse.rows[0]["most"] >= usage.cost_micro
        assert made.purse.rows[0]["most"] >= 50 * 15
        assert events(passed)[-1] == f": stead-cost {usage.cost_micro}"
    assert scripted.calls[-1].model == "vendor/paid-1"


async def test_over_budget(scripted: Running) -> None:
    """Promise: what the purse does not allow is not sent; free models go on."""
    before = len(scripted.calls)
    async with door_to(table(scripted), money=100) as made:
        with pytest.raises(OverBudget):
            await made.door.chat(chat("hello", "paid", stream=True), CHAT)
        assert len(scripted.calls) == before
        await read(await made.door.chat(chat("hello", "free"), CHAT))
        assert [booked.status for booked in made.purse.settled] == [429, 200]


async def test_a_model_without_a_known_price(scripted: Running) -> None:
    """Promise: a cloud model whose price nobody knows is not asked, and it is said what to do."""
    unknown = BackendModel("mystery", unpriced=True)
    cloud = Backend("cloud", scripted.url, scripted.key, (unknown,), timeout_s=5.0)
    before = len(scripted.calls)
    async with door_to([cloud]) as made:
        with pytest.raises(NoPrice, match="mystery at cloud") as refused:
            await made.door.chat(chat("hello", "mystery"), CHAT)
        assert refused.value.status == 402 and "usd_per_mtok_in" in refused.value.message
        assert len(scripted.calls) == before


async def test_roles_and_names(scripted: Running) -> None:
    """Promise: roles, aliases, vendor names and backend/name all find their model; an unknown
    name is answered with those that there are."""
    async with door_to(table(scripted), roles={"main": "paid", "light": "free"}) as made:
        door = made.door
        for name in ("main", "paid", "vendor/paid-1", "cloud/paid", "cloud/vendor/paid-1"):
            assert door.profile(name).name == "paid"
            await read(await door.chat(chat("hello", name), CHAT))
            assert scripted.calls[-1].model == "vendor/paid-1"
        assert "role main is paid" in made.purse.rows[0]["reason"]
        assert door.profile("light") == ModelProfile(
            "free", "native", "full", 128_000, seeing="free"
        )
        assert [entry["id"] for entry in door.models()][:3] == ["free", "paid", "main"]
        with pytest.raises(UnknownModel, match="free, paid") as caught:
            await door.chat(chat("hello", "gpt-9"), CHAT)
        assert caught.value.status == 404


async def test_no_model_at_all() -> None:
    """Promise: with no local model and no backend, the error says what to do."""
    async with door_to([]) as made:
        with pytest.raises(ModelNotReady, match=r"stead\.toml"):
            await made.door.chat(chat("hello", "main"), CHAT)


async def test_auto_without_a_local_model(scripted: Running) -> None:
    """Promise: `auto` means the first backend's model where there is no local one."""
    async with door_to(table(scripted)) as made:
        assert made.door.profile("main").name == "free"
        await read(await made.door.chat(chat("hello", "light"), CHAT))
        assert "no local model" in made.purse.rows[0]["reason"]


@pytest.mark.parametrize("when", ["before", "first", "half", "end"])
async def test_a_client_that_leaves(scripted: Running, when: str) -> None:
    """Promise: when the client leaves, at any point, the backend is cut and the call booked."""
    async with door_to(table(scripted)) as made:
        body = chat("[[tokens 40]] [[stall 20]]", "paid", stream=True)
        answer = await made.door.chat(body, CHAT)
        words, had = {"before": 0, "first": 1, "half": 10, "end": 20}[when], 0
        while had < words:
            had += (await anext(answer.body)).count(b'{"content":')
        await answer.aclose()
        booked = made.purse.one()
        assert booked.status == 499
        assert booked.usage.prompt_tokens > 0 and booked.usage.cost_micro > 0
        with pytest.raises(StopAsyncIteration):
            await anext(answer.body)
        await answer.aclose()
        assert made.purse.twice == 0
        await until(lambda: scripted.calls[-1].outcome == "left")


async def test_leaving_with_all_of_the_answer_is_no_fault(scripted: Running) -> None:
    """Promise: a client that goes after [DONE] has had a whole, well-booked answer."""
    async with door_to(table(scripted)) as made:
        answer = await made.door.chat(chat("[[say done]]", stream=True), CHAT)
        async for piece in answer.body:
            if b"[DONE]" in piece:
                break
        await answer.aclose()
        booked = made.purse.one()
        assert (booked.status, booked.usage.completion_tokens) == (200, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cancelled_call(scripted: Running, stream: bool) -> None:
    """Promise: a call cancelled before its answer began is cut and booked, too."""
    async with door_to(table(scripted)) as made:
        before = len(scripted.calls)
        task = asyncio.create_task(made.door.chat(chat("[[stall]]", "paid", stream=stream), CHAT))
        await until(lambda: len(scripted.calls) > before)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert made.purse.one().status == 499


@pytest.mark.parametrize("how", ["[[cut 3]]", "[[short 3]]"])
async def test_an_answer_that_breaks_off(scripted: Running, how: str) -> None:
    """Promise: a stream that breaks ends in an error event and no [DONE], after whole events only;
    it is booked with what had passed."""
    async with door_to(table(scripted)) as made:
        answer = await made.door.chat(chat(f"[[tokens 9]] {how}", "paid", stream=True), CHAT)
        body = await read(answer)
        assert text_of(body) == "one two three"
        assert b"[DONE]" not in body
        last = events(body)[-1]
        assert last["error"]["code"] == "backend_failed"
        assert "cloud" in last["error"]["message"]
        booked = made.purse.one()
        assert booked.status == 502 and booked.usage.completion_tokens >= 3
        with pytest.raises(StopAsyncIteration):
            await anext(answer.body)


async def test_an_error_event_of_the_backend_passes(scripted: Running) -> None:
    """Promise: an error told by the backend itself is passed on once, not doubled."""
    async with door_to(table(scripted)) as made:
        answer = await made.door.chat(chat("[[tokens 9]] [[error 2]]", stream=True), CHAT)
        told = [event for event in events(await read(answer)) if "error" in event]
        assert [event["error"]["code"] for event in told] == ["scripted_500"]
        assert len(made.purse.settled) == 1


async def test_an_unstreamed_answer_that_breaks_off(scripted: Running) -> None:
    """Promise: half an unstreamed answer is an error, and a paid one is booked at its most."""
    async with door_to(table(scripted)) as made:
        with pytest.raises(BackendFailed, match="cloud") as caught:
            await made.door.chat(chat("[[cut 1]]", "paid"), CHAT)
        assert caught.value.failure is Failure.NETWORK
        assert made.purse.one().usage.cost_micro == made.purse.rows[0]["most"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_silent_backend(scripted: Running, stream: bool) -> None:
    """Promise: a backend that says nothing is given up after its timeout, as a timeout."""
    backend = Backend("slow", scripted.url, scripted.key, (BackendModel("m"),), timeout_s=0.1)
    async with door_to([backend]) as made:
        with pytest.raises(BackendFailed, match=r"slow.*silent") as caught:
            await made.door.chat(chat("[[stall]]", "m", stream=stream), CHAT)
        assert (caught.value.failure, caught.value.status) == (Failure.TIMEOUT, 504)
        assert made.purse.one().status == 504


async def test_a_backend_that_is_down() -> None:
    """Promise: nothing listens there: BackendFailed at once, booked as nothing, no credentials
    in the words."""
    url = "http://user:hushhush@127.0.0.1:1/v1"
    backend = Backend("down", url, KEY, (BackendModel("m", usd_per_mtok_in=1.0),))
    async with door_to([backend]) as made:
        with pytest.raises(BackendFailed, match=r"down.*127\.0\.0\.1:1") as caught:
            await made.door.chat(chat("hello", "m"), CHAT)
        assert "hush" not in str(caught.value) and KEY not in str(caught.value)
        assert caught.value.failure is Failure.NETWORK
        assert made.purse.one().usage == Usage()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_backend_that_refuses_the_key(status: int) -> None:
    """Promise: a refused key is a permanent failure of ours, and the key is not repeated."""
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
    async with raw_backend(answering(status, body)) as backend, door_to([backend]) as made:
        with pytest.raises(BackendFailed, match="key_file") as caught:
            await made.door.chat(chat("hello", "m"), CHAT)
        assert KEY not in str(caught.value)
        assert (caught.value.failure, caught.value.status) == (Failure.AUTH, 502)
        assert made.purse.one().usage == Usage()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (429, b'{"error":{"message":"slow down","type":"rate_limit","code":"x"}}', "slow down"),
        (500, b"<html><h1>Oh\nno</h1></html>", "answered 500: <html><h1>Oh no</h1></html>"),
        (503, b'{"error":"model is loading"}', "answered 503: model is loading"),
        (422, b'{"detail":"bad field"}', "answered 422: bad field"),
        (400, b"", "answered 400: no reason given"),
        (500, b'{"error":{"message":"key ' + KEY.encode() + b' leaks"}}', "key [key] leaks"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_other_errors_pass_on(status: int, body: bytes, said: str, stream: bool) -> None:
    """Promise: an error of the backend comes with its status, in the OpenAI shape."""
    handler = answering(status, body, "retry-after: 7", "content-type: text/html")
    async with raw_backend(handler) as backend, door_to([backend]) as made:
        answer = await made.door.chat(chat("hello", "m", stream=stream), CHAT)
        assert answer.status == status
        headers = dict(answer.headers)
        assert headers["content-type"] == "application/json" and headers["retry-after"] == "7"
        error = json.loads(await read(answer))["error"]
        assert said in error["message"] and KEY not in error["message"]
        booked = made.purse.one()
        assert (booked.status, booked.usage) == (status, Usage())


async def test_keys_that_cannot_be_used(tmp_path: Path, scripted: Running) -> None:
    """Promise: a key that cannot be read, or cannot be one, is told as such and never shown."""
    missing = Backend("a", scripted.url, (tmp_path / "none").read_text, (BackendModel("m1"),))
    broken = Backend("b", scripted.url, "two\nlines-secret", (BackendModel("m2"),))
    async with door_to([missing, broken]) as made:
        for name in ("m1", "m2"):
            with pytest.raises(BackendFailed, match="key_file") as caught:
                await made.door.chat(chat("hello", name), CHAT)
            assert caught.value.failure is Failure.AUTH
            assert "secret" not in str(caught.value)
        assert [booked.usage for booked in made.purse.settled] == [Usage(), Usage()]


async def test_the_key_is_read_for_each_call(scripted: Running, tmp_path: Path) -> None:
    """Promise: a key that was changed in its file holds from the next call on."""
    file = tmp_path / "key"
    file.write_text("old")
    backend = Backend("c", scripted.url, file.read_text, (BackendModel("m"),))
    async with door_to([backend]) as made:
        with pytest.raises(BackendFailed, match="refused"):
            await made.door.chat(chat("hello", "m"), CHAT)
        file.write_text(scripted.key + "\n")
        assert (await made.door.chat(chat("hello", "m"), CHAT)).status == 200


async def test_bytes_pass_untouched_and_a_slow_client_slows_the_backend() -> None:
    """Promise: what the backend sends is what the client gets, and it is not collected here."""
    event = b'data: {"choices":[{"delta":{"content":"' + b"\xc3\xa4" * 50_000 + b'"}}]}\n\n'
    sent = 0

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(200):
            writer.write(event)
            await writer.drain()
            sent += 1
        writer.write(b"data: [DONE]\n\n")

    async with raw_backend(handler) as backend, door_to([backend]) as made:
        answer = await made.door.chat(chat("hello", "m", stream=True), CHAT)
        before = -1
        while sent != before:
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < 150
        body = await read(answer)
        assert body.startswith(event * 200 + b"data: [DONE]\n\n")
        assert made.purse.one().status == 200


async def test_a_backend_that_does_not_stream(scripted: Running) -> None:
    """Promise: where a stream was asked for and JSON came, the JSON is passed on and booked."""
    body = b'{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}'
    handler = answering(200, body, "content-type: application/json")
    async with raw_backend(handler) as backend, door_to([backend]) as made:
        answer = await made.door.chat(chat("hello", "m", stream=True), CHAT)
        assert await read(answer) == body
        assert made.purse.one().usage == Usage(5, 0, 6, 11)
