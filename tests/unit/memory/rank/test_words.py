"""Words as the index keeps them."""

from __future__ import annotations

import pytest

from stead.memory.rank.words import stem, terms, words_of


@pytest.mark.parametrize(
    "forms",
    [
        "paint paints painted painting paintings",
        "city cities",
        "stop stops stopped stopping",
        "hike hikes hiked hiking",
        "kuche kuchen",
        "schule schulen",
        "zeitung zeitungen",
        "maison maisons",
        "casa casas",
        "libro libros",
    ],
)
def test_forms_of_a_word_are_one(forms: str) -> None:
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize("pair", ["house horse", "boiler bottle", "winter wind", "2023 2024"])
def test_other_words_stay_apart(pair: str) -> None:
    one, other = pair.split()
    assert stem(one) != stem(other)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Größe, Café & Straße", ["grosse", "cafe", "strasse"]),
        ("the owner's key", ["the", "owner", "key"]),
        ("l\u2019école", ["l", "ecole"]),
        ("東京都", ["東京", "京都"]),
        ("4.2 v1_2", ["4", "2", "v1", "2"]),
        ("", []),
    ],
)
def test_words_are_told_apart(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_words_that_say_nothing_are_left_out() -> None:
    assert terms("Was ist mit dem Schlüssel for the garage?") == [stem("schlussel"), stem("garage")]
