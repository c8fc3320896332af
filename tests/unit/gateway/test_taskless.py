"""Requests that wait for nothing but their answer need no task; nobody can tell the difference."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stead.gateway.heads import Heads, Known
from stead.inference.plane.call import Call
from stead.inference.scripted import Running
from tests.unit.gateway.parts import Gate, gate_at
from tests.unit.gateway.test_front import first_answer, post
from tests.unit.inference.doors import until

ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"six"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":21,"completion_tokens":6,"total_tokens":27}}'
)
EVENTS = (
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"six"},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
    b"data: [DONE]\n\n"
)


def whole(body: bytes, *, status: int = 200, more: bytes = b"") -> bytes:
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n"
    return head % (status, more, len(body)) + body


def chunked(body: bytes, kind: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % kind
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


#: What the server says, by the word in the request.
SAYS = {
    b"plain": whole(ANSWER),
    b"pieces": b"",
    b"chunks": chunked(ANSWER, b"application/json"),
    b"named": whole(ANSWER, more=b"x-request-id: abc\r\n"),
    b"untold": whole(ANSWER.partition(b',"usage"')[0] + b"}"),
    b"cached": whole(ANSWER.replace(
        b'"total_tokens":27', b'"prompt_tokens_details":{"cached_tokens":7}'
    )),
    b"within": whole(b'{"error":{"message":"no","type":"server_error"}}'),
    b"nonsense": whole(b"<html>"),
    b"empty": whole(b""),
    b"refused": whole(b'{"error":{"message":"no room","type":"x"}}', status=400),
    b"busy": whole(b'{"error":{"message":"later","type":"x"}}', status=429),
    b"fallen": whole(b"oh", status=500),
    b"stream": chunked(EVENTS, b"text/event-stream"),
    b"closing": whole(ANSWER, more=b"connection: close\r\n"),
    b"huge": whole(ANSWER.replace(b'"prompt_tokens":21', b'"prompt_tokens":%d' % 10**19)),
    b"pressed": whole(ANSWER, more=b"content-encoding: gzip\r\n"),
}  # fmt: skip
MORE = """
[[backend]]
name = "canned"
url = "http://127.0.0.1:{port}/v1"
models = [{{name = "m"}}, {{name = "dear", usd_per_mtok_in = 1.0, usd_per_mtok_out = 1.0}}]
[[lane]]
name = "mine"
models = ["m"]
"""


class Server:
    """A model server that keeps connections, and says what the request asks for."""

    def __init__(self) -> None:
        self.port = 0
        self.bodies: list[bytes] = []
        self.connections = 0
        self.lost = 0
        self.holds = asyncio.Event()
        self.holds.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                body = await reader.readexactly(size)
                self.bodies.append(body)
                if b"silence" in body:
                    await reader.read()  # until the other side is cut
                    return
                await self.holds.wait()
                word = next((word for word in SAYS if b"say " + word in body), b"plain")
                if word == b"pieces":
                    for at in range(0, len(said := SAYS[b"plain"]), 50):
                        writer.write(said[at : at + 50])
                        await asyncio.sleep(0.002)
                elif b"hang up" in body:
                    return
                else:
                    writer.write(SAYS[word])
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.lost += 1
            writer.close()


@asynccontextmanager
async def house(home: Path, scripted: Running) -> AsyncIterator[tuple[Gate, Server]]:
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with gate_at(home, scripted, more=MORE.format(port=server.port)) as gate:
        yield gate, server
    listener.close()


@pytest.fixture
async def made(tmp_path: Path, scripted: Running) -> AsyncIterator[tuple[Gate, Server]]:
    async with house(tmp_path / "home", scripted) as found:
        yield found


def asks(word: str = "plain", model: str = "m", **more: Any) -> bytes:
    messages = [{"role": "user", "content": f"say {word}"}]
    return json.dumps({"model": model, "messages": messages} | more).encode()


#: Requests of all kinds: to be answered at once, not at once, and not at all.
TABLE: dict[str, tuple[str, bytes]] = {
    **{word.decode(): ("/v1/chat/completions", asks(word.decode())) for word in SAYS},
    "a lane": ("/v1/chat/completions", asks(model="mine")),
    "paid": ("/v1/chat/completions", asks(model="dear")),
    "streamed": ("/v1/chat/completions", asks("stream", stream=True)),
    "streamed, usage": (
        "/v1/chat/completions",
        asks("stream", stream=True, stream_options={"include_usage": True}),
    ),
    "hung up": ("/v1/chat/completions", asks("hang up")),
    "no such model": ("/v1/chat/completions", asks(model="nobody")),
    "no model": ("/v1/chat/completions", b'{"messages":[{"role":"user","content":"x"}]}'),
    "no messages": ("/v1/chat/completions", b'{"model":"m","messages":[]}'),
    "no JSON": ("/v1/chat/completions", b'{"model":"m",'),
    "another type": ("/v1/chat/completions", b'{"model":7}'),
    "a large number": ("/v1/chat/completions", asks(max_tokens=2**60)),
    "too long": ("/v1/chat/completions", asks("x" * 49_900)),
    "completions": ("/v1/completions", b'{"model":"m","prompt":"say plain"}'),
    "embeddings": ("/v1/embeddings", b'{"model":"m","input":"say plain"}'),
    "another shape": (
        "/v1/messages",
        b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"say plain"}]}',
    ),
}

_ID = re.compile(rb"x-stead-call: [0-9a-f-]{36}")
_MADE = re.compile(rb'"id": ?"(?:msg_|gen-)?[0-9a-f-]{16,}"')
_VARIES = {"id", "at", "waited_ms", "first_ms", "total_ms", "ago_ms"}


async def told(sent: bytes, reader: Any, writer: Any) -> bytes:
    """All of one answer, without what is another each time."""
    writer.write(sent)
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head)
        body = b""
        if found is not None:
            body = await reader.readexactly(int(found[1]))
        while found is None and not body.endswith(b"0\r\n\r\n"):
            body += await reader.read(65536)
    return _MADE.sub(b'"id":""', _ID.sub(b"", head + body))


def rested(gate: Gate) -> None:
    """What failed is asked again at once."""
    health = gate.parts.doors._plane.parts.routing.health
    for key in list(health.places):
        health.places[key].waits.clear()
        health.fine(key)


async def all_of(gate: Gate, path: str, body: bytes, again: int) -> tuple[list[bytes], list[Any]]:
    """The answers to one request on one connection, ``again`` and again, and their rows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    sent = post(gate, body, path=path)
    before = {row["id"] for row in await rows(gate)}
    answers = []
    for _ in range(again):
        rested(gate)
        answers.append(await told(sent, reader, writer))
    writer.close()
    async with asyncio.timeout(60):
        while True:
            found = [row for row in await rows(gate) if row["id"] not in before]
            if len(found) >= again and all(row["outcome"] for row in found):
                break
            await asyncio.sleep(0.02)
    return answers, [{k: v for k, v in row.items() if k not in _VARIES} for row in found]


async def rows(gate: Gate) -> Any:
    return (await gate.store.view_calls(limit=500))["calls"]


async def row(gate: Gate, many: int) -> Any:
    """The last of so many rows, all of requests that are over."""
    for _ in range(1000):
        found = await rows(gate)
        if len(found) == many and all(one["outcome"] for one in found):
            return found[0]
        await asyncio.sleep(0.02)
    raise AssertionError(found)


async def test_with_a_task_and_without(
    made: tuple[Gate, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: whatever is asked and whatever the model server says, the client gets the same
    bytes and the audit the same row, whether a task was made for the request or not."""
    gate, _ = made
    begun: list[bool] = []
    heads: list[bool] = []
    start, body_at = Call.start, Known.body_at

    def watched(call: Call, go_on: Callable[[], None]) -> bool:
        begun.append(start(call, go_on))
        return begun[-1]

    def seen(known: Known, data: bytes) -> int:
        found = body_at(known, data)
        heads.append(found > 0)
        return found

    monkeypatch.setattr(Call, "start", watched)
    monkeypatch.setattr(Known, "body_at", seen)
    quick = 0
    for name, (path, body) in TABLE.items():
        with monkeypatch.context() as patch:
            patch.setattr(Call, "start", lambda call, go_on: False)
            patch.setattr(Heads, "find", lambda heads, data: None)
            slow_answers, slow_rows = await all_of(gate, path, body, 2)
        answers, found = await all_of(gate, path, body, 4)
        quick += any(begun)
        begun.clear()
        assert set(answers) == set(slow_answers), name
        assert len(found) == 4 and len(slow_rows) == 2, name
        for row in found:
            assert row in slow_rows, (name, row, slow_rows)
    assert quick > len(SAYS) and sum(heads) > len(TABLE)


async def test_a_client_that_leaves(made: tuple[Gate, Server]) -> None:
    """Promise: the call at the model ends with its client, before the answer has begun, and the
    row says so; what was counted of it is given back."""
    gate, server = made
    for _ in range(2):
        assert (await gate.ask("POST", "/v1/chat/completions", asks())).status == 200
    lost = server.lost
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    await told(post(gate, asks()), reader, writer)
    writer.write(post(gate, asks("silence")))
    await until(lambda: b"silence" in server.bodies[-1])
    assert gate.parts.doors.plain == 1
    writer.close()
    await until(lambda: server.lost > lost and gate.parts.doors.plain == 0)
    last = await row(gate, 4)
    assert (last["outcome"], last["status"]) == ("left", 499)
    assert not gate.parts.doors._plane.parts.running


async def test_a_key_that_is_taken_back(made: tuple[Gate, Server]) -> None:
    """Promise: on a connection that was good until now a revoked key is refused with the next
    request, and what waits for an answer by it ends."""
    gate, server = made
    asked = await gate.ask("POST", "/api/v1/keys", {"name": "desk"})
    key = asked.data["key"]
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    other = await asyncio.open_connection("127.0.0.1", gate.port)
    for pair in ((reader, writer), other) * 2:
        assert b"200 OK" in await told(post(gate, asks(), key=key), *pair)
    other[1].write(post(gate, asks("silence"), key=key))
    await until(lambda: b"silence" in server.bodies[-1])
    assert (await gate.ask("DELETE", "/api/v1/keys/desk")).status == 200
    status, body = await first_answer(other[0])
    assert (status, json.loads(body)["error"]["code"]) == (401, "key_revoked")
    assert b"401 " in await told(post(gate, asks(), key=key), reader, writer)
    await until(lambda: gate.parts.doors.plain == 0)


async def test_rates_of_a_key(made: tuple[Gate, Server]) -> None:
    """Promise: a rate that a key gets holds for the next request on a connection it has."""
    gate, _ = made
    asked = await gate.ask("POST", "/api/v1/keys", {"name": "desk"})
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    sent = post(gate, asks(), key=asked.data["key"])
    for _ in range(4):
        assert b"200 OK" in await told(sent, reader, writer)
    changed = await gate.ask("POST", "/api/v1/keys/desk", {"requests_per_min": 2})
    assert changed.status == 200, changed
    answers = [await told(sent, reader, writer) for _ in range(3)]
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"429"]


async def test_a_lane_that_changes(made: tuple[Gate, Server]) -> None:
    """Promise: a new configuration holds for the next request on a connection that is open."""
    gate, server = made
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    for _ in range(3):
        assert b"200 OK" in await told(post(gate, asks(model="mine")), reader, writer)
    assert json.loads(server.bodies[-1])["model"] == "m"
    file = gate.home / "stead.toml"
    file.write_text(file.read_text().replace('models = ["m"]', 'models = ["scripted"]'))
    assert (await gate.ask("POST", "/api/v1/config/apply", {})).status == 200
    asked = len(server.bodies)
    assert b"200 OK" in await told(post(gate, asks(model="mine")), reader, writer)
    assert len(server.bodies) == asked


async def test_a_connection_that_died(made: tuple[Gate, Server]) -> None:
    """Promise: a kept connection that the model server closed is not written to, however lately
    it was used; one that breaks under a request is told, and the request not sent again."""
    gate, server = made
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    for _ in range(6):
        assert b"200 OK" in await told(post(gate, asks("closing")), reader, writer)
    for _ in range(3):
        assert b"200 OK" in await told(post(gate, asks()), reader, writer)
    asked = len(server.bodies)
    assert b"502 " in await told(post(gate, asks("hang up")), reader, writer)
    assert len(server.bodies) == asked + 1
    rested(gate)
    assert b"200 OK" in await told(post(gate, asks()), reader, writer)


async def test_a_stop_cuts_what_waits(tmp_path: Path, scripted: Running) -> None:
    """Promise: a gateway that ends does not wait for ever, and what it cut off has its row."""
    async with house(tmp_path / "home", scripted) as (gate, server):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        for _ in range(3):
            assert b"200 OK" in await told(post(gate, asks()), reader, writer)
        writer.write(post(gate, asks("silence")))
        await until(lambda: b"silence" in server.bodies[-1])
    assert await reader.read() == b""
    assert gate.parts.doors.plain == 0
    writer.close()


async def test_many_behind_one_another(made: tuple[Gate, Server]) -> None:
    """Promise: requests with heads that are known, sent without waiting, are answered in order."""
    gate, server = made
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    sent = post(gate, asks())
    for _ in range(2):
        await told(sent, reader, writer)
    server.holds.clear()
    asked = len(server.bodies)
    writer.write(sent)
    await until(lambda: len(server.bodies) > asked)
    for word in ("untold", "plain", "refused"):  # while the first one waits
        writer.write(post(gate, asks(word)))
        await asyncio.sleep(0.01)
    server.holds.set()
    answers = [await first_answer(reader) for _ in range(4)]
    assert [status for status, _ in answers] == [200, 200, 200, 400]
    assert [b"usage" in body for _, body in answers] == [True, False, True, False]
    writer.close()
