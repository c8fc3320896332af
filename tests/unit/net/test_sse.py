"""The event-stream parser, after the examples and rules of the WHATWG HTML standard."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.net.sse import Comment, Event, EventTooLarge, Parser


def parse(stream: bytes, *cuts: int) -> list[Event | Comment]:
    parser = Parser()
    out: list[Event | Comment] = []
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in pairwise(places):
        out += parser.feed(stream[start:end])
    return out


STREAM = (
    "\ufeffdata: YHOO\ndata: +2\ndata: 10\n\n"
    ": stead waiting for model\n\n"
    "event: add\r\nid: 1\r\ndata:päivää 🌍\r\n\r\n"
    "id\rdata:  two spaces\r\r"
    "data\n\n"
    "event: nothing\n\n"
    "retry: 250\nretry: x\nunknown: 1\ndata: {}\n\n"
    "data: never closed"
).encode()
EVENTS = [
    Event("YHOO\n+2\n10"),
    Comment("stead waiting for model"),
    Event("päivää 🌍", "add", "1"),
    Event(" two spaces"),
    Event(""),
    Event("{}"),
]


def test_the_standard() -> None:
    """Promise: data, comments, event names, ids and all three line ends are read as specified."""
    assert parse(STREAM) == EVENTS


def test_one_byte_at_a_time() -> None:
    """Promise: it does not matter how the stream is cut, be it in every byte."""
    assert parse(STREAM, *range(len(STREAM))) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=6))
def test_any_cut(cuts: list[int]) -> None:
    """Promise: line ends and characters may be split across pieces anywhere."""
    assert parse(STREAM, *cuts) == EVENTS


def test_ids_and_retry() -> None:
    """Promise: an id holds until it is changed; one with NUL is ignored; retry is kept."""
    parser = Parser()
    got = parser.feed(b"id: 7\ndata: a\n\ndata: b\n\nid: 8\0\ndata: c\n\nretry: 40\n")
    assert [event.id for event in got if isinstance(event, Event)] == ["7", "7", "7"]
    assert (parser.last_id, parser.retry_ms) == ("7", 40)


def test_an_open_event_is_known_as_such() -> None:
    """Promise: whoever reads to the end can tell that the last event was cut off."""
    parser = Parser()
    parser.feed(b"data: a\n\n")
    assert not parser.open
    parser.feed(b"data: {")
    assert parser.open
    parser.feed(b"}\n")
    assert parser.open


def test_broken_utf8_is_replaced() -> None:
    """Promise: bytes that are no UTF-8 do not end the stream."""
    assert parse(b"data: a\xff\n\n") == [Event("a\ufffd")]


def test_an_endless_event_is_refused() -> None:
    """Promise: a stream without line ends, or an event without end, does not fill the memory."""
    for piece in (b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"):
        parser = Parser(limit=100_000)
        with pytest.raises(EventTooLarge):
            for _ in range(200):
                parser.feed(piece)
    parser = Parser(limit=100_000)
    for _ in range(1000):
        parser.feed(b": " + b"x" * 1000 + b"\n")
        parser.feed(b"data: " + b"x" * 1000 + b"\n\n")
