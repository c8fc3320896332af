"""The proxy itself: takes over the listening socket of a sandbox and serves what connects to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import struct
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from stead.sandbox.box import Host
from stead.sandbox.egress_dial import Dialler, Unreachable
from stead.sandbox.egress_forward import forward
from stead.sandbox.egress_gate import Cut, Gate, Limits, Record, abort
from stead.sandbox.egress_hosts import Refused
from stead.sandbox.egress_messages import OWN, Malformed, Message
from stead.sandbox.egress_tunnel import tunnel
from stead.sandbox.enter import UID
from stead.sandbox.secrets import Credential, SecretUnreadable, Values

_STATUS = {Refused: 403, Malformed: 400, Unreachable: 502, SecretUnreadable: 502}
_PHRASE = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway", 503: "Service Unavailable"}
_LINGER_S = 3.0
_LINGER_BYTES = 4_000_000
_SO_ACCEPTCONN = 30
_SO_PEERCRED = 17


class Proxy:
    """Opens gates; one for each start of a sandbox."""

    def __init__(
        self,
        *,
        credentials: Mapping[str, Credential],
        values: Values,
        dialler: Dialler,
        tell: Callable[[Gate, Record], None],
        limits: Limits | None = None,
    ) -> None:
        self._credentials = credentials
        self._values = values
        self._dialler = dialler
        self._tell = tell
        self._limits = limits or Limits()

    async def open(self, tool: str, job: str, hosts: Sequence[Host]) -> Opened:
        """A gate that waits for the socket of its sandbox. Raises ``OSError``."""
        gate = Gate(
            tool=tool, job=job, hosts=hosts, credentials=self._credentials, values=self._values,
            dialler=self._dialler, tell=self._tell, limits=self._limits,
        )  # fmt: skip
        opened = Opened(gate, Path(tempfile.mkdtemp(prefix="stead-way-")))
        try:
            await opened.wait_for_door()
        except BaseException:
            await opened.aclose()
            raise
        return opened


class Opened:
    """A gate and the folder with the socket over which its sandbox hands over its own."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        self.gate = gate
        self.folder = folder
        self.path = folder / secrets.token_hex(16)
        self._hand: socket.socket | None = None
        self._taking: asyncio.Task[None] | None = None

    async def wait_for_door(self) -> None:
        hand = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._hand = hand
        hand.setblocking(False)
        # A sandbox may run as a user who owns nothing: the folder lets him through to the socket if
        # he knows its name, and shows him none.
        self.folder.chmod(0o711)
        hand.bind(str(self.path))
        self.path.chmod(0o666)
        hand.listen(1)
        self._taking = asyncio.ensure_future(self._take(hand))

    async def aclose(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            await asyncio.wait([self._taking])
        if self._hand is not None:
            self._hand.close()
        await self.gate.aclose()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _take(self, hand: socket.socket) -> None:
        """Once: the first program in the sandbox hands it over before any other runs there."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            other, _ = await loop.sock_accept(hand)
            hand.close()
            with other:
                await _readable(other)
                door = _door(other)
                server = await asyncio.start_server(
                    self._connected, sock=door, limit=2**17, backlog=256
                )
                self.gate.served(server)
                await loop.sock_sendall(other, b"k")

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        await connected(self.gate, reader, writer)


def _door(other: socket.socket) -> socket.socket:
    """The socket that is handed over; ``OSError`` for what is none that listens on loopback."""
    uid = struct.unpack("3i", other.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, 12))[1]
    word, fds, _, _ = socket.recv_fds(other, 1, 1)
    if word != b"d" or len(fds) != 1 or uid not in (os.geteuid(), UID):
        for fd in fds:
            os.close(fd)
        raise OSError("no socket was handed over")
    door = socket.socket(fileno=fds[0])
    if (
        door.family != socket.AF_INET
        or door.type != socket.SOCK_STREAM
        or not door.getsockopt(socket.SOL_SOCKET, _SO_ACCEPTCONN)
        or not str(door.getsockname()[0]).startswith("127.")
    ):
        door.close()
        raise OSError("what was handed over does not listen on loopback")
    door.setblocking(False)
    return door


async def _readable(other: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    other.setblocking(False)
    loop.add_reader(other, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(other)


async def connected(gate: Gate, reader: StreamReader, writer: StreamWriter) -> None:
    """Serve a client from its first to its last byte; never raises."""
    task = asyncio.current_task()
    assert task is not None
    try:
        if gate.begin(task):
            await _serve(gate, reader, writer)
        else:
            writer.write(_own_answer(503, "too many connections of this sandbox at once"))
    except asyncio.CancelledError:
        pass  # the gate was shut: this was the last of the task
    finally:
        writer.close()


async def _serve(gate: Gate, reader: StreamReader, writer: StreamWriter) -> None:
    """One connection: one request."""
    record, loop, came = Record(), asyncio.get_running_loop(), False
    limits = gate.limits
    try:
        request = Message(reader, request=True, head_bytes=limits.head_bytes)
        async with asyncio.timeout(limits.head_s) as timer:
            came = await request.head()
            if not came:
                return
            record.how = request.method.lower()
            record.moved = lambda: timer.reschedule(loop.time() + limits.idle_s)
            record.moved()
            if request.method == "CONNECT":
                await tunnel(gate, record, request, reader, writer)
            else:
                await forward(gate, record, request, writer)
    except (Refused, Malformed, Unreachable, SecretUnreadable) as error:
        record.verdict = "failed" if isinstance(error, Unreachable) else "refused"
        record.why = str(error)
        if record.status:  # an answer is on its way: only its end can say that it is not whole
            record.verdict = "cut"
            abort(writer)
        else:
            record.status = _STATUS[type(error)]
            await _say(reader, writer, record)
    except (Cut, TimeoutError) as error:
        record.verdict = "cut"
        record.why = str(error) or "nothing went through it for too long"
        abort(writer)
    except asyncio.CancelledError:
        record.verdict, record.why = "cut", "its sandbox has ended"
        abort(writer)
        raise
    except OSError as error:
        record.verdict = "failed"
        record.why = error.strerror or type(error).__name__
        abort(writer)
    except Exception as error:  # noqa: BLE001 - edge of a connection: its fault must end no other
        record.verdict = "failed"
        record.why = f"the proxy broke: {type(error).__name__}: {error}"[:300]
        abort(writer)
    finally:
        if came or record.why:
            gate.tell(record)


async def _say(reader: StreamReader, writer: StreamWriter, record: Record) -> None:
    """The proxy's own answer. What the client is still sending is read for a while: a connection
    that is closed on unread bytes is reset, and the answer lost with it (RFC 9112, 9.6)."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            writer.write(_own_answer(record.status, record.why, record.verdict))
            await writer.drain()
            writer.write_eof()
            left = _LINGER_BYTES
            while left > 0 and (data := await reader.read(left)):
                left -= len(data)


def _own_answer(status: int, why: str, verdict: str = "refused") -> bytes:
    body = f"stead: {why}\n".encode()
    return (
        f"HTTP/1.1 {status} {_PHRASE[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n"
        f"{OWN}: {verdict}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    ).encode("ascii") + body


def line_of(gate: Gate, record: Record) -> dict[str, object]:
    """A connection as one line of the log."""
    line: dict[str, object] = {
        "tool": gate.tool, "job": gate.job, "host": record.host, "port": record.port,
        "how": record.how, "verdict": record.verdict, "status": record.status,
        "up": record.up, "down": record.down,
        "ms": round((time.monotonic() - record.began) * 1000),
    }  # fmt: skip
    for name in ("address", "credential", "why"):
        if value := getattr(record, name):
            line[name] = value
    return line
