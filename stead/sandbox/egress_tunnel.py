"""CONNECT: a connection that the proxy only carries, once it has seen whom it is for."""

from __future__ import annotations

import asyncio
import re
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass

from stead.sandbox.box import Host
from stead.sandbox.egress_gate import PIECE, Gate, Record, abort, pump
from stead.sandbox.egress_hello import looks_like_tls, server_name
from stead.sandbox.egress_hosts import Refused, Target, allowing, read_target
from stead.sandbox.egress_messages import Malformed, Message

_HTTP = re.compile(rb"[A-Z]{3,12} [^ \r\n]{1,8000} HTTP/1\.[01]\r?\n", re.DOTALL)
_HOST_LINE = re.compile(rb"\r?\nhost:[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.IGNORECASE)
_MOST_HTTP = 16384


@dataclass(slots=True)
class _First:
    """The first bytes of a client, until they tell whom it talks to."""

    target: Target
    host: Host
    data: bytes = b""

    def passes(self) -> bool:
        """Whether they may be sent on; False: more are needed. Raises :class:`Refused`."""
        if looks_like_tls(self.data):
            name = server_name(self.data)
            if name is None:
                return False
            self._check_name(name)
            return True
        if not self.host.port:
            raise Refused(
                f"only TLS goes through CONNECT to port {self.target.port} of a host that is named "
                "without a port"
            )
        if _may_be_http(self.data):
            if b"\r\n\r\n" not in self.data and b"\n\n" not in self.data:
                if len(self.data) > _MOST_HTTP:
                    raise Refused("the head of its request is too long")
                return False
            self._check_hosts()
        return True

    def _check_name(self, name: str) -> None:
        if name == self.target.host:
            return
        if self.target.address is not None and (not name or self.host.name == "*"):
            return
        raise Refused(
            f"the TLS handshake asks for {name!r} on a connection to {self.target.host}"
            if name
            else f"the TLS handshake on a connection to {self.target.host} names no server"
        )

    def _check_hosts(self) -> None:
        for found in _HOST_LINE.finditer(self.data):
            named = read_target(found[1].decode("latin-1"), self.target.port)
            if named.host != self.target.host:
                raise Refused(f"a request to {named.host} on a connection to {self.target.host}")


def _may_be_http(data: bytes) -> bool:
    if b"\n" in data:
        return _HTTP.match(data) is not None
    return re.fullmatch(rb"[A-Z]{1,12}( [^ \r\n]{0,8000}( [^\n]{0,12})?)?", data) is not None


async def tunnel(
    gate: Gate, record: Record, request: Message, reader: StreamReader, client: StreamWriter
) -> None:
    """Raises as :func:`forward` while nothing was answered yet."""
    target = read_target(request.target)
    record.host, record.port = target.host, target.port
    host = allowing(gate.hosts, target)
    if request.sized:
        raise Malformed("CONNECT has no body")
    upstream, writer, address = await gate.dialler.dial(target, host, tls=False)
    record.address, record.status = str(address), 200
    try:
        client.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await client.drain()
        down = asyncio.ensure_future(pump(gate, record, upstream, client, up=False))
        up = asyncio.ensure_future(
            _upward(gate, record, _First(target, host, request.rest), reader, writer)
        )
        both = {down, up}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for one in both:
                one.cancel()
            await asyncio.wait(both)
        for one in both:
            if not one.cancelled() and (error := one.exception()) is not None:
                raise error
    finally:
        abort(writer)


async def _upward(
    gate: Gate, record: Record, first: _First, reader: StreamReader, writer: StreamWriter
) -> None:
    while not first.data or not first.passes():
        data = await reader.read(PIECE)
        if not data:
            if first.data:
                raise Refused("the connection ended before it said whom it is for")
            writer.write_eof()
            return
        first.data += data
    gate.count(record, up=len(first.data))
    writer.write(first.data)
    await writer.drain()
    await pump(gate, record, reader, writer, up=True)
