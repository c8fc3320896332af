"""The kinds of jobs: what a payload means to the agent, through runner and gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from stead.agent.loop import toolbox
from stead.core.nouns import ModelProfile, Turn, Usage
from stead.core.ports import ModelChunk, ModelRequest
from stead.core.states import Failure, StepState
from stead.core.wire import ClaimedJob
from tests.unit.node.gateway import Gateway
from tests.unit.node.parts import running

PROFILE = ModelProfile("small-one", tools="none", prompt="small")


class Parrot:
    """A model that repeats the last message, word by word."""

    def __init__(self) -> None:
        self.asked: list[ModelRequest] = []
        self.keys: list[str] = []

    def for_job(self, job: ClaimedJob) -> Parrot:
        self.keys.append(job.key)
        return self

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelChunk]:
        self.asked.append(request)
        for word in str(request.messages[-1]["content"]).split():
            yield ModelChunk(text=word + " ")
        yield ModelChunk(finish="stop", usage=Usage(7, 0, 2, 5))


async def test_a_chat_job_is_the_agents(tmp_path: Path) -> None:
    """Text, history, instructions and overrides reach the model; its words reach the gateway."""
    parrot = Parrot()
    with Gateway() as gateway:
        job = gateway.add(
            "chat",
            payload={
                "text": "polly wants",
                "instructions": "Be a parrot.",
                "overrides": {"max_tokens": 33, "temperature": 0.5},
            },
            history=[Turn("user", "before"), Turn("assistant", "then")],
            profile=PROFILE,
        )
        async with running(gateway, tmp_path, toolbox=toolbox(tmp_path), model_for=parrot.for_job):
            await gateway.until(lambda: gateway.finishes(job))
        (finish,) = gateway.finishes(job)
        assert finish.outcome == "done" and finish.text.startswith("polly wants ")
        assert finish.usage == Usage(7, 0, 2, 5)
        tokens = [event.text for event in gateway.events(job) if event.type == "token"]
        assert "".join(tokens) == finish.text
        states = [(one.name, one.state, one.epoch) for one in gateway.steps(job)]
        assert states == [("model:main", StepState.INTENT, 1), ("model:main", StepState.DONE, 1)]
    (request,) = parrot.asked
    assert parrot.keys == ["sj_test"]
    assert (request.model, request.max_tokens, request.temperature) == ("small-one", 33, 0.5)
    told = "\n".join(str(message["content"]) for message in request.messages)
    assert "Be a parrot." in told and told.index("before") < told.index("then")


async def test_a_paid_answer_is_not_paid_again(tmp_path: Path) -> None:
    """A job resumed with the journal of its first attempt ends without a second model call."""
    parrot = Parrot()
    with Gateway() as gateway:
        payload = {"text": "once only"}
        first = gateway.add("chat", payload=payload, profile=PROFILE)
        tools = toolbox(tmp_path)
        async with running(gateway, None, toolbox=tools, model_for=parrot.for_job):
            await gateway.until(lambda: gateway.finishes(first))
            done = [one for one in gateway.steps(first) if one.state is StepState.DONE]
            gateway.add("chat", id=first, epoch=2, payload=payload, steps=done, profile=PROFILE)
            await gateway.until(lambda: len(gateway.finishes(first)) == 2)
        texts = [finish.text for finish in gateway.finishes(first)]
        assert texts == ["once only ", "once only "]
    assert len(parrot.asked) == 1


async def test_a_payload_of_the_wrong_shape_fails_in_words(tmp_path: Path) -> None:
    """A text that is no text is named, and not tried again."""
    with Gateway() as gateway:
        gateway.add("chat", payload={"text": 7})
        async with running(gateway, tmp_path, toolbox=toolbox(tmp_path)):
            await gateway.until(gateway.finishes)
        trouble = gateway.finishes()[0].trouble
        assert trouble is not None and trouble.failure is Failure.SCHEMA
        assert "payload.text" in trouble.message
