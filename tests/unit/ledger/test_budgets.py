"""Budgets: which caps hold for a call, and what is said of one that does not let it through."""

from __future__ import annotations

import calendar

import pytest

from stead.core.nouns import Cap
from stead.core.scope import KeyScope
from stead.ledger.budgets import Budgets, Limit, dollars

#: 2026-11-21 17:00 UTC.
NOW = calendar.timegm((2026, 11, 21, 17, 0, 0))
LIMITS = (
    Limit(lane="cron", day_micro=300), Limit(key="desk", month_micro=9_000),
    Limit(lane="loud", day_micro=1, stop=False),
)  # fmt: skip


def budgets(**more: int) -> Budgets:
    scopes = {"k1": KeyScope(day_micro=500, month_micro=0)}
    made = {"daily_micro": 5_000_000, "chat_reserve_micro": 1_000_000, **more}
    return Budgets(**made, limits=LIMITS, scope_of=scopes.get, clock=lambda: NOW)


def test_the_owners_chat_has_all_and_the_rest_leaves_its_reserve() -> None:
    """Background work has the day's (and the month's) money less what is kept for the chat."""
    made = budgets(monthly_micro=50_000_000)
    assert made.caps("chat") == [Cap("", 5_000_000), Cap("", 50_000_000, month=True)]
    assert made.caps("background") == [Cap("", 4_000_000), Cap("", 49_000_000, month=True)]
    assert budgets(chat_reserve_micro=9_000_000).caps("background") == [Cap("", 0)]


def test_lanes_and_keys_have_their_own() -> None:
    """Those of stead.toml and those of a key's scope hold beside that of all; what only warns
    stops nothing; 0 is no money, and not no limit."""
    assert budgets().caps("chat", lane="cron")[1:] == [Cap("lane:cron", 300)]
    assert budgets().caps("chat", lane="loud")[1:] == []
    assert budgets().caps("chat", key="owner", lane="desk")[1:] == []
    assert budgets().caps("background", key="desk", key_id="k1", lane="cron")[1:] == [
        Cap("lane:cron", 300), Cap("key:k1", 9_000, month=True), Cap("key:k1", 500),
        Cap("key:k1", 0, month=True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cap", "share", "told"),
    [
        (Cap("", 5_000_000), "chat", ("The budget today has $4.00 of $5.00 left", "[budget]")),
        (Cap("", 4_000_000), "background", ("$3.00 of $4.00 ($1.00 more are kept", "[budget]")),
        (Cap("lane:cron", 1_500), "chat", ("of the lane cron today has $0.00 of $0.0015",)),
        (Cap("key:k1", 9_000, month=True), "chat",
         ("of the key desk this month has $0.0060", "stead key set desk --budget-month")),
    ],
)  # fmt: skip
def test_what_is_said_of_a_refusal(cap: Cap, share: str, told: tuple[str, ...]) -> None:
    """Which budget, how much is left of how much, what the call may cost, when it renews, and what
    can be done; and a client is told not to try again until then."""
    spent = {
        "chat": (600_000, 600_000), "background": (400_000, 400_000), "lane:cron": (2_000, 2_000),
        "key:k1": (3_000, 3_000),
    }  # fmt: skip
    error = budgets().refusal(
        cap, spent, model="big", wanted_micro=2_500_000, share=share, key="desk"
    )
    for words in (*told, "call of big may cost up to $2.50", "renews at 2026-1", "free"):
        assert words in error.message, error.message
    assert (error.status, error.kind, error.code) == (429, "insufficient_quota", "over_budget")
    day, month = 7 * 3600, (9 * 24 + 7) * 3600
    headers = error.headers()
    assert headers["retry-after"] == str(month if cap.month else day)
    assert headers["x-should-retry"] == "false"


def test_how_all_stand() -> None:
    """Every budget with what is used of it; those of keys by their names."""
    spent = {"chat": (1_000_000, 1_500_000), "lane:cron": (299, 299), "key:k1": (500, 700)}
    found = budgets().standings(spent, {"k1": "desk"})
    shown = {(one.what, one.limit_micro): one.spent_micro for one in found}
    assert shown == {
        ("today", 5_000_000): 1_000_000, ("of the lane cron today", 300): 299,
        ("of the key desk this month", 9_000): 700, ("of the lane loud today", 1): 0,
        ("of the key desk today", 500): 500, ("of the key desk this month", 0): 700,
    }  # fmt: skip
    words = {one.words.split(":")[0] for one in found}
    assert "budget of the lane cron today" in words
    assert any("of the key desk today is used up ($0.0005 of $0.0005)" in one for one in words)


def test_dollars() -> None:
    """As many places as the sum needs."""
    shown = [dollars(one) for one in (0, 1_500_000, 120, 2_500, 123_456_789_000)]
    assert shown == ["$0.00", "$1.50", "$0.000120", "$0.0025", "$123456.79"]
