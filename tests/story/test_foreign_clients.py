"""Programs that know nothing of stead, at its door, each on models of its own and of others.

The models behind the door are the scripted one, once as a server with OpenAI's API and once as
Anthropic's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from anthropic import beta_tool
from pydantic import BaseModel
from pydantic_ai import Agent, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from stead.inference.scripted import Running, running
from tests.story.house import House, house_in

BACKENDS = """
[[backend]]
name = "home"
url = "{url}"
key_file = "secrets/model.key"
apis = ["chat/completions", "embeddings"]
models = [{{ name = "qwen" }}, {{ name = "e5", apis = ["embeddings"] }}]

[[backend]]
name = "anthropic"
kind = "anthropic"
url = "{url}"
key_file = "secrets/model.key"
models = [{{ name = "claude-sonnet-5" }}]
"""
QWEN, CLAUDE = "qwen", "claude-sonnet-5"
BOTH = pytest.mark.parametrize("model", [QWEN, CLAUDE])


@pytest.fixture(scope="module")
def behind() -> Iterator[Running]:
    """What is behind the door."""
    with running() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def door(behind: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    more = BACKENDS.format(url=behind.url)
    for house in house_in(tmp_path_factory.mktemp("foreign"), model="off", more=more):
        (house.home / "secrets" / "model.key").write_text(behind.key)
        house.start("gateway")
        house.until(house.ready, 30, "the gateway to be ready")
        yield house


def _v1(door: House) -> str:
    return f"http://127.0.0.1:{door.port}/v1"


@pytest.fixture(scope="module")
def ours(door: House) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=_v1(door), api_key=door.key, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def theirs(door: House) -> Iterator[anthropic.Anthropic]:
    url = f"http://127.0.0.1:{door.port}"
    with anthropic.Anthropic(base_url=url, api_key=door.key, max_retries=0) as client:
        yield client


CLOCK: Any = {
    "type": "function",
    "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}},
}


@BOTH
def test_openai_chat(ours: openai.OpenAI, model: str) -> None:
    """An answer, a stream with its usage, and tools made use of."""
    messages: list[Any] = [{"role": "user", "content": "[[tool clock {}]] [[say It is noon.]]"}]
    first = ours.chat.completions.create(model=model, messages=messages, tools=[CLOCK])
    asked = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls" and asked.tool_calls is not None
    messages += [
        asked.to_dict(),
        {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "12:00"},
    ]
    with ours.chat.completions.stream(
        model=model, messages=messages, tools=[CLOCK], stream_options={"include_usage": True}
    ) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "It is noon."
    assert final.usage is not None and final.usage.completion_tokens == 3


@BOTH
def test_openai_responses(ours: openai.OpenAI, model: str) -> None:
    """The newer API, on models whose servers do not have it."""
    whole = ours.responses.create(model=model, input="[[say one two]]", instructions="Be brief.")
    assert (whole.status, whole.output_text) == ("completed", "one two")
    with ours.responses.stream(model=model, input="[[think hm]] [[say one two]]") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert final.output_text == "one two" and final.usage is not None
    assert kinds[0] == "response.created" and kinds[-1] == "response.completed"


def test_openai_embeddings(ours: openai.OpenAI) -> None:
    """Numbers, as many as there are texts."""
    answer = ours.embeddings.create(model="e5", input=["one", "two"])
    assert [len(entry.embedding) for entry in answer.data] == [8, 8]


@BOTH
def test_legacy_completions(ours: openai.OpenAI, model: str) -> None:
    """The oldest API."""
    answer = ours.completions.create(model=model, prompt="[[say one two]]", max_tokens=9)
    assert answer.choices[0].text.strip() == "one two"


@BOTH
def test_anthropic(theirs: anthropic.Anthropic, model: str) -> None:
    """An answer, a stream, the loop of tools, and the count of tokens."""

    @beta_tool
    def clock() -> str:
        """Tells the time."""
        return "12:00"

    said: Any = [{"role": "user", "content": "[[tool clock {}]] [[say It is noon.]]"}]
    runner = theirs.beta.messages.tool_runner(
        model=model, max_tokens=100, tools=[clock], messages=said
    )
    assert runner.until_done().content[0].to_dict()["text"] == "It is noon."
    with theirs.messages.stream(
        model=model,
        max_tokens=100,
        messages=[{"role": "user", "content": "[[think hm]] [[say one two]]"}],
    ) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert final.usage.input_tokens > 0 and final.usage.output_tokens == 2
    counted = theirs.messages.count_tokens(model=model, messages=said)
    assert counted.input_tokens > 5


def test_models(ours: openai.OpenAI, theirs: anthropic.Anthropic) -> None:
    """Each client finds all models in the list of its own API."""
    wanted = {QWEN, CLAUDE, "e5", "stead"}
    assert wanted <= {model.id for model in ours.models.list()}
    assert wanted <= {model.id for model in theirs.models.list()}
    assert theirs.models.retrieve(QWEN).display_name == QWEN


@BOTH
def test_errors_are_the_clients_own(
    ours: openai.OpenAI, theirs: anthropic.Anthropic, model: str
) -> None:
    """Each refusal arrives as the exception class that a program would look for."""
    hello: Any = [{"role": "user", "content": "hello"}]
    late: Any = [{"role": "user", "content": "[[fail 429]]"}]
    with pytest.raises(openai.RateLimitError):
        ours.chat.completions.create(model=model, messages=late)
    with pytest.raises(anthropic.RateLimitError):
        theirs.messages.create(model=model, messages=late, max_tokens=9)
    with pytest.raises(anthropic.NotFoundError):
        theirs.messages.create(model="gpt-9", messages=hello, max_tokens=9)
    with pytest.raises(anthropic.AuthenticationError):
        theirs.with_options(api_key="so_wrong").messages.create(
            model=model, messages=hello, max_tokens=9
        )
    with pytest.raises(openai.BadRequestError) as refused:
        ours.responses.create(model=model, input="hello", previous_response_id="resp_1")
    assert refused.value.param == "previous_response_id"


@BOTH
@pytest.mark.parametrize("directive", ["[[error 2]]", "[[short 2]]", "[[cut 2]]"])
def test_broken_streams(
    ours: openai.OpenAI, theirs: anthropic.Anthropic, model: str, directive: str
) -> None:
    """What breaks off is told as an error in each shape, and never looks whole."""
    said: Any = [{"role": "user", "content": f"{directive} [[say one two three four]]"}]
    with pytest.raises(openai.APIError):
        list(ours.chat.completions.create(model=model, messages=said, stream=True))
    with (
        pytest.raises(anthropic.APIError),
        theirs.messages.stream(model=model, messages=said, max_tokens=99) as stream,
    ):
        stream.until_done()
    with ours.responses.create(model=model, input=said, stream=True) as events:
        assert [event.type for event in events][-1] == "response.failed"


def test_nothing_is_written_anew_that_need_not_be(
    theirs: anthropic.Anthropic, behind: Running
) -> None:
    """A Claude client on a Claude model: the very bytes that it sent, in whatever order."""
    said: Any = [
        {"role": "user", "content": "[[say one]] é 世"},
        {
            "content": [
                {"signature": "sig", "type": "redacted_thinking", "data": "x", "later": 1.50}
            ],
            "role": "assistant",
        },
        {"role": "user", "content": "on"},
    ]
    body = json.dumps({"max_tokens": 9, "messages": said, "model": CLAUDE, "new_field": [1.0]})
    theirs.post("/v1/messages", cast_to=object, content=body.encode())
    assert behind.app.bodies[-1] == body.encode()


class City(BaseModel):
    city: str


@pytest.mark.parametrize("kind", ["openai", "responses", "anthropic"])
@BOTH
def test_pydantic_ai(door: House, kind: str, model: str) -> None:
    """Its agents run tools on every shape and get typed answers."""
    openai_way = OpenAIProvider(base_url=_v1(door), api_key=door.key)
    asked: Any
    if kind == "anthropic":
        url = f"http://127.0.0.1:{door.port}"
        client = anthropic.AsyncAnthropic(base_url=url, api_key=door.key, max_retries=0)
        asked = AnthropicModel(model, provider=AnthropicProvider(anthropic_client=client))
    elif kind == "responses":
        asked = OpenAIResponsesModel(model, provider=openai_way)
    else:
        asked = OpenAIChatModel(model, provider=openai_way)
    agent = Agent(asked, system_prompt="Be brief.")

    @agent.tool_plain
    def clock(zone: str) -> str:
        """Tells the time in a zone."""
        return f"12:00 {zone}"

    result = agent.run_sync('[[tool clock {"zone": "UTC"}]] [[say It is noon.]]')
    assert result.output == "It is noon."
    typed = Agent(asked, output_type=ToolOutput(City))
    answer = typed.run_sync('[[tool final_result {"city": "Ulm"}]]')
    assert answer.output == City(city="Ulm")


def test_the_llm_command(door: House, tmp_path: Path) -> None:
    """`llm` with a few lines of its own configuration."""
    entry = f"model_id: house\n  model_name: {CLAUDE}\n  api_base: {_v1(door)}\n"
    (tmp_path / "extra-openai-models.yaml").write_text(f"- {entry}  api_key_name: stead\n")
    asked = ["prompt", "-m", "house", "--key", door.key, "[[say Good day.]]"]
    done = subprocess.run(
        [sys.executable, "-m", "llm", *asked],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "Good day."), done.stderr
