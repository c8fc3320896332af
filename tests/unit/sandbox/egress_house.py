"""Real servers on loopback, with certificates of a CA made for the test, and a way to the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from stead.sandbox.box import Host
from stead.sandbox.egress_dial import Dialler
from stead.sandbox.egress_gate import Gate, Limits, Record
from stead.sandbox.egress_hosts import Private
from stead.sandbox.egress_proxy import connected
from stead.sandbox.secrets import Credential, SecretStore, Values

Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server on a free port of 127.0.0.1; gives the port."""

    async def one(reader: StreamReader, writer: StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Ca:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.file = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def server(self, *names: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*names).configure_cert(context)
        return context


@dataclass
class Asked:
    """A request as a server saw it."""

    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]


async def read_message(reader: StreamReader, *, no_body: bool = False) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.rstrip("\r\n").split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (one.partition(":") for one in rest)}
    body = b""
    if no_body:
        pass
    elif "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    elif not line.startswith(("GET", "HEAD")) or line.startswith("HTTP/"):
        body = await reader.read() if line.startswith("HTTP/") else b""
    return Asked(line, headers, body)


@dataclass
class Echo:
    """Answers every request with all it saw of it, as JSON; remembers them."""

    seen: list[Asked] = field(default_factory=list)
    answer: Callable[[Asked], bytes] | None = None

    async def __call__(self, reader: StreamReader, writer: StreamWriter) -> None:
        asked = await read_message(reader)
        self.seen.append(asked)
        if self.answer is not None:
            writer.write(self.answer(asked))
        else:
            body = json.dumps([asked.line, asked.headers, asked.body.decode("latin-1")]).encode()
            writer.write(
                b"HTTP/1.1 200 OK\r\nX-Echo: %b\r\ncontent-length: %d\r\n\r\n"
                % (asked.headers.get("authorization", "-").encode(), len(body))
            )
            if not asked.line.startswith("HEAD"):
                writer.write(body)
        await writer.drain()


@dataclass
class Way:
    """A gate that listens without a sandbox around it, as its sandbox would reach it."""

    port: int
    gate: Gate
    records: asyncio.Queue[Record]

    async def send(self, data: bytes) -> Asked:
        """Send bytes, read the answer."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            return await read_message(reader, no_body=data.startswith(b"HEAD"))
        finally:
            writer.close()

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def get(self, url: str, method: str = "GET", **headers: str) -> Asked:
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        host = url.partition("://")[2].partition("/")[0]
        return await self.send(f"{method} {url} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode())

    async def tunnel(self, target: str) -> tuple[int, StreamReader, StreamWriter]:
        reader, writer = await self.connect()
        writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        return int(head.split(b" ")[1]), reader, writer

    async def last(self) -> Record:
        """What is told of the last connection, once it has ended."""
        async with asyncio.timeout(60):
            return await self.records.get()


@contextlib.asynccontextmanager
async def way_out(
    hosts: list[Host],
    *,
    tool: str = "http",
    private: tuple[str, ...] = (),
    credentials: tuple[Credential, ...] = (),
    secrets: Path = Path("/nonexistent"),
    systemd: Path | None = None,
    ca: Ca | None = None,
    offline: bool = False,
    limits: Limits | None = None,
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Way]:
    records: asyncio.Queue[Record] = asyncio.Queue()
    gate = Gate(
        tool=tool, job="job-1", hosts=hosts,
        credentials={one.name: one for one in credentials},
        values=Values(secrets, systemd, environment or {"PATH": "/usr/bin:/bin"}),
        dialler=Dialler(
            [Private.read(one) for one in private], offline=offline,
            ca_file=str(ca.file) if ca else "",
        ),
        tell=lambda _, record: records.put_nowait(record), limits=limits or Limits(),
    )  # fmt: skip

    async def one(reader: StreamReader, writer: StreamWriter) -> None:
        await connected(gate, reader, writer)

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    try:
        yield Way(server.sockets[0].getsockname()[1], gate, records)
    finally:
        server.close()
        await gate.aclose()


def keep_secret(folder: Path, name: str, value: str) -> None:
    SecretStore(folder).set(name, value)
