"""`stead person`: people besides the owner."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from stead.core.people import MEMBER_TOOLS, OWNER, Person
from stead.core.scope import KeyScope
from stead.gateway.people_routes import shown
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import Gateway

ID = "01890000-0000-7000-8000-00000000aaaa"


def row(name: str = "anna", called: str = "Anna", **scope: Any) -> dict[str, Any]:
    """A person as the gateway tells of one."""
    ident = OWNER if name == OWNER else ID
    person = Person(ident, name, called, KeyScope(**scope), (), 1_700_000_000_000)
    told = shown(person, {f"person:{ID}": (250_000, 1_000_000)})
    decoded: dict[str, Any] = json.loads(json.dumps(told))
    return decoded


def test_somebody_is_let_in(run: Run, gateway: Gateway) -> None:
    """What was said of the person goes to the gateway in its own words, and the owner is told
    what they may and what comes next."""
    gateway.answers["/api/v1/people"] = (201, row(day_micro=500_000, local_only=True))
    result = run(
        "person", "add", "Anna", "--tools", "clock,web_*", "--models", "a b", "--budget-day",
        "0.50", "--rate", "5", "--expires", "30d", "--local-only", "--no-bodies", "--reserve",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "$0.5000 a day; local models only" in result.out
    assert "stead person invite anna" in result.out
    (asked,) = gateway.asked("POST", "/api/v1/people")
    days = (asked.pop("expires_at") / 1000 - time.time()) / 86_400
    assert 29.9 < days < 30.1
    assert asked == {
        "called": "Anna", "tools": ["clock", "web_*"], "models": ["a", "b"],
        "requests_per_min": 5, "day_micro": 500_000, "local_only": True, "keep_bodies": False,
        "chat": True,
    }  # fmt: skip


def test_people_are_listed_with_what_they_spent(run: Run, gateway: Gateway) -> None:
    """One line each; the owner has no limits and no sum of his own; as JSON all there is."""
    people = [row(OWNER, "the owner"), row("bert", "Bert \x1b[31m", requests_per_min=3), row()]
    gateway.answers["/api/v1/people"] = {"people": people}
    out = run("person", "list").out
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "owner", "bert", "anna"]
    assert "everything" in out and "3 requests a minute" in out and "\x1b" not in out
    assert "$0.2500, $1.0000" in out and "talk, without limits of their own" in out
    assert json.loads(run("person", "list", "--json", "--all").out) == {"people": people}


def test_somebody_is_shown(run: Run, gateway: Gateway) -> None:
    """With the tools that their jobs may use, what they spent, and since when they are here."""
    gateway.answers["/api/v1/people/anna"] = row(month_micro=2_000_000)
    out = run("person", "show", "anna").out
    assert ", ".join(MEMBER_TOOLS) in out and "$2.0000 a month" in out and "$0.2500, $1.0000" in out
    assert json.loads(run("person", "show", "anna", "--json").out)["id"] == ID


def test_only_what_is_named_is_changed(run: Run, gateway: Gateway) -> None:
    """`change` sends what was said; `any` and `never` take a limit away; nothing is misuse."""
    gateway.answers["/api/v1/people/anna"] = row(at_once=2)
    result = run(
        "person", "change", "anna", "--called", "Annika", "--name", "annika", "--tools", "any",
        "--budget-day", "any", "--expires", "never", "--not-local-only", "--no-reserve",
    )  # fmt: skip
    assert result.code == 0 and "2 calls at once" in result.out
    (asked,) = gateway.asked("POST", "/api/v1/people/anna")
    assert asked == {
        "called": "Annika", "name": "annika", "tools": [], "day_micro": -1, "expires_at": 0,
        "local_only": False, "chat": False,
    }  # fmt: skip
    assert run("person", "change", "anna").code == 2


def test_removing_asks_first(run: Run, gateway: Gateway) -> None:
    """Nobody is put out by a slip; what was stopped with it is told."""
    gateway.answers["/api/v1/people/anna"] = {**row(), "state": "removed", "stopped": 2}
    assert run("person", "remove", "anna", stdin="n\n").code != 0
    assert gateway.asked("DELETE", "/api/v1/people/anna") == []
    result = run("person", "remove", "anna", "--yes")
    assert result.code == 0 and "2 of their jobs were stopped" in result.out


def test_an_invitation_is_a_code_for_that_person(run: Run, gateway: Gateway) -> None:
    """It is made for them, good for so long, and told with where to go."""
    made = {"code": "AB12-CD34", "url": "http://localhost:1/sign-in#x", "person": "anna"}
    gateway.answers["/api/v1/logins"] = (201, made)
    result = run("person", "invite", "anna", "--for", "2")
    assert result.code == 0 and "AB12-CD34" in result.out and made["url"] in result.out
    assert gateway.asked("POST", "/api/v1/logins") == [{"person": "anna", "for_s": 7200}]
    assert json.loads(run("person", "invite", "anna", "--json").out) == made


@pytest.mark.parametrize("what", [("add",), ("invite", "anna", "--for", "0"), ("show",)])
def test_misuse_is_misuse(run: Run, what: tuple[str, ...]) -> None:
    """Code 2, and how it is used; nothing is asked of any gateway."""
    result = run("person", *what)
    assert result.code == 2 and "Usage" in result.err
