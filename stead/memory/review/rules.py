"""Who decides about an operation: a table, the first rule that fits. What no rule lets pass waits
for the owner.

To change what is taken by itself, change the table; docs/memory.md holds the same in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stead.memory.review.nouns import Op, Operation, Take
from stead.memory.review.said import delicate, order


@dataclass(frozen=True, slots=True)
class Rule:
    fits: Callable[[Operation], bool]
    take: Take
    why: str
    """In words, for the owner."""


def _all_words(one: Operation) -> str:
    return f"{one.topic} {one.text} {one.relation} {one.other} {one.quote}"


RULES: tuple[Rule, ...] = (
    Rule(
        lambda one: delicate(_all_words(one)), Take.WAIT,
        "it is about money, keys or papers",
    ),
    Rule(
        lambda one: order(_all_words(one)), Take.WAIT,
        "it would tell stead how to behave",
    ),
    Rule(lambda one: one.speaker != "owner", Take.WAIT, "stead said it, not you"),
    Rule(lambda one: one.op is Op.CLOSE, Take.WAIT, "it speaks against what is remembered"),
    Rule(
        lambda one: one.op in (Op.MERGE, Op.ARCHIVE), Take.WAIT, "it changes more than one line",
    ),
    Rule(lambda one: one.op is Op.PROMOTE, Take.WAIT, "what stands there is always in view"),
    Rule(lambda one: one.op is Op.END_FACT, Take.WAIT, "it ends a fact"),
    Rule(lambda one: not one.certain, Take.WAIT, "the words are not wholly yours"),
    Rule(
        lambda one: one.op in (Op.ADD, Op.FACT, Op.NOTE), Take.NOW,
        "one line more, in your own words",
    ),
)  # fmt: skip
_ELSE = Rule(lambda one: True, Take.WAIT, "no rule lets it pass")


def ruling(one: Operation) -> Rule:
    """The rule that decides."""
    return next((rule for rule in RULES if rule.fits(one)), _ELSE)
