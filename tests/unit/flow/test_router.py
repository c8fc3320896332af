"""The router: rules are data, the first that matches decides, and none can lose a message."""

from __future__ import annotations

from typing import Any

import pytest

from stead.core.nouns import Inbound
from stead.core.states import Lane
from stead.flow.router import Router, Rule


def message(text: str = "hello", **more: Any) -> Inbound:
    return Inbound("cli", "1", text, **more)


def decided(router: Router, *asked: Any, **more: Any) -> tuple[str, str]:
    route = router.decide(message(*asked, **more))
    return route.to, route.rule


@pytest.mark.parametrize(
    "text",
    [
        "ping", "Ping!", "hi", "Hello there", "hey stead", "good morning", "Guten Morgen!",
        "Thanks a lot!", "thank you very much", "Danke dir", "tschüss", "how are you today?",
        "wie geht's?", "Hi! How are you?", "  hello  ", "moin moin", "¡hola!", "bye, all",
    ],
)  # fmt: skip
def test_small_talk_is_light(text: str) -> None:
    """A greeting needs no tools, so the gateway answers it."""
    assert decided(Router(), text) == ("light", "small talk")


@pytest.mark.parametrize(
    "text",
    [
        "ok", "Okay.", "yes", "ok, delete it", "thanks, now delete the old backups",
        "hi, how much disk space is free?", "hello, restart the NAS", "ping 192.168.1.1",
        "good morning, what is on today?", "what time is it?", "hi " * 30, "", "?", "again",
        "all of it", "today", "goodbye world",
        "danke, lösch es", "how are you going to fix it",
    ],
)  # fmt: skip
def test_work_is_for_a_node(text: str) -> None:
    """Whatever asks for something, or may be the answer to a question, goes where tools are."""
    assert decided(Router(), text)[0] == "node"


def test_marks_decide() -> None:
    """What the sender says is done, against what the text looks like."""
    assert decided(Router(), "analyse my logs", mark="light") == ("light", "marked light")
    assert decided(Router(), "ping", mark="heavy") == ("node", "marked heavy")


def test_background_work_is_for_a_node() -> None:
    """Background work is not answered in the gateway."""
    assert decided(Router(), "ping", lane=Lane.BACKGROUND) == ("node", "background work")


def test_own_rules_come_first() -> None:
    """The owner's rules are tried in their order before those built in."""
    router = Router(
        [
            Rule("gpu first", "node", match=r"\brender\b", needs=("nas", "gpu")),
            Rule("all renders", "light", match=r"\brender\b"),
            Rule("no greetings here", "node", match="^hi$"),
        ]
    )
    route = router.decide(message("RENDER the film"))
    assert (route.to, route.rule, route.role, route.needs) == (
        "node", "gpu first", "main", ("gpu", "nas"),
    )  # fmt: skip
    assert decided(router, "hi") == ("node", "no greetings here")
    assert decided(router, "hello") == ("light", "small talk")


def test_where_light_work_goes() -> None:
    """Light work is for the worker in the gateway and its light model, whatever labels are
    named."""
    route = Router([Rule("mine", "light", needs=("gpu",))]).decide(message())
    assert (route.role, route.needs) == ("light", ("@gateway",))


@pytest.mark.parametrize(
    ("rule", "more", "holds"),
    [
        (Rule("r", "light", channel="mail"), {}, False),
        (Rule("r", "light", channel="cli"), {}, True),
        (Rule("r", "light", lane="background"), {}, False),
        (Rule("r", "light", lane="chat"), {}, True),
        (Rule("r", "light", mark="heavy"), {}, False),
        (Rule("r", "light", mark="heavy"), {"mark": "heavy"}, True),
        (Rule("r", "light", max_chars=5), {}, True),
        (Rule("r", "light", max_chars=4), {}, False),
        (Rule("r", "light", match="^h", unless="o$"), {}, False),
        (Rule("r", "light", match="^h", unless="x$"), {}, True),
        (Rule("r", "light", match="^h", channel="mail"), {}, False),
        (Rule("r", "light"), {}, True),
    ],
)
def test_all_conditions_must_hold(rule: Rule, more: dict[str, Any], holds: bool) -> None:
    """An empty condition always holds, and one that does not is enough to pass a rule over."""
    router = Router([rule, Rule("else", "node")])
    assert decided(router, "hello", **more)[1] == ("r" if holds else "else")


class Broken:
    """A pattern that fails on some text."""

    def search(self, text: str) -> None:
        raise RecursionError("too deep")


def test_a_rule_that_cannot_be_judged_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of a rule costs its message nothing: the next rule decides, and it is logged."""
    router = Router([Rule("broken", "light", match="x"), Rule("mine", "node", match="hello")])
    rule, _, unless = router._rules[0]
    router._rules[0] = (rule, Broken(), unless)  # type: ignore[assignment]
    assert decided(router, "hello") == ("node", "mine")
    assert "broken" in caplog.text


@pytest.mark.parametrize("field", ["match", "unless"])
def test_a_pattern_that_is_none(field: str, caplog: pytest.LogCaptureFixture) -> None:
    """A rule whose pattern cannot be read is left out whole, said, and the rest decides."""
    broken: dict[str, Any] = {field: "(unclosed"}
    router = Router([Rule("broken", "light", **broken), Rule("mine", "node")])
    assert decided(router, "hello") == ("node", "mine")
    assert "broken" in caplog.text


def test_a_long_message_is_decided_quickly() -> None:
    """The rules built in look at no more of a text than they need."""
    assert decided(Router(), "hi " * 1_000_000)[1] == "everything else"
