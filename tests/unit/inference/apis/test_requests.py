"""Requests: what is refused by name, what passes, and what comes back the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.core.errors import BadRequest
from stead.inference.apis import count, errors, responses_request, table
from stead.inference.apis.base import Json
from stead.inference.seam import Api, Asked
from tests.unit.inference.apis.test_streams import ASKED

TOOL: Json = {"name": "f", "input_schema": {"type": "object"}}
FUNCTION: Json = {"type": "function", "function": {"name": "f", "parameters": {}}}
HI: Json = {"role": "user", "content": "hi"}


def sent(client: Api, backend: Api, **more: Any) -> Any:
    """What the backend gets."""
    asked = {"model": "m", **ASKED[client], **more}
    asked = {name: value for name, value in asked.items() if value != "left out"}
    made = table.translator(client, backend).request(json.dumps(asked).encode(), "m")
    return json.loads(made)


def block(kind: str, **more: Any) -> Json:
    return {"messages": [{"role": "user", "content": [{"type": kind, **more}]}]}


USE: Json = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
RESULT: Json = {"type": "tool_result", "tool_use_id": "a", "content": "x"}
ON_CHAT: list[tuple[Json, str]] = [
    ({"max_tokens": "left out"}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "9"}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [HI, {"role": "assistant", "content": "The"}]}, "messages[1]"),
    (block("server_tool_use"), "messages[0].content[0].type"),
    (block("text"), "messages[0].content[0].text"),
    (block("image", source={"type": "file", "file_id": "x"}), "messages[0].content[0].source.type"),
    (block("document", source={"type": "url"}), "messages[0].content[0].source.type"),
    (
        block("document", source={"type": "text", "data": "x"}, citations={"enabled": True}),
        "messages[0].content[0].citations",
    ),
    ({"messages": [{"role": "user", "content": [RESULT]}]}, "messages[0].content[0].tool_use_id"),
    (
        {"messages": [HI, {"role": "assistant", "content": [USE]}, HI]},
        "messages[1].content[0]",
    ),
    (
        {"messages": [HI, {"role": "assistant", "content": [USE]},
                      {"role": "user", "content": [RESULT, RESULT]}]},
        "messages[2].content[1].tool_use_id",
    ),
    ({"tools": [{"type": "web_search_20260209", "name": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
    ({"tools": [TOOL | {"allowed_callers": ["code_execution_20260120"]}]},
     "tools[0].allowed_callers"),
    ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
    ({"tool_choice": "auto"}, "tool_choice"),
    ({"temperature": 1.5}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"container": "c"}, "container"),
    ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
    ({"inference_geo": "us"}, "inference_geo"),
    ({"compaction": {}, "thread": {"type": "create"}}, "thread"),
    ({"output_config": {"effort": "huge"}}, "output_config.effort"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
    ({"output_config": {"new": 1}}, "output_config.new"),
    ({"system": [{"type": "image"}]}, "system[0].type"),
    ({"stream": "yes"}, "stream"),
    ({"stop_sequences": ["a", 1]}, "stop_sequences[1]"),
    ({"stop": ["x"], "stop_sequences": ["y"]}, "stop"),
]  # fmt: skip
CALLS: Json = {
    "role": "assistant",
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
ON_CLAUDE: list[tuple[Json, str]] = [
    ({"n": 2}, "n"),
    ({"logprobs": True}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logit_bias": {"1": 5}}, "logit_bias"),
    ({"presence_penalty": 0.5}, "presence_penalty"),
    ({"frequency_penalty": -0.5}, "frequency_penalty"),
    ({"temperature": 1.2}, "temperature"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"functions": [{"name": "f"}]}, "functions"),
    ({"web_search_options": {"search_context_size": "low"}}, "web_search_options"),
    ({"verbosity": "low"}, "verbosity"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"reasoning_effort": "much"}, "reasoning_effort"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ({"response_format": {"type": "json_object"}, "tools": [FUNCTION]}, "response_format.type"),
    ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type"),
    ({"tool_choice": "perhaps"}, "tool_choice"),
    ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
    ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
    ({"messages": [HI, {"role": "assistant", "content": "The"}]}, "messages[1]"),
    ({"messages": [HI, {"role": "tool", "tool_call_id": "z", "content": "x"}]},
     "messages[1].tool_call_id"),
    ({"messages": [HI, CALLS, HI]}, "messages[1].tool_calls[0]"),
    ({"messages": [HI, CALLS]}, "messages[1].tool_calls[0]"),
    (block("input_audio"), "messages[0].content[0].type"),
    (block("file", file={"file_id": "x"}), "messages[0].content[0].file"),
    (block("image_url", image_url={"url": "data:image/png,x"}),
     "messages[0].content[0].image_url.url"),
    ({"system": "x", "messages": [{"role": "system", "content": "y"}, HI]}, "system"),
]  # fmt: skip
OUTPUT: Json = {"type": "function_call_output", "call_id": "z", "output": "x"}
ON_RESPONSES: list[tuple[Json, str]] = [
    ({"input": []}, "input"),
    ({"input": "left out"}, "input"),
    ({"previous_response_id": "r"}, "previous_response_id"),
    ({"conversation": "c"}, "conversation"),
    ({"background": True}, "background"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"include": ["message.output_text.logprobs"]}, "include[0]"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "custom", "name": "x"}]}, "tools[0].type"),
    ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
    ({"input": [{"type": "computer_call"}]}, "input[0].type"),
    ({"input": [HI, OUTPUT]}, "input[1].call_id"),
    ({"input": [HI, {"type": "function_call", "call_id": "z", "name": "f", "arguments": "{}"}]},
     "input[1]"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "x"}]}]},
     "input[0].content[0].file_id"),
]  # fmt: skip
ON_COMPLETIONS: list[tuple[Json, str]] = [
    ({"prompt": ["a", "b"]}, "prompt"),
    ({"prompt": [1, 2]}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"suffix": "x"}, "suffix"),
    ({"logprobs": 1}, "logprobs"),
    ({"best_of": 3}, "best_of"),
]


@pytest.mark.parametrize(
    ("way", "more", "param"),
    [
        *(((Api.MESSAGES, Api.CHAT), more, param) for more, param in ON_CHAT),
        *(((Api.CHAT, Api.MESSAGES), more, param) for more, param in ON_CLAUDE),
        *(((Api.RESPONSES, Api.CHAT), more, param) for more, param in ON_RESPONSES),
        *(((Api.COMPLETIONS, Api.CHAT), more, param) for more, param in ON_COMPLETIONS),
    ],
)
def test_what_is_refused(way: tuple[Api, Api], more: Json, param: str) -> None:
    """Promise: what cannot be translated is refused by the name of its field, never dropped."""
    with pytest.raises(BadRequest) as refused:
        sent(*way, **more)
    assert refused.value.param == param
    assert refused.value.status == 400
    body = json.loads(errors.told(way[0], refused.value))
    assert body["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000, b"1e9"])
def test_what_is_no_request(body: bytes) -> None:
    """Promise: a body that is no JSON object is refused in words."""
    for client, backend in ((Api.MESSAGES, Api.CHAT), (Api.CHAT, Api.MESSAGES)):
        with pytest.raises(BadRequest, match="JSON"):
            table.translator(client, backend).request(body, "m")


@pytest.mark.parametrize(
    ("client", "backend"),
    [
        (Api.MESSAGES, Api.CHAT),
        (Api.CHAT, Api.MESSAGES),
        (Api.RESPONSES, Api.CHAT),
        (Api.RESPONSES, Api.MESSAGES),
        (Api.COMPLETIONS, Api.CHAT),
    ],
)
def test_unknown_fields_pass(client: Api, backend: Api) -> None:
    """Promise: a field that the client's API does not have goes on as it is."""
    assert sent(client, backend, brand_new={"a": [1.5, None]})["brand_new"] == {"a": [1.5, None]}
    assert sent(client, backend, min_p=0.1)["min_p"] == 0.1


@pytest.mark.parametrize(
    "more",
    [
        {"n": 1, "logprobs": False, "logit_bias": {}, "presence_penalty": 0, "top_logprobs": 0},
        {"temperature": 1, "top_p": 1.0, "modalities": ["text"], "verbosity": "medium"},
        {"seed": 3, "store": True, "metadata": {"a": "b"}, "service_tier": "auto"},
        {"tool_choice": "none", "parallel_tool_calls": False, "response_format": {"type": "text"}},
        {"stop": None, "tools": None, "max_completion_tokens": None, "user": None, "n": None},
        {"tools": [], "stop": [], "reasoning_effort": "none", "stream": None},
    ],
)
def test_what_changes_nothing_is_left_out(more: Json) -> None:
    """Promise: what says `as usual`, or nothing about the answer, is no reason to refuse."""
    assert sent(Api.CHAT, Api.MESSAGES, **more) == sent(Api.CHAT, Api.MESSAGES)


@pytest.mark.parametrize("kind", ["auto", "none"])
def test_a_choice_among_no_tools(kind: str) -> None:
    """Promise: where there are no tools, nothing is said of choosing one."""
    choice = {"type": kind, "disable_parallel_tool_use": kind == "auto"}
    made = sent(Api.MESSAGES, Api.CHAT, tool_choice=choice)
    assert made == sent(Api.MESSAGES, Api.CHAT)


def test_system_prompts_come_first() -> None:
    """Promise: system and developer messages go first, with their marks for the cache."""
    mark = {"type": "ephemeral"}
    part = {"type": "text", "text": "b", "cache_control": mark}
    messages = [
        {"role": "system", "content": "a"},
        HI,
        {"role": "developer", "content": [part]},
    ]
    made = sent(Api.CHAT, Api.MESSAGES, messages=messages)
    assert made["system"] == [{"type": "text", "text": "a"}, part]
    assert made["messages"] == [HI]


def test_sealed_thinking_goes_to_its_own_kind_only() -> None:
    """Promise: what Claude signed goes to Claude, what another thought to others, noise nowhere."""
    block = {"type": "thinking", "thinking": "t", "signature": "sig"}
    for sealed, on_chat, on_claude in (
        (responses_request.seal("t", [block]), None, [block]),
        (responses_request.seal("t", []), "t", None),
        ("gAAAA-of-openai", None, None),
        ("stead1.!!!", None, None),
    ):
        item = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": sealed}
        own = {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]}
        items = [HI, item, own, HI]
        (said,) = (m for m in chat_messages(items, claude=False) if m["role"] == "assistant")
        assert said.get("reasoning_content") == on_chat and "thinking_blocks" not in said
        (said,) = (m for m in chat_messages(items, claude=True) if m["role"] == "assistant")
        assert said.get("thinking_blocks") == on_claude and "reasoning_content" not in said


def chat_messages(items: list[Json], *, claude: bool) -> list[Json]:
    made = responses_request.to_chat({"model": "m", "input": items}, "m", claude=claude)
    return list(made["messages"])


def test_documents_reach_chat_servers() -> None:
    """Promise: a PDF is a file there, and a text is text with its title."""
    pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    text = {"type": "text", "media_type": "text/plain", "data": "Once."}
    content = [
        {"type": "document", "source": pdf, "title": "a.pdf"},
        {"type": "document", "source": text, "title": "Tale"},
        {"type": "search_result", "source": "https://example.org", "title": "T",
         "content": [{"type": "text", "text": "found"}]},
    ]  # fmt: skip
    made = sent(Api.MESSAGES, Api.CHAT, messages=[{"role": "user", "content": content}])
    assert made["messages"][0]["content"] == [
        {"type": "file",
         "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "text", "text": "Tale"},
        {"type": "text", "text": "Once."},
        {"type": "text", "text": "T (https://example.org)\nfound"},
    ]  # fmt: skip


def test_a_thread_is_refused_so_that_its_client_goes_on_without() -> None:
    """Promise: the refusal says in the client's own words that all messages must be sent."""
    with pytest.raises(BadRequest) as refused:
        sent(Api.MESSAGES, Api.CHAT, thread={"type": "create"})
    body = json.loads(errors.told(Api.MESSAGES, refused.value))
    assert body["error"]["details"]["error_code"] == "thread_unsupported_request"


def test_there_is_no_way_between_some() -> None:
    """Promise: where there is no translation, the words say what there is."""
    asked = Asked(Api.EMBEDDINGS, b"", "application/json", "m")
    with pytest.raises(BadRequest, match="embeddings"):
        table.for_asked(asked, Api.CHAT)
    assert table.best(Api.RESPONSES, {Api.CHAT, Api.MESSAGES}) is Api.CHAT
    assert table.best(Api.CHAT, {Api.RESPONSES}) is None
    assert table.best(Api.EMBEDDINGS, {Api.EMBEDDINGS}) is Api.EMBEDDINGS


def test_counting_with_a_servers_own_tokens() -> None:
    """Promise: a server is asked about the request as it would be sent, or about all its text; what
    it tells is read with care."""
    body = json.dumps({"model": "m", "messages": [HI], "tools": [TOOL]}).encode()
    chat = json.loads(count.request(body, "qwen"))
    assert chat["model"] == "qwen" and chat["messages"][0]["content"] == "hi" and chat["tools"]
    text, around = count.text(body)
    assert "hi" in text and around == 8
    assert json.loads(count.question(text, "qwen"))["content"] == text
    assert count.told(b'{"tokens": [1, 2, 3]}') == 3
    assert count.prompt(b'{"prompt": "<user>hi"}') == "<user>hi"
    for read in (count.told, count.prompt):
        for odd in (b'{"error": "x"}', b"[]", b"<html>", b'{"tokens": 3, "prompt": 3}'):
            with pytest.raises(ValueError):
                read(odd)


# --- there and back ------------------------------------------------------------------

WORDS = st.text(alphabet='aé世 \n"\\{', min_size=1, max_size=8).filter(str.strip)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
ARGUMENTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=3)
PICTURE: Json = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
}


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    """Messages of Anthropic's, as its API takes them."""
    made: list[Json] = []
    calls = 0
    for _ in range(draw(st.integers(1, 3))):
        content: list[Json] = [{"type": "text", "text": draw(WORDS)}]
        if draw(st.booleans()):
            content.append(PICTURE)
        made.append({"role": "user", "content": content})
        own: list[Json] = [{"type": "text", "text": draw(WORDS)}]
        uses = draw(st.lists(ARGUMENTS, max_size=2))
        for given_arguments in uses:
            calls += 1
            own.append(
                {"type": "tool_use", "id": f"c{calls}", "name": "f", "input": given_arguments}
            )
        made.append({"role": "assistant", "content": own})
        if uses:
            ids = [use["id"] for use in own[1:]]
            results: list[Json] = [
                {"type": "tool_result", "tool_use_id": call, "content": draw(WORDS)}
                for call in draw(st.permutations(ids))
            ]
            made.append({"role": "user", "content": results})
            made.append({"role": "assistant", "content": [{"type": "text", "text": draw(WORDS)}]})
    made.append({"role": "user", "content": [{"type": "text", "text": draw(WORDS)}]})
    return made


def plain(messages: list[Json]) -> list[Json]:
    """With a text alone written as text, however it was."""
    made = []
    for message in messages:
        content = message["content"]
        if isinstance(content, list) and len(content) == 1 and content[0]["type"] == "text":
            content = content[0]["text"]
        made.append({"role": message["role"], "content": content})
    return made


@settings(max_examples=40, deadline=None)
@given(messages=conversations(), system=st.none() | WORDS, most=st.integers(1, 99))
def test_there_and_back(messages: list[Json], system: str | None, most: int) -> None:
    """Promise: a conversation that goes from Anthropic's shape to chat and back is the same."""
    more = {"system": system} if system else {}
    there = sent(Api.MESSAGES, Api.CHAT, messages=messages, max_tokens=most, tools=[TOOL], **more)
    back = sent(Api.CHAT, Api.MESSAGES, **{k: v for k, v in there.items() if k != "model"})
    assert plain(back["messages"]) == plain(messages)
    assert back.get("system") == system
    assert (back["max_tokens"], back["tools"]) == (most, [TOOL])
