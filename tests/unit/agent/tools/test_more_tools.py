"""Groups of tools are shown once they were asked for, and never before."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from stead.agent.tools import TOOLS
from stead.agent.tools.base import Context, Toolbox
from stead.agent.tools.more_tools import signature, with_more
from stead.core.nouns import Limits, ModelProfile
from stead.core.ports import ModelRequest
from stead.core.states import StepState
from tests.unit.agent.parts import NATIVE, SCHEMA, Bell, InTurn, Say, Script, attempt, call

WIDE = replace(SCHEMA, prompt="full")
"""A model that chooses by schema, but reads quickly."""


def grouped(bell: Bell) -> Toolbox:
    """``look`` is always shown, ``ring`` with the group ``tower``, ``toll`` with ``church``."""
    ring, look = bell.toolbox()
    tools = [replace(ring, group="tower"), look, replace(ring, name="toll", group="church")]
    return Toolbox(with_more(tools), Context(Path("/nonexistent")))


def offered(request: ModelRequest) -> list[str]:
    """Names of the tools in a request."""
    if request.schema is None:
        return [tool["function"]["name"] for tool in request.tools]
    shapes: list[dict[str, Any]] = request.schema.get("oneOf", [])
    return [shape["properties"]["tool"]["const"] for shape in shapes[1:]]


@pytest.mark.parametrize("profile", [NATIVE, WIDE])
def test_a_group_is_shown_once_it_was_asked_for(profile: ModelProfile) -> None:
    """The definitions of a group come with the request after the one that asked for it, at the
    end; the messages before stay as they were."""
    bell = Bell()
    script = Script(call("more_tools", group="tower"), call("ring", word="now"), Say("rung"))
    tried = attempt(script, grouped(bell), profile=profile)
    assert tried.result is not None and tried.result.text == "rung"
    assert bell.rung == ["now"]
    asked = tried.model.asked
    first = ["look", "more_tools"]
    assert [offered(one) for one in asked] == [first, [*first, "ring"], [*first, "ring"]]
    assert asked[1].messages[: len(asked[0].messages)] == asked[0].messages
    if profile is NATIVE:
        assert asked[1].tools[: len(asked[0].tools)] == asked[0].tools
    told = asked[1].messages[-1]["content"]
    assert "ring(word, times?): Ring a bell." in told
    assert "toll" not in told


def test_only_groups_that_exist_can_be_asked_for() -> None:
    """The schema of ``more_tools`` names the groups; another is an error that names them."""
    tried = attempt(Script(call("more_tools", group="cellar"), Say("no")), grouped(Bell()))
    schema = tried.model.asked[0].tools[-1]["function"]["parameters"]
    assert schema["properties"]["group"]["enum"] == ["church", "tower"]
    assert "Invalid enum value 'cellar'" in tried.model.asked[1].messages[-1]["content"]
    assert offered(tried.model.asked[1]) == ["look", "more_tools"]


def test_a_small_model_is_shown_a_chosen_few() -> None:
    """Neither groups nor the way to them burden a model that reads slowly."""
    tried = attempt(Script(Say("pong")), grouped(Bell()), profile=SCHEMA)
    assert offered(tried.model.asked[0]) == ["ring", "look", "toll"]
    real = Toolbox(with_more(TOOLS), Context(Path("/")))
    few = ["host_facts", "clock", "list_files", "read_file", "search_files"]
    assert [tool.name for tool in real.shown(small=True)] == few


@pytest.mark.parametrize("profile", [NATIVE, WIDE])
def test_resumed_anywhere_it_offers_the_same(profile: ModelProfile) -> None:
    """Wherever a worker dies, the next one makes the very same requests, and nothing twice."""
    script = [
        call("more_tools", group="church"),
        call("toll", word="a"),
        call("more_tools", group="tower"),
        call("ring", word="b"),
        Say("done"),
    ]
    whole = attempt(Script(*script), grouped(Bell()), profile=profile)
    wanted = [asdict(request) for request in whole.model.asked]
    for die_after in range(1, len(whole.journal.operations)):
        bell = Bell()
        first = attempt(Script(*script), grouped(bell), profile=profile, die_after=die_after)
        assert first.died
        past = first.journal.list()
        answers = {one.seq: "repeat" for one in past if one.state is StepState.INTENT}
        past = [
            replace(one, state=StepState.UNKNOWN) if one.state is StepState.INTENT else one
            for one in past
        ]
        again = attempt(Script(*script), grouped(bell), profile=profile, past=past, answers=answers)
        assert again.result is not None and again.result.text == "done"
        made = [asdict(request) for request in again.model.asked]
        assert made == wanted[len(wanted) - len(made) :]
        assert not again.said.all("note"), "nothing has changed"


def test_asking_by_turns_for_what_is_there_is_a_loop() -> None:
    """A model that goes on asking for groups it has is told so, and soon answers without tools."""
    by_turns = [call("more_tools", group=g) for g in ("tower", "church") * 4]
    tried = attempt(
        InTurn(*by_turns[:5], Say("well then")), grouped(Bell()), limits=Limits(steps=40)
    )
    assert tried.result is not None and tried.result.text == "well then"
    asked = tried.model.asked
    assert [bool(request.tools) for request in asked] == [True] * 5 + [False]
    assert "You already have the tools of 'tower'" in asked[3].messages[-1]["content"]


def test_a_tool_between_ends_the_count() -> None:
    """Who forgets, asks again and works on is no loop."""
    says = [call("more_tools", group="tower")]
    for word in "abcd":
        says += [call("more_tools", group="tower"), call("ring", word=word)]
    bell = Bell()
    tried = attempt(InTurn(*says, Say("ok")), grouped(bell), limits=Limits(steps=60))
    assert tried.result is not None
    assert bell.rung == list("abcd")


def test_no_groups_no_more_tools() -> None:
    """Where all tools are always shown there is nothing to ask for."""
    plain = Bell().toolbox()
    assert list(with_more(plain)) == list(plain)
    assert [tool.name for tool in with_more(grouped(Bell()))] == [
        "ring", "look", "toll", "more_tools",
    ]  # fmt: skip


def test_a_signature_names_what_may_be_left_out() -> None:
    """It is what a model without native tool calls knows of a tool's arguments."""
    tools = {tool.name: tool for tool in TOOLS}
    assert signature(tools["read_file"]) == "read_file(path, from_line?)"
    assert signature(tools["clock"]) == "clock()"
    assert json.dumps(tools["read_file"].schema())
