"""The faulty proxy: nothing is changed without a fault, and each fault does what it says."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn

from stead.chaos.faults.frames import Frames, NotHttp
from stead.chaos.faults.proxy import Proxy, Weather
from stead.chaos.faults.wires import Wires
from stead.net.http import Client, ConnectFailed, HttpFailed

#: Long enough for a loaded machine; nothing waits for it where all is well.
PATIENCE = 30.0


class Upstream:
    """A real server that notes what it was asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.left: list[str] = []
        self.port = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body, path = b"", scope["path"]
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        self.seen.append(f"{scope['method']} {path} {len(body)}")
        if path == "/poll":
            gone = await receive()
            self.left.append(gone["type"])
            return
        await send({"type": "http.response.start", "status": 204 if path == "/none" else 200})
        if path == "/events":
            for number in range(5):
                data = b"data: %d\n\n" % number
                await send({"type": "http.response.body", "body": data, "more_body": True})
                await asyncio.sleep(0.02)
        if path == "/big":
            for _ in range(40):
                data = random.Random(1).randbytes(100_000)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        answer = b"" if path == "/none" else hashlib.sha256(body).hexdigest().encode()
        await send({"type": "http.response.body", "body": answer})

    async def serve(self) -> uvicorn.Server:
        config = uvicorn.Config(self, port=0, log_level="error", lifespan="off", loop="asyncio")
        server = uvicorn.Server(config)
        self.task = asyncio.ensure_future(server.serve())
        await until(lambda: server.started)
        self.port = server.servers[0].sockets[0].getsockname()[1]
        return server


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in a server's own code
            await asyncio.sleep(0.002)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    app = Upstream()
    server = await app.serve()
    yield app
    server.force_exit = server.should_exit = True
    await app.task


@pytest.fixture
async def proxy(upstream: Upstream) -> AsyncIterator[Proxy]:
    async with Proxy(("127.0.0.1", upstream.port), seed=3) as made:
        yield made


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Client]:
    made = Client(proxy.url)
    yield made
    await made.aclose()


async def ask(client: Client, path: str = "/", body: bytes = b"", **more: Any) -> bytes:
    answer = await client.request(
        "POST", path, body=body, retry=False, **{"timeout": PATIENCE, **more}
    )
    return answer.body


async def test_nothing_is_changed(upstream: Upstream, proxy: Proxy, client: Client) -> None:
    """Requests and answers of every shape go through to the byte, on kept connections."""
    for size in (0, 1, 70_000, 3_000_000):
        body = random.Random(size).randbytes(size)
        assert await ask(client, body=body) == hashlib.sha256(body).hexdigest().encode()
    assert await ask(client, "/none") == b""
    assert (await client.request("HEAD", "/")).status == 200
    big = await ask(client, "/big")
    assert big.startswith(random.Random(1).randbytes(100_000) * 40)
    answers = await asyncio.gather(*(ask(client, body=b"%d" % n) for n in range(50)))
    assert answers == [hashlib.sha256(b"%d" % n).hexdigest().encode() for n in range(50)]
    assert len(upstream.seen) == 57
    assert set(proxy.counts) == {"requests"}


async def test_a_stream_comes_as_it_is_sent(proxy: Proxy, client: Client) -> None:
    """The pieces of an event stream are not kept back until it ends."""
    pieces = []
    async with await client.stream("POST", "/events") as stream:
        async for piece in stream:
            pieces.append(piece)
    assert b"".join(pieces).startswith(b"data: 0\n\ndata: 1\n\n")
    assert len(pieces) > 3


async def test_a_side_that_leaves_is_seen(upstream: Upstream, client: Client) -> None:
    """A long poll that is given up ends at the server, too."""
    poll = asyncio.ensure_future(ask(client, "/poll"))
    await until(lambda: upstream.seen)
    poll.cancel()
    await until(lambda: upstream.left)
    assert upstream.left == ["http.disconnect"]


async def test_a_dead_server_is_seen(upstream: Upstream, proxy: Proxy, client: Client) -> None:
    """Where the gateway is gone, the client gets no answer instead of a wrong one."""
    proxy.upstream = ("127.0.0.1", 1)
    with pytest.raises(HttpFailed):
        await ask(client)


async def test_chunks_and_pipelines(upstream: Upstream, proxy: Proxy) -> None:
    """Bodies in chunks, "Expect: 100-continue" and requests sent ahead are understood."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    chunked = (
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        b"5;note=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    )
    for at in range(len(chunked)):
        writer.write(chunked[at : at + 1])
        await writer.drain()
    writer.write(b"GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\n")
    writer.write(b"Connection: close\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        answers = await reader.read(-1)
    writer.close()
    assert upstream.seen == ["POST /a 11", "GET /b 0", "GET /c 0"]
    assert answers.count(b"HTTP/1.1 200 OK") == 3
    assert hashlib.sha256(b"hello world").hexdigest().encode() in answers


async def test_cut(upstream: Upstream, proxy: Proxy, client: Client) -> None:
    """A cut resets what is under way and refuses what comes; healed, the same address answers."""
    poll = asyncio.ensure_future(ask(client, "/poll"))
    await until(lambda: upstream.seen)
    await proxy.cut()
    with pytest.raises(HttpFailed):
        await poll
    await until(lambda: upstream.left)
    for _ in range(3):
        with pytest.raises(ConnectFailed):
            await ask(client)
    await proxy.cut()
    await proxy.heal()
    await proxy.heal()
    assert await ask(client)


async def test_black_hole(upstream: Upstream, proxy: Proxy, client: Client) -> None:
    """Everything vanishes and nobody notices, not even that the other side leaves; healed, the
    old connections are of no use and new ones are."""
    poll = asyncio.ensure_future(ask(client, "/poll"))
    await until(lambda: upstream.seen)
    proxy.black_hole()
    with pytest.raises(HttpFailed):
        await ask(client, timeout=0.2)
    poll.cancel()
    await asyncio.sleep(0.1)
    assert upstream.left == []
    assert len(upstream.seen) == 1
    await proxy.heal()
    await until(lambda: upstream.left)
    assert await ask(client)
    assert proxy.counts["vanished_requests"] >= 2


async def test_one_way(upstream: Upstream, proxy: Proxy, client: Client) -> None:
    """The server gets the request and acts; the client hears nothing until it gives up, and nothing
    of that answer is heard after the healing."""
    await ask(client)
    proxy.one_way("answers")
    waiting = asyncio.ensure_future(ask(client, "/acted", b"once"))
    await until(lambda: "POST /acted 4" in upstream.seen)
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await proxy.heal()
    with pytest.raises(HttpFailed):
        await waiting
    proxy.one_way("requests")
    with pytest.raises(HttpFailed):
        await ask(client, "/never", timeout=0.2)
    await proxy.heal()
    assert await ask(client)
    assert "POST /never 0" not in upstream.seen
    assert upstream.seen.count("POST /acted 4") == 1


@pytest.mark.parametrize("seed", range(3))
async def test_duplicates(upstream: Upstream, seed: int) -> None:
    """Every request reaches the server twice, at once or late; the client sees one answer."""
    async with Proxy(("127.0.0.1", upstream.port), seed=seed) as proxy:
        client = Client(proxy.url)
        proxy.weather = Weather(duplicate=1, late_s=0.3, copies_of=("/twice",))
        for number in range(6):
            assert await ask(client, f"/twice{number}", b"body")
            assert await ask(client, f"/once{number}", b"body")
        await proxy.settled()
        await client.aclose()
        assert proxy.counts["copies"] == 6
    for number in range(6):
        assert upstream.seen.count(f"POST /twice{number} 4") == 2
        assert upstream.seen.count(f"POST /once{number} 4") == 1


async def test_reordering(upstream: Upstream, proxy: Proxy, client: Client) -> None:
    """A request that is held back arrives after ones that were sent later, and none is dropped."""
    proxy.weather = Weather(reorder=1, overtake=2, hold_s=PATIENCE)
    held = asyncio.ensure_future(ask(client, "/first"))
    await until(lambda: proxy.counts["requests"])
    proxy.weather = Weather()
    await ask(client, "/second")
    await ask(client, "/third")
    assert await held
    assert [line.split()[1] for line in upstream.seen] == ["/second", "/third", "/first"]
    assert proxy.counts["reordered"] == 1


async def test_a_request_that_nobody_passes_is_not_held_for_ever(
    upstream: Upstream, proxy: Proxy, client: Client
) -> None:
    """A held request goes on after a while even where no other comes."""
    proxy.weather = Weather(reorder=1, hold_s=0.05)
    assert await ask(client)
    assert proxy.counts["held"] == 1


async def test_losses(upstream: Upstream, proxy: Proxy, client: Client) -> None:
    """A lost request never arrives; a lost answer is one to a request that did."""
    proxy.weather = Weather(lose_request=1)
    with pytest.raises(HttpFailed):
        await ask(client)
    assert upstream.seen == []
    proxy.weather = Weather(lose_answer=1)
    with pytest.raises(HttpFailed):
        await ask(client, "/acted")
    assert upstream.seen == ["POST /acted 0"]


async def test_a_cut_answer_is_never_a_whole_one(upstream: Upstream, proxy: Proxy) -> None:
    """However early or late an answer is cut, the client gets its beginning and then a break."""
    proxy.weather = Weather(cut_answer=1, cut_within=400)
    for _ in range(20):
        reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while data := await reader.read(100):
                    got += data
        writer.close()
        frames = Frames(answers=True)
        assert not any(done for _, done in frames.feed(got))
    assert proxy.counts["cut_answers"] == 20


async def test_latency_and_trickle(proxy: Proxy, client: Client) -> None:
    """Each way takes at least the time that was set; a trickled answer is the same answer."""
    proxy.weather = Weather(delay_s=0.1, jitter_s=0.05)
    began = time.monotonic()
    answer = await ask(client)
    assert time.monotonic() - began >= 0.2
    proxy.weather = Weather(trickle=1, trickle_s=0.001)
    assert await ask(client) == answer
    assert (await ask(client, "/big")).endswith(answer)
    assert proxy.counts["trickled"] == 2


async def test_the_same_seed_draws_the_same(upstream: Upstream) -> None:
    """Requests in the same order meet the same fates."""

    async def fates(seed: int) -> list[bool]:
        async with Proxy(("127.0.0.1", upstream.port), seed=seed) as proxy:
            proxy.weather = Weather(lose_request=0.5)
            client, got = Client(proxy.url), []
            for _ in range(30):
                try:
                    got.append(bool(await ask(client)))
                except HttpFailed:
                    got.append(False)
            await client.aclose()
            return got

    assert await fates(1) == await fates(1) != await fates(2)


async def test_what_is_no_http_is_dropped(upstream: Upstream, proxy: Proxy) -> None:
    """Bytes that are no request end the connection; others are not touched by it."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
    writer.write(b"nonsense\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError):
            assert await reader.read(-1) == b""
    writer.close()
    assert upstream.seen == []


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        (False, b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n"),
        (True, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        (False, b"x" * (2 << 20)),
    ],
)
def test_what_is_no_message(answers: bool, wrong: bytes) -> None:
    """What is no HTTP is said to be none."""
    with pytest.raises(NotHttp):
        list(Frames(answers=answers).feed(wrong))


def test_wires_need_no_event_loop() -> None:
    """The same from plain code: a wire can be cut and healed from any thread."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    with socket.create_server(("127.0.0.1", 0)) as server, Wires() as wires:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1000)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        wire = wires.lay(server.getsockname())

        def ask_once() -> bytes:
            with urllib.request.urlopen(wire.url, timeout=PATIENCE) as got:
                return bytes(got.read())

        assert ask_once() == b"ok"
        wire.cut()
        with pytest.raises(OSError):
            ask_once()
        wire.heal()
        assert ask_once() == b"ok"
        wire.weather(Weather(duplicate=1, late_s=0))
        ask_once()
        wire.settled()
        assert wire.counts()["copies"] == 1
