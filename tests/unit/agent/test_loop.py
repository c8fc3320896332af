"""The agent loop: tools, limits, faults."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stead.agent.loop import OUT_OF_STEPS
from stead.core.errors import BackendFailed
from stead.core.nouns import Limits, ModelProfile, Usage
from stead.core.ports import ModelRequest
from stead.core.states import Failure, StepState
from tests.unit.agent.parts import NATIVE, SCHEMA, USED, Bell, InTurn, Say, Script, attempt, call

BOTH = pytest.mark.parametrize("profile", [NATIVE, SCHEMA], ids=["native", "schema"])


@BOTH
def test_an_answer_at_once(profile: ModelProfile) -> None:
    """One model call, streamed; what was streamed is the result."""
    tried = attempt(Script(Say('pong "é😀"\n')), Bell().toolbox(), profile=profile)
    assert tried.result is not None
    assert tried.result.text == "".join(tried.said.all("token")) == 'pong "é😀"\n'
    assert tried.result.usage == USED
    assert [step.name for step in tried.journal.list()] == ["model:main"]
    assert len(tried.said.all("token")) > 2


@BOTH
def test_a_tool_and_its_result(profile: ModelProfile) -> None:
    """The model gets the tool's result and answers; each is a step with its outcome."""
    bell = Bell()
    model = Script(call("ring", word="hello"), Say("rang it"))
    tried = attempt(model, bell.toolbox(), profile=profile)
    assert tried.result is not None
    assert (tried.result.text, bell.rung) == ("rang it", ["hello"])
    assert "rang hello" in model.asked[1].messages[-1]["content"]
    assert tried.said.all("tool") == ["ring: rang hello"]
    steps = tried.journal.list()
    assert [(step.seq, step.name) for step in steps] == [
        (1, "model:main"),
        (2, "tool:ring"),
        (3, "model:main"),
    ]
    assert all(step.state is StepState.DONE for step in steps)
    assert json.loads(steps[1].output) == {"result": "rang hello"}


def test_several_calls_in_one_answer() -> None:
    """They run one after the other, each its own step, and every call gets its result."""
    bell = Bell()
    twice = Say("Let me see.", calls=(("look", '{"word": "a"}'), ("ring", '{"word": "b"}')))
    model = Script(twice, twice, Say("done"))
    tried = attempt(model, bell.toolbox())
    assert tried.result is not None
    assert tried.result.text == "".join(tried.said.all("token")) == "Let me see.\n\ndone"
    said, first, second = model.asked[1].messages[-3:]
    assert [c["id"] for c in said["tool_calls"]] == ["call_0", "call_1"]
    assert (first["tool_call_id"], first["content"]) == ("call_0", "saw a")
    assert (second["tool_call_id"], second["content"]) == ("call_1", "rang b")


@BOTH
@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("nope", "{}", "there is no tool 'nope'; there are: ring, look"),
        ("ring", "{}", "missing required field `word`"),
        ("ring", '{"word": "a", "loud": 1}', "unknown field `loud`"),
        ("ring", '{"word": ["a"]}', "Expected `str`"),
        ("ring", "[1, 2]", "Expected `object`"),
    ],
)
def test_a_wrong_call_is_told_to_the_model(
    profile: ModelProfile, name: str, args: str, words: str
) -> None:
    """A tool that does not exist or arguments that do not fit are an error that the model
    reads and corrects, never a crash, and nothing runs."""
    bell = Bell()
    model = Script(Say(calls=((name, args),)), call("ring", word="right"), Say("ok"))
    tried = attempt(model, bell.toolbox(), profile=profile)
    assert tried.result is not None
    assert tried.result.text == "ok"
    assert words in model.asked[1].messages[-1]["content"]
    assert bell.rung == ["right"]


def test_broken_json_arguments_are_not_sent_back_as_arguments() -> None:
    """Backends refuse a history whose arguments are no JSON; the error quotes them instead."""
    model = Script(Say(calls=(("ring a bell", '{"word": "'),)), Say("sorry"))
    tried = attempt(model, Bell().toolbox())
    said, told = model.asked[1].messages[-2:]
    assert said["tool_calls"][0]["function"] == {"name": "ring_a_bell", "arguments": "{}"}
    assert "ring a bell" in told["content"]
    assert tried.result is not None


@BOTH
def test_the_same_call_again_and_again(profile: ModelProfile) -> None:
    """The second time the model is told that it has the result; after the third it must
    answer without tools. The tool ran once."""
    bell = Bell()
    again = call("look", word="x")

    def tired(request: ModelRequest) -> Say:
        offered = request.tools or (request.schema or {}).get("oneOf")
        return again if offered else Say("it is x")

    model = Script(tired)
    tried = attempt(model, bell.toolbox(), profile=profile)
    assert tried.result is not None
    assert (tried.result.text, bell.looked, len(model.asked)) == ("it is x", 1, 4)
    assert "You already have this result:\nsaw x" in model.asked[2].messages[-1]["content"]


def test_light_is_one_call_without_tools() -> None:
    """The role light never gets tools, even from a model that could use them."""
    model = Script(Say("hello", calls=(("ring", '{"word": "a"}'),)))
    bell = Bell()
    tried = attempt(model, bell.toolbox(), role="light")
    assert tried.result is not None
    assert (tried.result.text, len(model.asked), bell.rung) == ("hello", 1, [])
    assert tried.journal.list()[0].name == "model:light"


# --- limits ------------------------------------------------------------------


def plenty(**fields: Any) -> Script:
    """A model that would go on for ever."""
    return Script(*(call("look", word=str(n)) for n in range(50)))


def test_the_step_limit_leaves_room_for_an_answer() -> None:
    """The last call that the limit allows is made without tools, so that the model answers
    with what it has; a job does not die of curiosity."""

    def curious(request: ModelRequest) -> Say:
        return call("look", word=str(len(request.messages))) if request.tools else Say("enough")

    for steps in range(1, 9):
        bell = Bell()
        tried = attempt(Script(curious), bell.toolbox(), limits=Limits(steps=steps))
        assert tried.result is not None
        assert tried.result.text == "enough"
        assert len(tried.model.asked) + bell.looked <= steps
        assert bell.looked == (steps - 1) // 2


def test_more_calls_than_steps_are_left() -> None:
    """Of many calls in one answer only those run that leave a call for the answer; each of the
    others is told why not, so that no call is without a result."""
    many = Say(calls=tuple(("look", json.dumps({"word": str(n)})) for n in range(6)))
    model = InTurn(many, Say("that is all"))
    bell = Bell()
    tried = attempt(model, bell.toolbox(), limits=Limits(steps=5))
    assert tried.result is not None
    assert (tried.result.text, bell.looked) == ("that is all", 3)
    results = [m for m in model.asked[1].messages if m["role"] == "tool"]
    assert len(results) == 6
    assert [OUT_OF_STEPS in m["content"] for m in results] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(tokens=250), "tokens was reached (330 of 250)"),
        (Limits(cost_micro=1_200), "money was reached ($0.0015 of $0.0012)"),
    ],
)
def test_tokens_and_money(limits: Limits, words: str) -> None:
    """The call that would go beyond a limit is not made; the error has the figures."""
    tried = attempt(plenty(), Bell().toolbox(), limits=limits)
    assert tried.problem is not None
    assert words in tried.problem.message
    assert tried.problem.failure is Failure.LIMIT
    assert len(tried.model.asked) == 3


def test_wall_time_counts_from_the_first_attempt() -> None:
    """A job that began too long ago makes no call at all."""
    tried = attempt(plenty(), Bell().toolbox(), limits=Limits(wall_s=60), started_ago_ms=61_000)
    assert tried.problem is not None
    assert "time was reached (61 s of 60 s)" in tried.problem.message
    assert (tried.model.asked, tried.journal.operations) == ([], [])


def test_no_limit() -> None:
    """0 is no limit."""
    none = Limits(steps=0, tokens=0, cost_micro=0, wall_s=0, answer_tokens=0)
    tried = attempt(Script(call("look", word="a"), Say("ok")), Bell().toolbox(), limits=none)
    assert tried.result is not None


def test_answer_tokens_are_the_least_of_three() -> None:
    """Limit, wish of the job, and what is left of the job's tokens."""
    model = Script(call("look", word="a"), Say("ok"))
    limits = Limits(tokens=200, answer_tokens=150)
    attempt(model, Bell().toolbox(), limits=limits, overrides={"temperature": 0.5})
    assert [request.max_tokens for request in model.asked] == [150, 90]
    assert model.asked[0].temperature == 0.5
    attempt(model, Bell().toolbox(), limits=limits, overrides={"max_tokens": 40})
    assert model.asked[2].max_tokens == 40


def test_steps_run_out_in_figures() -> None:
    """A job resumed under a lower limit says how many steps it has had."""
    first = attempt(plenty(), Bell().toolbox(), die_after=8)
    again = attempt(plenty(), Bell().toolbox(), past=first.journal.list(), limits=Limits(steps=3))
    assert again.problem is not None
    assert "steps was reached" in again.problem.message


# --- answers of no use -------------------------------------------------------


def test_an_answer_cut_by_its_length_is_kept() -> None:
    """The part of a reply that arrived is the answer, and the owner is told that it was cut."""
    cut = Say('{"reply": "The beginning of', raw=True, finish="length")
    tried = attempt(Script(cut), Bell().toolbox(), profile=SCHEMA)
    assert tried.result is not None
    assert tried.result.text == "The beginning of"
    assert tried.said.all("note") == ["The answer was cut off at 1024 tokens."]


def test_one_useless_answer_is_asked_again() -> None:
    """The second try may only reply, no tools; its answer counts."""
    broken = Say('{"tool": "ring", "args": {"word": "aaaa', raw=True, finish="length")
    model = InTurn(broken, Say("better"))
    tried = attempt(model, Bell().toolbox(), profile=SCHEMA)
    assert tried.result is not None
    assert tried.result.text == "better"
    assert model.asked[1].messages == model.asked[0].messages
    assert "oneOf" not in (model.asked[1].schema or {})


@pytest.mark.parametrize(
    ("profile", "say"),
    [(SCHEMA, Say("I would rather talk.", raw=True)), (NATIVE, Say(""))],
)
def test_two_useless_answers_end_the_job(profile: ModelProfile, say: Say) -> None:
    """The error is of the class schema, and names the model and what it said; what the calls
    cost is booked. A retry by the owner asks the model anew."""
    tried = attempt(Script(say), Bell().toolbox(), profile=profile)
    assert tried.problem is not None
    assert tried.problem.failure is Failure.SCHEMA
    assert profile.name in tried.problem.message
    assert [s.state for s in tried.journal.list()] == [StepState.DONE, StepState.FAILED]
    assert [s.usage for s in tried.journal.list()] == [USED, USED]
    again = attempt(
        Script(Say("fine")), Bell().toolbox(), profile=profile, past=tried.journal.list()
    )
    assert again.result is not None
    assert again.result.usage == USED + USED + USED


def test_a_stream_without_a_finish_is_a_failure() -> None:
    """An answer that breaks off is never passed off as whole, whatever the client does."""
    lost = BackendFailed(backend="b", why="gone")
    tried = attempt(Script(Say("half an ans", problem=lost)), Bell().toolbox())
    assert tried.problem is lost
    step = tried.journal.list()[0]
    assert (step.state, step.usage) == (StepState.FAILED, Usage())
