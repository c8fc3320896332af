"""The policy of the house: scopes of keys, and rules, each decision with its reason."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from stead.core.errors import Forbidden, QuietHours, RateLimited, TooLarge, WrongKey
from stead.core.hours import Hours
from stead.core.scope import KeyScope
from stead.inference.policy.guard import Guard
from stead.inference.policy.house import HousePolicy
from stead.inference.policy.rates import Rate, Rates
from stead.inference.policy.rules import Rule, Then
from stead.inference.seam import Api, Asked, Verdict, Who

OWNER = Who("owner")
JOB = Who("job", job_id="j1", lane="background")
DESK = Who("desk", "k1", lane="background")


def asked(model: str = "big", api: Api = Api.CHAT, **more: Any) -> Asked:
    return Asked(api, more.pop("body", b"{}"), "application/json", model, **more)


@dataclass
class House:
    """A policy with clocks that are put by hand."""

    rules: tuple[Rule, ...] = ()
    scopes: dict[str, KeyScope] = field(default_factory=dict)
    now: float = 0.0
    moment: str = "16 12:00"
    rates: Rates = field(default_factory=Rates)

    def __post_init__(self) -> None:
        self.policy = HousePolicy(
            self.rules, self.scopes.get, Guard(self.rules), judged=("auto", "clever"),
            rates=self.rates, clock=lambda: self.now,
            local_time=lambda: time.strptime(f"2026-11-{self.moment}", "%Y-%m-%d %H:%M"),
        )  # fmt: skip

    def check(self, who: Who = DESK, what: Asked | None = None) -> Verdict:
        return self.policy.check(who, what or asked())


def test_without_rules_all_is_allowed() -> None:
    """Owner and jobs may do what they like, and nothing is counted or looked at."""
    house = House()
    for who in (OWNER, JOB):
        assert house.check(who) == Verdict()
    assert house.policy.sees(OWNER, "stead") and house.policy.sees(JOB, "x")


def test_the_scope_of_a_key() -> None:
    """A key's scope is part of every verdict on it; endpoints that are not its own are refused."""
    scope = KeyScope(
        lanes=("light",), models=("big",), endpoints=("chat/completions",), local_only=True,
        keep_bodies=False,
    )  # fmt: skip
    house = House(scopes={"k1": scope})
    verdict = house.check()
    assert (
        verdict.models == frozenset({"light", "big"})
        and verdict.local_only
        and not verdict.keep_body
    )
    assert verdict.reasons == ("key desk: never leaves the house",)
    with pytest.raises(Forbidden, match="desk is for chat/completions"):
        house.check(what=asked(api=Api.MESSAGES))
    assert house.policy.sees(DESK, "big") and not house.policy.sees(DESK, "small")


def test_a_change_of_a_scope_holds_at_once() -> None:
    """What was worked out for the old scope is not used for the new one, nor after a revocation."""
    house = House(scopes={"k1": KeyScope()})
    assert not house.check().local_only
    house.scopes["k1"] = KeyScope(local_only=True)
    assert house.check().local_only
    del house.scopes["k1"]
    with pytest.raises(WrongKey):
        house.check()
    assert not house.policy.sees(DESK, "big")


def test_the_agent_is_for_who_was_let_in() -> None:
    """A key without limits is not let to the agent, which has tools; one that names it is."""
    house = House(scopes={"k1": KeyScope()})
    with pytest.raises(Forbidden, match="--models stead"):
        house.check(what=asked("stead"))
    assert not house.policy.sees(DESK, "stead") and house.policy.sees(DESK, "big")
    house.scopes["k1"] = KeyScope(models=("stead",))
    house.check(what=asked("stead"))
    assert house.policy.sees(DESK, "stead")
    house.check(OWNER, asked("stead"))


def test_rates_of_a_key() -> None:
    """Too many in a minute, or at once, are refused with when to come again; an end makes room."""
    house = House(scopes={"k1": KeyScope(requests_per_min=60, at_once=2)})
    first, second = house.check(), house.check()
    with pytest.raises(RateLimited, match="at most 2 at once for the key desk") as refused:
        house.check()
    assert refused.value.headers()["retry-after"] == "1"
    house.policy.ended(first, 10)
    house.policy.ended(first, 10)
    third = house.check()
    with pytest.raises(RateLimited):
        house.check()
    for one in (second, third):
        house.policy.ended(one, 0)
    for _ in range(57):
        house.policy.ended(house.check(), 0)
    with pytest.raises(RateLimited, match="60 requests a minute") as refused:
        house.check()
    assert refused.value.headers()["retry-after"] == "1"
    house.now += 1.0
    house.policy.ended(house.check(), 0)
    house.check(OWNER)  # who has no limit is none of its business


def test_refused_by_one_rate_it_takes_nothing_of_another() -> None:
    """A request that is refused has not used up what it would have used."""
    rule = Rule("slow", Then.LIMIT, rate=Rate(requests_per_min=1))
    house = House((rule,), {"k1": KeyScope(tokens_per_min=100), "k2": KeyScope()})
    house.policy.ended(house.check(Who("other", "k2")), 0)
    for _ in range(50):
        with pytest.raises(RateLimited, match="by the rule slow"):
            house.check(what=asked(chars=360))
    house.now += 60
    house.check(what=asked(chars=360))


def test_rates_outlive_a_change_of_the_configuration() -> None:
    """Saying the rules anew does not give a minute's worth anew."""
    rule = Rule("slow", Then.LIMIT, rate=Rate(requests_per_min=1))
    house = House((rule,))
    house.check(OWNER)
    again = House((rule,), rates=house.rates)
    with pytest.raises(RateLimited):
        again.check(OWNER)


def test_sizes() -> None:
    """The smallest limit that holds counts, and both figures are told."""
    rule = Rule("short", Then.LIMIT, max_body_kb=2, unless_keys=frozenset({"owner"}))
    house = House((rule,), {"k1": KeyScope(max_body_kb=5)})
    house.check(what=asked(body=b"x" * 2000))
    with pytest.raises(TooLarge, match=r"2,001 bytes.*2,000") as refused:
        house.check(what=asked(body=b"x" * 2001))
    assert refused.value.status == 413
    house.check(OWNER, asked(body=b"x" * 9000))


@pytest.mark.parametrize(
    ("conditions", "who", "what", "holds"),
    [
        ({}, OWNER, {}, True), ({"keys": {"desk"}}, DESK, {}, True),
        ({"keys": {"desk"}}, OWNER, {}, False), ({"keys": {"jobs"}}, JOB, {}, True),
        ({"keys": {"owner"}}, JOB, {}, False), ({"unless_keys": {"desk"}}, DESK, {}, False),
        ({"models": {"big"}}, DESK, {}, True), ({"models": {"small"}}, DESK, {}, False),
        ({"endpoints": {"embeddings"}}, DESK, {"api": Api.EMBEDDINGS}, True),
        ({"endpoints": {"embeddings"}}, DESK, {}, False),
        ({"images": True}, DESK, {"images": True}, True), ({"images": True}, DESK, {}, False),
        ({"lanes": {"cron"}}, DESK, {"model": "cron"}, True),
        ({"lanes": {"cron"}}, DESK, {"model": "light"}, False),
        ({"keys": {"desk"}, "models": {"small"}}, DESK, {}, False),
    ],
)  # fmt: skip
def test_what_a_rule_is_about(
    conditions: Mapping[str, Any], who: Who, what: Mapping[str, Any], holds: bool
) -> None:
    """Every condition that is given must hold; a block refuses with the owner's own words."""
    made: dict[str, Any] = {
        k: frozenset(v) if isinstance(v, set) else v for k, v in conditions.items()
    }
    scopes = {"k1": KeyScope()}
    local = House((Rule("r", Then.LOCAL, **made),), scopes).check(who, asked(**what))
    assert local.local_only is holds and bool(local.reasons) is holds
    block = House((Rule("r", Then.BLOCK, why="not today", **made),), scopes)
    if holds:
        with pytest.raises(Forbidden, match="not today"):
            block.check(who, asked(**what))
    else:
        block.check(who, asked(**what))


@pytest.mark.parametrize("model", ["auto", "clever", ""])
def test_a_lane_that_is_judged_later(model: str) -> None:
    """Who leaves the lane to routing is told to routing: which lanes stay in the house, and which
    are barred."""
    house = House(
        (Rule("a", Then.LOCAL, lanes=frozenset({"cron"})),
         Rule("b", Then.BLOCK, lanes=frozenset({"vision"}))),
    )  # fmt: skip
    verdict = house.check(OWNER, asked(model))
    assert not verdict.local_only
    assert verdict.local_lanes == frozenset({"cron"})
    assert verdict.barred_lanes == frozenset({"vision"})
    assert house.check(OWNER, asked("big")) == Verdict()


def test_quiet_hours() -> None:
    """At that hour it is refused, with when it is over; before and after it is not."""
    rule = Rule(
        "night", Then.BLOCK, keys=frozenset({"desk"}), hours=Hours.parse("22:00-06:30"),
        why="Good night!",
    )  # fmt: skip
    house = House((rule,), {"k1": KeyScope()})
    house.check()
    house.moment = "16 23:00"
    with pytest.raises(QuietHours, match=r"rule night, for another 7 h 30 min\. Good night!") as no:
        house.check()
    assert (no.value.status, no.value.headers()["retry-after"]) == (429, "27000")
    house.check(OWNER)
    house.moment = "17 06:30"
    house.check()


def test_at_some_hours_it_stays_at_home_or_is_slow() -> None:
    """Other rules hold at their hours too."""
    night = Hours.parse("22:00-06:00")
    house = House(
        (Rule("home", Then.LOCAL, hours=night),
         Rule("slow", Then.LIMIT, hours=night, rate=Rate(requests_per_min=1))),
    )  # fmt: skip
    for _ in range(3):
        assert not house.check(OWNER).local_only
    house.moment = "16 22:00"
    verdict = house.check(OWNER)
    assert verdict.local_only and verdict.reasons == (
        "rule home: at this hour: never leaves the house",
    )
    with pytest.raises(RateLimited):
        house.check(OWNER)


def test_names_that_clients_invent_do_not_pile_up() -> None:
    """However many models are named, what is remembered of them stays bounded."""
    house = House((Rule("r", Then.LOCAL, models=frozenset({"m7"})),))
    for n in range(5000):
        house.check(OWNER, asked(f"m{n}"))
    assert len(house.policy._plans) <= 2000
    assert house.check(OWNER, asked("m7")).local_only
