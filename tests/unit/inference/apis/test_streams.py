"""Streams of model servers as they are and as they should not be, translated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
from anthropic.types import RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from stead.core.errors import BackendFailed
from stead.inference.apis import table
from stead.inference.apis.base import Json, Translation
from stead.inference.seam import Api
from stead.net.sse import Event, Parser

Way = tuple[Api, Api]
ASKED: dict[Api, Json] = {
    Api.CHAT: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    Api.MESSAGES: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    Api.RESPONSES: {"input": "hi"},
    Api.COMPLETIONS: {"prompt": "hi"},
}
ON_CHAT: list[Way] = [(api, Api.CHAT) for api in (Api.MESSAGES, Api.RESPONSES, Api.COMPLETIONS)]
ON_CLAUDE: list[Way] = [(api, Api.MESSAGES) for api in (Api.CHAT, Api.RESPONSES, Api.COMPLETIONS)]


def begun(way: Way, **more: Any) -> Translation:
    made = table.translator(*way, now=1)
    asked = {"model": "m", "stream": True, **ASKED[way[0]], **more}
    made.request(json.dumps(asked).encode(), "m")
    return made


def chat(*deltas: Json | bytes, finish: str | None = "stop", done: bool = True) -> bytes:
    """A chat stream of such deltas."""
    out = b""
    for n, delta in enumerate([*deltas, {}] if finish else deltas):
        if isinstance(delta, bytes):
            out += delta
            continue
        last = finish if finish and n == len(deltas) else None
        choice = {"index": 0, "delta": delta, "finish_reason": last}
        chunk = {"id": "chatcmpl-1", "created": 5, "model": "qwen", "choices": [choice]}
        out += b"data: " + json.dumps(chunk).encode() + b"\n\n"
    if finish:
        usage = {"prompt_tokens": 10, "completion_tokens": 4,
                 "prompt_tokens_details": {"cached_tokens": 3}}  # fmt: skip
        out += b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
    return out + (b"data: [DONE]\n\n" if done else b"")


def call(index: int | None, text: str, name: str | None = None, **more: Any) -> Json:
    function: Json = {"arguments": text} | ({"name": name} if name else {})
    place = {} if index is None else {"index": index}
    return {"tool_calls": [{**place, **more, "function": function}]}


def claude(*blocks: tuple[Json, list[Json]], stop: str = "end_turn") -> bytes:
    """A stream of Anthropic's with such content blocks and their deltas."""
    usage = {"input_tokens": 7, "cache_read_input_tokens": 3, "output_tokens": 1}
    head: Json = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude",
            "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    events: list[Json] = [{"type": "message_start", "message": head}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    delta = {"stop_reason": stop, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 4}})
    events.append({"type": "message_stop"})
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in events
    )


RICH_CHAT = chat(
    {"role": "assistant", "content": ""},
    {"reasoning_content": "Hm "},
    {"reasoning_content": "hm."},
    {"content": "Grüße, "},
    b": a comment\r\n\r\n",
    {"content": "世界"},
    call(0, "", "clock", id="call_a", type="function"),
    call(0, '{"zone": '),
    call(0, '"UTC"}'),
    call(1, "{}", "clock", id="call_b"),
    finish="tool_calls",
)
RICH_CLAUDE = claude(
    (
        {"type": "thinking", "thinking": "", "signature": ""},
        [
            {"type": "thinking_delta", "thinking": "Hm hm."},
            {"type": "signature_delta", "signature": "sig"},
        ],
    ),
    ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "Grüße, "},
                                   {"type": "text_delta", "text": "世界"}]),
    ({"type": "tool_use", "id": "toolu_a", "name": "clock", "input": {}},
     [{"type": "input_json_delta", "partial_json": '{"zone": '},
      {"type": "input_json_delta", "partial_json": '"UTC"}'}]),
    ({"type": "tool_use", "id": "toolu_b", "name": "clock", "input": {}}, []),
    stop="tool_use",
)  # fmt: skip


def through(made: Translation, stream: bytes, cuts: list[int] | None = None) -> bytes:
    out, at = b"", 0
    for cut in [*sorted(cuts or []), len(stream)]:
        out += made.feed(stream[at:cut])
        at = cut
    return out + made.end()


def events(stream: bytes) -> list[Any]:
    return [
        json.loads(event.data)
        for event in Parser().feed(stream)
        if isinstance(event, Event) and event.data != "[DONE]"
    ]


@pytest.mark.parametrize("way", [*ON_CHAT, *ON_CLAUDE])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_split_gives_the_same_bytes(way: Way, data: st.DataObject) -> None:
    """Promise: how a stream is cut on its way makes no difference, not even within a character."""
    stream = RICH_CHAT if way[1] is Api.CHAT else RICH_CLAUDE
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    one, other = begun(way), begun(way)
    assert through(one, stream, cuts) == through(other, stream)
    assert one.usage == other.usage and one.usage is not None
    assert (one.usage.prompt_tokens, one.usage.cached_tokens) == (10, 3)
    assert one.usage.completion_tokens == 4


def test_byte_by_byte() -> None:
    """Promise: the same holds for single bytes."""
    for way in (*ON_CHAT, *ON_CLAUDE):
        stream = RICH_CHAT if way[1] is Api.CHAT else RICH_CLAUDE
        cuts = list(range(len(stream)))
        assert through(begun(way), stream, cuts) == through(begun(way), stream)


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        ((Api.MESSAGES, Api.CHAT), RawMessageStreamEvent),
        ((Api.RESPONSES, Api.CHAT), ResponseStreamEvent),
        ((Api.RESPONSES, Api.MESSAGES), ResponseStreamEvent),
        ((Api.CHAT, Api.MESSAGES), ChatCompletionChunk),
    ],
)
def test_each_event_is_one_of_the_clients(way: Way, kind: Any) -> None:
    """Promise: every event is valid by the official client's own types, strictly."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    stream = RICH_CHAT if way[1] is Api.CHAT else RICH_CLAUDE
    told = events(through(begun(way), stream))
    assert len(told) > 8
    for event in told:
        adapter.validate_json(json.dumps(event), strict=True)


# --- what servers do ------------------------------------------------------------------


def tools_of(stream: bytes, **more: Any) -> list[tuple[str, str, str]]:
    """Ids, names and arguments of the tool calls an Anthropic client is told of, in order."""
    found: dict[int, list[str]] = {}
    open_block = None
    for event in events(through(begun((Api.MESSAGES, Api.CHAT), **more), stream)):
        kind = event["type"]
        if kind == "content_block_start":
            assert open_block is None, "one block at a time"
            open_block = event["index"]
            block = event["content_block"]
            if block["type"] == "tool_use":
                found[open_block] = [block["id"], block["name"], ""]
        elif kind == "content_block_delta":
            assert event["index"] == open_block
            if event["delta"]["type"] == "input_json_delta":
                found[event["index"]][2] += event["delta"]["partial_json"]
        elif kind == "content_block_stop":
            assert event["index"] == open_block
            open_block = None
    return [(call_id, name, text) for call_id, name, text in found.values()]


TWO = [("a", "f", '{"x": 1}'), ("b", "g", '{"y": 2}')]


@pytest.mark.parametrize(
    "deltas",
    [
        # one after the other
        [call(0, "", "f", id="a"), call(0, '{"x": 1}'),
         call(1, "", "g", id="b"), call(1, '{"y": 2}')],
        # mixed
        [call(0, "", "f", id="a"), call(1, "", "g", id="b"),
         call(1, '{"y":'), call(0, '{"x":'), call(1, " 2}"), call(0, " 1}")],
        # the second is whole before the first
        [call(0, '{"x"', "f", id="a"), call(1, '{"y": 2}', "g", id="b"), call(0, ": 1}")],
        # no index, as some servers have it
        [call(None, '{"x": 1}', "f", id="a"), call(None, '{"y": 2}', "g", id="b")],
        [call(None, '{"x":', "f", id="a"), call(None, " 1}"),
         call(None, '{"y":', "g", id="b"), call(None, " 2}")],
        # always the same index
        [call(0, '{"x": 1}', "f", id="a"), call(0, '{"y": 2}', "g", id="b")],
        # both in one piece
        [{"tool_calls": [call(0, '{"x": 1}', "f", id="a")["tool_calls"][0],
                         call(1, '{"y": 2}', "g", id="b")["tool_calls"][0]]}],
        # the name comes late; the id comes again and again
        [call(0, "", id="a"), call(0, '{"x": ', "f", id="a"), call(0, "1}", id="a"),
         call(1, '{"y": 2}', "g", id="b")],
        # words in the middle of a call
        [call(0, '{"x": ', "f", id="a"), {"content": "well"}, call(0, "1}"),
         call(1, '{"y": 2}', "g", id="b")],
    ],
)  # fmt: skip
def test_however_servers_stream_their_calls(deltas: list[Json]) -> None:
    """Promise: calls arrive one after the other, whole, whatever order they were streamed in."""
    assert tools_of(chat(*deltas, finish="tool_calls")) == TWO


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_calls_in_any_order(data: st.DataObject) -> None:
    """Promise: the same for calls mixed at random."""
    texts = [json.dumps({"n": n, "text": 'a "b" {c}'}) for n in range(3)]
    rest = [[call(n, "", "f", id=f"id{n}")] for n in range(3)]
    for n, text in enumerate(texts):
        cuts = sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=4)))
        edges = [0, *cuts, len(text)]
        rest[n] += [call(n, text[a:b]) for a, b in pairwise(edges)]
    mixed: list[Json] = []
    begun_calls = 0
    while any(rest):
        # A call begins after those with lower numbers have begun.
        ready = [n for n in range(3) if rest[n] and n <= begun_calls]
        n = data.draw(st.sampled_from(ready))
        mixed.append(rest[n].pop(0))
        begun_calls = max(begun_calls, n + 1)
    expected = [(f"id{n}", "f", text) for n, text in enumerate(texts)]
    assert tools_of(chat(*mixed, finish="tool_calls")) == expected


def final(way: Way, stream: bytes) -> Any:
    return events(through(begun(way), stream))[-1]


def test_a_finish_that_names_no_tools() -> None:
    """Promise: where a server calls tools and says `stop`, the client is told of the tools."""
    stream = chat(call(0, "{}", "f", id="a"), finish="stop")
    told = events(through(begun((Api.MESSAGES, Api.CHAT)), stream))
    assert told[-2]["delta"]["stop_reason"] == "tool_use"


def test_the_stop_sequence_that_was_met() -> None:
    """Promise: where a server tells which stop sequence it met, the client is told."""
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop", "stop_reason": "END"}
    stream = b"data: " + json.dumps({"id": "1", "choices": [choice]}).encode() + b"\n\n"
    told = events(through(begun((Api.MESSAGES, Api.CHAT)), stream))
    assert told[-2]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}


@pytest.mark.parametrize("way", ON_CHAT)
def test_without_done_and_without_the_last_empty_line(way: Way) -> None:
    """Promise: a finish is an end, even if `[DONE]` or the last line end are missing."""
    stream = chat({"content": "x"}, done=False)
    assert through(begun(way), stream).endswith(b"\n\n")
    assert through(begun(way), stream.rstrip(b"\n")) == through(begun(way), stream)


@pytest.mark.parametrize("way", [*ON_CHAT, *ON_CLAUDE])
def test_no_truncated_stream_looks_whole(way: Way) -> None:
    """Promise: wherever a stream ends too soon, the end is an error and nothing says `whole`."""
    stream = RICH_CHAT if way[1] is Api.CHAT else RICH_CLAUDE
    ends = (b"message_stop", b"response.completed", b"[DONE]")
    over = stream.index(b'"tool_calls"}') if way[1] is Api.CHAT else stream.index(b"message_stop")
    for cut in range(0, over, 41):
        made = begun(way)
        out = made.feed(stream[:cut])
        with pytest.raises(ValueError, match="ended"):
            out += made.end()
        out += made.broken(BackendFailed(backend="b", why="it broke off"))
        assert not any(end in out for end in ends)
        assert b"error" in out and b"it broke off" in out


@pytest.mark.parametrize("way", [*ON_CHAT, *ON_CLAUDE])
@pytest.mark.parametrize(
    "nonsense",
    [
        b"data: <html>\n\n",
        b"data: [1]\n\n",
        b'data: "x"\n\n',
        b'data: {"choices": 7}\n\ndata: {"type": "content_block_delta", "index": 9}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_nonsense(way: Way, nonsense: bytes) -> None:
    """Promise: what makes no sense is a `ValueError`, and never an answer."""
    made = begun(way)
    with pytest.raises(ValueError):
        made.feed(nonsense)
        made.end()


@pytest.mark.parametrize("way", [*ON_CHAT, *ON_CLAUDE])
@settings(max_examples=25, deadline=None)
@given(piece=st.binary(max_size=80), at=st.floats(0, 1))
def test_noise_never_breaks_the_translator(way: Way, piece: bytes, at: float) -> None:
    """Promise: whatever bytes come, it is an answer or a `ValueError`."""
    stream = RICH_CHAT if way[1] is Api.CHAT else RICH_CLAUDE
    cut = int(len(stream) * at)
    made = begun(way)
    try:
        through(made, stream[:cut] + piece + stream[cut:])
    except ValueError:
        made.broken(BackendFailed(backend="b", why="w"))


NAMES = (
    "choices message content usage tool_calls function type text error stop_reason finish_reason "
    "arguments index delta"
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES.split()), inner, max_size=5)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("way", [*ON_CHAT, *ON_CLAUDE])
@settings(max_examples=40, deadline=None)
@given(body=ANYTHING)
def test_no_whole_answer_breaks_it(way: Way, body: Any) -> None:
    """Promise: the same for answers that are not streamed."""
    made = begun(way)
    try:
        out = made.whole(json.dumps(body).encode())
    except ValueError:
        return
    assert isinstance(json.loads(out), dict)


@pytest.mark.parametrize("way", ON_CHAT)
def test_an_error_in_the_stream(way: Way) -> None:
    """Promise: an error of the server in mid-stream is told, and nothing follows it."""
    error = b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
    made = begun(way)
    out = through(made, chat({"content": "x"}, error, {"content": "y"}))
    assert made.failed == "out of memory"
    assert b"out of memory" in out and b'"y"' not in out and b"[DONE]" not in out


@pytest.mark.parametrize("way", ON_CLAUDE)
def test_blocks_that_clients_have_no_words_for(way: Way) -> None:
    """Promise: what Anthropic's servers do by themselves is passed over; what is said is not."""
    searched: Json = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    found: Json = {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}
    stream = claude(
        (searched, [{"type": "input_json_delta", "partial_json": '{"query": "x"}'}]),
        (found, []),
        ({"type": "text", "text": ""}, [{"type": "text_delta", "text": "said"}]),
    )
    out = through(begun(way), stream)
    assert b"said" in out and b"query" not in out


def test_refusals() -> None:
    """Promise: a refusal stays one in each shape."""
    stream = chat({"refusal": "I will not."})
    told = events(through(begun((Api.MESSAGES, Api.CHAT)), stream))
    assert told[-2]["delta"]["stop_reason"] == "refusal"
    done = final((Api.RESPONSES, Api.CHAT), stream)["response"]["output"][0]["content"][0]
    assert done == {"type": "refusal", "refusal": "I will not."}
    out = events(through(begun((Api.CHAT, Api.MESSAGES)), claude(stop="refusal")))
    assert out[-1]["choices"][0]["finish_reason"] == "content_filter"


def whole_of(made: Translation, answer: Json) -> Any:
    return json.loads(made.whole(json.dumps(answer).encode()))


def _answers() -> Iterator[tuple[Json, Callable[[Any], object], object]]:
    def message(**said: Any) -> Json:
        choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": "stop"}
        return {"id": "1", "choices": [choice]}

    function = {"name": "f", "arguments": {"x": 1}}
    yield (
        message(content=None, tool_calls=[{"function": function}]),
        lambda answer: answer["content"][0]["input"],
        {"x": 1},
    )
    function = {"name": "f", "arguments": '{"x": '}
    yield (
        message(content="", tool_calls=[{"id": "a", "function": function}]),
        lambda answer: answer["content"][0]["input"],
        {"INVALID_JSON": '{"x": '},
    )
    yield (
        message(content=[{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
        lambda answer: answer["content"][0]["text"],
        "ab",
    )
    function = {"name": "f", "arguments": '{"x": 1.0, "y": 12345678901234567890123}'}
    yield (
        {"created": 1e300, **message(content="", tool_calls=[{"id": "a", "function": function}])},
        lambda answer: answer["content"][0]["input"],
        {"x": 1.0, "y": 12345678901234567890123},
    )
    yield message(content="a", reasoning="b"), lambda a: a["content"][0]["thinking"], "b"
    yield message(content="a"), lambda answer: answer["usage"]["input_tokens"], 0


@pytest.mark.parametrize(("answer", "look", "expected"), list(_answers()))
def test_whole_answers_of_odd_servers(
    answer: Json, look: Callable[[Any], object], expected: object
) -> None:
    """Promise: what servers do differently means the same."""
    assert look(whole_of(begun((Api.MESSAGES, Api.CHAT)), answer)) == expected


def test_an_error_in_place_of_the_answer() -> None:
    """Promise: an error with status 200 is no answer."""
    for way in (*ON_CHAT, *ON_CLAUDE):
        with pytest.raises(ValueError, match="too busy"):
            begun(way).whole(b'{"type": "error", "error": {"type": "x", "message": "too busy"}}')
