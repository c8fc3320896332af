"""The text of cards."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stead.memory.files import marks
from stead.memory.review import lines
from tests.unit.memory.review.house import DAY, SOURCE


def test_a_new_card_and_its_statement() -> None:
    """A card has its front matter; a statement says since when it holds and where it is from."""
    text = lines.with_statement(lines.new_card("boiler", DAY, SOURCE, 0.9), "It hums.", DAY, SOURCE)
    assert lines.field(text, "topic") == "boiler" and lines.field(text, "updated") == DAY
    (one,) = lines.statements(text)
    assert (one.text, one.since, one.until) == ("It hums.", DAY, "")
    words, mark = marks.read(text.split("\n")[one.row].removeprefix("- "))
    assert words == "It hums." and mark.source == SOURCE and mark.since


def test_what_ceased_is_struck_out_and_stays() -> None:
    """A closed statement keeps its words, its days and its source."""
    text = lines.with_statement("# x\n", "Karl does it.", "2026-03-01", "memory/a.md#L1@12345678")
    closed = lines.without_effect(text, lines.statements(text)[0], DAY, "Ines does it.", SOURCE)
    (one,) = lines.statements(closed)
    assert (one.text, one.since, one.until) == ("Karl does it.", "2026-03-01", DAY)
    assert not lines.open_statements(closed) and "memory/a.md#L1@12345678" in closed
    words, mark = marks.read(closed.split("\n")[one.row].removeprefix("- "))
    assert "Karl does it." in words and mark.until > mark.since > 0


def test_front_matter_by_hand_is_left_alone() -> None:
    """Whatever else stands in a card stays, letter by letter."""
    text = (
        "---\ntopic: a\nupdated: 2026-01-01\nmine: [x, y]\n# why\n---\n"
        "prose\n\n* one\n* two\n  more\n\nend\n"
    )
    made = lines.with_statement(text, "three", DAY, SOURCE)
    assert f"updated: {DAY}" in made and "mine: [x, y]\n# why\n" in made
    assert [row for row in text.split("\n") if row not in made] == ["updated: 2026-01-01"]
    assert "  more\n- three" in made


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=300), st.text(min_size=1, max_size=80))
def test_any_text(text: str, said: str) -> None:
    """Whatever a file holds, a statement comes to it and nothing goes."""
    made = lines.with_statement(text, said, DAY, SOURCE)
    kept = made.split("\n")
    for row in text.rstrip("\n").split("\n"):
        if not row.startswith("updated:"):
            assert row in kept


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(min_size=1, max_size=200))
def test_paths_of_topics(topic: str) -> None:
    """A topic never leads outside of the folder of cards."""
    path = lines.card_path(topic)
    name = path.removeprefix("memory/cards/")
    assert "/" not in name and not name.startswith(".") and name.endswith(".md") and len(name) > 3
