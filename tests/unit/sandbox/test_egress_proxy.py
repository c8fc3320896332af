"""What goes through the proxy and what does not, with real connections to real servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.sandbox.box import Host
from stead.sandbox.egress_gate import Limits
from tests.unit.sandbox.egress_house import Asked, Ca, Echo, listening, way_out


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def port(echo: Echo) -> AsyncIterator[int]:
    async with listening(echo) as port:
        yield port


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca(tmp_path_factory.mktemp("ca"))


async def test_a_request_goes_out_and_its_answer_comes_back(echo: Echo, port: int) -> None:
    """With its headers and body, but without those that are of the connection alone."""
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        answer = await way.send(
            f"POST http://127.0.0.1:{port}/a?b=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nX-Own: 1\r\n"
            "Proxy-Authorization: Basic eDp5\r\nConnection: X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\n"
            "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n".encode()
        )
        record = await way.last()
    assert answer.line == "HTTP/1.1 200 OK"
    (seen,) = echo.seen
    assert (seen.line, seen.body) == ("POST /a?b=1 HTTP/1.1", b"abcde")
    assert seen.headers["x-own"] == "1"
    assert not {"proxy-authorization", "x-hop", "te"} & set(seen.headers)
    assert (record.host, record.port, record.how, record.verdict, record.up) == (
        "127.0.0.1", port, "post", "allowed", 5,
    )  # fmt: skip
    assert record.down == len(answer.body) and record.address == "127.0.0.1"


@pytest.mark.parametrize(
    "line",
    [
        "GET http://127.0.0.1:{other}/ HTTP/1.1", "GET http://127.0.0.2:{port}/ HTTP/1.1",
        "GET http://localhost:{port}/ HTTP/1.1", "GET http://127.1:{port}/ HTTP/1.1",
        "GET http://2130706433:{port}/ HTTP/1.1", "GET http://0x7f.1:{port}/ HTTP/1.1",
        "GET http://[::ffff:127.0.0.1]:{port}/ HTTP/1.1", "GET http://0.0.0.0:{port}/ HTTP/1.1",
        "GET http://user:pass@127.0.0.1:{port}/ HTTP/1.1",
        "GET http://127.0.0.1%00x:{port}/ HTTP/1.1",
        "GET http://x@127.0.0.1:{port}@127.0.0.1:{port}/ HTTP/1.1",
        "GET ftp://127.0.0.1:{port}/ HTTP/1.1", "GET file:///etc/passwd HTTP/1.1",
        "GET /etc/passwd HTTP/1.1", "TRACE http://127.0.0.1:{port}/ HTTP/1.1",
        "CONNECT 127.0.0.1:{other} HTTP/1.1", "CONNECT localhost:{port} HTTP/1.1",
        "CONNECT 127.0.0.1 HTTP/1.1", "CONNECT 127.0.0.1:{port}x HTTP/1.1",
        "CONNECT http://127.0.0.1:{port} HTTP/1.1", "CONNECT u@127.0.0.1:{port} HTTP/1.1",
        "CONNECT 127.0.0.1%2e:{port} HTTP/1.1", "CONNECT [::1]:{port} HTTP/1.1",
    ],
)  # fmt: skip
async def test_what_is_not_named_is_not_reached(echo: Echo, port: int, line: str) -> None:
    """Whatever the form of the question; the answer says why, and nothing is sent."""
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        line = line.format(port=port, other=port ^ 1)
        answer = await way.send(f"{line}\r\n\r\n".encode("latin-1"))
        record = await way.last()
    assert answer.line.split(" ")[1] in ("400", "403"), answer
    assert answer.headers["x-stead-egress"] == "refused"
    assert answer.body.startswith(b"stead: ")
    assert record.verdict == "refused" and record.why and record.address == ""
    assert echo.seen == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "http://localhost:{port}/"])
async def test_any_host_is_no_private_one(echo: Echo, port: int, url: str) -> None:
    """``*`` does not reach this machine, by address or by a name that leads here."""
    async with way_out([Host("*", port)]) as way:
        answer = await way.get(url.format(port=port))
        assert answer.line.split(" ")[1] == "403"
        assert b"an address of this machine" in answer.body
        status, _, writer = await way.tunnel(url.format(port=port)[7:-1])
        writer.close()
        assert status == 403
    async with way_out([Host("*", port)], private=(f"127.0.0.1:{port}",)) as way:
        assert (await way.get(f"http://127.0.0.1:{port}/")).line == "HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://H/ HTTP/1.1\r\nHost: other.example\r\n\r\n",
        b"GET http://H/ HTTP/1.1\r\nHost: H\r\nHost: other.example\r\n\r\n",
        b"POST http://H/ HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n",
        b"POST http://H/ HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST http://H/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET http://H/ HTTP/1.1\r\nX: a\r\n b\r\nY : c\r\n\r\n",
        b"GET http://H/\nX: y\n\n",
        b"\x16\x03\x01 no HTTP at all\r\n\r\n",
        b"GET http://H/ HTTP/1.1\r\nX: " + b"a" * 80_000 + b"\r\n\r\n",
        b"POST http://H/ HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n"
        b"\r\nabc",
    ],
)
async def test_what_two_readers_might_read_differently(
    echo: Echo, port: int, request_: bytes
) -> None:
    """Doubled lengths, doubled hosts, folded lines: not one of them goes out."""
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        answer = await way.send(request_.replace(b"H/", f"127.0.0.1:{port}/".encode(), 1))
    assert answer.line.split(" ")[1] in ("400", "403")
    assert echo.seen == []


async def test_a_second_request_behind_the_first_goes_nowhere(echo: Echo, port: int) -> None:
    """Each connection carries one request: what is smuggled in behind it is not read."""
    one = f"GET http://127.0.0.1:{port}/a HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        answer = await way.send((one + one.replace("/a", "/b")).encode())
    assert answer.headers["connection"] == "close"
    assert [seen.path for seen in echo.seen] == ["/a"]


async def test_a_redirect_is_a_new_question(echo: Echo, port: int) -> None:
    """It is handed to the client; where it leads to is asked for anew, and refused."""
    echo.answer = lambda _: (
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    )
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        answer = await way.get(f"http://127.0.0.1:{port}/")
        assert answer.headers["location"] == "http://127.0.0.1:1/"
        assert (await way.get(answer.headers["location"])).line.split(" ")[1] == "403"


async def test_tls_goes_through_untouched(echo: Echo, ca: Ca) -> None:
    """A client that verifies certificates talks to the server itself, not to the proxy."""
    async with (
        listening(echo, ca.server("localhost")) as port,
        way_out([Host("localhost", port, private=True)]) as way,
    ):
        status, _, writer = await way.tunnel(f"localhost:{port}")
        assert status == 200
        context = ssl.create_default_context(cafile=str(ca.file))
        await writer.start_tls(context, server_hostname="localhost")
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await writer.drain()
        writer.close()
        record = await way.last()
    assert [seen.path for seen in echo.seen] == ["/"]
    assert record.verdict == "allowed" and record.up > 100


@pytest.mark.parametrize("name", ["other.example", None])
async def test_tls_to_another_name_is_cut(echo: Echo, ca: Ca, name: str | None) -> None:
    """Who asks the proxy for one host and the server for another, or does not say, is cut off
    before a byte of it was sent on."""
    async with (
        listening(echo, ca.server("localhost", "other.example")) as port,
        way_out([Host("localhost", port, private=True)]) as way,
    ):
        _, _, writer = await way.tunnel(f"localhost:{port}")
        context = ssl._create_unverified_context()
        with pytest.raises((OSError, ssl.SSLError)):
            await writer.start_tls(context, server_hostname=name)
        record = await way.last()
    assert record.verdict == "cut" and "TLS handshake" in record.why and record.up == 0


async def test_only_tls_through_a_host_without_a_port(ca: Ca) -> None:
    """Where a host was named without a port, CONNECT is for TLS: words in clear are not carried."""
    got: list[bytes] = []

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        got.append(await reader.read())

    async with listening(serve) as port, way_out([Host("127.0.0.1", private=True)]) as way:
        way.gate.hosts = (Host("127.0.0.1", private=True), Host("127.0.0.1", port, private=True))
        for target, sent in ((f"127.0.0.1:{port}", b"SSH-2.0-x\r\n"),):
            _, _, writer = await way.tunnel(target)
            writer.write(sent)
            writer.write_eof()
            await way.last()
    assert got == [b"SSH-2.0-x\r\n"]  # it was named with its port


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1@x"])
async def test_http_to_another_host_in_a_tunnel_is_cut(echo: Echo, port: int, host: str) -> None:
    """Where the words in a tunnel can be read, they are: the Host must be that of the tunnel."""
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        status, reader, writer = await way.tunnel(f"127.0.0.1:{port}")
        assert status == 200
        for piece in (b"GET / HT", b"TP/1.1\r\nHo", f"st: {host}\r\n\r\n".encode()):
            writer.write(piece)
            await writer.drain()
        with contextlib.suppress(OSError):
            assert await reader.read() == b""
        record = await way.last()
    assert record.verdict == "cut" and echo.seen == []


async def test_a_server_that_speaks_first(port: int) -> None:
    """SSH and mail servers greet: nothing waits for the client's first word."""

    async def greet(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(b"SSH-2.0-server\r\n")
        writer.write(await reader.readline())
        await writer.drain()

    async with (
        listening(greet) as port,
        way_out([Host("127.0.0.1", port, private=True)], tool="ssh") as way,
    ):
        _, reader, writer = await way.tunnel(f"127.0.0.1:{port}")
        assert await reader.readline() == b"SSH-2.0-server\r\n"
        writer.write(b"SSH-2.0-client\r\n")
        assert await reader.readline() == b"SSH-2.0-client\r\n"
        writer.close()


async def test_what_cannot_be_reached_is_said() -> None:
    """A closed port and a name that does not exist are told apart from what is not allowed."""
    async with listening(Echo()) as free:
        pass
    async with way_out([Host("*", free), Host("127.0.0.1", free, private=True)]) as way:
        answer = await way.get(f"http://127.0.0.1:{free}/")
        assert answer.line.split(" ")[1] == "502"
        assert b"nothing listens" in answer.body
        assert answer.headers["x-stead-egress"] == "failed"
        answer = await way.get(f"http://does-not-exist.invalid:{free}/")
        assert b"could not be resolved" in answer.body
        assert (await way.last()).verdict == "failed"


async def test_an_answer_that_breaks_off_is_not_taken_for_whole(echo: Echo, port: int) -> None:
    """A body that ends early ends as a broken one for the client too."""
    echo.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it"
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await way.get(f"http://127.0.0.1:{port}/")
        assert (await way.last()).verdict == "cut"
    echo.answer = lambda _: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhalf \r\n"
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ValueError)):
            await way.get(f"http://127.0.0.1:{port}/")


async def test_limits(echo: Echo, port: int) -> None:
    """Too many bytes, too long a silence, too many at once: cut, with the reason in the log."""
    big = b"x" * 300_000
    echo.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(big), big)
    host = [Host("127.0.0.1", port, private=True)]
    async with way_out(host, limits=Limits(down_bytes=100_000)) as way:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await way.get(f"http://127.0.0.1:{port}/")
        assert "bytes were fetched" in (await way.last()).why
    async with way_out(host, limits=Limits(up_bytes=1000)) as way:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await way.send(
                f"PUT http://127.0.0.1:{port}/ HTTP/1.1\r\nContent-Length: 5000\r\n\r\n".encode()
                + b"y" * 5000
            )
        assert "bytes were sent" in (await way.last()).why
    async with way_out(host, limits=Limits(idle_s=0.2, connections=1)) as way:
        status, reader, writer = await way.tunnel(f"127.0.0.1:{port}")
        assert status == 200
        assert (await way.get(f"http://127.0.0.1:{port}/")).line.split(" ")[1] == "503"
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert (await way.last()).verdict == "cut"


async def test_a_shut_gate_cuts_what_is_open(port: int) -> None:
    """When its sandbox has ended, no connection lives on."""
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        status, reader, _ = await way.tunnel(f"127.0.0.1:{port}")
        assert status == 200
        await way.gate.aclose()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert (await way.last()).why == "its sandbox has ended"


async def test_offline_is_offline(port: int) -> None:
    """With ``offline`` nothing beyond this machine is reached."""
    async with way_out([Host("*"), Host("127.0.0.1", port, private=True)], offline=True) as way:
        assert (await way.get(f"http://127.0.0.1:{port}/")).line == "HTTP/1.1 200 OK"
        answer = await way.get("http://1.1.1.1/")
        assert answer.line.split(" ")[1] == "403" and b"offline" in answer.body


async def test_old_clients_are_served(echo: Echo, port: int) -> None:
    """HTTP/1.0, HEAD, and an answer whose end is that of its connection."""
    async with way_out([Host("127.0.0.1", port, private=True)]) as way:
        answer = await way.send(f"GET http://127.0.0.1:{port}/ HTTP/1.0\r\n\r\n".encode())
        assert json.loads(answer.body)[0] == "GET / HTTP/1.1"
        head = await way.get(f"http://127.0.0.1:{port}/", method="HEAD")
        assert int(head.headers["content-length"]) > 0
        echo.answer = lambda _: b"HTTP/1.1 200 OK\r\n\r\nto the end"
        answer = await way.send(f"GET http://127.0.0.1:{port}/ HTTP/1.0\r\n\r\n".encode())
        assert answer.body == b"to the end"
        assert isinstance(answer, Asked)
        assert (await way.get(f"http://127.0.0.1:{port}/")).body == b"to the end"


_WORDS = st.sampled_from(
    [
        b"GET", b"POST", b"CONNECT", b" ", b"\t", b"\r\n", b"\n", b"\r\n\r\n", b"http://",
        b"https://", b"HTTP/1.1", b"HTTP/1.0", b"127.0.0.1", b"localhost", b"@", b":", b"/", b"#",
        b"[::1]", b"\0", b"%00", b"Host: ", b"Content-Length: ", b"Transfer-Encoding: chunked",
        b"5", b"-1", b"\x16\x03\x01\x00\x05", b"\xff",
    ]
)  # fmt: skip


@given(st.lists(st.one_of(_WORDS, st.binary(max_size=20)), max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_words_open_the_gate(words: list[bytes]) -> None:
    """Whatever is sent: an answer of the proxy's own or a closed connection, never a way to what is
    not named, and the gate goes on."""

    async def try_it() -> None:
        echo = Echo()
        async with listening(echo) as port, way_out([Host("a.invalid", port)]) as way:
            reader, writer = await way.connect()
            writer.write(b"".join(words).replace(b"127.0.0.1", f"127.0.0.1:{port}".encode()))
            writer.write_eof()
            async with asyncio.timeout(60):
                with contextlib.suppress(ConnectionError):
                    said = await reader.read()
                    assert not said or said.split(b" ")[1] in (b"400", b"403", b"502")
                writer.close()
                assert (await way.get(f"http://127.0.0.1:{port}/")).line.split(" ")[1] == "403"
            assert echo.seen == []

    asyncio.run(try_it())
