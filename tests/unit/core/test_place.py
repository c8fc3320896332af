"""A text that is told anew is shown once, however it was cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stead.core.place import Place, Retold

cuts = st.lists(st.text(max_size=4), max_size=8)


def show(tellings: list[list[str]], end: str | None = None) -> tuple[str, int]:
    """What stands on the screen, and how often another text was begun there."""
    told, screen, others = Retold(), "", 0
    for number, pieces in enumerate(tellings):
        if number:
            told.anew()
        for piece in pieces:
            text, other = told.more(piece)
            screen += ("|" if other else "") + text
            others += other
    if end is not None:
        text, other = told.end(end)
        screen += ("|" if other else "") + text
        others += other
    return screen, others


@given(st.text(alphabet="ab ", max_size=30), st.lists(st.integers(0, 30), max_size=6))
def test_the_same_text_told_again_and_again(text: str, stops: list[int]) -> None:
    """However often it breaks off and begins anew, it is shown once."""
    tellings = [[text[:stop][at : at + 3] for at in range(0, stop, 3)] for stop in stops]
    assert show([*tellings, [text]], text) == (text, 0)


@given(cuts, cuts)
def test_another_text_is_shown_whole(first: list[str], second: list[str]) -> None:
    """In the end the screen ends with the whole new text, after a mark, or goes on to it."""
    one, two = "".join(first), "".join(second)
    screen, others = show([first, second], two)
    if two.startswith(one):
        assert (screen, others) == (two, 0)
    elif two.strip() and one.strip() != two.strip():
        assert screen == f"{one}|{two}" and others == 1


def test_places_follow_each_other() -> None:
    """A remark comes after the text before it and before the text after it."""
    order = [Place(), Place(1), Place(1, 3), Place(1, 3, 9), Place(1, 4), Place(2)]
    assert order == sorted(order)
    assert [str(place) for place in order[2:4]] == ["1.3", "1.3.9"]
