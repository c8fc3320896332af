"""`/v1/chat/completions`: the agent in the shape of the OpenAI API, and models beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stead.core.ids import uuid7
from stead.core.nouns import Trouble
from stead.core.states import Failure
from stead.core.wire import Event as Told
from stead.core.wire import Events, Finish
from stead.inference.scripted import Running
from tests.unit.gateway.parts import Event, Gate, events, gate_at

_PATH = "/v1/chat/completions"


@pytest.fixture
async def working(gate: Gate) -> AsyncIterator[Gate]:
    """A gateway with a real node at work."""
    gate.work()
    yield gate


def _ask(text: Any, model: str = "stead", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def _streamed(gate: Gate, body: dict[str, Any]) -> list[Event]:
    async with await gate.open("POST", _PATH, {**body, "stream": True}) as streamed:
        assert streamed.status == 200
        assert streamed.headers["content-type"].startswith("text/event-stream")
        return [event async for event in events(streamed)]


def _text(told: list[Event]) -> str:
    chunks = [event.data for event in told if event.type == "message" and event.text != "[DONE]"]
    return "".join(
        choice["delta"].get("content", "")
        for chunk in chunks
        for choice in chunk.get("choices", [])
    )


async def test_unstreamed(working: Gate) -> None:
    """A whole answer has the fields that clients read, the real usage, and stead's own beside."""
    answer = await working.ask("POST", _PATH, _ask("[[say Forty-two.]] what is it?"))
    assert answer.status == 200
    data = answer.data
    assert (data["object"], data["model"]) == ("chat.completion", "stead")
    (choice,) = data["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Forty-two.", "refusal": None}
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    job_id = data["stead"]["job_id"]
    assert data["id"] == f"chatcmpl-{job_id}"
    story = await working.ended(job_id)
    usage = data["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert story["message"]["channel"] == "api"
    for _ in range(1000):  # marked once the answer is out
        story = await working.why(job_id)
        if story["delivery"][0]["state"] == "sent":
            break
        await asyncio.sleep(0.005)
    assert [row["state"] for row in story["delivery"]] == ["sent"]


async def test_streamed(working: Gate) -> None:
    """Tokens come as chunks with one id; tools as comments; then stop, usage if asked, [DONE]."""
    text = "[[tool clock {}]] [[slow 40]] [[say one two three]] what time is it, agent?"
    told = await _streamed(working, _ask(text, stream_options={"include_usage": True}))
    assert _text(told) == "one two three"
    assert told[-1].text == "[DONE]"
    chunks = [event.data for event in told[:-1] if event.type == "message"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert sum(bool(c["choices"][0]["delta"].get("content")) for c in chunks[:-1]) >= 3
    assert [c["choices"][0]["finish_reason"] for c in chunks[:-1]][-1] == "stop"
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["total_tokens"] > 0
    assert any(event.type == "comment" and "clock" in event.text for event in told)

    told = await _streamed(working, _ask("[[say plain]] and no usage, agent"))
    assert not any("usage" in event.data for event in told[:-1] if event.type == "message")


async def test_what_a_request_may_say(working: Gate) -> None:
    """Text parts are joined, system texts are instructions of this turn, max_tokens holds, the
    session is the one in the metadata; earlier turns of the client are not recorded again."""
    body = {
        "model": "stead",
        "max_tokens": 7,
        "temperature": 0.5,
        "metadata": {"session": "letters", "mark": "heavy"},
        "messages": [
            {"role": "system", "content": "Speak like a pirate."},
            {"role": "user", "content": "an old question"},
            {"role": "assistant", "content": "an old answer"},
            {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "[[say Arr.]] first line"},
                    {"type": "text", "text": "second line"},
                ],
            },
        ],
    }
    answer = await working.ask("POST", _PATH, body)
    assert answer.data["choices"][0]["message"]["content"] == "Arr."
    seen = (await working.ask("GET", "/api/v1/messages?session=letters&after=0")).data["messages"]
    assert [m["text"] for m in seen] == ["[[say Arr.]] first line\nsecond line", "Arr."]
    story = await working.why(answer.data["stead"]["job_id"])
    assert story["route"]["rule"] == "marked heavy"
    job = await working.store.job(story["job"]["id"])
    assert job.payload["instructions"] == "Speak like a pirate.\n\nBe short."
    assert job.payload["overrides"] == {"max_tokens": 7, "temperature": 0.5}


async def test_one_key_for_two_requests_is_refused(working: Gate) -> None:
    """The same `Idempotency-Key` with another request is no repeat: 422, naming what differs."""
    first = await working.ask("POST", _PATH, _ask("[[say five]] pay 5"), idempotency_key="k9")
    other = await working.ask("POST", _PATH, _ask("[[say fifty]] pay 50"), idempotency_key="k9")
    assert first.status == 200 and other.status == 422
    error = other.data["error"]
    assert (error["type"], error["code"], error["param"]) == (
        "invalid_request_error", "idempotency_key_reused", "Idempotency-Key",
    )  # fmt: skip
    assert "'k9'" in error["message"] and "the message differs" in error["message"]


async def test_a_request_sent_twice_is_one_message(working: Gate, scripted: Running) -> None:
    """By `Idempotency-Key`, and by the retry count of the official client with the same body."""
    first = await working.ask("POST", _PATH, _ask("[[say once]] with a key"), idempotency_key="k1")
    again = await working.ask("POST", _PATH, _ask("[[say once]] with a key"), idempotency_key="k1")
    other = await working.ask("POST", _PATH, _ask("[[say once]] with a key"), idempotency_key="k2")
    assert first.data["stead"]["job_id"] == again.data["stead"]["job_id"]
    assert first.data["stead"]["job_id"] != other.data["stead"]["job_id"]

    body = _ask("[[say retried]] by a client")
    calls = len(scripted.calls)
    one, two = await asyncio.gather(
        working.ask("POST", _PATH, body, x_stainless_retry_count="0"),
        _later(working.ask("POST", _PATH, body, x_stainless_retry_count="1")),
    )
    assert one.data["id"] == two.data["id"]
    assert len(scripted.calls) == calls + 1
    # The same words without the mark of a retry are said twice.
    three = await working.ask("POST", _PATH, body, x_stainless_retry_count="0")
    assert three.data["id"] != one.data["id"]
    # A retry whose first try never arrived is a message like any other.
    fresh = await working.ask("POST", _PATH, _ask("[[say new]] x"), x_stainless_retry_count="2")
    assert fresh.data["choices"][0]["message"]["content"] == "new"


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited 5 s in vain")


def _more_than(scripted: Running, calls: int) -> bool:
    return len(scripted.calls) > calls


async def _later(work: Any) -> Any:
    await asyncio.sleep(0.01)
    return await work


async def test_a_message_by_its_external_id(gate: Gate) -> None:
    """The same external id on the same channel names the first job, whatever else is said."""
    body = {"text": "pay the rent", "external_id": "x1"}
    first = await gate.ask("POST", "/api/v1/messages", body)
    again = await gate.ask("POST", "/api/v1/messages", {**body, "text": "pay it twice"})
    assert (first.status, again.status) == (202, 202)
    assert (first.data["duplicate"], again.data["duplicate"]) == (False, True)
    assert first.data["job_id"] == again.data["job_id"]
    assert first.data["route"] == again.data["route"] == {"to": "node", "rule": "everything else"}
    other = await gate.ask("POST", "/api/v1/messages", {**body, "channel": "mail"})
    assert other.data["duplicate"] is False
    many = await asyncio.gather(
        *(gate.ask("POST", "/api/v1/messages", {**body, "external_id": "x2"}) for _ in range(20))
    )
    assert len({answer.data["job_id"] for answer in many}) == 1
    assert sum(not answer.data["duplicate"] for answer in many) == 1


async def test_a_job_that_dies(working: Gate) -> None:
    """A dead job is an error in the OpenAI shape; in a stream an error event with no [DONE]."""
    answer = await working.ask("POST", _PATH, _ask("[[fail 401]] nobody may"))
    assert (answer.status, answer.error["code"]) == (502, "job_dead")
    told = await _streamed(working, _ask("[[fail 401]] nobody may, again"))
    (error,) = [e.data["error"] for e in told if e.type == "message" and "error" in e.text]
    assert error["code"] == "job_dead" and error["message"]
    assert told[-1].text != "[DONE]"
    # It is the same job and the same end when the client tries again.
    retried = await working.ask(
        "POST", _PATH, _ask("[[fail 401]] nobody may"), x_stainless_retry_count="1"
    )
    assert retried.error == answer.error


async def test_an_answer_that_starts_again(working: Gate) -> None:
    """A try that breaks off in mid-answer: that it begins anew is a comment, and what was sent is
    not sent again."""
    text = "[[cut 2 ]] [[say one two three four]] break once"
    told = await _streamed(working, _ask(text))
    # The scripted model cuts each time, so this job ends dead; but it told of each new start.
    assert "one two three four".startswith(_text(told)) and _text(told).count("one") == 1
    assert any("starting again" in e.text for e in told if e.type == "comment")
    assert told[-1].data["error"]["code"] == "job_dead"


async def test_another_answer_is_set_apart(gate: Gate) -> None:
    """Where the new text is another one it follows whole, with words between the two."""
    streaming = asyncio.create_task(_streamed(gate, _ask("say it [[tool x]]")))
    first = await gate.claim(wait_s=5)
    assert first is not None
    await gate.node("events", Events(uuid7(), first.id, 1, [Told(1, "token", "good mor", at=0)]))
    await gate.node(
        "finish",
        Finish(uuid7(), first.id, 1, "failed", trouble=Trouble(Failure.NETWORK, "it broke")),
    )
    again = await gate.claim(wait_s=5)
    assert again is not None and again.epoch == 2
    await gate.node("events", Events(uuid7(), first.id, 2, [Told(1, "token", "good e", at=0)]))
    await gate.finish(again, "good evening")
    shown = _text(await streaming)
    assert shown == "good mor\n\n[starting again: it broke]\n\ngood evening"


async def test_too_late(tmp_path: Path, scripted: Running) -> None:
    """After answer_wait_s: 504 with the job's id; the work goes on and is in the conversation."""
    async with gate_at(tmp_path / "home", scripted, answer_wait_s=0.2) as gate:
        answer = await gate.ask("POST", _PATH, _ask("[[say late]] nobody is there yet"))
        assert (answer.status, answer.error["code"]) == (504, "answer_late")
        (job,) = (await gate.ask("GET", "/api/v1/jobs")).data["jobs"]
        assert job["id"][-8:] in answer.error["message"]
        gate.work()
        story = await gate.ended(job["id"])
        assert story["reply"]["text"] == "late"
        assert [row["state"] for row in story["delivery"]] == ["pending"]


async def test_a_client_that_leaves(working: Gate, scripted: Running) -> None:
    """Leaving the agent's answer does not cancel its job; leaving a plain model's cuts the call."""
    text = "[[slow 30]] [[say a b c d e f g]] the agent goes on"
    async with await working.open("POST", _PATH, _ask(text, stream=True)) as streamed:
        async for event in events(streamed):
            if _text([event]):
                break
    (job,) = (await working.ask("GET", "/api/v1/jobs")).data["jobs"]
    story = await working.ended(job["id"])
    assert (story["job"]["state"], story["reply"]["text"]) == ("done", "a b c d e f g")
    assert [row["state"] for row in story["delivery"]] == ["pending"]

    plain = _ask("[[slow 30]] [[tokens 500]] a plain model stops", "scripted", stream=True)
    async with await working.open("POST", _PATH, plain) as streamed:
        async for event in events(streamed):
            if _text([event]):
                break
    await _until(lambda: scripted.calls[-1].outcome != "open")
    assert scripted.calls[-1].outcome == "left"
    assert scripted.calls[-1].tokens < 500


async def test_a_client_that_leaves_before_the_answer(working: Gate, scripted: Running) -> None:
    """An unstreamed call that is given up cuts a plain model; the agent's job ends all the same."""
    for model in ("stead", "scripted"):
        body = _ask(f"[[first 300]] [[say {model}]] hold on", model)
        calls = len(scripted.calls)
        task = asyncio.create_task(working.ask("POST", _PATH, body))
        await _until(partial(_more_than, scripted, calls))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await _until(lambda: scripted.calls[-1].outcome != "open")
    assert scripted.calls[-1].outcome == "left"
    (job,) = (await working.ask("GET", "/api/v1/jobs")).data["jobs"]
    assert (await working.ended(job["id"]))["reply"]["text"] == "stead"


async def test_a_plain_model_passes_through(gate: Gate, scripted: Running) -> None:
    """With no node at all a model answers by its name, with fields that stead does not know."""
    body = _ask("[[say raw]] x", "scripted", logit_bias={"5": 1}, n=1, seed=7, user="me")
    answer = await gate.ask("POST", _PATH, body)
    assert answer.data["choices"][0]["message"]["content"] == "raw"
    assert answer.data["model"] == "scripted"
    assert (await gate.ask("GET", "/api/v1/jobs")).data["jobs"] == []
    told = await _streamed(gate, _ask("[[say a b]] x", "scripted"))
    assert (_text(told), told[-1].text) == ("a b", "[DONE]")
    native = _ask(
        '[[tool weather {"at": "sea"}]] x',
        "scripted",
        tools=[{"type": "function", "function": {"name": "weather", "parameters": {}}}],
    )
    called = (await gate.ask("POST", _PATH, native)).data["choices"][0]["message"]["tool_calls"]
    assert called[0]["function"]["name"] == "weather"
    assert scripted.calls[-1].mode == "native"
    failed = await gate.ask("POST", _PATH, _ask("[[fail 429]] x", "scripted"))
    assert failed.status == 429 and failed.error["message"]


async def test_models(gate: Gate) -> None:
    """The agent, the models and the lanes that answer are listed; an unknown one is 404, those that
    exist are named, and what would give the name a meaning."""
    listed = (await gate.ask("GET", "/v1/models")).data
    assert listed["object"] == "list"
    names = [model["id"] for model in listed["data"]]
    assert names[:4] == ["stead", "scripted", "main", "light"] and len(names) == len({*names})
    one = await gate.ask("GET", "/v1/models/stead")
    assert (one.status, one.data["object"]) == (200, "model")
    for answer in (
        await gate.ask("GET", "/v1/models/gpt-9"),
        await gate.ask("POST", _PATH, _ask("hi", "gpt-9")),
    ):
        assert (answer.status, answer.error["code"]) == (404, "model_not_found")
        assert "scripted" in answer.error["message"] and "gpt-9" in answer.error["message"]
        assert '`name = "gpt-9"` and `models = ["main"]`' in answer.error["message"]


async def test_stopping_in_mid_answer(working: Gate) -> None:
    """A gateway that stops tells the client of a stream so, in an event, and breaks nothing off."""
    text = "[[slow 50]] [[tokens 400]] a long story, agent"
    async with await working.open("POST", _PATH, _ask(text, stream=True)) as streamed:
        told = []
        async for event in events(streamed):
            told.append(event)
            if _text([event]):
                working.parts.live.close()
    assert told[-1].data["error"]["code"] == "stopping"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"metadata": {"session": "two\nlines"}}, "metadata.session"),
    ],
)
async def test_what_the_agent_cannot_do(gate: Gate, more: dict[str, Any], param: str) -> None:
    """It is refused by name before anything is recorded, and never left out silently."""
    answer = await gate.ask("POST", _PATH, _ask("hi", **more))
    assert (answer.status, answer.data["error"]["param"]) == (400, param)
    assert (await gate.ask("GET", "/api/v1/messages?after=0")).data["messages"] == []


async def test_what_is_as_good_as_unsaid(working: Gate) -> None:
    """Nulls and the plain text format ask for nothing."""
    more: dict[str, Any] = {
        "response_format": {"type": "text"},
        "max_tokens": None,
        "temperature": 0,
    }
    answer = await working.ask("POST", _PATH, _ask("[[say yes]]", **more))
    assert answer.data["choices"][0]["message"]["content"] == "yes"


async def test_an_unknown_model_names_the_agent_too(gate: Gate) -> None:
    """Wherever a model is named wrongly, the same names are given."""
    asked = await gate.ask("POST", _PATH, _ask("hi", model="gpt-4"))
    looked = await gate.ask("GET", "/v1/models/gpt-4")
    assert asked.status == looked.status == 404
    assert asked.data == looked.data
    assert "There are: stead, scripted, main, " in asked.data["error"]["message"]


async def test_a_backend_that_answers_no_json(gate: Gate) -> None:
    """A client that expects JSON gets an error in JSON, whatever came from behind."""
    answer = await gate.ask("POST", _PATH, _ask("[[garbage]]", model="scripted"))
    assert (answer.status, answer.data["error"]["code"]) == (502, "backend_failed")
    assert "no JSON object" in answer.data["error"]["message"]
