"""The HTTP client under load: many requests, large bodies, slow readers, TLS, uvicorn."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from stead.net.http import Client, ConnectFailed

Send = Callable[[dict[str, Any]], Awaitable[None]]


async def echo(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """ASGI: answers with the body it was sent."""
    parts, more = [], True
    while more:
        event = await receive()
        parts.append(event.get("body", b""))
        more = event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for part in parts:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class Uvicorn:
    """A uvicorn on this loop, with a free port."""

    def __init__(self, **config: Any) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        config = {"log_level": "critical", "lifespan": "off", "ws": "none"} | config
        self.server = uvicorn.Server(uvicorn.Config(echo, **config))

    async def __aenter__(self) -> Uvicorn:
        # The socket listens already: who connects before it is served waits in its backlog.
        self.task = asyncio.create_task(self.server._serve([self.sock]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = True
        await self.task


async def test_hundreds_at_once() -> None:
    """Promise: hundreds of requests at once each get their own answer."""
    async with Uvicorn() as server, Client(f"http://127.0.0.1:{server.port}") as client:

        async def ask(n: int) -> bool:
            response = await client.request("POST", "/", body=b"%d" % n)
            return response.body == b"%d" % n

        assert all(await asyncio.gather(*(ask(n) for n in range(400))))
        assert all(await asyncio.gather(*(ask(n) for n in range(400))))


async def test_a_large_body_both_ways() -> None:
    """Promise: many megabytes go out and come back unchanged."""
    body = bytes(range(256)) * 4 * 4096 * 8
    async with Uvicorn() as server, Client(f"http://127.0.0.1:{server.port}") as client:
        response = await client.request("POST", "/", body=body)
        assert response.body == body
        streamed = await client.stream("POST", "/", body=body)
        assert await streamed.read() == body


async def test_a_slow_reader_slows_the_server() -> None:
    """Promise: what is not read is not collected in memory; the sender has to wait."""
    total = 64 * 1024 * 1024
    sent = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        while sent < total:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536
        writer.close()

    listener = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with Client(f"http://127.0.0.1:{port}") as client:
        streamed = await client.stream("GET", "/", timeout=5)
        before = -1
        while sent != before:  # until the sender stands still
            before = sent
            for _ in range(200):
                await asyncio.sleep(0)
        assert sent < total / 2
        size = 0
        async for piece in streamed:
            assert len(piece) < 1024 * 1024
            size += len(piece)
        assert size == total
    listener.close()


async def test_a_body_beyond_the_limit_is_refused() -> None:
    """Promise: request() holds no more in memory than max_body."""
    async with (
        Uvicorn() as server,
        Client(f"http://127.0.0.1:{server.port}", max_body=1000) as client,
    ):
        with pytest.raises(Exception, match="more than 1000 bytes"):
            await client.request("POST", "/", body=b"x" * 5000)
        assert (await client.request("POST", "/", body=b"x" * 1000)).body == b"x" * 1000


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-made certificate for localhost and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


async def test_tls(certificate: tuple[Path, Path]) -> None:
    """Promise: https works with a known certificate and refuses an unknown one in words."""
    cert, key = certificate
    async with Uvicorn(ssl_certfile=str(cert), ssl_keyfile=str(key)) as server:
        url = f"https://localhost:{server.port}"
        async with Client(url) as stranger:
            with pytest.raises(ConnectFailed, match="not trusted"):
                await stranger.request("GET", "/")
        known = ssl.create_default_context(cafile=str(cert))
        async with Client(url, tls=known) as client:
            body = b"y" * 3_000_000
            for _ in range(2):
                assert (await client.request("POST", "/", body=body)).body == body
