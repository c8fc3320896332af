"""Resuming from the journal: nothing with an outcome runs again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stead.agent.steps import REPEATED, input_hash
from stead.core.errors import BackendFailed, OutcomeUnknown
from stead.core.nouns import Limits, ModelProfile, Step, Turn
from stead.core.states import Failure, OnUnknown, StepState
from tests.unit.agent.parts import (
    NATIVE,
    SCHEMA,
    USED,
    Bell,
    Say,
    Script,
    Tried,
    attempt,
    call,
)

BOTH = pytest.mark.parametrize("profile", [NATIVE, SCHEMA], ids=["native", "schema"])


def long_job() -> Script:
    """Model, tool, model, tool twice the same, a wrong call, model, answer."""
    return Script(
        call("ring", word="a"),
        call("look", word="b"),
        call("look", word="b"),
        call("look", word=["c"]),
        call("ring", word="d"),
        Say("all done"),
    )


def outcomes(steps: list[Step]) -> int:
    return sum(1 for step in steps if step.state is StepState.DONE)


@BOTH
def test_cut_after_every_journal_operation(profile: ModelProfile) -> None:
    """A worker that dies right after any journal operation loses nothing: the next one makes
    exactly the calls whose outcome was not recorded, and comes to the same answer."""
    whole = attempt(long_job(), Bell().toolbox(), profile=profile)
    assert whole.result is not None
    assert whole.result.text == "all done"
    operations = len(whole.journal.operations)
    assert operations == 6 * 2 + 2 * 2 + 3  # model calls, tools with effects, the others
    for die_after in range(1, operations + 1):
        bell = Bell(rule=OnUnknown.REPEAT)
        first = attempt(long_job(), bell.toolbox(), profile=profile, die_after=die_after)
        past = first.journal.list()
        before = outcomes([step for step in past if step.name == "model:main"])
        again = attempt(long_job(), bell.toolbox(), profile=profile, past=past)
        assert first.died
        assert again.result is not None, die_after
        assert again.result.text == "all done"
        assert again.result.usage == whole.result.usage
        assert "".join(again.said.all("token")) == "all done"
        assert len(again.model.asked) == 6 - before
        assert (bell.rung, bell.looked) == (["a", "d"], 1)
        settled = {step.seq for what, step in again.journal.operations if what == "settle"}
        assert not settled & {step.seq for step in past if step.state is StepState.DONE}
        assert [plain(step) for step in again.journal.list()] == [
            plain(step) for step in whole.journal.list()
        ]


def plain(step: Step) -> Step:
    """A step without what may differ from run to run."""
    return replace(step, started_at=0, ended_at=0, note="", rule=OnUnknown.REPEAT)


def test_dying_many_times_in_a_row() -> None:
    """A job whose worker dies after each single operation still comes to its end."""
    bell = Bell(rule=OnUnknown.REPEAT)
    past: list[Step] = []
    for _ in range(30):
        tried = attempt(long_job(), bell.toolbox(), past=past, die_after=2)
        past = tried.journal.list()
        if tried.result is not None:
            break
    assert tried.result is not None
    assert (tried.result.text, bell.rung, bell.looked) == ("all done", ["a", "d"], 1)


def test_a_model_call_in_flight_is_repeated_with_a_note() -> None:
    """Repeating is its declared rule, and the journal says that it happened."""
    first = attempt(Script(Say("hi")), Bell().toolbox(), die_after=1)
    again = attempt(Script(Say("hi")), Bell().toolbox(), past=first.journal.list())
    assert again.result is not None
    assert [step.note for _, step in again.journal.operations] == [REPEATED, REPEATED]


def in_flight(rule: OnUnknown) -> tuple[Bell, list[Step]]:
    """A job whose worker died while the bell was being rung."""
    bell = Bell(rule=rule, die=True)
    first = attempt(Script(call("ring", word="a"), Say("ok")), bell.toolbox())
    assert first.died
    assert first.journal.list()[-1].state is StepState.INTENT
    bell.die = False
    return bell, first.journal.list()


def resume(bell: Bell, past: list[Step], answers: dict[int, str] | None = None) -> Tried:
    script = Script(call("ring", word="a"), Say("ok"))
    return attempt(script, bell.toolbox(), past=past, answers=answers or {})


def test_rule_repeat() -> None:
    """A tool that may be repeated is repeated, once, with a note."""
    bell, past = in_flight(OnUnknown.REPEAT)
    again = resume(bell, past)
    assert again.result is not None
    assert bell.rung == ["a", "a"]
    assert again.journal.steps[2].note == REPEATED


def test_rule_ask() -> None:
    """The job waits with a question that says what was under way; nothing runs."""
    bell, past = in_flight(OnUnknown.ASK)
    again = resume(bell, past)
    assert again.result is not None
    assert again.result.outcome == "waiting"
    assert 'tool:ring: {"word": "a"}' in again.result.waiting_for
    assert again.result.usage == USED
    assert again.journal.steps[2].state is StepState.UNKNOWN
    assert resume(bell, again.journal.list()).result == again.result
    assert bell.rung == ["a"]


@pytest.mark.parametrize(("answer", "rung"), [("repeat", ["a", "a"]), ("done", ["a"])])
def test_the_owner_answers(answer: str, rung: list[str]) -> None:
    """Repeated only at the owner's word; counted as done, the model is told so."""
    bell, past = in_flight(OnUnknown.ASK)
    waiting = resume(bell, past).journal.list()
    again = resume(bell, waiting, {2: answer})
    assert again.result is not None
    assert (again.result.text, bell.rung) == ("ok", rung)
    assert again.journal.steps[2].state is StepState.DONE
    later = resume(bell, again.journal.list(), {2: answer})
    assert later.result == again.result
    assert bell.rung == rung


def test_the_owner_ends_it() -> None:
    """The answer fail ends the job as an unknown outcome."""
    bell, past = in_flight(OnUnknown.ASK)
    assert isinstance(resume(bell, past, {2: "fail"}).problem, OutcomeUnknown)
    assert bell.rung == ["a"]


def test_rule_fail() -> None:
    """The job ends, also when it is tried again, and never runs the tool a second time."""
    bell, past = in_flight(OnUnknown.FAIL)
    again = resume(bell, past)
    assert isinstance(again.problem, OutcomeUnknown)
    assert again.journal.steps[2].state is StepState.UNKNOWN
    assert isinstance(resume(bell, again.journal.list()).problem, OutcomeUnknown)
    assert bell.rung == ["a"]


def test_a_failed_model_call_is_made_again() -> None:
    """It has no outcome worth replaying; what came before it is replayed."""
    bell = Bell()
    away = BackendFailed(backend="b", why="refused")
    first = attempt(Script(call("ring", word="a"), Say("", problem=away)), bell.toolbox())
    assert first.problem is away
    failed = first.journal.list()[-1]
    assert (failed.seq, failed.state) == (3, StepState.FAILED)
    again = attempt(
        Script(call("ring", word="a"), Say("ok")), bell.toolbox(), past=first.journal.list()
    )
    assert again.result is not None
    assert (again.result.text, bell.rung, len(again.model.asked)) == ("ok", ["a"], 1)


def test_a_changed_input_is_told_and_replayed() -> None:
    """What was done was done: the outcome is used, and the owner is told of the difference."""
    first = attempt(Script(Say("hi")), Bell().toolbox())
    again = attempt(
        Script(Say("other")),
        Bell().toolbox(),
        past=first.journal.list(),
        history=[Turn("user", "before"), Turn("assistant", "so")],
    )
    assert again.result is not None
    assert (again.result.text, again.model.asked) == ("hi", [])
    assert len(again.said.all("note")) == 1


def test_a_raised_limit_changes_nothing_of_the_past() -> None:
    """Calls that one limit refused stay refused under another: they are steps as well."""
    many = Say(calls=tuple(("look", json.dumps({"word": str(n)})) for n in range(6)))
    script = (*[many] * 6, Say("that is all"))
    bell = Bell()
    first = attempt(Script(*script), bell.toolbox(), limits=Limits(steps=5), die_after=9)
    assert first.died
    again = attempt(Script(*script), bell.toolbox(), past=first.journal.list())
    assert again.result is not None
    assert (again.result.text, bell.looked, len(again.model.asked)) == ("that is all", 3, 1)


def test_a_journal_of_another_job_is_refused() -> None:
    """A place that holds another kind of step means that nothing can be trusted: the job ends
    with nothing run again."""
    past = attempt(Script(call("ring", word="a"), Say("ok")), Bell().toolbox()).journal.list()
    shifted = [replace(step, seq=step.seq - 1) for step in past[1:]]
    bell = Bell()
    tried = attempt(Script(Say("hi")), bell.toolbox(), past=shifted)
    assert tried.problem is not None
    assert tried.problem.failure is Failure.UNKNOWN_OUTCOME
    assert (tried.model.asked, bell.rung) == ([], [])


def test_input_hash_is_canonical() -> None:
    """Equal inputs have equal hashes whatever the order of their keys."""
    assert input_hash({"a": 1, "b": "é"}) == input_hash({"b": "é", "a": 1})
    assert input_hash({"a": 1}) != input_hash({"a": "1"})
    assert len(input_hash({})) == 64
