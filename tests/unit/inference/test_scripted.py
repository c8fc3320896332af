"""The scripted model, asked by the official client and by ours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from stead.inference.directives import asked, plan, tokens
from stead.inference.scripted import Running, running
from stead.net.http import Broken, Client, TimedOut


@pytest.fixture(scope="module")
def model() -> Iterator[Running]:
    with running() as scripted:
        yield scripted


@pytest.fixture
def sdk(model: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=model.url, api_key=model.key, max_retries=0) as client:
        yield client


def user(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_a_plain_answer(sdk: openai.OpenAI) -> None:
    """Promise: without a directive the answer names the message, twice the same."""
    first = sdk.chat.completions.create(model="m", messages=user("ping"))
    second = sdk.chat.completions.create(model="m", messages=user("ping"))
    said = first.choices[0].message.content
    assert said == "This is the scripted model. You said: ping"
    assert first.choices[0] == second.choices[0] and first.id == second.id
    assert first.usage is not None and first.usage.completion_tokens == len(tokens(said))


def test_a_stream(sdk: openai.OpenAI) -> None:
    """Promise: a stream carries the same words, a finish and the usage asked for."""
    said, finish, usage = "", None, None
    for chunk in sdk.chat.completions.create(
        model="m",
        messages=user("[[say Grüße, 世界 und mehr]]"),
        stream=True,
        stream_options={"include_usage": True},
    ):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            said += choice.delta.content or ""
            finish = choice.finish_reason or finish
    assert (said, finish) == ("Grüße, 世界 und mehr", "stop")
    assert usage is not None and usage.completion_tokens == 4


def test_native_tools_one_after_the_other(sdk: openai.OpenAI) -> None:
    """Promise: tools are called in their order as results come in, then the say is said."""
    tool: Any = {"type": "function", "function": {"name": "clock", "parameters": {}}}
    messages = user('[[tool clock]] [[tool read {"path": [["a]]"]]}]] [[say done]]')
    names, arguments = [], []
    for _ in range(2):
        answer = sdk.chat.completions.create(model="m", messages=messages, tools=[tool])
        assert answer.choices[0].finish_reason == "tool_calls"
        calls = answer.choices[0].message.tool_calls
        assert calls is not None and calls[0].type == "function"
        names.append(calls[0].function.name)
        arguments.append(json.loads(calls[0].function.arguments))
        messages.append(answer.choices[0].message)
        messages.append({"role": "tool", "tool_call_id": calls[0].id, "content": "[[say no]]"})
    assert names == ["clock", "read"]
    assert arguments == [{}, {"path": [["a]]"]]}]
    answer = sdk.chat.completions.create(model="m", messages=messages, tools=[tool])
    assert answer.choices[0].message.content == "done"


def test_a_streamed_tool_call(sdk: openai.OpenAI) -> None:
    """Promise: a native call is streamed in pieces that join to its arguments."""
    tool: Any = {"type": "function", "function": {"name": "find", "parameters": {}}}
    name, arguments = "", ""
    for chunk in sdk.chat.completions.create(
        model="m",
        messages=user('[[tool find {"text": "two words"}]]'),
        tools=[tool],
        stream=True,
    ):
        for call in chunk.choices[0].delta.tool_calls or []:
            assert call.function is not None
            name += call.function.name or ""
            arguments += call.function.arguments or ""
    assert (name, json.loads(arguments)) == ("find", {"text": "two words"})


def test_schema_shaped_answers(sdk: openai.OpenAI) -> None:
    """Promise: with a JSON schema the answers have the agent's shape, results being plain text."""
    shape: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}}}
    messages = user('[[tool clock {"zone": "UTC"}]] [[say "noon"]]')

    def ask() -> Any:
        answer = sdk.chat.completions.create(model="m", messages=messages, response_format=shape)
        content = answer.choices[0].message.content
        messages.append({"role": "assistant", "content": content})
        return json.loads(content or "")

    assert ask() == {"tool": "clock", "args": {"zone": "UTC"}}
    messages.extend(user("[result of clock]\n12:00 [[say wrong]]"))
    assert ask() == {"reply": '"noon"'}
    messages.extend(user("[[raw not JSON]]"))
    with pytest.raises(ValueError, match="Expecting"):
        ask()


def test_only_the_owner_is_obeyed() -> None:
    """Promise: directives in system texts, results and earlier turns do nothing."""
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "[[say system]]"},
        {"role": "user", "content": "[[say earlier]]"},
        {"role": "assistant", "content": "[[say assistant]]"},
        {"role": "user", "content": [{"type": "text", "text": "[[say now]]"}]},
        {"role": "user", "content": "[result of read]\n[[say file]]"},
    ]
    what = asked(messages)
    assert (what.owner, what.results) == ("[[say now]]", 1)
    assert plan(what).text == "now"


def test_modifiers_hold_from_their_place_on() -> None:
    """Promise: a fault written behind a tool is for the call after its result."""
    messages = user("[[slow 5]] [[tool a]] [[fail 500]] [[tool b {x]] [[cut 1]]")
    first = plan(asked(messages))
    assert (first.tool, first.slow_ms, first.fail, first.cut) == ("a", 5, 0, -1)
    second = plan(asked([*messages, {"role": "tool", "content": ""}]))
    assert (second.tool, second.args, second.fail, second.cut) == ("b", "{x", 500, -1)


def test_failures_are_counted(sdk: openai.OpenAI, model: Running) -> None:
    """Promise: `fail 503 times 2` fails twice and then answers; every call is listed."""
    text = "[[fail 503 times 2]] [[say back]]"
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            sdk.chat.completions.create(model="m", messages=user(text))
    assert sdk.chat.completions.create(model="m", messages=user(text)).choices
    seen = [call for call in model.calls if call.owner == text]
    assert [call.outcome for call in seen] == ["failed 503", "failed 503", "answered"]
    assert len({call.hash for call in seen}) == 1


def test_max_tokens(sdk: openai.OpenAI) -> None:
    """Promise: an answer is cut at max_tokens and says so."""
    answer = sdk.chat.completions.create(model="m", messages=user("[[tokens 50]]"), max_tokens=7)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None and answer.usage.completion_tokens == 7


def test_a_wrong_key(model: Running) -> None:
    """Promise: a wrong key gets 401, in the shape that clients know."""
    client = openai.OpenAI(base_url=model.url, api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        client.models.list()
    right = openai.OpenAI(base_url=model.url, api_key=model.key)
    assert [entry.id for entry in right.models.list()] == ["scripted"]


async def ask(model: Running, text: str, **more: Any) -> tuple[Client, bytes]:
    """Ask with our client; the body."""
    body = json.dumps({"model": "m", "messages": user(text), **more}).encode()
    async with Client(model.url, headers={"authorization": f"Bearer {model.key}"}) as client:
        streamed = await client.stream("POST", "/chat/completions", body=body, timeout=0.3)
        return client, await streamed.read()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_cut_connection(model: Running, stream: bool) -> None:
    """Promise: `cut` really breaks the connection in mid-answer."""
    with pytest.raises(Broken):
        await ask(model, "[[cut 2]] [[tokens 9]]", stream=stream)
    assert model.calls[-1].outcome == "cut"


@pytest.mark.parametrize("text", ["[[stall]]", "[[stall 2]]"])
async def test_a_stall(model: Running, text: str) -> None:
    """Promise: `stall` says nothing until the caller leaves, and notices that."""
    with pytest.raises(TimedOut):
        await ask(model, f"{text} [[tokens 9]]", stream=True)
    async with Client(model.url, headers={"authorization": f"Bearer {model.key}"}) as client:
        calls: list[dict[str, Any]] = []
        while not calls or calls[-1]["outcome"] == "open":
            calls = json.loads((await client.request("GET", "/calls")).body)
    assert calls[-1]["outcome"] == "left"


async def test_unfinished_and_misshapen_streams(model: Running) -> None:
    """Promise: `short` ends without a finish, `error` with an error event, `garbage` is no JSON."""
    _, body = await ask(model, "[[short 2]] [[tokens 9]]", stream=True)
    assert b"one" in body and b"[DONE]" not in body and b'"stop"' not in body
    _, body = await ask(model, "[[error 2]] [[tokens 9]]", stream=True)
    assert body.rstrip().split(b"\n")[-1].startswith(b'data: {"error":') and b"[DONE]" not in body
    _, body = await ask(model, "[[garbage]]")
    assert b"<html>" in body


def test_by_hand() -> None:
    """Promise: it runs as a module of its own and ends cleanly on SIGTERM."""
    command = [sys.executable, "-m", "stead.inference.scripted", "--key", "k"]
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = line.split("at ")[1].split(",")[0]
        assert list(openai.OpenAI(base_url=url, api_key="k").models.list())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
