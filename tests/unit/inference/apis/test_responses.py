"""The official OpenAI client's Responses API, on models that are asked otherwise."""

from __future__ import annotations

import json
from typing import Any

import openai
import pydantic
import pytest
from openai.types.responses import Response

from tests.unit.inference.apis.foreign import NOW, Foreign
from tests.unit.inference.apis.test_anthropic_client import PNG

MODELS = pytest.mark.parametrize("model", ["local", "claude-sonnet-4-5"])
TOOLS: Any = [
    {
        "type": "function",
        "name": "clock",
        "description": "Tells the time.",
        "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
        "strict": False,
    }
]


def checked(answer: Response) -> Response:
    Response.model_validate(answer.to_dict(), strict=True)
    return answer


@MODELS
def test_an_answer(ours: openai.OpenAI, foreign: Foreign, model: str) -> None:
    """Promise: words, status and usage with its cached part arrive as a response's."""
    answer = checked(
        ours.responses.create(
            model=model,
            instructions="Be brief.",
            input="[[cached 9]] [[say It is late.]]",
            metadata={"a": "b"},
            max_output_tokens=100,
        )
    )
    assert (answer.output_text, answer.status) == ("It is late.", "completed")
    assert (answer.created_at, answer.model, answer.metadata) == (NOW, model, {"a": "b"})
    assert answer.usage is not None and answer.usage.input_tokens_details.cached_tokens == 9
    assert answer.id.startswith("resp_") and answer.store is False  # type: ignore[attr-defined]
    sent = foreign.upstream
    assert sent["max_tokens"] == 100 and "Be brief." in json.dumps(sent)


@MODELS
def test_it_was_cut_off(ours: openai.OpenAI, model: str) -> None:
    """Promise: an answer that reached its limit is incomplete and says why."""
    answer = checked(ours.responses.create(model=model, input="[[tokens 30]]", max_output_tokens=5))
    assert answer.status == "incomplete" and answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


@MODELS
def test_a_stream(ours: openai.OpenAI, model: str) -> None:
    """Promise: the events come in the order of the original and make the unstreamed answer."""
    asked: Any = {"model": model, "input": "[[think Hm, well.]] [[say Grüße, 世界!]]"}
    with ours.responses.stream(**asked) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:3] == [
        "response.created", "response.in_progress", "response.output_item.added",
    ]  # fmt: skip
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for kind in ("reasoning_text.delta", "output_text.delta", "output_text.done"):
        assert f"response.{kind}" in kinds
    assert kinds.count("response.output_item.added") == kinds.count("response.output_item.done")
    whole = checked(ours.responses.create(**asked))
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert final.output_text == whole.output_text == "Grüße, 世界!"
    shown = [strip(item.to_dict()) for item in whole.output]
    assert [strip(item.to_dict()) for item in final.output] == shown


def strip(item: Any) -> Any:
    """Without what differs: ids are of the answer, and the parser adds a field."""
    item = {name: value for name, value in item.items() if name != "id"}
    for part in item.get("content") or []:
        part.pop("parsed", None)
    return item


@MODELS
@pytest.mark.parametrize("streamed", [False, True])
def test_tools_and_thinking_go_back(
    ours: openai.OpenAI, foreign: Foreign, model: str, streamed: bool
) -> None:
    """Promise: calls made at once come as items, and all items are taken back as input."""
    text = (
        '[[think So.]] [[together]] [[tool clock {"zone": "UTC"}]] [[tool clock {}]] [[say Noon.]]'
    )
    items: list[Any] = [{"role": "user", "content": text}]
    asked: Any = {
        "model": model,
        "input": items,
        "tools": TOOLS,
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    if streamed:
        with ours.responses.stream(**asked) as stream:
            first: Response = stream.get_final_response()
    else:
        first = checked(ours.responses.create(**asked))
    assert [item.type for item in first.output] == ["reasoning", "function_call", "function_call"]
    calls = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in calls] == [{"zone": "UTC"}, {}]
    items += [item.to_dict() for item in first.output]
    for item in items:
        item.pop("parsed_arguments", None)
    for call in calls:
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": "12:00"})
    assert checked(ours.responses.create(**asked)).output_text == "Noon."
    sent = foreign.upstream["messages"]
    if model == "local":
        assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
        assert sent[1]["reasoning_content"] == "So." and len(sent[1]["tool_calls"]) == 2
    else:
        kinds = [block["type"] for block in sent[1]["content"]]
        assert kinds == ["thinking", "tool_use", "tool_use"]
        assert sent[1]["content"][0]["signature"].startswith("sig")


class Reply(pydantic.BaseModel):
    city: str
    people: int


@MODELS
def test_answers_of_a_shape(ours: openai.OpenAI, model: str) -> None:
    """Promise: the client's parser gets an answer of the shape it asked for."""
    answer = ours.responses.parse(
        model=model, input='[[raw {"city": "Ulm", "people": 130000}]]', text_format=Reply
    )
    assert answer.output_parsed == Reply(city="Ulm", people=130_000)


@MODELS
def test_pictures(ours: openai.OpenAI, model: str) -> None:
    """Promise: pictures reach the model."""
    parts: Any = [
        {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        {"type": "input_text", "text": "[[images]]"},
    ]
    answer = ours.responses.create(model=model, input=[{"role": "user", "content": parts}])
    assert answer.output_text == "image/png of 70 bytes"


@MODELS
@pytest.mark.parametrize("directive", ["[[error 2]]", "[[short 2]]", "[[cut 2]]"])
def test_broken_streams(ours: openai.OpenAI, model: str, directive: str) -> None:
    """Promise: a stream that breaks ends in `response.failed`, never in `response.completed`."""
    asked: Any = {"model": model, "input": f"{directive} [[say one two three four]]"}
    with ours.responses.create(**asked, stream=True) as stream:
        events = list(stream)
    last: Any = events[-1]
    assert last.type == "response.failed"
    assert last.response.error.message and last.response.status == "failed"
    assert last.response.output[0].content[0].text == "one two"
    assert [event.sequence_number for event in events] == list(range(len(events)))


@MODELS
def test_errors(ours: openai.OpenAI, model: str) -> None:
    """Promise: an error in place of an answer has the client's class."""
    with pytest.raises(openai.RateLimitError):
        ours.responses.create(model=model, input="[[fail 429]]")


def test_what_would_have_to_be_kept(ours: openai.OpenAI) -> None:
    """Promise: what is not kept cannot be gone on from, and the error says what to do."""
    with pytest.raises(openai.BadRequestError, match="send the whole conversation") as caught:
        ours.responses.create(model="local", input="hi", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
