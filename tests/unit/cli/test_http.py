"""The small HTTP client of the commands."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.cli.http import ConnectionBroke, Exchange, ServerEvent, Target, events, query, quote
from stead.core.errors import BadRequest, GatewayAway

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def serve_once(answer: bytes) -> tuple[str, list[bytes]]:
    """A server that gives one fixed answer to one connection, then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    seen: list[bytes] = []

    def work() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            seen.append(connection.recv(65536))
            connection.sendall(answer)

    threading.Thread(target=work, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}/base", seen


def get(url: str) -> tuple[int, bytes]:
    with Exchange(url, "GET", "/x", headers={"A": "b"}, timeout=5) as exchange:
        return exchange.status, exchange.read()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["content-length", "chunked", "trailer", "until close", "interim answer"],
)
def test_body(answer: bytes) -> None:
    """A body arrives whole, however the server marks its end."""
    url, seen = serve_once(answer)
    assert get(url) == (200, b"hello")
    assert seen[0].startswith(b"GET /base/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"\r\nA: b\r\n" in seen[0]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"9\r\nhello",
        CHUNKED + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ],
)
def test_cut_short(answer: bytes) -> None:
    """An answer that breaks off, or is none, is an error; it is never taken as whole."""
    url, _ = serve_once(answer)
    with pytest.raises(ConnectionBroke):
        get(url)


def test_nobody_there() -> None:
    """A refused connection says so, and is not a broken one: nothing was sent."""
    with pytest.raises(GatewayAway) as caught:
        get("http://127.0.0.1:1")
    assert not isinstance(caught.value, ConnectionBroke)
    assert "http://127.0.0.1:1" in caught.value.message
    assert "refused" in caught.value.message


def test_silence() -> None:
    """A server that says nothing is given up after the time-out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConnectionBroke, match="silent"):
            Exchange(url, "GET", "/", headers={}, timeout=0.05)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://box", Target("http", "box", 80, "")),
        ("https://box.example/stead/", Target("https", "box.example", 443, "/stead")),
        ("http://[::1]:7832", Target("http", "::1", 7832, "")),
    ],
)
def test_target(url: str, target: Target) -> None:
    """A URL is taken apart with the default ports of its scheme."""
    assert Target.of(url) == target


@pytest.mark.parametrize(
    "url", ["", "box:1", "ftp://box", "http://", "http://u@box", "http://a:99999"]
)
def test_bad_url(url: str) -> None:
    """What is not a URL is refused with an example of one."""
    with pytest.raises(BadRequest, match="not a URL"):
        Target.of(url)


STREAM = (
    b": comment\n\nid: 1\nevent: token\ndata: a\n\n"
    b"data: b\r\ndata: c\r\n\r\nevent: lonely\n\nid: 3\ndata\n\n: end\n"
)
WANTED = [
    ServerEvent("1", "token", "a"),
    ServerEvent("1", "message", "b\nc"),
    ServerEvent("3", "message", ""),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_in_any_pieces(cuts: list[int]) -> None:
    """Server-sent events are read the same, however the network cuts them."""
    borders = sorted({0, len(STREAM), *cuts})

    def pieces() -> Iterator[bytes]:
        for start, end in pairwise(borders):
            yield STREAM[start:end]

    assert list(events(pieces())) == WANTED


def test_query() -> None:
    """Filters are encoded; those not given are left out."""
    assert query({"a": "x y&ä", "b": None, "c": "", "d": 0}) == "?a=x%20y%26%C3%A4&d=0"
    assert query({}) == ""
    assert quote("a/b") == "a%2Fb"
