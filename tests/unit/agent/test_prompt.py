"""What a model is told: sizes, and a beginning that does not change."""

from __future__ import annotations

import json
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stead.agent.prompt import LEFT_OUT, conversation, shrink, told, window
from stead.agent.tools import toolbox
from stead.core.nouns import ModelProfile, Turn
from stead.core.ports import ModelRequest
from tests.unit.agent.parts import NATIVE, SCHEMA, Say, Script, attempt

TOOLS = toolbox(Path("/nonexistent"))
TURNS = st.lists(
    st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text("ab ", max_size=80)),
    max_size=30,
)


def asked(profile: ModelProfile, text: str = "ping", **fields: Any) -> ModelRequest:
    return attempt(Script(Say("pong")), TOOLS, profile=profile, text=text, **fields).model.asked[0]


def size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def test_a_ping_to_a_small_model_is_small() -> None:
    """A small model that reads 78 tokens a second gets less than 1.5 KB of messages."""
    assert size(asked(SCHEMA).messages) < 1_500


def test_a_ping_to_a_cloud_model_is_small() -> None:
    """A cloud model gets less than 6 KB, tool definitions included."""
    assert size(asdict(asked(NATIVE))) < 6_000


def test_a_light_ping_is_tiny() -> None:
    """A light answer of a cloud model needs neither tools nor a schema, and hardly any prompt."""
    request = asked(NATIVE, role="light")
    assert size(asdict(request)) < 400
    assert (request.tools, request.schema, request.temperature) == ([], None, None)


def test_light_and_main_begin_alike_for_a_small_model() -> None:
    """A conversation may change between the roles: the small model's prompt cache serves both.
    What keeps the light one from tools is its schema, which only lets it reply."""
    light, main = asked(SCHEMA, role="light"), asked(SCHEMA)
    assert light.messages == main.messages
    assert light.schema is not None
    assert list(light.schema["properties"]) == ["reply"]


def test_the_beginning_does_not_change_from_turn_to_turn() -> None:
    """The second turn begins with all the messages of the first, answer included, so that
    the runtime's prompt cache carries them; instructions of a turn do not disturb it."""
    for profile in (NATIVE, SCHEMA):
        first = asked(profile, "one")
        history = [Turn("user", "one"), Turn("assistant", "pong")]
        second = asked(profile, "two", history=history, instructions="in verse")
        assert second.messages[: len(first.messages)] == first.messages
        assert "in verse" in second.messages[-1]["content"]
        assert (second.tools, second.schema) == (first.tools, first.schema)
    assert second.messages[-2]["content"] == '{"reply": "pong"}'


@given(TURNS, st.integers(40, 400))
def test_window_is_stable_between_jumps(turns: list[Turn], budget: int) -> None:
    """A longer conversation begins with the same turns, until its start jumps; after a jump
    at most half of the budget remains, and never is more shown than the budget."""
    before: list[Turn] = []
    for upto in range(len(turns) + 1):
        shown = window(turns[:upto], budget)
        length = sum(len(turn.text) for turn in shown)
        assert length <= budget
        assert not shown or shown[0].role == "user"
        if before and shown[: len(before)] != before:
            assert length <= budget // 2
        before = shown


@given(TURNS)
def test_window_keeps_all_that_fits(turns: list[Turn]) -> None:
    """A conversation within the budget is shown whole from the owner's first word on."""
    first = next((n for n, turn in enumerate(turns) if turn.role == "user"), len(turns))
    assert window(turns, 100_000) == turns[first:]


def test_window_keeps_the_newest_turn_even_when_it_is_huge() -> None:
    """A pasted book loses its middle, not its place."""
    shown = window([Turn("user", "a" * 500), Turn("user", "start" + "x" * 9000 + "end")], 400)
    assert shown[-1].text.startswith("start")
    assert shown[-1].text.endswith("end")


@given(TURNS)
def test_conversation_alternates(turns: list[Turn]) -> None:
    """Templates of many models refuse two turns of one side in a row; nothing is lost by it."""
    made = conversation(turns, Turn("user", "last"), "")
    assert all(a.role != b.role for a, b in pairwise(made))
    assert made[-1].role == "user"
    assert made[-1].text.endswith("last")
    joined = "".join(turn.text for turn in made)
    assert all(turn.text in joined for turn in turns)


def test_shrink_empties_the_oldest_results_first() -> None:
    """When a job outgrows the context, old results make room; the newest stays."""
    messages = [{"role": "user", "content": told("x", c * 900)} for c in "abc"]
    assert shrink(messages, [0, 1, 2], 10_000) == messages
    made = shrink(messages, [0, 1, 2], 700)
    assert made[0]["content"] == f"[result of x]\n{LEFT_OUT}"
    assert made[1:] == messages[1:]
    assert shrink(messages, [0, 1, 2], 1)[2] == messages[2]
