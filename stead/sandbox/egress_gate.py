"""The way out of one sandbox: whom it may reach, what went through, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from stead.sandbox.box import Host
from stead.sandbox.egress_dial import Dialler
from stead.sandbox.egress_hosts import WEB_PORTS, Refused, Target, read_target
from stead.sandbox.secrets import Credential, Values

PIECE = 65536
"""Bytes read at a time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one gate, but for ``idle_s`` and ``head_s``, which are of each connection."""

    connections: int = 64
    up_bytes: int = 1_000_000_000
    down_bytes: int = 4_000_000_000
    idle_s: float = 300.0
    """Without a byte in either direction."""
    head_s: float = 20.0
    """For the first words of a client."""
    head_bytes: int = 65536


@dataclass(slots=True)
class Record:
    """One connection, for the log. Paths and queries are not in it: they may hold secrets."""

    host: str = ""
    port: int = 0
    how: str = ""
    """``connect`` or the method."""
    address: str = ""
    status: int = 0
    """That of the answer handed on, or of the proxy's own."""
    up: int = 0
    down: int = 0
    verdict: str = "allowed"
    """``allowed``, ``refused``, ``failed`` (allowed, but it did not work) or ``cut``."""
    why: str = ""
    credential: str = ""
    began: float = field(default_factory=time.monotonic)
    moved: Callable[[], None] = lambda: None
    """Called when a byte went through."""


class Cut(Exception):
    """A connection that went beyond a limit; in words."""


@dataclass(frozen=True, slots=True)
class Place:
    """A credential as it is looked for: one host of it, read."""

    credential: Credential
    host: str
    port: int
    """0: 80 and 443."""


class Gate:
    """What one sandbox may reach, and its open connections."""

    def __init__(
        self,
        *,
        tool: str,
        job: str,
        hosts: Sequence[Host],
        credentials: Mapping[str, Credential],
        values: Values,
        dialler: Dialler,
        tell: Callable[[Gate, Record], None],
        limits: Limits,
    ) -> None:
        self.tool = tool
        self.job = job
        self.hosts = tuple(hosts)
        self.values = values
        self.dialler = dialler
        self.limits = limits
        self.up = 0
        self.down = 0
        self._tell = tell
        self._open: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._places = _places(self.hosts, credentials, tool)

    def credentials_of(self, target: Target) -> list[Place]:
        """Those that this sandbox has for a host, whatever the path."""
        return [
            place
            for place in self._places
            if place.host == target.host
            and target.port in ((place.port,) if place.port else WEB_PORTS)
        ]

    def begin(self, task: asyncio.Task[None]) -> bool:
        """Whether there is room for one more connection."""
        if len(self._open) >= self.limits.connections:
            return False
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        return True

    def count(self, record: Record, *, up: int = 0, down: int = 0) -> None:
        """Raises :class:`Cut` beyond a limit."""
        record.moved()
        record.up += up
        record.down += down
        self.up += up
        self.down += down
        if self.up > self.limits.up_bytes:
            raise Cut(f"more than {self.limits.up_bytes:,} bytes were sent")
        if self.down > self.limits.down_bytes:
            raise Cut(f"more than {self.limits.down_bytes:,} bytes were fetched")

    def tell(self, record: Record) -> None:
        self._tell(self, record)

    def served(self, server: asyncio.Server) -> None:
        self._servers.append(server)

    async def aclose(self) -> None:
        """Cut all connections."""
        for server in self._servers:
            server.close()
        for task in list(self._open):
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=5.0)


def _places(hosts: Sequence[Host], credentials: Mapping[str, Credential], tool: str) -> list[Place]:
    """Only for hosts that are named in full on both sides, and for this tool."""
    found = []
    for host in hosts:
        for name in host.credentials:
            credential = credentials.get(name)
            if credential is None or tool not in credential.tools:
                continue
            for text in credential.hosts:
                try:
                    target = read_target(text, default_port=65535)
                except Refused:
                    continue  # such a host cannot be asked for either
                port = 0 if target.port == 65535 else target.port
                if target.host == host.name.lower().strip("[]"):
                    found.append(Place(credential, target.host, port))
    return found


async def pump(
    gate: Gate, record: Record, reader: StreamReader, writer: StreamWriter, *, up: bool
) -> None:
    """Carry bytes one way until their end. Raises :class:`Cut` and ``OSError``."""
    while data := await reader.read(PIECE):
        gate.count(record, up=len(data) if up else 0, down=0 if up else len(data))
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        if writer.can_write_eof():
            writer.write_eof()


def abort(writer: StreamWriter) -> None:
    """End a connection so that the other side notices it was not its proper end."""
    writer.transport.abort()
