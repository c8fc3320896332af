"""Figures read as people say them."""

from __future__ import annotations

import pytest

from stead.pages import words


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"), (340, "340 ms"), (1000, "1 s"), (2400, "2.4 s"), (59_000, "59 s"),
        (180_000, "3 min"), (5 * 3_600_000, "5 h"), (2 * 86_400_000, "2 d"),
        (30 * 86_400_000, "30 d"),
    ],
)  # fmt: skip
def test_spans(ms: int, said: str) -> None:
    """A length of time has one unit, the one that fits."""
    assert words.span(ms) == said


@pytest.mark.parametrize(
    ("apart_ms", "said"),
    [(0, "now"), (9_999, "now"), (-5_000, "now"), (60_000, "1 min ago"), (-7_200_000, "in 2 h")],
)
def test_ages(apart_ms: int, said: str) -> None:
    """What is a moment ago is now, also where clocks differ a little; what comes is said so."""
    now = 1_800_000_000_000
    assert words.ago(now - apart_ms, now) == said


def test_what_is_long_ago_has_its_day() -> None:
    """From a week on, the day itself."""
    now = 1_800_000_000_000
    assert words.ago(now - 8 * 86_400_000, now).count("-") == 2


@pytest.mark.parametrize(
    ("micro", "said"),
    [(0, "$0"), (4200, "$0.0042"), (1_250_000, "$1.25"), (1_204_500_000, "$1,204.50")],
)
def test_money(micro: int, said: str) -> None:
    """Small sums keep the figures that matter; large ones read as on a bill."""
    assert words.money(micro) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 B"), (812, "812 B"), (4_200, "4.2 KB"), (200_000_000, "200 MB"), (3e15, "3000.0 TB")],
)
def test_sizes(count: float, said: str) -> None:
    """Bytes in the unit that fits."""
    assert words.size(count) == said


def test_every_state_of_a_job_has_a_look() -> None:
    """No state of a job but the one that says nothing yet is without a colour."""
    looks = {name: words.look(name) for name in ("running", "waiting", "done", "cancelled", "dead")}
    assert all(looks.values())
    assert words.look("queued") == words.look("never heard of") == ""
    assert (words.plural(1, "entry", "entries"), words.plural(2, "entry", "entries")) == (
        "1 entry",
        "2 entries",
    )
