"""Rules of the house and budgets in stead.toml: what cannot be meant is told with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.app.policy import budgets_of, rules_of
from stead.config import load
from stead.core.errors import ConfigError
from stead.core.nouns import Cap
from stead.inference.policy.rates import Rate
from stead.inference.policy.rules import Then
from stead.inference.seam import Api, Asked, Who

RULE = '[[rule]]\nname = "r"\n'


def read(home: Path, text: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "stead.toml").write_text(text)
    load(home)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (RULE + 'then = "redact"', "rule[0].then", "finds, words or patterns"),
        (RULE + 'then = "limit"\nwords = ["x"]', "rule[0].then", "cannot depend on what is found"),
        (RULE + 'then = "limit"', "rule[0].then", "says nothing"),
        (RULE + 'then = "local"\nat_once = 1', "rule[0].at_once", 'then = "limit"'),
        (RULE + 'then = "local"\nhours = "late"', "rule[0].hours", "22:00-06:30"),
        (RULE + 'then = "local"\ndays = ["x"]', "rule[0].days", "mon, tue"),
        (RULE + 'then = "local"\npatterns = ["("]', "rule[0].patterns[0]", "regular expression"),
        (RULE + 'then = "local"\nfinds = ["ghosts"]', "rule[0].finds", "secrets, passwords"),
        (RULE + 'then = "local"\n' + RULE + 'then = "block"', "rule[1].name", "two rules"),
        (RULE + 'then = "away"', "rule[0].then", "block, redact, local, limit"),
        ('[[rule]]\nname = ""\nthen = "local"', "rule[0].name", "needs a name"),
        (RULE + 'then = "limit"\nmax_body_kb = 1\nhours = "01:00-02:00"', "max_body_kb", "hour"),
        ("[[budget.limit]]\ndaily_usd = 1", "budget.limit[0].lane", "either lane or key"),
        ('[[budget.limit]]\nlane = "a"', "budget.limit[0].daily_usd", "says nothing"),
        ('[[budget.limit]]\nlane = "a"\ndaily_usd = -0.5', "daily_usd", "-1 for no limit"),
        ('[[budget.limit]]\nlane = "a"\nkey = "b"\ndaily_usd = 1', "lane", "either"),
        ('[[budget.limit]]\nkey = "b"\ndaily_usd = 1\n' * 2, "budget.limit[1].lane", "above"),
        ("[budget]\nchat_reserve_usd = 9", "budget.chat_reserve_usd", "larger"),
        ("[budget]\nwarn_at = 2", "budget.warn_at", "<= 1"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, text: str, place: str, words: str) -> None:
    """Each fault is told with the path of its key."""
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, text)
    assert place in refused.value.message and words in refused.value.message


def test_rules_as_they_are_meant(tmp_path: Path) -> None:
    """Every condition and limit of a rule arrives, words of its file too."""
    (tmp_path / "names.txt").write_text("# ours\nBob\n\n  Ann Lee \nBob\n")
    read(
        tmp_path,
        """
[[rule]]
name = "a"
then = "redact"
keys = ["desk", "owner"]
lanes = ["cron"]
models = ["big"]
endpoints = ["messages"]
words = ["Walnut"]
words_file = "names.txt"
patterns = ['KD-\\d+']
finds = ["secrets"]
why = "no"
[[rule]]
name = "b"
then = "limit"
hours = "22:00-06:00"
requests_per_min = 2
tokens_per_min = 3
at_once = 4
keep_bodies = false
""",
    )
    first, second = rules_of(tmp_path, load(tmp_path).settings.rule)
    assert (first.then, first.words, first.patterns, first.finds) == (
        Then.REDACT, ("Walnut", "Bob", "Ann Lee"), (r"KD-\d+",), ("secrets",),
    )  # fmt: skip
    assert first.looks and not second.looks
    asked = Asked(Api.MESSAGES, b"{}", "", "big")
    assert first.about(Who("owner"), asked) and not first.about(Who("lap"), asked)
    assert first.names("cron") and not first.names("big")
    assert (second.rate, second.keep_bodies) == (Rate(2, 3, 4), False)
    assert second.hours is not None and second.hours.start_min == 22 * 60


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing list of words is no empty list: nothing is taken over."""
    read(tmp_path, RULE + 'then = "block"\nwords_file = "none.txt"')
    with pytest.raises(ConfigError, match=r"none\.txt of the rule r cannot be read"):
        rules_of(tmp_path, load(tmp_path).settings.rule)


def test_budgets_as_they_are_meant(tmp_path: Path) -> None:
    """Dollars become micro-dollars; -1 is no limit."""
    read(
        tmp_path,
        """
[budget]
daily_usd = 2.5
monthly_usd = 20
chat_reserve_usd = 0.5
[[budget.limit]]
lane = "cron"
daily_usd = 0.3
""",
    )
    made = budgets_of(load(tmp_path).settings.budget, lambda key_id: None)
    assert made.caps("background", lane="cron") == [
        Cap("", 2_000_000), Cap("", 19_500_000, month=True), Cap("lane:cron", 300_000),
    ]  # fmt: skip
