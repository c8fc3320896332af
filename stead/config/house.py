"""Checking the rules of the house and the budgets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from stead.config.settings import AuditSection, BudgetSection, RuleSection
from stead.core.hours import Hours

#: What detectors can look for (``stead.inference.policy.detect`` knows how).
KINDS = (
    "secrets", "passwords", "personal", "email", "phone", "card", "iban", "ip_address",
    "national_id",
)  # fmt: skip
_NOT_WITH_CONTENT = ("requests_per_min", "tokens_per_min", "at_once", "max_body_kb")


def check_budget(budget: BudgetSection) -> Iterator[tuple[str, str]]:
    """What the types alone cannot say of money."""
    if budget.chat_reserve_usd > budget.daily_usd:
        yield (
            "budget.chat_reserve_usd",
            f"must not be larger than budget.daily_usd ({budget.daily_usd})",
        )
    for path, value in (("budget.monthly_usd", budget.monthly_usd),):
        yield from _half(path, value)
    seen: set[tuple[str, str]] = set()
    for index, limit in enumerate(budget.limit):
        at = f"budget.limit[{index}]"
        if bool(limit.lane) == bool(limit.key):
            yield f"{at}.lane", "say whose budget it is: either lane or key"
        elif (limit.lane, limit.key) in seen:
            yield f"{at}.lane", "has a budget above already; put them in one table"
        seen.add((limit.lane, limit.key))
        yield from _half(f"{at}.daily_usd", limit.daily_usd)
        yield from _half(f"{at}.monthly_usd", limit.monthly_usd)
        if limit.daily_usd < 0 and limit.monthly_usd < 0:
            yield f"{at}.daily_usd", "says nothing; give daily_usd or monthly_usd, or both"


def check_audit(audit: AuditSection) -> Iterator[tuple[str, str]]:
    """Kinds that nobody looks for, and rules about nobody."""
    for kind in audit.finds:
        if kind not in KINDS:
            yield "audit.finds", f"{kind!r} is not one of {', '.join(KINDS)}"
    for index, rule in enumerate(audit.rule):
        if not rule.key and not rule.lane:
            yield f"audit.rule[{index}].key", "say whose: key, lane or both (for all: audit.keep)"


def _half(path: str, value: float) -> Iterator[tuple[str, str]]:
    if -1 < value < 0:
        yield path, f"{value:g} is no sum; say -1 for no limit"


def check_rules(rules: Sequence[RuleSection]) -> Iterator[tuple[str, str]]:
    """Rules that say nothing, or what cannot be."""
    names: set[str] = set()
    for index, rule in enumerate(rules):
        at = f"rule[{index}]"
        if not rule.name or rule.name in names:
            what = "there are two rules of that name" if rule.name else "a rule needs a name"
            yield f"{at}.name", what
        names.add(rule.name)
        try:
            Hours.parse(rule.hours, rule.days)
        except ValueError as error:
            yield f"{at}.hours" if rule.hours else f"{at}.days", str(error)
        for place, pattern in enumerate(rule.patterns):
            try:
                re.compile(pattern)
            except re.error as error:
                yield f"{at}.patterns[{place}]", f"is not a regular expression: {error}"
        for kind in rule.finds:
            if kind not in KINDS:
                yield f"{at}.finds", f"{kind!r} is not one of {', '.join(KINDS)}"
        yield from _check_then(rule, at)


def _check_then(rule: RuleSection, at: str) -> Iterator[tuple[str, str]]:
    looks = bool(rule.finds or rule.words or rule.words_file or rule.patterns)
    limits = [name for name in _NOT_WITH_CONTENT if getattr(rule, name)]
    if rule.then == "redact" and not looks:
        yield f"{at}.then", "says nothing; give finds, words or patterns that are blacked out"
    if rule.then == "limit" and looks:
        yield f"{at}.then", "a limit cannot depend on what is found; take block, redact or local"
    if rule.then == "limit" and not limits and rule.keep_bodies:
        yield f"{at}.then", f"says nothing; give one of {', '.join(_NOT_WITH_CONTENT)}"
    if rule.then != "limit" and limits:
        yield f"{at}.{limits[0]}", 'is for rules with then = "limit"; put it in one of its own'
    if rule.max_body_kb and (rule.hours or rule.days):
        yield f"{at}.max_body_kb", "does not depend on the hour; put it in a rule of its own"
