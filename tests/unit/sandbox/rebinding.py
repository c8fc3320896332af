"""Run in namespaces of its own, where it is the name server: tells as JSON what the proxy did.

``python -m tests.unit.sandbox.rebinding``, with an ``/etc/resolv.conf`` that names 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import fcntl
import ipaddress
import json
import socket
import struct
import sys
import threading

from stead.sandbox.box import Host
from tests.unit.sandbox.egress_house import Echo, listening, way_out

_PUBLIC = "93.184.215.14"
_IFF_UP = 1
_SIOCSIFFLAGS = 0x8914
_A, _AAAA = 1, 28


class NameServer:
    """Answers each name by what it is called; ``rebind`` is elsewhere each time it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def serve(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 53))
            while True:
                data, address = sock.recvfrom(2000)
                sock.sendto(self._answer(data), address)

    def _answer(self, data: bytes) -> bytes:
        labels, at = [], 12
        while size := data[at]:
            labels.append(data[at + 1 : at + 1 + size].decode())
            at += size + 1
        name, kind = ".".join(labels), struct.unpack("!H", data[at + 1 : at + 3])[0]
        self.asked.append((name, kind))
        records = [_record(kind_, value) for kind_, value in self._records(labels[0], kind)]
        head = data[:2] + struct.pack("!HHHHH", 0x8580, 1, len(records), 0, 0)
        return head + data[12 : at + 5] + b"".join(records)

    def _records(self, name: str, kind: int) -> list[tuple[int, str]]:
        if name == "six":
            return [(_AAAA, "::ffff:127.0.0.1")] if kind == _AAAA else []
        if kind != _A:
            return []
        if name == "rebind":
            times = sum(asked == (f"{name}.example.com", _A) for asked in self.asked)
            return [(_A, _PUBLIC if times == 1 else "127.0.0.1")]
        return {
            "both": [(_A, _PUBLIC), (_A, "127.0.0.1")],
            "zero": [(_A, "0.0.0.0")],
            "metadata": [(_A, "169.254.169.254")],
        }.get(name, [])


def _record(kind: int, value: str) -> bytes:
    data = ipaddress.ip_address(value).packed
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(data)) + data


async def main() -> None:
    echo, told, server = Echo(), [], NameServer()
    threading.Thread(target=server.serve, daemon=True).start()
    async with listening(echo) as port, way_out([Host("*", port)]) as way:
        for name in ("rebind", "rebind", "both", "zero", "metadata", "six", "none"):
            server_asked = len(server.asked)
            answer = await way.get(f"http://{name}.example.com:{port}/")
            told.append(
                {
                    "name": name,
                    "status": int(answer.line.split(" ")[1]),
                    "why": answer.body.decode(),
                    "asked": len([one for one in server.asked[server_asked:] if one[1] == _A]),
                }
            )
    json.dump({"told": told, "reached": len(echo.seen)}, sys.stdout)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_:
        fcntl.ioctl(any_, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


if __name__ == "__main__":
    _loopback_up()
    asyncio.run(main())
