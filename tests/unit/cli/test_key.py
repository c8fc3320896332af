"""`stead key`: the owner's key, and those of programs."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest

from stead.core.scope import KeyScope
from tests.unit.cli.conftest import Run
from tests.unit.cli.gateway import KEY, Gateway


def _key(name: str = "desk", **scope: Any) -> dict[str, Any]:
    whole = json.loads(msgspec.json.encode(KeyScope(**scope)))
    return {"name": name, "id": "1", "state": "holds", "created_at": 1, "revoked_at": 0,
            "scope": whole}  # fmt: skip


def test_the_owners_key_is_printed_alone(run: Run) -> None:
    """`stead key` prints the owner's key and nothing else, also while no gateway runs."""
    assert run("key").out == KEY + "\n"
    assert json.loads(run("key", "--json").out)["key"] == KEY


def test_a_key_is_made_with_its_scope(run: Run, gateway: Gateway) -> None:
    """The key alone is on stdout; what was said of it goes to the gateway in its own words."""
    gateway.answers["/api/v1/keys"] = (201, {**_key(lanes=("light",)), "key": "sp_abc"})
    result = run(
        "key", "create", "desk", "--lanes", "light,embed", "--endpoints", "chat/completions",
        "--rate", "30", "--tokens", "1000", "--at-once", "2", "--budget-day", "0.50",
        "--budget-month", "5", "--expires", "30d", "--local-only", "--no-bodies", "--chat",
    )  # fmt: skip
    assert (result.code, result.out) == (0, "sp_abc\n")
    assert "not shown again" in result.err and f"{gateway.url}/v1" in result.err
    (asked,) = gateway.asked("POST", "/api/v1/keys")
    days = (asked.pop("expires_at") / 1000 - time.time()) / 86_400
    assert 29.9 < days < 30.1
    assert asked == {
        "name": "desk", "lanes": ["light", "embed"], "endpoints": ["chat/completions"],
        "requests_per_min": 30, "tokens_per_min": 1000, "at_once": 2, "day_micro": 500_000,
        "month_micro": 5_000_000, "local_only": True, "keep_bodies": False, "chat": True,
    }  # fmt: skip


def test_only_what_is_named_is_changed(run: Run, gateway: Gateway) -> None:
    """`set` sends what was said, `any` and `never` take a limit away, and nothing is misuse."""
    gateway.answers["/api/v1/keys/desk"] = _key(at_once=3)
    result = run(
        "key", "set", "desk", "--models", "any", "--budget-day", "any", "--expires", "never"
    )
    assert result.code == 0 and "3 calls at once" in result.out
    (asked,) = gateway.asked("POST", "/api/v1/keys/desk")
    assert asked == {"models": [], "day_micro": -1, "expires_at": 0}
    assert run("key", "set", "desk").code == 2


@pytest.mark.parametrize(
    "wrong",
    [("--expires", "soon"), ("--budget-day", "-1"), ("--budget-day", "x"), ("--rate", "-1")],
)
def test_what_cannot_be_meant(run: Run, gateway: Gateway, wrong: tuple[str, str]) -> None:
    """Misuse is told before anything is asked."""
    assert run("key", "create", "desk", *wrong).code == 2
    assert gateway.requests == []


def test_keys_are_listed_shown_and_revoked(run: Run, gateway: Gateway) -> None:
    """What each is for is told in words, and the key itself never."""
    desk = _key(models=("big",), day_micro=500_000, local_only=True)
    gateway.answers["/api/v1/keys"] = {"keys": [desk, _key("phone", chat=True)]}
    gateway.answers["/api/v1/keys/desk"] = desk
    listed = run("key", "list")
    assert "models big; $0.5000 a day; local models only" in listed.out
    assert "the owner's chat" in listed.out
    assert run("key", "list", "--all").code == 0
    assert gateway.asked("GET", "/api/v1/keys") == [{}, {"all": "1"}]
    assert "local models only" in run("key", "show", "desk").out
    assert json.loads(run("key", "show", "desk", "--json").out) == desk
    assert "opens nothing any more" in run("key", "revoke", "desk").out
    assert gateway.asked("DELETE", "/api/v1/keys/desk") == [None]


def test_a_gateway_that_is_down_is_said_so(run: Run) -> None:
    """Keys are made and revoked by a gateway that runs; that it does not is said (exit 3)."""
    for command in (("create", "a"), ("list",), ("revoke", "a"), ("set", "a", "--rate", "1")):
        result = run("key", *command)
        assert result.code == 3 and "cannot be reached" in result.err
