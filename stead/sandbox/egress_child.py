"""The process of the egress proxy: ``python -m stead.sandbox.egress_child``.

Started by :mod:`stead.sandbox.egress` with a socket as its stdin, over which it gets its terms and
then orders, a line of JSON each, and tells what came of them and of each connection. It ends with
that socket. Values of credentials are read here and nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
import sys
from pathlib import Path

import msgspec

from stead.sandbox.box import Host
from stead.sandbox.egress_dial import Dialler
from stead.sandbox.egress_gate import Gate, Limits, Record
from stead.sandbox.egress_hosts import Private
from stead.sandbox.egress_proxy import Opened, Proxy, line_of
from stead.sandbox.egress_terms import MOST_LINE, Close, Logged, Open, Order, Told, Way
from stead.sandbox.secrets import Values

_FILES = 8192
"""Two a connection; what systems allow at first is soon used up."""


class _Child:
    """Carries out orders; each open gate has the number it was asked for by."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._proxy: Proxy | None = None
        self._open: dict[int, Opened] = {}

    def tell(self, said: Told) -> None:
        self._writer.write(msgspec.json.encode(said) + b"\n")

    def log(self, gate: Gate, record: Record) -> None:
        self.tell(Logged(line_of(gate, record)))

    async def obey(self, order: Order) -> None:
        if isinstance(order, Open):
            await self._open_gate(order)
        elif isinstance(order, Close):
            opened = self._open.pop(order.number, None)
            if opened is not None:
                await opened.aclose()
            self.tell(Way(order.number))
        else:
            terms = order
            self._proxy = Proxy(
                credentials={one.name: one for one in terms.credentials},
                values=Values(
                    Path(terms.secrets),
                    Path(terms.systemd) if terms.systemd else None,
                    terms.environment,
                ),
                dialler=Dialler(
                    [Private.read(text) for text in terms.private],
                    offline=terms.offline,
                    ca_file=terms.ca_file,
                ),
                tell=self.log,
                limits=Limits(
                    connections=terms.connections,
                    up_bytes=terms.up_bytes,
                    down_bytes=terms.down_bytes,
                    idle_s=terms.idle_s,
                ),
            )

    async def _open_gate(self, order: Open) -> None:
        try:
            if self._proxy is None:
                raise OSError("it has no terms")
            hosts = [Host(*host) for host in order.hosts]
            opened = await self._proxy.open(order.tool, order.job, hosts)
        except OSError as error:
            self.tell(Way(order.number, why=error.strerror or str(error)))
            return
        self._open[order.number] = opened
        self.tell(Way(order.number, path=str(opened.path)))

    async def aclose(self) -> None:
        for opened in self._open.values():
            await opened.aclose()


async def _run(control: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=control, limit=MOST_LINE)
    child = _Child(writer)
    try:
        while line := await reader.readline():
            await child.obey(msgspec.json.decode(line, type=Order))
            await writer.drain()
    finally:
        await child.aclose()
        writer.close()


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: its parent says when it ends
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY or most > _FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, most))
    control = socket.socket(fileno=0)
    with contextlib.suppress(OSError):
        asyncio.run(_run(control))
    return 0


if __name__ == "__main__":
    sys.exit(main())
