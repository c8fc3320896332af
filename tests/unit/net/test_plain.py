"""Answers that come in one piece are taken without a parser, but only if they are quite plain."""

from __future__ import annotations

import asyncio

import pytest

from stead.net.http import Broken, Client, HttpFailed

PLAIN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/X\r\nX-Id: AbC\r\nx-id: d\r\n"
    b"content-length: 2\r\n\r\nok"
)


async def _got(data: bytes, times: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
    """What a client makes of these bytes, asked so often on what may be one connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(data)
                await writer.drain()
                if b"close" in data.lower() or b"length" not in data.lower():
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}") as client:
            out = []
            for _ in range(times):
                got = await client.request("GET", "/", timeout=5)
                out.append((got.status, got.headers, got.body))
            return out


async def test_a_plain_answer() -> None:
    """Promise: names in lower case, values as they are, repeated ones joined; the connection is
    used again."""
    for status, headers, body in await _got(PLAIN, 3):
        assert (status, body) == (200, b"ok")
        assert headers == {"content-type": "text/X", "x-id": "AbC, d", "content-length": "2"}


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (PLAIN.replace(b"length: 2", b"length:\t 2 "), b"ok"),
        (PLAIN.replace(b"200 OK", b"200"), b"ok"),
        (PLAIN.replace(b"x-id: d", b"connection: close"), b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nto the end", b"to the end"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nlength", b"ok"),
    ],
)
async def test_what_is_less_plain(data: bytes, body: bytes) -> None:
    """Promise: other forms of an answer come to the same."""
    assert (await _got(data))[0][2] == body


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"x-id: d", b"content-length: 3"),
        PLAIN.replace(b"x-id: d", b"transfer-encoding: chunked"),
        PLAIN.replace(b"length: 2", b"length: +2"),
        PLAIN.replace(b"x-id: d\r\n", b"x-id: d\0\r\n"),
        PLAIN.replace(b"length: 2", b"length: 2, 2"),
        PLAIN.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 200OK"),
    ],
)
async def test_what_is_no_answer(data: bytes) -> None:
    """Promise: an answer that two readers could read in two ways is refused by the parser."""
    with pytest.raises((Broken, HttpFailed)):
        await _got(data)
