"""The gateway's own way into the model door: limits, slow senders, many on one connection."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest

from stead.gateway import front
from stead.inference.scripted import Running
from tests.unit.gateway.parts import Gate
from tests.unit.inference.doors import until

PATHS = ["/v1/chat/completions", "/v1/messages", "/api/v1/messages"]


def chat(text: str = "[[say hi]]", **more: Any) -> bytes:
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "scripted", "messages": messages} | more).encode()


def post(gate: Gate, body: bytes, *, path: str = PATHS[0], key: str = "", more: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key or gate.key}\r\n{more}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def split(raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and the rest of what came."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, rest


async def first_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One answer with a length."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        status, headers, _ = split(head)
        return status, await reader.readexactly(int(headers["content-length"]))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a tenth of a second."""
    for name in ("HEAD_S", "BODY_S", "IDLE_S", "LINGER_S"):
        monkeypatch.setattr(front, name, 0.1)


@pytest.mark.parametrize("path", PATHS)
async def test_a_head_that_is_too_large(gate: Gate, path: str) -> None:
    """Promise: more than 64 KB of headers are refused with 431, in one piece or in many, finished
    or not, whoever would have been asked."""
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n".encode()
    for tail in (b"", b"\r\n\r\n"):
        raw = await gate.raw(head + b"x: " + b"y" * 70_000 + tail)
        status, headers, body = split(raw)
        assert (status, headers["connection"]) == (431, "close"), raw[:200]
        assert "64" in json.loads(body)["error"]["message"] or b"65536" in body
    raw = await gate.raw(head + b"x: y\r\n" * 15_000)
    assert split(raw)[0] == 431


@pytest.mark.parametrize("length", ["content-length", "chunked"])
async def test_a_body_that_is_too_large(gate: Gate, length: str) -> None:
    """Promise: a body over the limit gets 413 before it is read, in the shape of the API."""
    for path, kind in ((PATHS[0], "invalid_request_error"), (PATHS[1], "request_too_large")):
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gate.key}\r\n"
        if length == "chunked":
            sent = f"{head}transfer-encoding: chunked\r\n\r\n".encode()
            sent += b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
            raw = await gate.raw(sent + (b"4000\r\n" + b"x" * 0x4000 + b"\r\n") * 4)
        else:
            raw = await gate.raw(f"{head}content-length: {10**12}\r\n\r\n".encode() + b"x" * 90_000)
        status, _, body = split(raw)
        assert (status, json.loads(body)["error"]["type"]) == (413, kind), raw[:300]


async def test_nothing_is_read_before_the_key_is_right(gate: Gate) -> None:
    """Promise: a wrong key is told at the head already, in the shape of the API; with a small body
    the connection stays good."""
    head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: wrong\r\n"
    status, headers, body = split(await gate.raw(f"{head}content-length: 900000\r\n\r\n".encode()))
    assert (status, headers["www-authenticate"]) == (401, "bearer")
    assert json.loads(body)["error"]["type"] == "authentication_error"
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(post(gate, chat(), key="wrong") + post(gate, chat()))
    assert (await first_answer(reader))[0] == 401
    status, body = await first_answer(reader)
    assert (status, b'"hi"' in body) == (200, True)
    writer.close()


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx: ", "head"),
        (b"POST /api/v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: KEY\r\n"
         b"content-length: 9\r\n\r\nabc", "body"),
        (b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nx-api-key: KEY\r\n"
         b"content-length: 9\r\n\r\nabc", "body"),
    ],
)  # fmt: skip
async def test_slow_senders(gate: Gate, sent: bytes, what: str) -> None:
    """Promise: a head or body that does not come gets 408 and the connection is closed, for the
    door's paths and for others."""
    raw = await gate.raw(sent.replace(b"KEY", gate.key.encode()))
    status, _, body = split(raw)
    assert status == 408 and what in json.loads(body)["error"]["message"]


@pytest.mark.usefixtures("soon")
async def test_who_trickles_is_slow_too(gate: Gate) -> None:
    """Promise: a byte now and then does not make a head any faster."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nx: ")
    for _ in range(60):
        writer.write(b"y")
        await asyncio.sleep(0.02)
        if reader.at_eof() or len(reader._buffer):  # type: ignore[attr-defined]
            break
    assert b" 408 " in await reader.readline()
    writer.close()


@pytest.mark.usefixtures("soon")
async def test_an_idle_connection_is_closed(gate: Gate) -> None:
    """Promise: who says nothing, from the start or after an answer, does not stay for ever."""
    assert await gate.raw(b"") == b""
    raw = await gate.raw(post(gate, chat()))
    assert split(raw)[0] == 200


async def test_half_a_request(gate: Gate) -> None:
    """Promise: who closes in the middle of a request is told so, if he still listens."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(post(gate, chat())[:-5])
    writer.write_eof()
    async with asyncio.timeout(10):
        status, _, body = split(await reader.read())
    assert status == 400 and b"closed before" in body
    writer.close()


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"x" * 5000])
async def test_what_is_not_http(gate: Gate, junk: bytes) -> None:
    """Promise: what is not HTTP gets 400 and the connection is closed."""
    status, headers, body = split(await gate.raw(junk + b"\r\n\r\n"))
    assert (status, headers["connection"]) == (400, "close")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


async def test_requests_in_one_packet(gate: Gate) -> None:
    """Promise: requests that are sent without waiting, to the door and to others in turn, are
    answered one after the other in their order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    health = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    words = ["one", "two", "three", "four", "five"]
    sent = b""
    for word in words:
        sent += post(gate, chat(f"[[say {word}]] [[slow 5]]")) + health
    writer.write(sent)
    for word in words:
        status, body = await first_answer(reader)
        assert status == 200
        assert json.loads(body)["choices"][0]["message"]["content"] == word
        assert (await first_answer(reader))[0] == 200
    writer.close()


async def test_bytes_one_by_one(gate: Gate) -> None:
    """Promise: a request may come in any pieces, chunked or not."""
    for chunked in (False, True):
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        sent = post(gate, chat())
        if chunked:
            head, _, body = sent.partition(b"\r\n\r\n")
            length = f"content-length: {len(body)}".encode()
            head = head.replace(length, b"transfer-encoding: chunked")
            cut = [body[at : at + 7] for at in range(0, len(body), 7)]
            pieces = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut)
            sent = head + b"\r\n\r\n" + pieces + b"0\r\n\r\n"
        for at in range(0, len(sent), 3):
            writer.write(sent[at : at + 3])
            await asyncio.sleep(0)
        status, body = await first_answer(reader)
        assert (status, b'"hi"' in body) == (200, True)
        writer.close()


async def test_expect_continue(gate: Gate) -> None:
    """Promise: a client that waits for leave to send its body gets it, or the refusal at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    body = chat()
    writer.write(post(gate, b"", more=f"expect: 100-continue\r\nx-n: {len(body)}\r\n").replace(
        b"content-length: 0", b"content-length: %d" % len(body)))  # fmt: skip
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await first_answer(reader))[0] == 200
    writer.close()
    raw = await gate.raw(
        post(gate, b"", key="wrong", more="expect: 100-continue\r\n").replace(
            b"content-length: 0", b"content-length: 10"
        )
    )
    assert split(raw)[0] == 401


async def test_old_http(gate: Gate) -> None:
    """Promise: an HTTP/1.0 client gets whole answers and streams that end with the connection."""
    for stream in (False, True):
        sent = post(gate, chat(stream=stream)).replace(b"HTTP/1.1", b"HTTP/1.0")
        status, headers, body = split(await gate.raw(sent))
        assert status == 200 and headers["connection"] == "close"
        assert "transfer-encoding" not in headers
        assert (b"[DONE]" in body) is stream and b"hi" in body


async def test_a_client_that_leaves(gate: Gate, scripted: Running) -> None:
    """Promise: a client that hangs up, streaming or not, takes the call at the model with it."""
    for stream in (False, True):
        before = len(scripted.calls)
        reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(post(gate, chat("[[tokens 5]] [[stall 2]]", stream=stream)))
        if stream:
            await reader.readuntil(b"data:")
        await until(lambda: len(scripted.calls) > before)  # noqa: B023
        writer.close()
        await until(lambda: scripted.calls[-1].outcome == "left")
        await until(lambda: gate.parts.doors.plain == 0)


async def test_head_of_the_root(gate: Gate) -> None:
    """Promise: who only looks whether anybody is there (as Claude Code does) is told so."""
    answer = await gate.ask("HEAD", "/", key="")
    assert (answer.status, answer.raw) == (200, b"")


async def test_a_slow_reader(gate: Gate, scripted: Running) -> None:
    """Promise: a stream that nobody reads is not collected here, and goes on when it is read."""
    most = 200_000  # the kernel's own buffers take some ten megabytes, over all sockets on the way
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.connect(("127.0.0.1", gate.port))
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock, limit=2**12)
        writer.write(post(gate, chat(f"[[tokens {most}]]", stream=True)))
        await reader.readuntil(b"data:")
        had = -1
        while had != scripted.calls[-1].tokens:
            had = scripted.calls[-1].tokens
            await asyncio.sleep(0.3)
        assert had < most
        async with asyncio.timeout(60):
            last = b""
            while b"[DONE]" not in last[-200:]:
                piece = await reader.read(2**16)
                assert piece
                last = last[-200:] + piece
        writer.close()
