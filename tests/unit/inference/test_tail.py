"""What the door reads of requests and answers on their way through."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stead.core.errors import BadRequest
from stead.core.nouns import Usage
from stead.inference.backends import BackendModel
from stead.inference.plane.reading import body_for, read
from stead.inference.plane.tails import EventTail, NoAnswer, tail_of, whole
from stead.inference.seam import Api

CHUNK = b'data: {"choices":[{"delta":{"content":"%s"},"finish_reason":null}],"usage":null}\n\n'
FINISH = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = (
    b'data: {"choices":[], "usage" : {"prompt_tokens":12,"completion_tokens":3,'
    b'"total_tokens":15,"prompt_tokens_details":{"cached_tokens":8}}}\n\n'
)
DONE = b"data: [DONE]\n\n"
TRAP = (
    rb'data: {"choices":[{"delta":{"content":"\"usage\":{\"prompt_tokens\":9} [DONE]"}}]}' b"\n\n"
)
TEXT = (CHUNK % "Grüße".encode()) + TRAP + b": comment\n\n" + CHUNK % b"x"
STREAM = TEXT + FINISH + USAGE + DONE


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(at % (len(stream) + 1) for at in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8), st.booleans(), st.booleans())
def test_the_answer_passes_untouched(cuts: list[int], strip: bool, crlf: bool) -> None:
    """Promise: however a stream is cut, its bytes pass as they are, but for a usage not asked for;
    and only whole events are handed on."""
    stream, without = STREAM, TEXT + FINISH + DONE
    if crlf:
        stream, without = stream.replace(b"\n", b"\r\n"), without.replace(b"\n", b"\r\n")
    tail = EventTail(strip=strip)
    out = [tail.feed(piece) for piece in cut(stream, cuts)]
    assert b"".join(out) + tail.end() == (without if strip else stream)
    assert all(piece.endswith(b"\r\n\r\n" if crlf else b"\n\n") for piece in out if piece)
    assert tail.usage == Usage(12, 8, 3)
    assert tail.done and tail.whole


def test_the_end_is_recognised() -> None:
    """Promise: an answer counts as whole with [DONE] or a finish reason, not without."""
    for stream, all_of_it in [(TEXT, False), (TEXT + FINISH, True), (TEXT + DONE, True)]:
        tail = EventTail(strip=True)
        tail.feed(stream)
        tail.feed(b": bye\n\n")
        assert tail.whole is all_of_it


def test_an_endless_event_is_not_held() -> None:
    """Promise: a stream without event ends is passed on in parts instead of collected."""
    tail = EventTail(strip=True)
    given = b"x" * 100_000
    passed = b"".join(tail.feed(given) for _ in range(50)) + tail.end()
    assert passed == given * 50
    assert len(tail._held) == 0


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}', Usage(1, 0, 2)),
        (b'{"choices":[],"usage":null}', None),
        (b'{"usage":{"prompt_tokens":"1"}}', None),
        (b'{"usage":{"input_tokens":5,"output_tokens":2}}', Usage(5, 0, 2)),
        (
            b'{"usage":{"input_tokens":5,"cache_read_input_tokens":7,"output_tokens":2}}',
            Usage(12, 7, 2),
        ),
        (b'{"x":"' + b"y" * 400_000 + b'","usage":{"prompt_tokens":3}}', Usage(3)),
        (b'{"usage":{"prompt_tokens":3},"x":"' + b"y" * 400_000 + b'"}', Usage(3)),
    ],
)
def test_usage_of_an_unstreamed_answer(body: bytes, usage: Usage | None) -> None:
    """Promise: the usage is read from an answer if it is there, and nothing breaks if not."""
    assert whole(body) == usage


ALL_OF_IT = Usage(20, 8, 9, cache_write_tokens=5, reasoning_tokens=4)


@pytest.mark.parametrize(
    "told",
    [
        {"prompt_tokens": 20, "completion_tokens": 9,
         "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 5},
         "completion_tokens_details": {"reasoning_tokens": 4}},
        {"input_tokens": 20, "output_tokens": 9,
         "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 5},
         "output_tokens_details": {"reasoning_tokens": 4}},
        {"input_tokens": 7, "output_tokens": 9, "cache_read_input_tokens": 8,
         "cache_creation_input_tokens": 5, "output_tokens_details": {"thinking_tokens": 4}},
    ],
)  # fmt: skip
def test_cached_and_reasoning_tokens(told: object) -> None:
    """Promise: what was read from a cache, written to it, and thought, is known in each API."""
    assert whole(json.dumps({"usage": told}).encode()) == ALL_OF_IT


def test_usage_of_a_stream_of_anthropics() -> None:
    """Promise: what is told at its start and at its end is put together."""
    begun = {"input_tokens": 7, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 5,
             "output_tokens": 1}  # fmt: skip
    over = {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}}
    events: list[dict[str, object]] = [
        {"type": "message_start", "message": {"usage": begun}},
        {"type": "message_delta", "delta": {}, "usage": over},
        {"type": "message_stop"},
    ]
    tail = tail_of(Api.MESSAGES, strip=False)
    for event in events:
        name = str(event["type"]).encode()
        tail.feed(b"event: %b\ndata: %b\n\n" % (name, json.dumps(event).encode()))
    assert tail.usage == ALL_OF_IT and tail.done


@pytest.mark.parametrize(
    "body", [b"<html>", b"[" * 100_000, b"", b'{"a":', b"[1]", b"x" * 300_000, b'{"error":{}}']
)
def test_what_is_no_answer(body: bytes) -> None:
    """Promise: what is no JSON object, or an error in place of one, is not taken for an answer."""
    with pytest.raises(NoAnswer):
        whole(body)


def test_an_unchanged_request_keeps_its_bytes() -> None:
    """Promise: a request that needs no change is passed on as the very bytes that came."""
    body = b' { "model":"m" , "messages":[{"role":"user","content":"\\u00fc"}], "x": 1e400 }'
    assert body_for(read(Api.CHAT, body), body, "m") is body
    body = b'{"model":"m","messages":[{"role":"user"}],"stream":true,"stream_options":'
    body += b'{"include_usage":true}}'
    assert body_for(read(Api.CHAT, body), body, "m") is body


def test_only_what_must_change_is_changed() -> None:
    """Promise: model and stream_options are set; all other values keep their bytes and order."""
    odd = b'[{"role":"user","content":"a  \\u00e4 \\/ b"} , {"role":"tool","x":1.000}]'
    body = b'{"seed": 1.50,"model":"alias","messages":' + odd + b',"stream":true,'
    body += b'"stream_options":{"a":[ 1 ]}}'
    made = body_for(read(Api.CHAT, body), body, 'real"name')
    assert odd in made and b"1.50" in made and b"[ 1 ]" in made
    told = json.loads(made)
    assert told["model"] == 'real"name'
    assert told["stream_options"] == {"a": [1], "include_usage": True}
    assert list(told) == ["seed", "model", "messages", "stream", "stream_options"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"[1]", None),
        (b'{"model":', None),
        (b'{"a":' + b"[" * 200_000, None),
        (b'{"messages":[{"role":"user"}]}', "model"),
        (b'{"model":7,"messages":[{"role":"user"}]}', "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":[]}', "messages"),
        (b'{"model":"m","messages":"hello"}', "messages"),
        (b'{"model":"m","messages":[{"role":"user"},{"content":"x"}]}', "messages[1].role"),
        (b'{"model":"m","messages":[{"role":5}]}', "messages[0].role"),
        (b'{"model":"m","messages":[{"role":"user"}],"stream":"yes"}', "stream"),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":"9"}', "max_tokens"),
        (b'{"model":"m","messages":[{"role":"user"}],"stream_options":[]}', "stream_options"),
    ],
)
def test_a_bad_request_names_its_fault(body: bytes, param: str | None) -> None:
    """Promise: what is not a chat request gets 400 with the path of the fault."""
    with pytest.raises(BadRequest) as caught:
        read(Api.CHAT, body)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert param is None or param in caught.value.message


@pytest.mark.parametrize(
    ("usage", "micro"),
    [
        (Usage(0, 0, 0), 0),
        (Usage(1, 0, 0), 1),
        (Usage(1_000_000, 0, 0), 150_000),
        (Usage(1_000_000, 1_000_000, 0), 75_000),
        (Usage(1_000_000, 400_000, 1_000_000), 90_000 + 30_000 + 600_000),
        (Usage(7, 9, 0), 1),
    ],
)
def test_prices(usage: Usage, micro: int) -> None:
    """Promise: tokens times price, cached ones apart, in whole micro-dollars, rounded up."""
    model = BackendModel("m", usd_per_mtok_in=0.15, usd_per_mtok_cached=0.075, usd_per_mtok_out=0.6)
    assert model.cost_micro(usage) == micro
    plain = BackendModel("m", usd_per_mtok_in=0.15)
    assert plain.cost_micro(Usage(1_000_000, 400_000, 5)) == 150_000
