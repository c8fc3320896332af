"""The official OpenAI client, unchanged, against a whole house."""

from __future__ import annotations

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.story.house import House


@pytest.fixture(scope="module")
def client(lived_in: House) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"http://127.0.0.1:{lived_in.port}/v1", api_key=lived_in.key, max_retries=0
    )


def _says(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_asking(client: openai.OpenAI) -> None:
    """An ordinary call gives an ordinary answer with its usage."""
    answer = client.chat.completions.create(
        model="stead",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "[[tool clock {}]] [[say It is late.]] what time is it?"},
        ],
        max_tokens=50,
        temperature=0,
    )
    assert answer.choices[0].message.content == "It is late."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and answer.usage.total_tokens > 0
    assert answer.id.startswith("chatcmpl-") and answer.model == "stead"


def test_streaming(client: openai.OpenAI) -> None:
    """The stream gives the text in pieces, comments do not disturb it, usage comes last."""
    text, usage, pieces = "", 0, 0
    with client.chat.completions.create(
        model="stead",
        messages=[{"role": "user", "content": "[[slow 40]] [[say one two three four]] count!"}],
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                text += chunk.choices[0].delta.content
                pieces += 1
            if chunk.usage:
                usage = chunk.usage.total_tokens
    assert text == "one two three four"
    assert pieces >= 2 and usage > 0


def test_models(client: openai.OpenAI) -> None:
    """The agent stands among the models, and can be looked up by its name."""
    assert {"stead", "scripted"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("stead").owned_by == "stead"
    plain = client.chat.completions.create(
        model="scripted", messages=[{"role": "user", "content": "[[say straight]] x"}]
    )
    assert plain.choices[0].message.content == "straight"


def test_errors_are_the_clients_own(client: openai.OpenAI, lived_in: House) -> None:
    """Each refusal arrives as the exception class that a program would look for."""
    hello = _says("hello there, agent")
    with pytest.raises(openai.AuthenticationError) as wrong:
        client.with_options(api_key="so_wrong").models.list()
    assert lived_in.key not in str(wrong.value)
    with pytest.raises(openai.NotFoundError, match="scripted"):
        client.chat.completions.create(model="gpt-9", messages=hello)
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="stead", messages=hello, n=2)
    assert (bad.value.param, bad.value.code) == ("n", "bad_request")
    with pytest.raises(openai.APIStatusError) as large:
        client.chat.completions.create(model="stead", messages=_says("x" * 17_000_000))
    assert large.value.status_code == 413
    dead = _says("[[fail 401]] nobody may do this")
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model="stead", messages=dead)
    assert (failed.value.status_code, failed.value.code) == (502, "job_dead")
    with (
        pytest.raises(openai.APIError) as broken,
        client.chat.completions.create(
            model="stead",
            messages=dead,
            stream=True,
        ) as stream,
    ):
        for _ in stream:
            pass
    assert broken.value.code == "job_dead"


def test_a_retry_of_the_client_is_one_message(client: openai.OpenAI, lived_in: House) -> None:
    """The client gives up after its timeout and asks again by itself: one message, one answer."""
    patient = client.with_options(timeout=0.6, max_retries=4)
    answer = patient.chat.completions.create(
        model="stead",
        messages=[{"role": "user", "content": "[[first 1000]] [[say Worth it.]] slow one"}],
    )
    assert answer.choices[0].message.content == "Worth it."
    said = lived_in.get("/api/v1/messages?after=0&limit=500")["messages"]
    assert sum("slow one" in message["text"] for message in said) == 1
    assert sum(message["text"] == "Worth it." for message in said) == 1


def test_one_conversation_for_all_ways_in(client: openai.OpenAI, lived_in: House) -> None:
    """What the terminal said the API's agent knows, and the record shows both in order."""
    session = {"session": "shared"}
    told = lived_in.cli("ask", "--session", "shared", "[[say Noted.]] my owl is called Minna")
    assert (told.returncode, told.stdout.strip()) == (0, "Noted."), told.stderr
    client.chat.completions.create(
        model="stead",
        metadata=session,
        messages=[{"role": "user", "content": "[[say Minna.]] how is my owl called?"}],
    )
    last = [call for call in lived_in.calls() if "how is my owl called" in call["owner"]][-1]
    assert last["messages"] >= 4, "system, what the terminal said, its answer, the question"
    said = lived_in.get("/api/v1/messages?session=shared&after=0")["messages"]
    assert [(m["channel"], m["role"]) for m in said] == [
        ("cli", "owner"), ("cli", "assistant"), ("api", "owner"), ("api", "assistant"),
    ]  # fmt: skip
    assert [m["text"] for m in said][1::2] == ["Noted.", "Minna."]
