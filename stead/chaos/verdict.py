"""What a verdict is made of: the invariants, the figures, and one accepted message as a case."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from stead.chaos.clients import Noted
from stead.chaos.evidence import Row
from stead.chaos.talk import Said

#: The invariants, in the order of the table: a run fails when one of these is not zero.
INVARIANTS = {
    "lost": "lost",
    "doubled": "doubled",
    "wrong": "wrong answers",
    "order": "out of order",
    "effects_repeated": "effects repeated",
    "effects_missing": "effects missing",
    "forgotten": "outcomes forgotten by a restarted node",
    "paid_twice": "journalled steps paid twice",
    "overlap": "attempts out of line",
    "log": "daily log not as it should be",
    "ledger": "ledger not as it should be",
    "delivery": "deliveries not as they should be",
    "database": "database not sound",
    "stuck": "given up waiting",
}


@dataclass(slots=True)
class Verdict:
    """``counts``: of each invariant, how often it was broken. ``problems``: (invariant, words)."""

    figures: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        return not self.problems

    def blame(self, invariant: str, words: str) -> None:
        assert invariant in INVARIANTS
        self.counts[invariant] += 1
        self.problems.append((invariant, words))


@dataclass(slots=True)
class Case:
    """One accepted message with all that was found of it."""

    noted: Noted
    owners: list[Row]
    replies: list[Row]
    notices: list[Row]
    job: Row | None
    steps: dict[int, list[Row]]

    @property
    def said(self) -> Said:
        return self.noted.said
