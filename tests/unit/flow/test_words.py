"""Words for people: durations, money, lines of the log."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from stead.core.nouns import Inbound, Step, Usage
from stead.core.states import StepState
from stead.core.wire import Finish
from stead.flow import words
from tests.unit.queue.test_policy import job


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0.0 s"), (250, "0.2 s"), (59_940, "59.9 s"), (59_960, "1 min 0 s"),
        (60_000, "1 min 0 s"), (125_000, "2 min 5 s"), (3_599_600, "1 h 0 min"),
        (3_600_000, "1 h 0 min"), (90_000_000, "25 h 0 min"),
    ],
)  # fmt: skip
def test_durations(ms: int, text: str) -> None:
    """A duration is told in the two units that matter, never as 60 of one."""
    assert words.duration(ms) == text


def test_money() -> None:
    """Micro-dollars are told in dollars."""
    assert words.money(1_234_567) == "$1.2346"


def test_clock() -> None:
    """A time of today has no date; any other has."""
    now = int(time.time() * 1000)
    assert len(words.clock(now)) == 5
    assert len(words.clock(now - 3 * 86_400_000)) == 16


def test_an_intent_is_no_event() -> None:
    """A step is told once, when its outcome is known."""
    step = Step(1, "tool:clock", "h", StepState.INTENT, input="{}")
    assert words.stepped("job", step) == ""
    done = replace(
        step, state=StepState.DONE, started_at=1_000, ended_at=1_500, usage=Usage(10, 0, 5, 30),
        note="again", input="a\n b " + "x" * 500,
    )  # fmt: skip
    line = words.stepped("0123456789", done)
    assert line.startswith("tool:clock `a b xxx") and "…" in line and "\n" not in line
    assert "done in 0.5 s, 10+5 tokens, $0.0000 (again) [job 23456789]" in line


def test_a_message_and_its_answer() -> None:
    """The log says who spoke, where, for which job, and what it took."""
    line = words.received(Inbound("mail", "1", "hello\nyou", session="s"), "node: mine")
    assert line == "**owner** (mail, s) [job {job}, node: mine]: hello\nyou"
    told = words.answered(
        job(id="0123456789"), Finish("r", "j", 1, "done", "hi", worked_ms=1500), 250,
        Usage(10, 0, 5, 0),
    )  # fmt: skip
    assert told == "**stead** [job 23456789, waited 0.2 s, worked 1.5 s, 10+5 tokens, $0.0000]: hi"


def test_an_apology_says_what_to_do() -> None:
    """A failure names its reason once, and both commands that help."""
    text = words.apology(job(id="0123456789"), "no network.")
    assert "this: no network. The" in text
    assert "stead why 23456789" in text and "stead jobs retry 23456789" in text


def test_nobody_is_there() -> None:
    """The notice counts rightly and says since when."""
    now = int(time.time() * 1000)
    assert "1 message waits since" in words.no_node(1, now, 0)
    assert "none has ever connected" in words.no_node(1, now, 0)
    assert "3 messages wait since" in words.no_node(3, now, now) and "last seen" in words.no_node(
        3, now, now
    )


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ('{"result": "a\\nb"}', "a b"), ('{"error": "no"}', "no"), ('{"text": "t"}', "t"),
        ("", ""), ("{}", ""), ("[1]", ""), ("not json", "not json"), ('{"result": 0}', ""),
    ],
)  # fmt: skip
def test_step_results(output: str, text: str) -> None:
    """An outcome is told in one line, whatever shape it has."""
    assert words.step_result(output) == text
