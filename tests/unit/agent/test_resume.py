"""Resuming from the journal: nothing with an outcome runs again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stead.agent.changes import input_hash
from stead.agent.steps import REPEATED
from stead.agent.tools.base import Args, Context, Toolbox
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


class NoArgs(Args, frozen=True):
    pass


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
    whole = attempt(long_job(), Bell(rule=OnUnknown.REPEAT).toolbox(), profile=profile)
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
    assert [step.note for _, step in again.journal.operations] == [f"{REPEATED} (repeat)"] * 2


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
    assert again.journal.steps[2].note == f"{REPEATED} (repeat)"


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
    waiting = resume(bell, past).journal.list()
    assert isinstance(resume(bell, waiting, {2: "fail"}).problem, OutcomeUnknown)
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
    """What was done was done: the outcome is used, and owner and journal are told of what is
    different. What has not changed is noted as replayed, and no more."""
    past = attempt(Script(Say("hi")), Bell().toolbox()).journal.list()
    same = attempt(Script(Say("other")), Bell().toolbox(), past=past)
    assert [(step.seq, step.note) for step in same.journal.replays] == [(1, "")]
    again = attempt(
        Script(Say("other")),
        Bell().toolbox(),
        past=past,
        history=[Turn("user", "before"), Turn("assistant", "so")],
    )
    assert again.result is not None
    assert (again.result.text, again.model.asked) == ("hi", [])
    (note,) = again.said.all("note")
    assert "what it is told" in note
    (replay,) = again.journal.replays
    assert (replay.state, replay.seq) == (StepState.REPLAYED, 1)
    assert replay.note == "changed since: what it is told (prompt, history or results)"


def test_a_model_call_in_flight_is_repeated_whatever_has_changed() -> None:
    """It has no effects, so it is repeated by its rule; the journal says what had changed."""
    first = attempt(Script(Say("hi")), Bell().toolbox(), die_after=1)
    again = attempt(Script(Say("so")), Bell().toolbox(), past=first.journal.list(), text="other")
    assert again.result is not None
    assert again.result.text == "so"
    assert again.journal.steps[1].note == (
        f"{REPEATED} (repeat); changed since: what it is told (prompt, history or results)"
    )


def changed(tools: Toolbox, **changes: Any) -> Toolbox:
    """A toolbox with another version of the bell."""
    return Toolbox(
        [replace(tool, **changes) if tool.name == "ring" else tool for tool in tools],
        Context(Path("/nonexistent")),
    )


OTHER = pytest.mark.parametrize(
    "changes",
    [{"version": 2}, {"args": NoArgs}, {"on_unknown": OnUnknown.ASK}, {"name": "gong"}],
    ids=["version", "schema", "rule", "gone"],
)


@OTHER
def test_a_changed_tool_that_was_done_is_replayed(changes: dict[str, Any]) -> None:
    """Another version, other arguments, another rule or no such tool any more: what it gave is
    used all the same, nothing runs, and the journal says what has changed."""
    bell = Bell(rule=OnUnknown.REPEAT)
    script = (call("ring", word="a"), Say("ok"))
    first = attempt(Script(*script), bell.toolbox(), die_after=4)
    again = attempt(Script(*script), changed(bell.toolbox(), **changes), past=first.journal.list())
    assert again.result is not None
    assert (again.result.text, bell.rung) == ("ok", ["a"])
    notes = {step.seq: step.note for step in again.journal.replays}
    assert notes[2].startswith("changed since: the tool")
    assert ("not there any more" in notes[2]) == ("name" in changes)


@pytest.mark.parametrize("rule", list(OnUnknown))
@OTHER
def test_a_changed_tool_in_flight_is_asked_about(rule: OnUnknown, changes: dict[str, Any]) -> None:
    """Whatever its rule, a call without outcome of a tool that is another one now is not repeated
    before the owner was asked, and told what has changed; the owner's word is then followed."""
    if changes.get("on_unknown") is rule:
        changes = {"on_unknown": OnUnknown.FAIL}
    bell, past = in_flight(rule)
    tools = changed(bell.toolbox(), **changes)
    script = Script(call("ring", word="a"), Say("ok"))
    asked = attempt(script, tools, past=past)
    assert asked.result is not None
    assert (asked.result.outcome, bell.rung) == ("waiting", ["a"])
    assert "has changed since: the tool" in asked.result.waiting_for
    waiting = asked.journal.list()
    assert attempt(script, tools, past=waiting).result == asked.result
    assert bell.rung == ["a"]
    assert isinstance(
        attempt(script, tools, past=waiting, answers={2: "fail"}).problem, OutcomeUnknown
    )
    done = attempt(script, tools, past=waiting, answers={2: "done"})
    assert done.result is not None and done.result.text == "ok"
    assert bell.rung == ["a"]
    again = attempt(script, tools, past=waiting, answers={2: "repeat"})
    assert again.result is not None and again.result.text == "ok"
    runs_now = "name" not in changes and "args" not in changes
    assert bell.rung == ["a", "a"] if runs_now else ["a"]


def test_the_word_of_the_owner_is_about_one_question() -> None:
    """Repeated at the owner's word and cut off again, it is asked about again; and so is a tool
    that has changed after the owner answered."""
    bell, past = in_flight(OnUnknown.ASK)
    waiting = resume(bell, past).journal.list()
    newer = attempt(
        Script(call("ring", word="a"), Say("ok")),
        changed(bell.toolbox(), version=2),
        past=waiting,
        answers={2: "repeat"},
    )
    assert newer.result is not None and newer.result.outcome == "waiting"
    assert bell.rung == ["a"]
    bell.die = True
    cut_off = resume(bell, waiting, {2: "repeat"})
    assert cut_off.died
    assert bell.rung == ["a", "a"]
    bell.die = False
    again = resume(bell, cut_off.journal.list(), {2: "repeat"})
    assert again.result is not None and again.result.outcome == "waiting"
    assert bell.rung == ["a", "a"]


def test_a_call_that_would_be_refused_now_is_asked_about() -> None:
    """A lower limit does not turn "may have happened" into "not run"."""
    bell, past = in_flight(OnUnknown.REPEAT)
    script = Script(call("ring", word="a"), Say("ok"))
    tight = Limits(steps=1)
    asked = attempt(script, bell.toolbox(), past=past, limits=tight)
    assert asked.result is not None and asked.result.outcome == "waiting"
    assert "would not be run now" in asked.result.waiting_for
    ended = attempt(
        script, bell.toolbox(), past=asked.journal.list(), limits=tight, answers={2: "fail"}
    )
    assert isinstance(ended.problem, OutcomeUnknown)
    assert bell.rung == ["a"]


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


def test_another_loop_does_not_repeat_effects() -> None:
    """A place that holds another kind of step means that the loop is another one. Where what is
    recorded from there on may have had effects, the job ends and says which; nothing runs."""
    past = attempt(Script(call("ring", word="a"), Say("ok")), Bell().toolbox()).journal.list()
    shifted = [replace(step, seq=step.seq - 1) for step in past[1:]]
    bell = Bell()
    tried = attempt(Script(Say("hi")), bell.toolbox(), past=shifted)
    assert tried.problem is not None
    assert tried.problem.failure is Failure.UNKNOWN_OUTCOME
    assert 'tool:ring: {"word": "a"}' in str(tried.problem)
    assert (tried.model.asked, bell.rung) == ([], [])


def test_another_loop_begins_anew_where_nothing_had_effects() -> None:
    """Without effects in the rest of the journal the job goes on anew from there: what was spent
    still counts, and the journal says what was set aside."""
    past = attempt(Script(call("look", word="a"), Say("ok")), Bell().toolbox()).journal.list()
    shifted = [replace(step, seq=step.seq - 1) for step in past[1:]]
    tried = attempt(Script(Say("hi")), Bell().toolbox(), past=shifted)
    assert tried.result is not None
    assert (tried.result.text, len(tried.model.asked)) == ("hi", 1)
    assert tried.result.usage == USED + USED
    assert "recorded as tool:look" in tried.journal.steps[1].note


def test_input_hash_is_canonical() -> None:
    """Equal inputs have equal hashes whatever the order of their keys."""
    assert input_hash({"a": 1, "b": "é"}) == input_hash({"b": "é", "a": 1})
    assert input_hash({"a": 1}) != input_hash({"a": "1"})
    assert len(input_hash({})) == 64
