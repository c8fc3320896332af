"""One connection of the HTTP client, and the answer that is arriving on it."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Callable
from typing import Any, cast

import httptools

from stead.net.failed import Broken, TimedOut, Unanswered
from stead.net.plain import KNOWN, plain_head

#: Body bytes held for a slow reader before the socket is no longer read, and
#: the level at which reading goes on.
HIGH_WATER = 256 * 1024
LOW_WATER = 64 * 1024
#: The most a server may send that is not body: head, chunk sizes, trailers.
MAX_HEAD = 64 * 1024
_ANY = select.POLLIN | select.POLLHUP | select.POLLERR
#: A request body up to this size is copied behind its head, to leave in one packet.
_JOIN = 64 * 1024


class Answer:
    """What comes back for one request. Filled by the parser, read by one task.

    The ``on_`` methods are the callbacks of httptools.
    """

    __slots__ = (
        "_barren", "_error", "_head", "_headers", "_held", "_interim", "_keep", "_no_body",
        "_over", "_parser", "_pieces", "_take", "_thrown", "_until_close", "_waiter", "_wire",
        "complete", "heard", "low", "status", "then",
    )  # fmt: skip

    def __init__(self, wire: Wire, *, no_body: bool) -> None:
        self.status = 0
        self.complete = False
        self.heard = False
        """Whether any byte of an answer came."""
        self._wire = wire
        self._parser: Any = None
        self._headers: dict[str, str] | None = None
        self._head = b""
        self.low = b""
        """The head in lower case, of an answer that came in one piece; else empty."""
        self._pieces: list[bytes] = []
        self._held = 0
        self._barren = 0
        self._error: Broken | None = None
        self._interim = False
        self._keep = False
        self._no_body = no_body
        self._over = False
        self._take: Callable[[bytes], None] | None = None
        self._thrown: Exception | None = None
        self._until_close = False
        self._waiter: asyncio.Future[None] | None = None
        self.then: Callable[[Answer], None] | None = None
        """Called once, when its head is known or never will be: for who does not wait."""

    # --- the reader's side ---

    @property
    def headers(self) -> dict[str, str]:
        """Lower-case names; repeated ones joined with a comma."""
        headers = self._headers
        if headers is None:
            headers = self._headers = {}
            for line in self._head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                self._add(headers, name, value.strip(b" \t"))
        return headers

    @property
    def failed(self) -> bool:
        """Whether it never will be whole."""
        return self._error is not None

    async def headed(self) -> None:
        """Return when status and headers are known; if they never will be, the answer is left."""
        try:
            while not self.status:
                if self._error is not None:
                    raise self._error
                await self._wait()
        except BaseException:
            self.leave()
            raise

    def plain(self) -> bytes | None:
        """The whole body of a plain 200 that came in one piece; None: it did not."""
        return self._pieces[0] if self.low and self._pieces else None

    async def piece(self) -> bytes:
        """The body bytes that have come since the last call; empty at its end."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self.complete:
                return b""
            await self._wait()
        pieces = self._pieces
        out = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._held = 0
        self._wire.resume()
        return out

    async def whole(self, limit: int) -> bytes:
        """The whole body, of at most ``limit`` bytes."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self.piece():
            size += len(piece)
            if size > limit:
                raise Broken(f"{self._wire.peer} sent a body of more than {limit} bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def into(self, take: Callable[[bytes], None]) -> None:
        """Have ``take`` called with the pieces of the body as they come; return at its end.

        Nothing stands between the socket and ``take``: who is behind says so by :meth:`hold`.
        What ``take`` raises is raised here.
        """
        if self._pieces:
            held = b"".join(self._pieces)
            self._pieces.clear()
            self._held = 0
            self._wire.resume()
            take(held)
        self._take = take
        while not self.complete:
            if self._thrown is None and self._error is None:
                await self._wait()
            if self._thrown is not None:
                raise self._thrown
            if self._error is not None:
                raise self._error
        if self._thrown is not None:
            raise self._thrown

    def hold(self, full: bool) -> None:
        """Read no more of the socket, or again."""
        if full:
            self._wire.pause()
        else:
            self._wire.resume()

    def leave(self) -> None:
        """The reader goes. What is not complete by now never will be."""
        if not self.complete:
            self._wire.cut()
            self.fail(Broken(f"the answer of {self._wire.peer} was left before its end"))

    async def _wait(self) -> None:
        self._waiter = self._wire.future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the connection's side ---

    def feed(self, data: bytes) -> None:
        if not self.heard:
            self.heard = True
            if self._at_once(data):
                return
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpResponseParser(self)
        self._barren += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._broke("switched to another protocol, unasked")
        except httptools.HttpParserError as error:
            self._keep = False
            if not self._over:
                self._broke(f"sent what is not HTTP ({error})")
        if self._over and not self.complete:
            # Only now: what follows the end in the same packet decides about the connection.
            self.complete = True
            self._wire.finished(self, keep=self._keep)
            self._wake()
        elif self._barren > MAX_HEAD and not self.complete:
            self._broke(f"sent more than {MAX_HEAD} bytes of headers")
        if self.status and self.then is not None:
            self._tell()

    def _at_once(self, data: bytes) -> bool:
        """Take a plain answer that came in one piece, which most do; False: parse it properly.

        Anything that is not quite plain is for the parser to judge.
        """
        end = data.find(b"\r\n\r\n")
        if end < 0 or self._no_body:
            return False
        head = data[:end]
        known = KNOWN.get(head) or plain_head(head)
        if known is None:
            return False
        self.low, size = known
        if len(data) - end - 4 != size:
            self.low = b""
            return False
        self._head = head
        body = data[end + 4 :]
        if body:
            self._pieces.append(body)
        self.status = 200
        self.complete = True
        self._wire.finished(self, keep=True)
        self._wake()
        self._tell()
        return True

    def _tell(self) -> None:
        then, self.then = self.then, None
        if then is not None:
            then(self)

    def ended(self, error: Exception | None) -> None:
        """The connection is gone."""
        if self._until_close and error is None:
            self.complete = True
            self._wire.finished(self, keep=False)
            self._wake()
        elif not self.heard:
            self.fail(Unanswered(f"{self._wire.peer} closed the connection before it answered"))
        else:
            self._broke("broke the connection in the middle of its answer")

    def fail(self, error: Broken) -> None:
        if not self.complete and self._error is None:
            self._error = error
            self._wire.finished(self, keep=False)
            self._wake()
            self._tell()

    def _broke(self, what: str) -> None:
        self.fail(Broken(f"{self._wire.peer} {what}"))

    # --- the parser's callbacks ---

    def on_message_begin(self) -> None:
        if self._over:
            self._keep = False  # more than was asked for: out of step

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # a trailer
        if self._headers is None:
            self._headers = {}
        self._add(self._headers, name, value)

    @staticmethod
    def _add(headers: dict[str, str], name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        old = headers.get(key)
        headers[key] = text if old is None else f"{old}, {text}"

    def on_headers_complete(self) -> None:
        if self._over:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interim = True  # 100 and 103 announce the real answer
            self._headers = None
            return
        self._barren = 0
        self.status = status
        self._keep = self._parser.should_keep_alive()
        bodiless = self._no_body or status in (204, 304)
        coding = self.headers.get("transfer-encoding", "")
        sized = "content-length" in self.headers or coding.lower().endswith("chunked")
        self._until_close = not bodiless and not sized
        self._over = self._no_body
        self._wake()

    def on_body(self, body: bytes) -> None:
        if self._over or self._error is not None:
            return
        self._barren = 0
        if self._take is not None:
            if self._thrown is None:
                try:
                    self._take(body)
                except Exception as error:  # noqa: BLE001  raised where the reader waits
                    self._thrown = error
                    self._wake()
            return
        self._pieces.append(body)
        self._held += len(body)
        if self._held > HIGH_WATER:
            self._wire.pause()
        self._wake()

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif self.status:
            self._over = True


class Wire(asyncio.Protocol):
    """A connection. It carries one request at a time.

    ``idle`` is called when it may be used again, ``lost`` when it may not.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        peer: str,
        idle: Callable[[Wire], None],
        lost: Callable[[Wire], None],
    ) -> None:
        self.peer = peer
        self.idle_since = 0.0
        self.answers = 0
        """How many came on it, whole."""
        self.open = False
        self._loop = loop
        self._idle = idle
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._answer: Answer | None = None
        self._paused = False
        self._silence: float | None = None
        self._last = 0.0
        self._unsent = 0
        self._timer: asyncio.TimerHandle | None = None
        self._poll: select.poll | None = None

    def ask(self, head: bytes, body: bytes, no_body: bool, silence: float | None) -> Answer:
        """Send a request; its answer fills as it comes.

        ``no_body``: the answer has none whatever its headers say (HEAD).
        ``silence``: seconds the server may be silent, None for ever.
        """
        answer = self._answer = Answer(self, no_body=no_body)
        transport = self._transport
        if transport is None or not self.open or transport.is_closing():
            answer.fail(Unanswered(f"{self.peer} closed the connection before it answered"))
            return answer
        if len(body) <= _JOIN:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
        self._silence = silence
        if silence is not None:
            self._last = now = self._loop.time()
            self._unsent = transport.get_write_buffer_size()
            # One timer serves many requests: it looks again later when it was too early.
            timer = self._timer
            if timer is None or timer.when() > now + silence + 0.001:
                if timer is not None:
                    timer.cancel()
                self._timer = self._loop.call_later(silence, self._watch)
        return answer

    def finished(self, answer: Answer, *, keep: bool) -> None:
        """The answer is complete, or never will be."""
        if answer is not self._answer:
            return
        self._answer = None
        if self._paused:
            self.resume()
        transport = self._transport
        if keep and self.open and transport is not None and not transport.is_closing():
            if transport.get_write_buffer_size():
                self.cut()  # it answered before it had read the request: out of step
                return
            self.answers += 1
            self.idle_since = time.monotonic()
            self._idle(self)
        else:
            self.cut()

    def cut(self) -> None:
        """Close at once, dropping what is unsent."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    def future(self) -> asyncio.Future[None]:
        return self._loop.create_future()

    def pause(self) -> None:
        transport = self._transport
        if not self._paused and transport is not None and not transport.is_closing():
            self._paused = True
            transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            self._last = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def fileno(self) -> int:
        if self._transport is None:
            return -1
        sock = self._transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    def _watch(self) -> None:
        """The silence may have lasted too long; if not, look again later."""
        self._timer = None
        answer, silence, transport = self._answer, self._silence, self._transport
        if answer is None or silence is None or transport is None:
            return
        now = self._loop.time()
        unsent = transport.get_write_buffer_size()
        if self._paused or unsent < self._unsent:
            self._last = now  # the reader is slow, or the request is still leaving
        self._unsent = unsent
        left = self._last + silence - now
        if left > 0.001:
            self._timer = self._loop.call_later(left, self._watch)
        else:
            answer.fail(TimedOut(f"{self.peer} was silent for {silence:g} s"))

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self.open = True
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(sock)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.cut()  # nobody asked: a late 408, or a server out of step
            return
        self._last = self._loop.time()
        answer.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._lost(self)
        if self._answer is not None:
            self._answer.ended(exc)

    def stale(self) -> bool:
        """Whether an idle connection is dead already: closed, or with something to read."""
        transport = self._transport
        if not self.open or transport is None or transport.is_closing():
            return True
        if self._poll is None:
            fd = self.fileno()
            if fd < 0:
                return True
            self._poll = select.poll()
            self._poll.register(fd, _ANY)
        return bool(self._poll.poll(0))


def _keep_alive(sock: socket.socket) -> None:
    """Have the kernel ask a silent peer now and then whether it is there.

    One that fell while the network was cut never said so; without this an answer that it will
    not give is waited for as long as a model may be silent, which is minutes.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)  # by its own name on each system, if at all
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
