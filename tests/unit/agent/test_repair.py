"""Arguments that nearly fit, and a model that goes round in circles."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stead.agent.repair import repaired
from stead.agent.tools.base import Args, args_schema
from stead.core.ports import ModelRequest
from tests.unit.agent.parts import Bell, Say, Script, attempt, call


class Mail(Args, frozen=True):
    to: list[str]
    text: str
    max_results: int = 3
    urgent: bool = False
    meta: dict[str, str] = {}


class One(Args, frozen=True):
    path: str
    deep: bool = False


def read(arguments: str, args: type[Args] = Mail) -> Any:
    text = repaired(arguments, "mail", args_schema(args, described=False))
    return None if text is None else msgspec.json.decode(text, type=args, strict=False)


MEANT = Mail(to=["a"], text="hi")


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps(json.dumps({"to": ["a"], "text": "hi"})),
        '{"arguments": {"to": ["a"], "text": "hi"}}',
        '{"mail": {"to": ["a"], "text": "hi"}}',
        '{"name": "mail", "arguments": {"to": ["a"], "text": "hi"}}',
        '{"parameters": "{\\"to\\": [\\"a\\"], \\"text\\": \\"hi\\"}"}',
        '[{"to": ["a"], "text": "hi"}]',
        '```json\n{"to": ["a"], "text": "hi"}\n```',
        '{"to": ["a"], "text": "hi",}',
        '{"to": ["a"], "text": "hi"',
        "{'to': ['a'], 'text': 'hi', 'urgent': False}",
        '{"to": "a", "text": "hi"}',
        '{"to": "[\\"a\\"]", "text": "hi"}',
        '{"To": ["a"], "TEXT": "hi"}',
        '{"to": ["a"], "text": "hi", "maxResults": 3}',
        '{"to": ["a"], "text": "hi", "max_result": "3"}',
        '{"to": ["a"], "text": "hi", "urgent": "no", "max_results": 3.0}',
        '{"to": ["a"], "text": "hi", "max_results": null, "meta": null}',
        '{"to": ["a"], "text": "hi", "other": null}',
        '{"to": ["a"], "text": "hi", "meta": "{}"}',
    ],
)
def test_what_is_meant_is_read(arguments: str) -> None:
    """Where there is one meaning, that is what is read."""
    assert read(arguments) == MEANT


@pytest.mark.parametrize(
    ("arguments", "path"),
    [('"a.txt"', "a.txt"), ("7", "7"), ('{"file_path": "a", "path": "b"}', None), ("[1, 2]", None)],
)
def test_a_bare_value_is_the_one_that_is_needed(arguments: str, path: str | None) -> None:
    """Only for a tool that needs one."""
    if path is None:
        with pytest.raises((msgspec.ValidationError, AssertionError)):
            assert read(arguments, One) is not None
    else:
        assert read(arguments, One) == One(path=path)


@pytest.mark.parametrize(
    "arguments",
    ['{"to": ["a"], "text": "hi and the', "to a: hi", "", "nope(", "[" * 5000, '{"text": "hi"}'],
)
def test_what_could_mean_anything_is_not_guessed(arguments: str) -> None:
    """A text that was cut off, prose, or a missing field stay an error."""
    with pytest.raises((msgspec.ValidationError, AssertionError)):
        assert read(arguments) is not None


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    ).map(json.dumps)
)
def test_it_never_breaks(arguments: str) -> None:
    """Whatever a model writes, there is another reading or there is none."""
    text = repaired(arguments, "mail", args_schema(Mail, described=False))
    assert text is None or isinstance(json.loads(text), dict)


def test_repaired_once_and_run() -> None:
    """The loop runs the call as it is meant, and the journal keeps what was said."""
    bell = Bell()
    model = Script(Say(calls=(("ring", '{"args": {"Word": "a"}}'),)), Say("ok"))
    tried = attempt(model, bell.toolbox())
    assert tried.result is not None and bell.rung == ["a"]
    assert tried.journal.steps[2].input == '{"args": {"Word": "a"}}'


def test_an_invented_tool_is_told_the_near_one() -> None:
    """A name that is nearly one of the tools is answered with that one."""
    model = Script(call("rings", word="a"), Say("ok"))
    attempt(model, Bell().toolbox())
    told = model.asked[1].messages[-1]["content"]
    assert "there is no tool 'rings', did you mean 'ring'?" in told and "ring, look" in told


# --- going round in circles -------------------------------------------------------------


def curious(*calls: Say) -> Script:
    """A model that makes these calls in turn for ever, as long as it is offered tools."""
    asked: list[int] = []

    def say(request: ModelRequest) -> Say:
        asked.append(1)
        return calls[(len(asked) - 1) % len(calls)] if request.tools else Say("enough")

    return Script(say)


def test_the_same_call_written_otherwise() -> None:
    """White space and the order of keys make no other call: it runs once."""
    bell = Bell()
    one = Say(calls=(("look", '{"word": "x", "times": 1}'),))
    two = Say(calls=(("look", '{ "times":1,\n"word":"x" }'),))
    tried = attempt(curious(one, two), bell.toolbox())
    assert tried.result is not None
    assert (tried.result.text, bell.looked, len(tried.model.asked)) == ("enough", 1, 4)


@pytest.mark.parametrize("many", [2, 3])
def test_by_turns(many: int) -> None:
    """A, B, A, B: what comes back with the same result is noticed, told, and stopped."""
    bell = Bell()
    calls = [call("look", word=str(n)) for n in range(many)]
    tried = attempt(curious(*calls), bell.toolbox())
    assert tried.result is not None and tried.result.text == "enough"
    assert len(tried.model.asked) == many + 3 + 1
    assert "had this very result before" in tried.model.asked[many + 1].messages[-1]["content"]


def test_what_changes_is_no_circle() -> None:
    """A call that gives something new each time, or stands between new ones, goes on."""
    bell = Bell()
    calls = [call("look", word="status") if n % 2 else call("look", word=str(n)) for n in range(8)]
    tried = attempt(Script(*calls, Say("done")), bell.toolbox())
    assert tried.result is not None and tried.result.text == "done"
    assert bell.looked == 8
