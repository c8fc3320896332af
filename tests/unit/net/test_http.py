"""The HTTP client against real servers on this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from stead.net import wire
from stead.net.http import Broken, Client, ConnectFailed, HttpFailed, TimedOut

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Server:
    """A scripted server: counts connections, keeps the heads of the requests."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.connections = 0
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.url = ""
        self.writers: list[asyncio.StreamWriter] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.asked.set()
        self.writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self.tasks.append(task)
        try:
            await self.handler(reader, writer)
        except (OSError, RuntimeError, asyncio.IncompleteReadError):  # uvloop: RuntimeError
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Server]:
    server = Server(handler)
    listener = await asyncio.start_server(server, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.gather(*server.tasks)


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of one request; IncompleteReadError when the client left."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head, await reader.readexactly(length)


def always(answer: bytes) -> Handler:
    """A server that keeps the connection and gives the same answer to each request."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()

    return handler


def once(*pieces: bytes) -> Handler:
    """A server that answers one request in pieces and closes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)

    return handler


async def test_a_connection_is_used_again() -> None:
    """Promise: requests one after the other share one connection."""
    async with serving(always(OK)) as server, Client(server.url) as client:
        for _ in range(5):
            assert (await client.request("GET", "/")).body == b"ok"
        assert server.connections == 1


async def test_the_request_is_what_was_asked_for() -> None:
    """Promise: path, headers and body arrive as given, after the base URL's own path."""
    seen: list[tuple[bytes, bytes]] = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)
        await writer.drain()

    async with serving(handler) as server:
        base = server.url.replace("http://", "http://us%40er:pw@") + "/v1/"
        async with Client(base, headers={"X-One": "1"}) as client:
            await client.request("POST", "/chat?x=1", body=b"{}", headers={"X-Two": "2"})
    head, body = seen[0]
    assert head.startswith(b"POST /v1/chat?x=1 HTTP/1.1\r\n")
    assert b"\r\nx-one: 1\r\n" in head and b"\r\nx-two: 2\r\n" in head
    assert b"\r\nauthorization: Basic dXNAZXI6cHc=\r\n" in head
    assert body == b"{}"


async def test_a_header_cannot_smuggle_a_line() -> None:
    """Promise: a line break in a header or path is refused before anything is sent."""
    async with Client("http://127.0.0.1:9") as client:
        with pytest.raises(ValueError, match="characters"):
            await client.request("GET", "/", headers={"x": "1\r\ny: 2"})
        with pytest.raises(ValueError, match="path"):
            await client.request("GET", "/ HTTP/1.1\r\nx: y")


async def test_a_kept_connection_that_died_is_replaced() -> None:
    """Promise: when the server closed an idle connection, the next request uses a new one."""
    async with serving(once(OK)) as server, Client(server.url) as client:
        for _ in range(3):
            assert (await client.request("POST", "/", retry=False)).body == b"ok"
            await server.tasks[-1]
            await server.writers[-1].wait_closed()
        assert server.connections == 3


def dies_at_second() -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)

    return handler


async def test_only_a_safe_request_is_sent_twice() -> None:
    """Promise: a connection that dies under a request is retried only where allowed."""
    async with serving(dies_at_second()) as server, Client(server.url) as client:
        assert (await client.request("GET", "/")).body == b"ok"
        assert (await client.request("GET", "/")).body == b"ok"
        with pytest.raises(Broken, match="before it answered"):
            await client.request("POST", "/", retry=False)
        assert server.connections == 2


async def test_how_long_a_server_keeps_connections_is_learnt() -> None:
    """Promise: what must not be sent twice goes on a connection that has been idle for long only
    if this server has shown that it keeps them for longer; one that it closed makes it careful."""

    async def keeps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while b"/end" not in (await read_request(reader))[0]:
            writer.write(OK)
        writer.write(OK)

    async with serving(keeps) as server, Client(server.url) as client:

        async def ask(path: str, idle_s: float) -> None:
            for one in client._pool.idle:
                one.idle_since -= idle_s
            assert (await client.request("POST", path, retry=False)).body == b"ok"

        await ask("/", 0)
        await ask("/", 10)
        assert server.connections == 2  # not yet, but it has been seen that the first one lives
        await ask("/", 7)
        assert server.connections == 2
        await ask("/end", 0)
        for _ in range(1000):  # until it is known here that the server closed it
            if len(client._pool.idle) == 1:
                break
            await asyncio.sleep(0.01)
        await ask("/", 7)
        assert server.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nt: 1\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        + OK.replace(b"2\r\n\r\nok", b"5\r\n\r\nhello"),
    ],
    ids=["length", "chunked", "trailer", "http10", "close", "early-hints"],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_each_kind_of_body_arrives_whole(answer: bytes, size: int) -> None:
    """Promise: every framing of a body is understood, however it is cut into packets."""
    pieces = [answer[i : i + size] for i in range(0, len(answer), size)]
    async with serving(once(*pieces)) as server, Client(server.url) as client:
        response = await client.request("GET", "/")
        assert (response.status, response.body) == (200, b"hello")
        assert "link" not in response.headers and "t" not in response.headers
        streamed = await client.stream("GET", "/", retry=True)
        assert await streamed.read() == b"hello"


@pytest.mark.parametrize(
    ("method", "answer", "status"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n", 200),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 200),
    ],
)
async def test_answers_without_a_body(method: str, answer: bytes, status: int) -> None:
    """Promise: an answer that has no body is not waited for, and its connection is kept."""
    async with serving(always(answer)) as server, Client(server.url) as client:
        for _ in range(3):
            response = await client.request(method, "/", timeout=5)
            assert (response.status, response.body) == (status, b"")
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nconte",
    ],
)
async def test_a_cut_answer_is_never_taken_for_a_whole_one(answer: bytes) -> None:
    """Promise: a connection that breaks in mid-answer raises Broken."""
    async with serving(once(answer)) as server, Client(server.url) as client:
        with pytest.raises(Broken, match="middle"):
            await client.request("GET", "/")


async def test_what_came_before_the_break_is_given_first() -> None:
    """Promise: a stream yields all that arrived, then raises."""
    cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    async with serving(once(cut)) as server, Client(server.url) as client:
        streamed = await client.stream("GET", "/")
        got = []
        with pytest.raises(Broken):
            async for piece in streamed:
                got.append(piece)
        assert b"".join(got) == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"hello, this is not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x00\xff" * 40,
    ],
)
async def test_garbage_is_refused(answer: bytes) -> None:
    """Promise: an answer that is not HTTP raises Broken instead of hanging or lying."""
    async with serving(once(answer)) as server, Client(server.url) as client:
        with pytest.raises(Broken):
            await client.request("GET", "/", timeout=5)


@pytest.mark.parametrize("line", [b"x: " + b"y" * 1000 + b"\r\n", b"x: " + b"y" * 100_000_000])
async def test_headers_without_end_are_refused(line: bytes) -> None:
    """Promise: a server cannot fill the memory with headers."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(line)
            await writer.drain()

    async with serving(handler) as server, Client(server.url) as client:
        with pytest.raises(Broken, match="bytes of headers"):
            await client.request("GET", "/", timeout=10)


async def test_an_answer_nobody_asked_for_closes_the_connection() -> None:
    """Promise: bytes after the end of an answer never become the next one."""
    async with serving(always(OK + OK)) as server, Client(server.url) as client:
        for _ in range(3):
            assert (await client.request("GET", "/")).body == b"ok"
        assert server.connections == 3


async def test_refused() -> None:
    """Promise: where nothing listens, ConnectFailed says so without the credentials."""
    listener = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    async with Client(f"http://user:hush@127.0.0.1:{port}") as client:
        with pytest.raises(ConnectFailed, match=f"127.0.0.1:{port}") as caught:
            await client.request("GET", "/")
    assert "hush" not in str(caught.value)


async def test_unknown_name() -> None:
    """Promise: a host name that does not exist is ConnectFailed with that name."""
    async with Client("http://no-such-host.invalid") as client:
        with pytest.raises(ConnectFailed, match=r"no-such-host\.invalid"):
            await client.request("GET", "/")


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:80", "http://", ""])
def test_a_wrong_base_url_is_refused(url: str) -> None:
    """Promise: a base URL that cannot work fails when the client is made."""
    with pytest.raises(ValueError, match="base URL"):
        Client(url)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    await reader.read()
    raise ConnectionResetError


async def test_silence_before_the_head() -> None:
    """Promise: a server that says nothing is given up after the timeout, and told so."""
    async with serving(silent) as server, Client(server.url) as client:
        with pytest.raises(TimedOut, match=r"within 0\.05 s"):
            await client.request("GET", "/", timeout=0.05)
        with pytest.raises(TimedOut, match=r"silent for 0\.05 s"):
            await client.stream("POST", "/", timeout=0.05)
        await asyncio.wait_for(server.left.wait(), 60)


async def test_silence_is_counted_from_the_last_byte() -> None:
    """Promise: a slow stream lives as long as it says something; then it is given up."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
        for _ in range(8):
            writer.write(b"x")
            await asyncio.sleep(0.05)
        await reader.read()

    async with serving(handler) as server, Client(server.url) as client:
        streamed = await client.stream("GET", "/", timeout=0.2)
        got = b""
        with pytest.raises(TimedOut):
            async for piece in streamed:
                got += piece
        assert got == b"x" * 8


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancelled_caller_cuts_the_connection(streamed: bool) -> None:
    """Promise: the server notices at once when the one who asked has gone."""
    async with serving(silent) as server, Client(server.url) as client:
        call = client.stream("GET", "/") if streamed else client.request("GET", "/")
        task: asyncio.Task[object] = asyncio.ensure_future(call)
        await server.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 60)


async def test_leaving_a_stream_cuts_it_and_leaves_others_alone() -> None:
    """Promise: closing a stream early cuts its connection; a finished one is kept."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head, _ = await read_request(reader)
            writer.write(OK if b"/short" in head else OK.replace(b": 2", b": 9"))
            await writer.drain()

    async with serving(handler) as server, Client(server.url) as client:
        done = await client.stream("GET", "/short")
        assert await done.read() == b"ok"
        await done.aclose()
        assert (await client.request("GET", "/short")).body == b"ok"
        assert server.connections == 1
        left = await client.stream("GET", "/long")
        await left.aclose()
        await asyncio.wait_for(server.left.wait(), 60)
        with pytest.raises(Broken, match="left"):
            await left.read()


async def test_the_kernel_asks_a_silent_peer_whether_it_is_there() -> None:
    """A peer that fell while the network was cut is noticed long before a model may be that
    silent: the connections are kept alive by probes, of 25 s in all."""
    seen: list[int] = []
    made = wire._keep_alive

    def noted(sock: socket.socket) -> None:
        made(sock)
        seen.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        if hasattr(socket, "TCP_KEEPIDLE"):
            idle = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            step = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            seen.append(idle + step * sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_keep_alive", noted)
        async with await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            client = Client(f"http://127.0.0.1:{port}")
            with pytest.raises(HttpFailed):
                await client.request("GET", "/")
            await client.aclose()
    assert seen and seen[0] and all(value <= 25 for value in seen[1:])
