"""HTTP/1.1 on the gateway's port: some paths by doors of their own, all others by uvicorn.

A connection is uvicorn's, with three things of our own: requests to the model door and those of
nodes never become ASGI but an :class:`Exchange`, from the parser to the door and back; heads,
bodies and slow senders have limits; and errors come in the shape of the API that was called.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from stead.core.errors import BadRequest, SteadError, TooLarge
from stead.gateway.exchange import (
    Exchange,
    HeadTooLarge,
    Pairs,
    Place,
    TooSlow,
    error_headers,
    header_lines,
    status_line,
)
from stead.gateway.heads import Heads, Known
from stead.inference.plane import shapes

log = logging.getLogger(__name__)

#: A request line and its headers may be so long; nginx and Apache take less.
HEAD_MOST = 65_536
#: Seconds for a whole head; for a body without progress at this many bytes a second; and how long
#: a connection may be idle.
HEAD_S, BODY_S, BODY_RATE, IDLE_S = 30.0, 60.0, 16_384, 75.0
#: After an answer that came before the request was whole, what still comes is thrown away so long.
LINGER_S = 3.0
#: So many different heads of a connection are kept, in case they come again.
_LEARNT = 4
#: A refused request whose body is no longer than this is read to its end first.
_SHORT = 65_536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Front(HttpToolsProtocol):
    """One connection."""

    def __init__(self, places: Mapping[bytes, Place], heads: Heads, **given: Any) -> None:
        super().__init__(**given)
        self._places = places
        self._heads = heads
        self._last: Known | None = None
        self._learnt = 0
        self._packet = b""
        """What came last, while it may be one whole request."""
        self._in_head = False
        self._busy_body = False
        self._head = 0
        self._fed = 0
        self._since = self.loop.time()
        self._got = 0
        self._timer: asyncio.TimerHandle | None = None
        self._deaf = False
        self._serving: Exchange | None = None

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm(IDLE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)
        serving = self._serving
        if serving is None:
            return
        serving.disconnected = True
        if serving.taskless:
            self.tasks.discard(serving)
            serving.taskless = False
            serving.place.door.left(serving)
        elif serving.task is not None and serving.bound:
            # Not before it has begun, or nobody would know of it.
            self.loop.call_soon(serving.task.cancel)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more. In the middle of a request it is told so; else it has left."""
        if self._deaf or not (self._busy_body or (self._in_head and self._head)):
            return None
        self._refuse(BadRequest(why="the connection was closed before it was whole"))
        return True

    def pause_writing(self) -> None:
        super().pause_writing()
        self._turn(True)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._turn(False)

    def _turn(self, full: bool) -> None:
        serving = self._serving
        if serving is not None and serving.valve is not None:
            serving.valve(full)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        fresh = not self._busy_body
        free = self.cycle is None or self.cycle.response_complete
        if free and fresh and not self._in_head and not self.pipeline:
            if self._plainly(data):
                return
            self._packet = data
        self._fed = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            log.debug("a client asked for another protocol")  # and gets an answer in this one
        except httptools.HttpParserError:
            if not self._deaf and not self.transport.is_closing():
                self._refuse(BadRequest(why="what came is not HTTP/1.1"))
            return
        finally:
            self._packet = b""
        if self._in_head:
            # The parser keeps what is not whole yet, however much that is.
            if not self._head:
                self._since = self.loop.time()
                self._arm(HEAD_S)
            self._head += len(data) if fresh else 1
            if self._head > HEAD_MOST:
                self._refuse(HeadTooLarge(limit=HEAD_MOST))
        elif self._busy_body and not self._deaf:
            if not self._got:
                self._since = self.loop.time()
                self._arm(BODY_S)
            self._got += len(data)

    def _plainly(self, data: bytes) -> bool:
        """Take a whole request with a head that was here before; False: parse it."""
        known = self._last  # mostly it is the last one that comes again
        if known is None or not (start := known.body_at(data)):
            known = self._heads.find(data)
            if known is None or not (start := known.body_at(data)):
                return False
            self._last = known
        place, asker = known.place, known.asker
        who = place.door.still(asker)
        if who is None or len(data) - start > place.door.max_body:
            return False
        exchange = Exchange(self, place, known.query, known.headers)
        exchange.who = who
        exchange.asker = asker
        exchange.pieces = [data[start:]]
        exchange.more_body = False
        self.cycle = exchange  # type: ignore[assignment]
        self._start(exchange)
        return True

    # --- the parser's callbacks ---

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head = 0
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._busy_body = True
        self._got = 0
        if self._deaf:
            return
        headers = self.headers
        if self._fed > HEAD_MOST and _size(self.url, headers) > HEAD_MOST:
            self._refuse(HeadTooLarge(limit=HEAD_MOST))
            return
        parser = self.parser
        path, _, query = self.url.partition(b"?")
        place = self._places.get(path)
        if place is None or parser.get_method() != b"POST":
            self._to_uvicorn()
            return
        exchange = Exchange(self, place, query, headers)
        if not self._known(exchange):
            self._to_uvicorn()
            return
        exchange.http10 = parser.get_http_version() != "1.1"
        exchange.keep_alive = not exchange.http10 and parser.should_keep_alive()
        free = self.cycle is None or self.cycle.response_complete
        if self._packet and self._learnt < _LEARNT and exchange.keep_alive:
            self._learn(exchange)
        self._packet = b""
        self.cycle = exchange  # type: ignore[assignment]
        if not free:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, None))  # type: ignore[arg-type]
        self._admit(exchange)

    def _learn(self, exchange: Exchange) -> None:
        if exchange.refusal is None:
            asker = exchange.place.door.asker(exchange.headers)
            if asker is not None:
                self._learnt += 1
                self._heads.learn(
                    self._packet, exchange.place, exchange.query, exchange.headers, asker
                )

    def _known(self, exchange: Exchange) -> bool:
        """Whether the door can say at once whose it is, or that it is refused."""
        try:
            exchange.who = exchange.place.door.who(exchange.headers)
        except SteadError as error:
            exchange.refusal = error
            return True
        return exchange.who is not None

    def _admit(self, exchange: Exchange) -> None:
        """Nothing of a body is read before the key is right, and the size."""
        length = -1
        for name, value in exchange.headers:
            if name == b"content-length" and value.isdigit():
                length = int(value)
        most = exchange.place.door.max_body
        if exchange.refusal is None and length > most:
            exchange.refusal = TooLarge(limit=most)
        if exchange.refusal is not None:
            if not 0 <= length <= _SHORT or self.expect_100_continue:
                self._refuse(exchange.refusal)
            return
        if self.expect_100_continue:
            if self.pipeline:
                exchange.waits = True
            else:
                self.transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        cycle: Any = self.cycle
        if self._deaf:
            return
        if not isinstance(cycle, Exchange):
            super().on_body(body)
        elif not cycle.add(body, cycle.place.door.max_body):
            self._refuse(TooLarge(limit=cycle.place.door.max_body))

    def on_message_complete(self) -> None:
        self._busy_body = False
        cycle: Any = self.cycle
        if self._deaf:
            return
        if not isinstance(cycle, Exchange):
            super().on_message_complete()
            return
        cycle.more_body = False
        if not (self.pipeline and self._queued(cycle)):
            self._start(cycle)

    def _queued(self, exchange: Exchange) -> bool:
        return any(cycle is exchange for cycle, _ in self.pipeline)  # type: ignore[comparison-overlap]

    # --- requests ---

    def _start(self, exchange: Exchange) -> None:
        if self.transport.is_closing():
            return
        self._serving = exchange
        if exchange.refusal is not None:
            self._note(exchange, exchange.refusal)
            exchange.fail(exchange.refusal)
            return
        try:
            begun = exchange.place.door.begin(exchange)
        except Exception as error:  # noqa: BLE001  the edge of a request
            self._failed(exchange, error)
            return
        if not begun:
            self._go_on(exchange)
        elif exchange.taskless:
            self.tasks.add(exchange)  # type: ignore[arg-type]

    def _go_on(self, exchange: Exchange) -> None:
        exchange.task = self.loop.create_task(self._serve(exchange))
        self.tasks.add(exchange.task)

    def go_on(self, exchange: Exchange) -> None:
        self.tasks.discard(exchange)
        exchange.taskless = False
        self._go_on(exchange)

    def cut(self, exchange: Exchange) -> None:
        if exchange.taskless:
            exchange.taskless = False
            self.tasks.discard(exchange)
            exchange.place.door.left(exchange)
            exchange.abort()
        elif exchange.task is not None:
            exchange.task.cancel()

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await exchange.place.door.serve(exchange)
        except asyncio.CancelledError:
            if not exchange.disconnected:  # not the client: stead is being stopped
                exchange.abort()
        except Exception as error:  # noqa: BLE001  the edge of a request
            self._failed(exchange, error)
        finally:
            if exchange.task is not None:
                self.tasks.discard(exchange.task)

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        """Tell it; nothing of the inside may leak out."""
        if isinstance(error, OverflowError):  # JSON knows no largest number, the database does
            log.warning("POST %s: %s", exchange.place.path.decode(), error)
            error = BadRequest("A number in the request is too large.")
        elif not isinstance(error, SteadError):
            log.error("POST %s failed", exchange.place.path.decode(), exc_info=error)
            error = SteadError("stead failed on this request; `stead logs` says more.")
        exchange.fail_or_abort(error)

    def _to_uvicorn(self) -> None:
        """What uvicorn's own methods would have done until here."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url = url
        self.expect_100_continue = expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def hand_over(self, exchange: Exchange) -> None:
        """A request that was read as one of the door's becomes one of the application's."""
        target = exchange.place.path
        scope: Scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.0" if exchange.http10 else "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": exchange.headers,
            "state": self.app_state.copy(),
            "method": "POST",
            "path": self.root_path + target.decode("ascii"),
            "raw_path": self.root_path.encode("ascii") + target,
            "query_string": exchange.query,
        }
        cycle = RequestResponseCycle(
            scope=scope,  # type: ignore[arg-type]
            transport=self.transport, flow=self.flow, logger=self.logger,
            access_logger=self.access_logger, access_log=self.access_log,
            default_headers=self.server_state.default_headers, message_event=asyncio.Event(),
            expect_100_continue=False, keep_alive=exchange.keep_alive,
            on_response=self.on_response_complete,
        )  # fmt: skip
        cycle.body = bytearray(exchange.body())
        cycle.more_body = False
        cycle.message_event.set()
        exchange.response_complete = True
        self.over(exchange)
        if self.cycle is exchange:  # type: ignore[comparison-overlap]
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def over(self, exchange: Exchange) -> None:
        """It needs no answer of ours any more."""
        if self._serving is exchange:
            self._serving = None
        if exchange.taskless:
            exchange.taskless = False
            self.tasks.discard(exchange)
            exchange.place.door.over(exchange)

    def on_response_complete(self) -> None:
        """An answer is out: the next request that waits, or the time of being idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            if not self.pipeline:
                self.flow.resume_reading()
            if not isinstance(cycle, Exchange):
                self._start_asgi_task(cycle, app)
                return
            if cycle.waits:
                cycle.waits = False
                self.transport.write(_CONTINUE)
            if not cycle.more_body:
                # Not from here: an answer may end while its request is still being started.
                self.loop.call_soon(self._start, cycle)
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        self._since = self.loop.time()
        if self._timer is None:
            self._arm(IDLE_S)

    # --- limits ---

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._look)

    def _look(self) -> None:
        """One timer a connection: whoever is too slow goes; else it looks again later."""
        self._timer = None
        if self.transport.is_closing() or self._deaf:
            return
        now = self.loop.time()
        if self._in_head and self._head:
            left = self._since + HEAD_S - now
            if left <= 0.001:
                self._refuse(TooSlow(what="head"))
                return
        elif self._busy_body and not self.flow.read_paused:
            left = self._since + BODY_S + self._got / BODY_RATE - now
            if left <= 0.001:
                self._refuse(TooSlow(what="body"))
                return
        elif self.cycle is None or self.cycle.response_complete:
            left = self._since + IDLE_S - now
            if left <= 0.001:
                self.transport.close()
                return
        elif self._busy_body:
            left = BODY_S  # nobody reads it at the moment
        else:
            return  # it is being answered
        self._arm(left)

    def _note(self, exchange: Exchange, error: SteadError) -> None:
        if exchange.who is not None:
            exchange.place.door.refused(exchange, error)

    def _refuse(self, error: SteadError) -> None:
        """Answer what cannot be read on, and close; behind other answers nothing can be said."""
        cycle: Any = self.cycle
        log.info("a connection was closed: %s", error.message)
        self._deaf = True
        mine = isinstance(cycle, Exchange) and cycle.more_body and not self._in_head
        answering = self.pipeline or not (mine or cycle is None or cycle.response_complete)
        if answering and not (not self._in_head and self._unanswered(cycle)):
            self.transport.close()
            return
        if mine:
            self._note(cycle, error)
        place = cycle.place if mine else self._places.get(self.url.partition(b"?")[0])
        body = shapes.body(place.api if place is not None else None, error)
        more = [(name.encode(), text.encode()) for name, text in error_headers(error)]
        self.transport.write(
            b"%bcontent-type: application/json\r\n%bconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b"
            % (status_line(error.status), header_lines(more), len(body), body)
        )
        if mine:
            cycle.response_complete = True
        # What is still on its way would make the kernel drop our answer if we closed at once.
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _unanswered(self, cycle: Any) -> bool:
        """Whether the application has not begun to answer the request that is being read."""
        if self.pipeline or not isinstance(cycle, RequestResponseCycle) or not cycle.more_body:
            return False
        if cycle.response_started:
            return False
        cycle.disconnected = True
        cycle.message_event.set()
        return True


def front(*places: Place) -> Callable[..., Front]:
    """What uvicorn makes its connections with."""
    by_path = {place.path: place for place in places}
    heads = Heads()

    def made(**given: Any) -> Front:
        return Front(by_path, heads, **given)

    return made


def _size(url: bytes, headers: Pairs) -> int:
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)
