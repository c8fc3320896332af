"""The official OpenAI client on a model that is asked in Anthropic's messages."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.unit.inference.apis.foreign import NOW, Foreign
from tests.unit.inference.apis.test_anthropic_client import PNG

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "clock",
            "description": "Tells the time.",
            "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
        },
    }
]
CLAUDE = "claude-sonnet-4-5"


def ask(client: openai.OpenAI, text: Any, **more: Any) -> ChatCompletion:
    messages: Any = [{"role": "user", "content": text}]
    given: Any = {"model": CLAUDE, "messages": messages}
    answer: ChatCompletion = client.chat.completions.create(**(given | more))
    ChatCompletion.model_validate(answer.to_dict(), strict=True)
    return answer


def test_an_answer(ours: openai.OpenAI, foreign: Foreign) -> None:
    """Promise: words, finish and usage with its cached part arrive as a chat completion's."""
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "[[cached 9]] [[say It is late.]]"},
    ]
    answer = ask(
        ours, "", messages=messages, temperature=0.5, top_p=1, stop="END", user="u1", seed=7, n=1
    )
    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("It is late.", "stop")
    assert (answer.created, answer.model, answer.id[:9]) == (NOW, CLAUDE, "chatcmpl-")
    assert answer.usage is not None and answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 9
    assert answer.usage.prompt_tokens > 9
    assert foreign.upstream == {
        "model": CLAUDE,
        "messages": [{"role": "user", "content": "[[cached 9]] [[say It is late.]]"}],
        "system": "Be brief.",
        "max_tokens": 32_000,
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "metadata": {"user_id": "u1"},
    }
    assert foreign.app.last is not None and foreign.app.last.usage is not None
    assert foreign.app.last.usage.cached_tokens == 9


def test_it_was_cut_off(ours: openai.OpenAI) -> None:
    """Promise: an answer that reached its limit says so."""
    answer = ask(ours, "[[tokens 30]]", max_completion_tokens=5)
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("told", [False, True])
def test_a_stream(ours: openai.OpenAI, told: bool) -> None:
    """Promise: the stream has the same words and thinking, and usage for who asks for it."""
    text, thought, kept, finish, usage = "", "", [], None, None
    more: Any = {"stream_options": {"include_usage": True}} if told else {}
    with ours.chat.completions.create(
        model=CLAUDE,
        messages=[{"role": "user", "content": "[[think Hm, well.]] [[say Grüße, 世界!]]"}],
        stream=True,
        **more,
    ) as stream:
        for chunk in stream:
            ChatCompletionChunk.model_validate(chunk.to_dict(), strict=True)
            usage = chunk.usage or usage
            for choice in chunk.choices:
                extra = choice.delta.model_extra or {}
                text += choice.delta.content or ""
                thought += extra.get("reasoning_content", "")
                kept += extra.get("thinking_blocks", [])
                finish = choice.finish_reason or finish
    assert (text, thought, finish) == ("Grüße, 世界!", "Hm, well.", "stop")
    assert len(kept) == 1 and kept[0]["thinking"] == "Hm, well."
    assert (usage is not None) is told


def test_signed_thinking_goes_back(ours: openai.OpenAI, foreign: Foreign) -> None:
    """Promise: Claude gets its thinking back as signed, when the client returns the message."""
    first = ask(ours, "[[think Let me see.]] [[tool clock {}]]", tools=TOOLS)
    message = first.choices[0].message
    assert message.tool_calls is not None
    messages: Any = [
        {"role": "user", "content": "[[tool clock {}]] [[say Noon.]]"},
        message.to_dict(),
        {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "12:00"},
    ]
    answer = ours.chat.completions.create(
        model=CLAUDE, messages=messages, tools=TOOLS, reasoning_effort="low"
    )
    assert answer.choices[0].message.content == "Noon."
    kinds = [block["type"] for block in foreign.upstream["messages"][1]["content"]]
    assert kinds == ["thinking", "tool_use"]
    assert foreign.upstream["thinking"] == {"type": "enabled", "budget_tokens": 2048}


def test_effort(ours: openai.OpenAI, foreign: Foreign) -> None:
    """Promise: how hard to think is told as the model takes it, or not at all."""
    for model in ("claude-opus-4-7", "claude-fable-5", "anthropic/claude-sonnet-4-6"):
        ask(ours, "hi", model=model.split("/")[-1], reasoning_effort="xhigh")
        assert foreign.upstream["thinking"] == {"type": "adaptive"}
        assert foreign.upstream["output_config"] == {"effort": "xhigh"}
    for model in ("claude-sonnet-4-20250514", "claude-haiku-4-5-20251001", "claude-3-7-sonnet"):
        ask(ours, "hi", model=model, reasoning_effort="medium")
        assert foreign.upstream["thinking"] == {"type": "enabled", "budget_tokens": 8192}
    ask(ours, "hi", reasoning_effort="high", max_tokens=500)
    assert "thinking" not in foreign.upstream, "there is no room to think"
    ask(ours, "hi", tools=TOOLS, tool_choice="required", reasoning_effort="high")
    assert "thinking" not in foreign.upstream, "a tool that must be called leaves no room either"
    shape: Any = {"type": "json_object"}
    ask(ours, "hi", model="claude-opus-5", response_format=shape, reasoning_effort="low")
    assert "thinking" not in foreign.upstream
    assert foreign.upstream["output_config"] == {"effort": "low"}
    ask(ours, "hi", extra_body={"thinking": {"type": "disabled"}}, reasoning_effort="high")
    assert foreign.upstream["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_at_once(ours: openai.OpenAI, foreign: Foreign, streamed: bool) -> None:
    """Promise: calls made at once keep their order and arguments; results go back together."""
    text = '[[together]] [[tool clock {"zone": "UTC"}]] [[tool clock {}]] [[say Noon.]]'
    messages: list[Any] = [{"role": "user", "content": text}]
    if streamed:
        with ours.chat.completions.stream(model=CLAUDE, messages=messages, tools=TOOLS) as stream:
            first = stream.get_final_completion().choices[0]
    else:
        first = ask(ours, text, tools=TOOLS).choices[0]  # type: ignore[assignment]
    calls: Any = first.message.tool_calls
    assert first.finish_reason == "tool_calls" and first.message.content in (None, "")
    assert [json.loads(call.function.arguments) for call in calls] == [{"zone": "UTC"}, {}]
    messages.append({"role": "assistant", "tool_calls": [call.to_dict() for call in calls]})
    for call in calls:
        call_id = call.id
        messages.append({"role": "tool", "tool_call_id": call_id, "content": "12:00"})
    messages.append({"role": "user", "content": "go on"})
    for message in messages[1]["tool_calls"]:
        message["function"].pop("parsed_arguments", None)
    answer = ours.chat.completions.create(model=CLAUDE, messages=messages, tools=TOOLS)
    assert answer.choices[0].message.content is not None
    turns = foreign.upstream["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["type"] for block in turns[2]["content"]] == [
        "tool_result",
        "tool_result",
        "text",
    ]


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", {"type": "auto"}),
        ("required", {"type": "any"}),
        ("none", {"type": "none"}),
        ({"type": "function", "function": {"name": "clock"}}, {"type": "tool", "name": "clock"}),
    ],
)
def test_the_choice_of_tools(ours: openai.OpenAI, foreign: Foreign, choice: Any, made: Any) -> None:
    """Promise: each way to choose tools has its counterpart."""
    ask(ours, "hi", tools=TOOLS, tool_choice=choice)
    assert foreign.upstream["tool_choice"] == made
    ask(ours, "hi", tools=TOOLS, tool_choice=choice, parallel_tool_calls=False)
    one = {} if made["type"] == "none" else {"disable_parallel_tool_use": True}
    assert foreign.upstream["tool_choice"] == made | one


def test_only_the_allowed_tools(ours: openai.OpenAI, foreign: Foreign) -> None:
    """Promise: of a list of allowed tools the others are left out."""
    other = {"type": "function", "function": {"name": "other", "parameters": {}}}
    named = [{"type": "function", "function": {"name": "clock"}}]
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": named}}
    ask(ours, "hi", tools=[*TOOLS, other], tool_choice=allowed)
    assert [tool["name"] for tool in foreign.upstream["tools"]] == ["clock"]
    assert foreign.upstream["tool_choice"] == {"type": "any"}


def test_odd_ids_of_calls(ours: openai.OpenAI, foreign: Foreign) -> None:
    """Promise: ids of another model's calls are made such as Anthropic takes, and stay apart."""
    calls = [
        {"id": f"functions.clock:{n}", "type": "function",
         "function": {"name": "clock", "arguments": ""}} for n in range(2)
    ]  # fmt: skip
    messages: Any = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "functions.clock:1", "content": "b"},
        {"role": "tool", "tool_call_id": "functions.clock:0", "content": "a"},
    ]
    ask(ours, "", messages=messages, tools=TOOLS)
    uses, results = (turn["content"] for turn in foreign.upstream["messages"][1:])
    assert [use["id"] for use in uses] == [result["tool_use_id"] for result in results[::-1]]
    assert len({use["id"] for use in uses}) == 2
    assert all(use["id"].replace("_", "").replace("-", "").isalnum() for use in uses)


def test_pictures_and_files(ours: openai.OpenAI, foreign: Foreign) -> None:
    """Promise: pictures by data and by address, and PDF files, reach Claude."""
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.jpg", "detail": "low"}},
        {"type": "text", "text": "[[images]]"},
    ]
    answer = ask(ours, parts)
    assert answer.choices[0].message.content == ("image/png of 70 bytes; https://example.org/a.jpg")
    data = "data:application/pdf;base64,JVBERi0="
    ask(ours, [{"type": "file", "file": {"filename": "a.pdf", "file_data": data}}])
    document = foreign.upstream["messages"][0]["content"][0]
    assert document["title"] == "a.pdf"
    assert document["source"] == {
        "type": "base64", "media_type": "application/pdf", "data": "JVBERi0=",
    }  # fmt: skip


class Reply(pydantic.BaseModel):
    city: str
    people: int


def test_answers_of_a_shape(ours: openai.OpenAI, foreign: Foreign) -> None:
    """Promise: the client's parser gets an answer of the shape it asked for."""
    text: Any = [{"role": "user", "content": '[[raw {"city": "Ulm", "people": 130000}]]'}]
    answer = ours.chat.completions.parse(model=CLAUDE, messages=text, response_format=Reply)
    assert answer.choices[0].message.parsed == Reply(city="Ulm", people=130_000)
    shape = foreign.upstream["output_config"]["format"]
    assert shape["type"] == "json_schema" and shape["schema"]["required"] == ["city", "people"]


@pytest.mark.parametrize("streamed", [False, True])
def test_any_json_object(ours: openai.OpenAI, foreign: Foreign, streamed: bool) -> None:
    """Promise: a JSON object of no given shape comes as the text of the answer."""
    text = '[[tool json_answer {"city": "Ulm"}]]'
    if streamed:
        said, finish = "", None
        for chunk in ours.chat.completions.create(
            model=CLAUDE,
            messages=[{"role": "user", "content": text}],
            response_format={"type": "json_object"},
            stream=True,
        ):
            said += chunk.choices[0].delta.content or ""
            finish = chunk.choices[0].finish_reason or finish
            assert not chunk.choices[0].delta.tool_calls
    else:
        choice = ask(ours, text, response_format={"type": "json_object"}).choices[0]
        said, finish = choice.message.content or "", choice.finish_reason
        assert choice.message.tool_calls is None
    assert (json.loads(said), finish) == ({"city": "Ulm"}, "stop")
    assert foreign.upstream["tool_choice"]["type"] == "tool"


@pytest.mark.parametrize(
    ("directive", "kind", "error"),
    [
        ("[[fail 429]]", "rate_limit_error", openai.RateLimitError),
        ("[[fail 529]]", "server_error", openai.InternalServerError),
        ("[[fail 400]]", "invalid_request_error", openai.BadRequestError),
        ("[[garbage]]", "server_error", openai.InternalServerError),
    ],
)
def test_errors(ours: openai.OpenAI, directive: str, kind: str, error: Any) -> None:
    """Promise: errors of Anthropic have OpenAI's shape and the client's class."""
    with pytest.raises(error) as caught:
        ask(ours, directive)
    assert isinstance(caught.value, openai.APIStatusError)
    assert caught.value.type == kind and caught.value.code


@pytest.mark.parametrize("directive", ["[[error 2]]", "[[short 2]]", "[[cut 2]]", "[[garbage]]"])
def test_broken_streams(ours: openai.OpenAI, directive: str) -> None:
    """Promise: a stream that breaks is never made whole: the client raises."""
    said = ""
    with pytest.raises(openai.APIError):
        for chunk in ours.chat.completions.create(
            model=CLAUDE,
            messages=[{"role": "user", "content": f"{directive} [[say one two three four]]"}],
            stream=True,
        ):
            said += chunk.choices[0].delta.content or ""
            assert chunk.choices[0].finish_reason is None
    assert said in ("one two", "")


@pytest.mark.parametrize("model", ["local", CLAUDE])
def test_legacy_completions(ours: openai.OpenAI, foreign: Foreign, model: str) -> None:
    """Promise: the old way of asking works on both, whole and streamed."""
    answer = ours.completions.create(model=model, prompt="[[say one two]]", echo=True, max_tokens=9)
    assert answer.choices[0].text == "[[say one two]]one two"
    assert answer.choices[0].finish_reason == "stop" and answer.usage is not None
    said, finish = "", None
    for chunk in ours.completions.create(
        model=model, prompt=["[[tokens 40]]"], stream=True, stream_options={"include_usage": True}
    ):
        for choice in chunk.choices:
            said += choice.text
            finish = choice.finish_reason or finish
        usage = chunk.usage
    assert len(said.split()) == 16 and finish == "length", "the API's own limit"
    assert usage is not None and usage.completion_tokens == 16
