"""The official Anthropic client on a model that is asked in chat/completions."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pydantic
import pytest
from anthropic import beta_tool
from anthropic.types import Message

from tests.unit.inference.apis.foreign import Foreign

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5Er"
    "kJggg=="
)
TOOLS: Any = [
    {
        "name": "clock",
        "description": "Tells the time.",
        "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}},
        "cache_control": {"type": "ephemeral"},
    }
]


def ask(client: anthropic.Anthropic, text: Any, **more: Any) -> Message:
    messages: Any = [{"role": "user", "content": text}]
    given: Any = {"model": "local", "max_tokens": 200, "messages": messages}
    answer: Message = client.messages.create(**(given | more))
    Message.model_validate(answer.to_dict(), strict=True)
    return answer


def test_an_answer(theirs: anthropic.Anthropic, foreign: Foreign) -> None:
    """Promise: words, reason to stop and usage with its cached part arrive as Anthropic's."""
    answer = ask(
        theirs,
        [{"type": "text", "text": "[[cached 9]] [[say It is late.]]"}],
        system=[
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be kind."},
        ],
        stop_sequences=["END"],
        metadata={"user_id": "u1"},
        extra_body={"temperature": 0.5, "top_k": 5},  # newer clients have no name for them
    )
    assert [block.to_dict() for block in answer.content] == [
        {"type": "text", "text": "It is late."}
    ]
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert answer.usage.cache_read_input_tokens == 9 and answer.usage.output_tokens == 3
    sent = foreign.upstream
    assert sent["messages"][0] == {"role": "system", "content": "Be brief.\n\nBe kind."}
    assert (sent["temperature"], sent["stop"], sent["user"]) == (0.5, ["END"], "u1")
    assert sent["top_k"] == 5, "a field that chat servers may know goes on as it is"


def test_it_was_cut_off(theirs: anthropic.Anthropic) -> None:
    """Promise: an answer that reached its limit says so."""
    assert ask(theirs, "[[tokens 30]]", max_tokens=5).stop_reason == "max_tokens"


def test_a_stream(theirs: anthropic.Anthropic) -> None:
    """Promise: the stream helper makes the same message of the events as comes unstreamed."""
    text = "[[cached 4]] [[think Hm, well.]] [[say Grüße, 世界!]]"
    with theirs.messages.stream(
        model="local", max_tokens=50, messages=[{"role": "user", "content": text}]
    ) as stream:
        kinds = [event.type for event in stream]
        streamed = stream.get_final_message()
    whole = ask(theirs, text, max_tokens=50)
    assert [block.to_dict() for block in streamed.content] == [
        block.to_dict() for block in whole.content
    ]
    assert streamed.usage.to_dict() == whole.usage.to_dict()
    assert (streamed.stop_reason, streamed.id[:4]) == ("end_turn", "msg_")
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"
    assert "thinking" in kinds and "signature" in kinds and "text" in kinds


def test_thinking_comes_back_to_the_one_that_thought(
    theirs: anthropic.Anthropic, foreign: Foreign
) -> None:
    """Promise: a local model gets its earlier thinking; what Claude has signed it does not get."""
    first = ask(theirs, "[[think Let me see.]] [[say Two.]]")
    signed = {"type": "thinking", "thinking": "other", "signature": "EqQBCgIYAhIM"}
    messages: Any = [
        {"role": "user", "content": "one plus one"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "sure?"},
        {"role": "assistant", "content": [signed, {"type": "text", "text": "Yes."}]},
        {"role": "user", "content": "thanks"},
    ]
    theirs.messages.create(model="local", max_tokens=50, messages=messages)
    sent = foreign.upstream["messages"]
    assert sent[1] == {
        "role": "assistant",
        "content": "Two.",
        "reasoning_content": "Let me see.",
    }
    assert sent[3] == {"role": "assistant", "content": "Yes."}


def test_our_mark_never_reaches_claude(theirs: anthropic.Anthropic, foreign: Foreign) -> None:
    """Promise: a conversation begun with a local model goes on with Claude."""
    first = ask(theirs, "[[think Let me see.]] [[say Two.]]")
    messages: Any = [
        {"role": "user", "content": "one plus one"},
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": "[[say Yes.]] sure?"},
    ]
    answer = theirs.messages.create(model="claude-x", max_tokens=50, messages=messages)
    assert answer.content[0].to_dict() == {"type": "text", "text": "Yes."}
    assert "thinking" not in json.dumps(foreign.upstream)


def test_pictures(theirs: anthropic.Anthropic, foreign: Foreign) -> None:
    """Promise: pictures in a message and in a tool's result reach the model in their order."""
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    picture = {"type": "image", "source": source}
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.jpg"}}
    said = ask(theirs, [picture, linked, {"type": "text", "text": "[[images]]"}])
    assert said.content[0].to_dict()["text"] == "image/png of 70 bytes; https://example.org/a.jpg"
    messages: Any = [
        {"role": "user", "content": "[[tool look]] [[images]]"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [picture]}],
        },
    ]
    theirs.messages.create(model="local", max_tokens=50, messages=messages)
    result, shown = foreign.upstream["messages"][2:]
    assert result["role"] == "tool" and result["tool_call_id"] == "toolu_1"
    assert shown["content"][1]["image_url"]["url"].endswith(PNG)


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_at_once(theirs: anthropic.Anthropic, foreign: Foreign, streamed: bool) -> None:
    """Promise: calls made at once are blocks in order; their results go back to their calls."""
    text = '[[together]] [[tool clock {"zone": "UTC"}]] [[tool clock {}]] [[say Noon.]]'
    messages: list[Any] = [{"role": "user", "content": text}]
    asked: Any = {"model": "local", "max_tokens": 90, "messages": messages, "tools": TOOLS}
    if streamed:
        with theirs.messages.stream(**asked) as stream:
            first = stream.get_final_message()
    else:
        first = theirs.messages.create(**asked)
    assert first.stop_reason == "tool_use"
    uses = [block for block in first.content if block.type == "tool_use"]
    assert [use.input for use in uses] == [{"zone": "UTC"}, {}]
    assert uses[0].id != uses[1].id
    results: Any = [
        {"type": "tool_result", "tool_use_id": uses[1].id, "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": uses[0].id, "content": "12:00"},
        {"type": "text", "text": "go on"},
    ]
    messages += [{"role": "assistant", "content": first.content}]
    messages += [{"role": "user", "content": results}]
    theirs.messages.create(**asked)
    sent = foreign.upstream["messages"]
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert sent[2] == {"role": "tool", "tool_call_id": uses[1].id, "content": "[tool error] no"}
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == '{"zone":"UTC"}'
    assert "cache_control" not in json.dumps(sent)


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "clock"}, {"type": "function", "function": {"name": "clock"}}),
    ],
)
def test_the_choice_of_tools(
    theirs: anthropic.Anthropic, foreign: Foreign, choice: Any, made: Any
) -> None:
    """Promise: each way to choose tools has its counterpart."""
    ask(theirs, "hi", tools=TOOLS, tool_choice=choice)
    assert foreign.upstream["tool_choice"] == made
    assert "parallel_tool_calls" not in foreign.upstream
    if choice["type"] != "none":
        ask(theirs, "hi", tools=TOOLS, tool_choice=choice | {"disable_parallel_tool_use": True})
        assert foreign.upstream["parallel_tool_calls"] is False


def test_the_tool_runner(theirs: anthropic.Anthropic) -> None:
    """Promise: the client's own loop of tools comes to its end."""

    @beta_tool
    def clock(zone: str) -> str:
        """Tells the time.

        Args:
            zone: Where.
        """
        return f"noon in {zone}"

    runner = theirs.beta.messages.tool_runner(
        model="local",
        max_tokens=100,
        tools=[clock],
        messages=[{"role": "user", "content": '[[tool clock {"zone": "UTC"}]] [[say Done.]]'}],
    )
    assert runner.until_done().content[0].to_dict()["text"] == "Done."


class Reply(pydantic.BaseModel):
    city: str
    people: int


def test_answers_of_a_shape(theirs: anthropic.Anthropic, foreign: Foreign) -> None:
    """Promise: the client's parser gets an answer of the shape it asked for."""
    text = '[[raw {"city": "Ulm", "people": 130000}]]'
    answer = theirs.messages.parse(
        model="local",
        max_tokens=100,
        messages=[{"role": "user", "content": text}],
        output_format=Reply,
    )
    assert answer.parsed_output == Reply(city="Ulm", people=130_000)
    shape = foreign.upstream["response_format"]
    assert shape["json_schema"]["schema"]["required"] == ["city", "people"]


def test_effort(theirs: anthropic.Anthropic, foreign: Foreign) -> None:
    """Promise: how hard to think is told in the words the model's server has."""
    ask(theirs, "hi", thinking={"type": "enabled", "budget_tokens": 2000}, max_tokens=4000)
    assert foreign.upstream["reasoning_effort"] == "low"
    ask(theirs, "hi", thinking={"type": "adaptive"}, output_config={"effort": "max"})
    assert foreign.upstream["reasoning_effort"] == "high"
    ask(theirs, "hi", model="gpt-5.2", output_config={"effort": "xhigh"})
    assert foreign.upstream["reasoning_effort"] == "xhigh"
    assert foreign.upstream["max_completion_tokens"] == 200
    ask(theirs, "hi", model="gpt-4o", output_config={"effort": "high"})
    assert "reasoning_effort" not in foreign.upstream


@pytest.mark.parametrize(
    ("directive", "kind", "error"),
    [
        ("[[fail 429]]", "rate_limit_error", anthropic.RateLimitError),
        ("[[fail 500]]", "api_error", anthropic.InternalServerError),
        ("[[fail 400]]", "invalid_request_error", anthropic.BadRequestError),
        ("[[garbage]]", "api_error", anthropic.InternalServerError),
    ],
)
def test_errors(theirs: anthropic.Anthropic, directive: str, kind: str, error: Any) -> None:
    """Promise: errors of the model's server have Anthropic's shape and the client's class."""
    with pytest.raises(error) as caught:
        ask(theirs, directive)
    assert isinstance(caught.value, anthropic.APIStatusError)
    body: Any = caught.value.body
    assert body["type"] == "error" and body["error"]["type"] == kind


@pytest.mark.parametrize("directive", ["[[error 2]]", "[[short 2]]", "[[cut 2]]", "[[garbage]]"])
def test_broken_streams(theirs: anthropic.Anthropic, directive: str) -> None:
    """Promise: a stream that breaks is never made whole: the client raises."""
    said = ""
    with (
        pytest.raises(anthropic.APIError),
        theirs.messages.stream(
            model="local",
            max_tokens=50,
            messages=[{"role": "user", "content": f"{directive} [[say one two three four]]"}],
        ) as stream,
    ):
        for text in stream.text_stream:
            said += text
    assert said in ("one two", "")


def test_counting(theirs: anthropic.Anthropic) -> None:
    """Promise: tokens are counted by estimate, more for more, and marked as an estimate."""

    def count(text: Any, **more: Any) -> int:
        counted = theirs.messages.count_tokens(
            model="local", messages=[{"role": "user", "content": text}], **more
        )
        assert counted.to_dict()["stead"] == {"estimated": True, "by": "its letters"}
        return counted.input_tokens

    short = count("How are you?")
    assert 4 <= short <= 12
    assert count("How are you? " * 100) > 250
    assert count("How are you?", tools=TOOLS) > short + 10
    assert count("你好吗" * 100) > 150
