"""A bad network between node and gateway: an HTTP/1.1 proxy that does harm on purpose.

It listens on an address of its own and passes every request on to the upstream, on one upstream
connection per connection of the client. With no fault set it changes nothing: long polls, event
streams and large bodies go through as they come, and a side that leaves is seen to leave.

What can be done to all of it at once, until ``heal``: ``cut`` (connections refused and reset),
``black_hole`` (everything vanishes, connections stay), ``one_way`` (only one direction does).
And to single requests, by chance: see ``Weather``.

It belongs to one event loop; its methods are to be called there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from stead.chaos.faults.frames import Frames, NotHttp, header_fields
from stead.chaos.faults.weather import Fate, Weather, draw

__all__ = ["Proxy", "Way", "Weather"]

Way = Literal["requests", "answers"]

_BLOCK = 64 * 1024
_COPY_WAIT_S = 90.0
"""How long the answer to the copy of a request is waited for, before it is left."""


class Proxy:
    """``async with Proxy(port) as proxy: node(gateway=proxy.url)``.

    ``upstream``: host and port of the gateway. ``host``, ``port``: where to listen; 0: any free
    port. ``device``: the only network device that may bring connections (Linux; needs root).
    ``seed``: of everything drawn.
    """

    def __init__(
        self,
        upstream: tuple[str, int],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        device: str = "",
        seed: int = 0,
    ) -> None:
        self.upstream = upstream
        self.host, self.port, self._device = host, port, device
        self.weather = Weather()
        self.counts: Counter[str] = Counter()
        self.rng = random.Random(seed)
        self.passed = 0
        """Requests sent on so far."""
        self.blocked: frozenset[Way] = frozenset()
        self._is_cut = False
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._moved = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._place: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def start(self) -> None:
        self._place = self._bound()
        self.port = self._place.getsockname()[1]
        await self._listen()

    async def close(self) -> None:
        """Everything ends; copies that were still to be sent are not."""
        self._stop_listening(keep_place=False)
        links = list(self._links)
        self._break(links)
        for link in links:
            await link.ended()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Proxy:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- to all at once ----------------------------------------------------------

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self.counts["cut"] += 1
        self._is_cut = True
        self._stop_listening(keep_place=True)
        self._break(list(self._links))

    def reset(self) -> None:
        """Reset every connection that is open now; new ones are welcome."""
        self.counts["reset"] += 1
        self._break(list(self._links))

    def black_hole(self) -> None:
        """Whatever is sent from now on vanishes, either way. Neither side sees the other leave."""
        self.counts["black_hole"] += 1
        self.blocked = frozenset({"requests", "answers"})

    def one_way(self, lost: Way = "answers") -> None:
        """Only the one direction vanishes. Answers: the gateway acts, and the node never knows."""
        self.counts[f"one_way_{lost}"] += 1
        self.blocked = frozenset({lost})

    async def heal(self) -> None:
        """A good network again. Connections that something vanished from are reset: nobody could
        go on with them. Copies and held requests that are on their way still arrive."""
        self.weather = Weather()
        self.blocked = frozenset()
        self._break([link for link in self._links if link.doomed])
        if self._is_cut:
            self._is_cut = False
            await self._listen()

    @property
    def in_flight(self) -> int:
        """Copies and held requests that have yet to arrive or be answered."""
        return len(self._tasks)

    async def settled(self) -> None:
        """Wait until all of those are through."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    # --- listening -----------------------------------------------------------------

    def _bound(self) -> socket.socket:
        """A socket with the port, not listening: who connects to it is refused."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        place = socket.socket(family, socket.SOCK_STREAM)
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.setblocking(False)
        if self._device:
            place.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, self._device.encode())
        place.bind((self.host, self.port))
        return place

    async def _listen(self) -> None:
        assert self._place is not None
        place, self._place = self._place, None
        self._server = await asyncio.start_server(self._connected, sock=place, limit=_BLOCK)

    def _stop_listening(self, *, keep_place: bool) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            if keep_place:
                self._place = self._bound()
        elif self._place is not None and not keep_place:
            self._place.close()
            self._place = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            _reset(writer)
            return
        link = _Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    def _break(self, links: list[_Link]) -> None:
        for link in links:
            link.abort()

    # --- what the links use ----------------------------------------------------------

    def draw(self, request: bytes) -> Fate:
        """The fate of this request. The same seed draws the same ones in the same order."""
        self.counts["requests"] += 1
        fate = draw(self.weather, request.split(b" ", 2)[1].decode("latin-1"), self.rng)
        if fate.copy:
            self.counts["duplicated"] += 1
        return fate

    def late(self) -> float:
        """How long the next piece is on its way, in seconds."""
        return self.weather.delay_s + self.rng.random() * self.weather.jitter_s

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def went_on(self) -> None:
        """A request was sent on."""
        self.passed += 1
        async with self._moved:
            self._moved.notify_all()

    async def hold(self) -> None:
        """Wait until enough later requests have passed."""
        until = self.passed + self.weather.overtake
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.weather.hold_s), self._moved:
                await self._moved.wait_for(lambda: self.passed >= until)
                self.counts["reordered"] += 1
                return
        self.counts["held"] += 1

    async def send_copy(self, request: bytes, wait_s: float) -> None:
        """Send a request once more, on a connection of its own; nobody sees the answer."""
        await asyncio.sleep(wait_s)
        if "requests" in self.blocked or self._is_cut:
            self.counts["copies_failed"] += 1
            return
        try:
            reader, writer = await asyncio.open_connection(*self.upstream)
        except OSError:
            self.counts["copies_failed"] += 1
            return
        frames = Frames(answers=True)
        try:
            writer.write(request)
            await self.went_on()
            async with asyncio.timeout(_COPY_WAIT_S):
                while data := await reader.read(_BLOCK):
                    if any(done for _, done in frames.feed(data)):
                        break
            self.counts["copies"] += 1
        except (OSError, NotHttp, TimeoutError):
            self.counts["copies_failed"] += 1
        finally:
            writer.transport.abort()


@dataclass(slots=True)
class _Event:
    kind: Literal["request", "data", "client left", "upstream left", "stop"]
    data: bytes = b""
    at: float = 0.0


class _Link:
    """One connection of a client and its connection upstream."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.proxy = proxy
        self.doomed = False
        """Something has vanished from it."""
        self._reader, self._writer = reader, writer
        self._up: asyncio.StreamWriter | None = None
        self._inbox: asyncio.Queue[_Event] = asyncio.Queue(16)
        self._readers: list[asyncio.Task[None]] = []
        self._waiting: list[_Event] = []
        self._main: asyncio.Task[Any] | None = None

    async def ended(self) -> None:
        if self._main is not None:
            await asyncio.wait([self._main])

    def abort(self) -> None:
        """Reset both sides."""
        _reset(self._writer)
        if self._up is not None:
            _reset(self._up)
        if self._main is not None and self._main is not asyncio.current_task():
            self._main.cancel()

    async def run(self) -> None:
        self._main = asyncio.current_task()
        self._watch(self._read_requests())
        try:
            while event := await self._next_request():
                if not await self._serve(event):
                    return
        except (OSError, NotHttp):
            self.abort()
        except asyncio.CancelledError:
            pass  # by abort, or because the loop ends; either way nothing is left to do
        finally:
            for task in self._readers:
                task.cancel()
            self._writer.close()
            if self._up is not None:
                self._up.close()

    # --- reading -------------------------------------------------------------------

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        self._readers.append(asyncio.ensure_future(work))

    async def _tell(self, kind: Any, data: bytes = b"") -> None:
        await self._inbox.put(_Event(kind, data, asyncio.get_running_loop().time()))

    async def _read_requests(self) -> None:
        frames = Frames(answers=False)
        parts: list[bytes] = []
        with contextlib.suppress(OSError, NotHttp):
            while data := await self._reader.read(_BLOCK):
                for piece, done in frames.feed(data):
                    if not parts and b"expect" in header_fields(frames.head):
                        self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    parts.append(piece)
                    if done:
                        await self._tell("request", b"".join(parts))
                        parts.clear()
        await self._tell("client left")

    async def _read_answers(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_BLOCK):
                await self._tell("data", data)
        await self._tell("upstream left")

    async def _event(self) -> _Event:
        """The next event that may be seen: what vanishes is taken out here."""
        while True:
            event = await self._inbox.get()
            way: Way = "requests" if event.kind in ("request", "client left") else "answers"
            if not self._vanishes(way):
                return event

    def _vanishes(self, way: Way) -> bool:
        """Whether what goes this way now vanishes; then this connection is of no use any more."""
        if way not in self.proxy.blocked:
            return False
        self.doomed = True
        self.proxy.counts[f"vanished_{way}"] += 1
        return True

    async def _next_request(self) -> _Event | None:
        """The next request, or None when a side has left."""
        if self._waiting:
            return self._waiting.pop(0)
        event = await self._event()
        return event if event.kind == "request" else None

    # --- one request ---------------------------------------------------------------

    async def _serve(self, event: _Event) -> bool:
        """Send a request on and its answer back; whether the connection can go on."""
        proxy, request = self.proxy, event.data
        fate = proxy.draw(request)
        await self._travel(event.at)
        if fate.held:
            await proxy.hold()
        if fate.lost == "request":
            proxy.counts["lost_requests"] += 1
            self.abort()
            return False
        if self._up is None:
            reader, self._up = await asyncio.open_connection(*proxy.upstream)
            self._watch(self._read_answers(reader))
        if self._vanishes("requests"):
            return await self._answer(request, Fate())
        self._up.write(request)
        await proxy.went_on()
        if fate.copy == "at once":
            proxy.spawn(proxy.send_copy(request, 0))
        await self._up.drain()
        try:
            return await self._answer(request, fate)
        finally:
            if fate.copy in ("after", "late"):
                proxy.spawn(proxy.send_copy(request, fate.late_s if fate.copy == "late" else 0))

    async def _answer(self, request: bytes, fate: Fate) -> bool:
        frames = Frames(answers=True)
        frames.without_body = request.startswith(b"HEAD ")
        sent = 0
        while True:
            event = await self._event()
            if event.kind == "request":  # pipelined: its turn comes
                self._waiting.append(event)
                continue
            if event.kind == "client left":
                return False
            if event.kind == "upstream left":
                if not frames.ends() or frames.between:
                    self.abort()
                return False
            await self._travel(event.at)
            for piece, done in _joined(frames.feed(event.data)):
                if done and fate.cut_after >= 0:  # a cut answer lacks its last byte at least
                    fate.cut_after = min(fate.cut_after, sent + len(piece) - 1)
                if fate.lost != "answer" and not self._vanishes("answers"):
                    if not await self._pass(piece, sent, fate):
                        return False
                    sent += len(piece)
                if done:
                    if fate.lost == "answer":
                        self._broke("lost_answers")
                        return False
                    return not _closes(frames.head)

    async def _pass(self, piece: bytes, sent: int, fate: Fate) -> bool:
        """A piece of the answer to the client; False when it was to be cut within."""
        if 0 <= fate.cut_after < sent + len(piece):
            self._writer.write(piece[: fate.cut_after - sent])
            with contextlib.suppress(OSError):
                await self._writer.drain()
            await asyncio.sleep(0.01)  # a reset takes with it what the client has not read yet
            self._broke("cut_answers")
            return False
        if fate.trickle:
            fate.trickle = False
            self.proxy.counts["trickled"] += 1
            weather = self.proxy.weather
            step = max(1, weather.trickle_bytes)
            for at in range(0, min(len(piece), 50 * step), step):
                self._writer.write(piece[at : at + step])
                await asyncio.sleep(weather.trickle_s)
            piece = piece[50 * step :]
        self._writer.write(piece)
        await self._writer.drain()
        return True

    def _broke(self, what: str) -> None:
        self.proxy.counts[what] += 1
        self.abort()

    async def _travel(self, began: float) -> None:
        late = self.proxy.late()
        if late > 0:
            self.proxy.counts["delayed"] += 1
            await asyncio.sleep(began + late - asyncio.get_running_loop().time())


def _joined(pieces: Iterator[tuple[bytes, bool]]) -> Iterator[tuple[bytes, bool]]:
    """The same with as few pieces as there are messages: none is sent in smaller bits."""
    parts = []
    for piece, done in pieces:
        parts.append(piece)
        if done:
            yield b"".join(parts), True
            parts.clear()
    if parts:
        yield b"".join(parts), False


def _closes(head: bytes) -> bool:
    return header_fields(head).get(b"connection", b"").lower() == b"close"


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection so that the other side gets a reset, not an end."""
    with contextlib.suppress(OSError):
        sock: socket.socket | None = writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
