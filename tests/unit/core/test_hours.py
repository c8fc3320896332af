"""Times of day, as rules name them."""

from __future__ import annotations

import time

import pytest

from stead.core.hours import Hours


def at(words: str) -> time.struct_time:
    return time.strptime(f"2026-11-{words}", "%Y-%m-%d %H:%M")  # the 16th was a Monday


@pytest.mark.parametrize(
    ("hours", "days", "moment", "left"),
    [
        ("09:00-17:00", (), "16 08:59", 0), ("09:00-17:00", (), "16 09:00", 480),
        ("09:00-17:00", (), "16 16:59", 1), ("09:00-17:00", (), "16 17:00", 0),
        ("22:00-06:30", (), "16 23:00", 450), ("22:00-06:30", (), "16 06:29", 1),
        ("22:00-06:30", (), "16 12:00", 0), ("22:00-06:30", (), "16 06:30", 0),
        ("22:00-06:30", ("fri",), "20 23:00", 450), ("22:00-06:30", ("fri",), "21 01:00", 330),
        ("22:00-06:30", ("fri",), "20 01:00", 0), ("22:00-06:30", ("sun",), "16 05:00", 90),
        ("", ("Saturday", "sun"), "21 12:00", 720), ("", ("sat",), "20 12:00", 0),
        ("00:00-00:00", (), "16 00:00", 1440),
    ],
)  # fmt: skip
def test_when_it_is(hours: str, days: tuple[str, ...], moment: str, left: int) -> None:
    """Minutes that are left; a time over midnight belongs to the day on which it begins."""
    assert Hours.parse(hours, days).left_min(at(moment)) == left


@pytest.mark.parametrize("wrong", ["9:00-17:00", "24:00-01:00", "22:00", "22:60-23:00", "x"])
def test_what_is_no_time(wrong: str) -> None:
    """It is told with what was expected."""
    with pytest.raises(ValueError, match="22:00-06:30"):
        Hours.parse(wrong)


def test_what_is_no_day() -> None:
    """Days have their English names, or three letters of them."""
    with pytest.raises(ValueError, match="mon, tue"):
        Hours.parse("", ["someday"])
