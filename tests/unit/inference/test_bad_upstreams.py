"""Model servers that do wrong: each fault is told in the shape of the API, and leaves a row."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import SteadError
from stead.inference.backends import Backend, BackendModel
from stead.inference.plane import flow, shapes
from stead.inference.plane.outlet import Pipe
from stead.inference.seam import Api, Asked, Plan, Verdict, Way, Who
from tests.unit.inference.doors import Raw, Setup, answering, door_to, raw_backend

EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
CHUNK = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
BODIES: dict[Api, dict[str, Any]] = {
    Api.CHAT: {"messages": [{"role": "user", "content": "hello"}]},
    Api.RESPONSES: {"input": "hello"},
    Api.COMPLETIONS: {"prompt": "hello"},
    Api.EMBEDDINGS: {"input": "hello"},
    Api.RERANK: {"query": "a", "documents": ["b", "c"]},
    Api.SPEECH: {"input": "hello", "voice": "x"},
    Api.MESSAGES: {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9},
    Api.COUNT_TOKENS: {"messages": [{"role": "user", "content": "hello"}]},
}
TEXTS = [Api.CHAT, Api.RESPONSES, Api.COMPLETIONS, Api.MESSAGES]


async def ask(made: Setup, api: Api, *, stream: bool = False) -> tuple[int, bytes]:
    """Status and body as a client gets them over HTTP."""
    body = json.dumps({"model": "m"} | BODIES[api] | ({"stream": True} if stream else {})).encode()
    pipe = Pipe()
    plane = made.door.plane
    try:
        record = plane.read(api, Who("owner"), body)
        answer = await pipe.answer(plane.answer(record, pipe))
        return answer.status, b"".join([piece async for piece in answer.body])
    except SteadError as error:
        return error.status, shapes.body(api, error)


def told(api: Api, body: bytes) -> str:
    """The message of an error, which must have the shape of that API."""
    data = json.loads(body)
    if api in shapes.ANTHROPIC:
        assert data["type"] == "error" and data["error"]["type"].endswith(("_error", "_large"))
    else:
        assert data["error"]["message"]
    assert "hushhush" not in body.decode()
    return str(data["error"]["message"])


def last_event(api: Api, body: bytes) -> str:
    """The message of the error that ends a stream."""
    *_, last = body.strip().split(b"\n\n")
    name, _, data = last.rpartition(b"data: ")
    read = json.loads(data)
    if api in (Api.CHAT, Api.COMPLETIONS):
        assert not name
        return str(read["error"]["message"])
    assert name.strip() == b"event: error" and read["type"] == "error"
    return str(read["message"] if api is Api.RESPONSES else read["error"]["message"])


def row(made: Setup) -> tuple[int, str]:
    """Status and outcome of the one row there must be."""
    (record,) = made.purse.records
    assert record.ended is not None
    assert made.purse.reserved == {}
    return record.ended.status, record.ended.outcome


def sending(data: bytes, *, hold: bool = False) -> Raw:
    """Bytes as they are, then the connection closes, or does not."""

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if hold:
            await asyncio.sleep(30)

    return handler


@pytest.mark.parametrize("api", list(BODIES))
async def test_errors_have_the_shape_of_the_api(api: Api) -> None:
    """Promise: an error of the backend, of whatever shape, comes with its status and words."""
    body = b'{"error":{"message":"too many of you","type":"x","code":null}}'
    limited = answering(429, body, "retry-after: 7")
    async with raw_backend(limited) as backend, door_to([backend]) as made:
        status, got = await ask(made, api)
        assert status == 429 and "too many of you" in told(api, got)
        assert row(made)[0] == 429


@pytest.mark.parametrize("api", [*TEXTS, Api.EMBEDDINGS, Api.COUNT_TOKENS])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>welcome</html>", "no JSON object"),
        (b'{"choices":[{"message":', "no JSON object"),
        (b"", "no JSON object"),
        (b'[{"choices":[]}]', "no JSON object"),
        (b'{"error":{"message":"out of memory","type":"server_error"}}', "out of memory"),
        (b'{"error":"quota","choices":null}', "quota"),
    ],
)
async def test_200_that_is_no_answer(api: Api, body: bytes, said: str) -> None:
    """Promise: what came with 200 and is no answer is told as an error, never passed as one."""
    async with raw_backend(answering(200, body)) as backend, door_to([backend]) as made:
        status, got = await ask(made, api)
        assert status == 502 and said in told(api, got)
        assert row(made)[0] == 502


@pytest.mark.parametrize("api", TEXTS)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (EVENTS, "no end"),
        (EVENTS + b": nothing but a comment\n\n", "no end"),
        (EVENTS + b'data: {"error":{"message":"broken inside"}}\n\n', "broken inside"),
        (EVENTS + b'event: error\ndata: {"error":{"message":"broken inside"}}\n\n', "broken"),
        (EVENTS.replace(b"\r\n\r\n", b"\r\ncontent-length: 500\r\n\r\n"), "broke"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: text/eve", "broke"),
        (b"\x00\x01nonsense\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 204 No\r\n\r\n", "204"),
        (b"HTTP/1.1 302 Go\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "302"),
    ],
)
async def test_a_stream_that_does_not_begin(api: Api, data: bytes, said: str) -> None:
    """Promise: a stream that ends or errs before its first piece is an error with a status, so
    that clients may try again; if only a comment came before, it is the stream's last event."""
    async with raw_backend(sending(data)) as backend, door_to([backend]) as made:
        status, got = await ask(made, api, stream=True)
        if status == 200:
            assert b"comment" in data
            assert said in last_event(api, got)
        else:
            assert status == 502 and said in told(api, got), got
        assert row(made)[0] == 502


@pytest.mark.parametrize("api", TEXTS)
async def test_a_stream_that_breaks(api: Api) -> None:
    """Promise: a stream that breaks off after whole pieces, or in the middle of one, ends with an
    error event in the API's shape, after whole events only."""
    for rest in (b"", CHUNK[:20]):
        data = EVENTS + CHUNK * 3 + rest
        async with raw_backend(sending(data)) as backend, door_to([backend]) as made:
            status, got = await ask(made, api, stream=True)
            assert status == 200 and got.startswith(CHUNK * 3)
            assert "broke off" in last_event(api, got)
            assert row(made) == (502, "backend_failed")


MID_ERRORS = {
    Api.CHAT: CHUNK + b'data: {"error":{"message":"out of memory","code":500}}\n\n',
    Api.MESSAGES: b'event: message_start\ndata: {"type":"message_start","message":{}}\n\n'
    b'event: error\ndata: {"type":"error","error":{"type":"x","message":"out of memory"}}\n\n',
    Api.RESPONSES: b'event: response.created\ndata: {"type":"response.created"}\n\n'
    b'event: response.failed\ndata: {"type":"response.failed","response":{"error":'
    b'{"message":"out of memory"}}}\n\n',
}


@pytest.mark.parametrize("api", list(MID_ERRORS))
async def test_an_error_in_mid_stream(api: Api) -> None:
    """Promise: an error that ends a begun stream is passed on, and its row is none of success."""
    async with (
        raw_backend(sending(EVENTS + MID_ERRORS[api])) as backend,
        door_to([backend]) as made,
    ):
        status, got = await ask(made, api, stream=True)
        assert status == 200 and got.startswith(MID_ERRORS[api])
        assert row(made) == (502, "backend_failed")


async def test_broken_sse_passes_as_it_is() -> None:
    """Promise: what is no JSON in an event, wrong line ends, huge events and fields nobody knows
    are the client's business; the answer counts as whole when it says so."""
    odd = (
        b"data: not json\n\nretry: 3\nid: 7\r\n\r\n:\n\ndata: " + b"x" * 300_000 + b"\n\n"
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    async with raw_backend(sending(EVENTS + odd)) as backend, door_to([backend]) as made:
        status, got = await ask(made, Api.CHAT, stream=True)
        assert status == 200 and got.startswith(odd)
        assert row(made) == (200, "ok")


@pytest.mark.parametrize("stream", [False, True])
async def test_no_usage(stream: bool) -> None:
    """Promise: what a backend used and did not tell is estimated, marked and paid for."""
    whole = b'{"choices":[{"message":{"content":"' + b"word " * 40 + b'"}}]}'
    last = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    handler = sending(EVENTS + CHUNK * 40 + last) if stream else answering(200, whole)
    async with raw_backend(handler) as backend, door_to([backend]) as made:
        assert (await ask(made, Api.CHAT, stream=stream))[0] == 200
        (record,) = made.purse.records
        assert record.ended is not None and record.ended.estimated
        assert record.ended.usage.completion_tokens >= 40
        assert record.ended.usage.prompt_tokens > 0 and record.ended.usage.cost_micro > 0


@pytest.mark.parametrize("by", ["bytes", "seconds", "chunks"])
async def test_a_stream_without_end(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    """Promise: a stream that does not end is cut at a limit of size, of time, or of what was
    asked for, told as broken, and paid for."""
    limits = {"bytes": ("_MOST_BYTES", 100_000), "seconds": ("_MOST_S", 0.2)}
    name, value = limits.get(by, ("_MORE_CHUNKS", 9))
    monkeypatch.setattr(flow, name, value)
    cut = asyncio.Event()

    async def endless(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(EVENTS)
        try:
            while True:
                writer.write(CHUNK)
                await writer.drain()
                await asyncio.sleep(0)
        except OSError:
            cut.set()

    body = {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9}
    BODIES[Api.CHAT], before = body, BODIES[Api.CHAT]
    try:
        async with raw_backend(endless) as backend, door_to([backend]) as made:
            async with asyncio.timeout(20):
                status, got = await ask(made, Api.CHAT, stream=True)
                assert status == 200 and "broke off" in last_event(Api.CHAT, got)
                await cut.wait()
            assert row(made) == (502, "backend_failed")
            assert made.purse.settled[0].usage.cost_micro > 0
    finally:
        BODIES[Api.CHAT] = before


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-ty", EVENTS, EVENTS + CHUNK * 2]
)
async def test_silence(begun: bytes, stream: bool) -> None:
    """Promise: a backend that falls silent, at any point, is given up after its time."""
    slow = raw_backend(sending(begun, hold=True), timeout_s=0.2)
    async with slow as backend, door_to([backend]) as made:
        async with asyncio.timeout(10):
            status, got = await ask(made, Api.CHAT, stream=stream)
        if CHUNK in begun and status == 200:
            assert "silent" in last_event(Api.CHAT, got)
        else:
            assert status in (502, 504) and "silent" in told(Api.CHAT, got)
        assert row(made)[0] in (502, 504)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_is_pressed(stream: bool) -> None:
    """Promise: what nobody here can read is not passed on as if it could be."""
    kind = "text/event-stream" if stream else "application/json"
    headers = ("content-encoding: gzip", f"content-type: {kind}")
    pressed = answering(200, b"\x1f\x8b\x08\x00", *headers)
    async with raw_backend(pressed) as backend, door_to([backend]) as made:
        status, got = await ask(made, Api.CHAT, stream=stream)
        assert status == 502 and "gzip" in told(Api.CHAT, got)


@pytest.mark.parametrize("api", TEXTS)
async def test_a_name_that_does_not_resolve(api: Api) -> None:
    """Promise: DNS gone is told with the name, not the whole address."""
    url = "http://user:hushhush@no-such-host.invalid:8080/v1"
    backend = Backend("gone", url, "", (BackendModel("m"),))
    async with door_to([backend]) as made:
        status, got = await ask(made, api)
        assert status == 502 and "no-such-host.invalid" in told(api, got)
        assert row(made) == (502, "backend_failed")


def self_signed(folder: Path) -> ssl.SSLContext:
    """What a server has whose certificate nobody has signed."""
    key, certificate = folder / "k.pem", folder / "c.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=elsewhere", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize(("speaks", "said"), [(True, "certificate"), (False, "TLS")])
async def test_tls_that_is_wrong(tmp_path: Path, speaks: bool, said: str) -> None:
    """Promise: a certificate that is not to be trusted, and a server that speaks no TLS, are told
    as such; nothing is sent to them."""
    context = self_signed(tmp_path) if speaks else None

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        backend = Backend("b", f"https://127.0.0.1:{port}/v1", "k", (BackendModel("m"),))
        async with door_to([backend]) as made:
            status, got = await ask(made, Api.MESSAGES)
            assert status == 502 and said in told(Api.MESSAGES, got)
            assert row(made)[0] == 502


class InTurn:
    """A routing with several ways."""

    def __init__(self, *backends: Backend) -> None:
        self.backends = backends
        self.heard: list[tuple[str, int, float]] = []

    def plan(self, who: Who, asked: Asked, verdict: Verdict) -> Plan:
        ways = tuple(Way(one.models[0], one, asked.api) for one in self.backends)
        return Plan(ways, "main", "in turn")

    def began(self, way: Way) -> None:
        pass

    def ended(self, way: Way, *, status: int, retry_after_s: float = 0.0) -> None:
        assert way.backend is not None
        self.heard.append((way.backend.name, status, retry_after_s))


GOOD = b'{"choices":[{"message":{"content":"fine"},"finish_reason":"stop"}],"usage":null}'
GOOD_STREAM = EVENTS + CHUNK + b"data: [DONE]\n\n"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "status", "wait_s"),
    [
        (answering(429, b"{}", "retry-after: 7"), 429, 7.0),
        (answering(500, b"oops"), 500, 0.0),
        (answering(401, b"{}"), 401, 0.0),
        (answering(200, b"<html>"), 0, 0.0),
        (answering(200, b'{"error":{"message":"busy","code":"rate_limit_exceeded"}}'), 429, 0.0),
        (sending(b""), 0, 0.0),
        (sending(EVENTS), 0, 0.0),
        (sending(EVENTS + b'data: {"error":{"message":"x"}}\n\n'), 502, 0.0),
        (sending(b"", hold=True), 0, 0.0),
    ],
)
async def test_the_next_model_is_asked(
    fault: Raw, status: int, wait_s: float, stream: bool
) -> None:
    """Promise: whatever goes wrong before the first piece, the next model is asked, the client
    sees nothing of it, routing hears of it, and the one row tells it."""
    good = sending(GOOD_STREAM) if stream else answering(200, GOOD)
    async with raw_backend(fault, timeout_s=0.2) as bad, raw_backend(good) as well:
        routing = InTurn(_free(bad, "bad"), _free(well, "well"))
        async with door_to([]) as made:
            made.door.plane.parts.routing = routing
            got, body = await ask(made, Api.CHAT, stream=stream)
            assert got == 200 and (CHUNK in body if stream else body == GOOD)
            assert [heard[0] for heard in routing.heard] == ["bad", "well"]
            assert routing.heard[0][2] == wait_s
            assert routing.heard[0][1] == status or (status and not routing.heard[0][1])
            (record,) = made.purse.records
            assert record.ended is not None and record.ended.outcome == "ok"
            assert len(record.ended.tried) == 1 and "bad" in record.ended.tried[0]


async def test_what_the_request_is_to_blame_for_is_not_tried_elsewhere() -> None:
    """Promise: a request that a backend finds wrong is told so at once."""
    wrong = answering(400, b'{"error":{"message":"no such field","type":"x"}}')
    async with raw_backend(wrong) as bad, raw_backend(answering(200, GOOD)) as well:
        routing = InTurn(_free(bad, "bad"), _free(well, "well"))
        async with door_to([]) as made:
            made.door.plane.parts.routing = routing
            status, got = await ask(made, Api.CHAT)
            assert status == 400 and "no such field" in told(Api.CHAT, got)


async def test_a_half_streamed_answer_is_not_begun_anew() -> None:
    """Promise: once a piece is out no other model is asked."""
    async with (
        raw_backend(sending(EVENTS + CHUNK)) as bad,
        raw_backend(sending(GOOD_STREAM)) as well,
    ):
        routing = InTurn(_free(bad, "bad"), _free(well, "well"))
        async with door_to([]) as made:
            made.door.plane.parts.routing = routing
            status, got = await ask(made, Api.CHAT, stream=True)
            assert status == 200 and got.count(CHUNK) == 1
            assert "broke off" in last_event(Api.CHAT, got)
            assert [heard[0] for heard in routing.heard] == ["bad"]


def _free(backend: Backend, name: str) -> Backend:
    return Backend(
        name, backend.url, backend.key, (BackendModel(name),), timeout_s=backend.timeout_s
    )
