"""Heads that were read before: what is taken for known is what the parser would say."""

from __future__ import annotations

import random
from typing import Any

import httptools
import pytest

from stead.gateway.exchange import Place
from stead.gateway.heads import Heads

PLACE: Any = Place(b"/v1/chat/completions", None)  # type: ignore[arg-type]


class Parsed:
    """What the parser makes of a request, as uvicorn's protocol keeps it."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.whole = 0
        self.url = b""
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.whole += 1


def request(length: bytes, body: bytes, *more: bytes, name: bytes = b"content-length") -> bytes:
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"host: x", *more, name + b": " + length]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def begins(heads: Heads, data: bytes) -> int:
    """Where the body begins of what is known; 0: it is not."""
    known = heads.find(data)
    return known.body_at(data) if known is not None else 0


def test_the_length_alone_may_differ() -> None:
    """Promise: the same head with another length is known, with its own body; whatever else
    differs by a byte is not, nor what is not whole, or more."""
    heads = Heads()
    first = request(b"3", b"abc", b"authorization: Bearer k")
    heads.learn(first, PLACE, b"", Parsed(first).headers, "asker")
    known = heads.find(first)
    assert known is not None
    for length in (0, 3, 10, 4096):
        data = request(b"%d" % length, b"y" * length, b"authorization: Bearer k")
        found = heads.find(data)
        assert found is not None and found.asker == "asker"
        assert data[found.body_at(data) :] == b"y" * length == Parsed(data).body
        assert found.body_at(data + b"P") == found.body_at(data[:-1]) == 0
    for at in range(len(first) - 3):
        if first[at : at + 1].isdigit() and first[at - 2 : at] == b": ":
            continue  # the length itself
        other = bytearray(first)
        other[at] ^= 1
        assert not begins(heads, bytes(other)), other
        assert not known.body_at(bytes(other)), other
    twice = first.replace(b"\r\n\r\n", b"\r\ncontent-length: 3\r\n\r\n")
    assert not begins(heads, twice) and not known.body_at(twice)


@pytest.mark.parametrize(
    "odd",
    [
        b"transfer-encoding: chunked", b"expect: 100-continue", b"connection: close",
        b"upgrade: h2c", b"content-length: 3", b"Content-Length:3", b"te: trailers", b" folded: x",
        b"x: a\nb: c", b"x: a\rb: c", b"no colon", b"x:\tvalue", b"x: \xff",
    ],
)  # fmt: skip
def test_what_is_odd_is_for_the_parser(odd: bytes) -> None:
    """Promise: a head that says more than who, what and how long is never taken for known, unless
    line by line it is what the parser has read."""
    heads = Heads()
    data = request(b"3", b"abc", odd)
    try:
        headers = Parsed(data).headers
    except httptools.HttpParserError:
        return  # it is refused, so nothing of it is learnt
    heads.learn(data, PLACE, b"", headers, "asker")
    found = begins(heads, data)
    if found:
        assert odd in (b"x:\tvalue", b"x: \xff"), odd
        assert Parsed(data).body == data[found:]


def test_as_the_parser_has_it() -> None:
    """Promise: of random heads and lengths what is known has the body that the parser finds."""
    chance = random.Random(7)
    heads, hits = Heads(), 0
    names = [b"authorization", b"X-Key", b"content-type", b"User-Agent", b"x-length", b"accept"]
    for _ in range(3000):
        more = [b"%b: %d" % (chance.choice(names), chance.randrange(3)) for _ in range(2)]
        body = b"z" * chance.randrange(12)
        length = b"%d" % (len(body) + chance.choice([0, 0, 0, 0, 1, -1]))
        name = chance.choice([b"content-length", b"Content-Length", b"CONTENT-LENGTH"])
        data = request(length, body, *more, name=name)
        found = begins(heads, data)
        try:
            parsed = Parsed(data)
        except httptools.HttpParserError:
            assert not found
            continue
        if found:
            hits += 1
            known = heads.find(data)
            assert (parsed.whole, parsed.body) == (1, data[found:])
            assert known is not None and parsed.headers[:3] == known.headers[:3]
        elif parsed.whole:
            heads.learn(data, PLACE, b"", parsed.headers, "asker")
    assert hits > 500 and len(heads._known) <= 512


def test_strangers_do_not_fill_the_memory() -> None:
    """Promise: so many heads are kept, and none that is long."""
    heads = Heads()
    for n in range(2000):
        data = request(b"1", b"x", b"traceparent: %d" % n)
        heads.learn(data, PLACE, b"", Parsed(data).headers, "asker")
    assert 0 < len(heads._known) <= 512
    data = request(b"1", b"x", b"x: " + b"y" * 9000)
    heads.learn(data, PLACE, b"", Parsed(data).headers, "asker")
    assert heads.find(data) is None
