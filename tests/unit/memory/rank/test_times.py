"""Times as people write them."""

from __future__ import annotations

from datetime import datetime

import pytest

from stead.memory.rank import times

_NOW = int(datetime(2026, 11, 21, 23, 5).timestamp() * 1000)
"""A Saturday."""


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("what did we decide in March", "1 to 31 March 2026"),
        ("what happened in December?", "1 to 31 December 2025"),
        ("last week", "9 to 15 November 2026"),
        ("this month", "1 to 30 November 2026"),
        ("May 7th, 2023", "7 May 2023"),
        ("on 2024-03-05", "5 March 2024"),
        ("three weeks ago", "28 October to 3 November 2026"),
        ("last Friday", "20 November 2026"),
        ("since March 2024", "since 1 March 2024"),
        ("before 2024", "until 31 December 2023"),
        ("Was habe ich gestern gesagt?", "20 November 2026"),
        ("vor drei Tagen", "18 November 2026"),
        ("Was war im März 2025?", "1 to 31 March 2025"),
        ("am 5.3.2024", "5 March 2024"),
        ("vom 3. April", "3 April 2026"),
        ("seit März", "since 1 March 2026"),
        ("letzten Freitag", "20 November 2026"),
        ("qu'est-ce que j'ai dit hier ?", "20 November 2026"),
        ("la semaine dernière", "9 to 15 November 2026"),
        ("le 7 mai 2024", "7 May 2024"),
        ("hace dos meses", "1 to 30 September 2026"),
        ("el 5 de mayo de 2023", "5 May 2023"),
        ("il mese scorso", "1 to 31 October 2026"),
        ("im Jahr 2022", "2022"),
        ("31 February 2024", "1 to 29 February 2024"),
        ("may I march to the sea", ""),
        ("version 4.2 of 1234", ""),
    ],
)
def test_a_time_is_understood(text: str, meant: str) -> None:
    assert times.read(text, _NOW).meant == meant


@pytest.mark.parametrize(
    "text", ["What is the latest address?", "Wo wohnt er derzeit?", "la dernière fois à Lyon"]
)
def test_what_is_now_is_told_from_what_was(text: str) -> None:
    assert times.read(text, _NOW).latest
    assert not times.read("Where did he live?", _NOW).latest


def test_the_other_words_are_left() -> None:
    assert times.read("What did Ann say last week on 3 May 2024?", _NOW).rest.split() == [
        "what", "did", "ann", "say", "?",
    ]  # fmt: skip
