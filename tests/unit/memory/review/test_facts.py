"""Facts of the graph out of the owner's words."""

from __future__ import annotations

from stead.memory.graph import Graph
from stead.memory.review.facts import GraphFacts
from tests.unit.memory.review.house import DAY, House


def test_facts(house: House) -> None:
    """A fact that the owner said is in the graph with its source, once; its end waits for him, and
    what it speaks against is shown with its date."""
    house.facts = GraphFacts(house.home, lambda text: text)
    said = house.wish(
        "Ann lives in Berlin", "fact", topic="Ann", relation="lives in", other="Berlin"
    )
    house.day(said)
    told = house.run()
    assert told.taken == [f"Ann - lives in - Berlin (since {DAY})"]
    with Graph(house.home) as graph:
        (fact,) = graph.facts("Ann")
        assert fact.value == "Berlin" and fact.source[0].startswith(f"memory/{DAY}.md#L")
    house.model.wishes.clear()
    gone = house.wish(
        "Ann does not live in Berlin any more", "end_fact",
        topic="Ann", relation="lives in", other="Berlin",
    )  # fmt: skip
    house.day(gone, day="2026-11-21")
    told = house.run("2026-11-21", slot="2026-11-22")
    (one,) = told.waiting
    assert "until 2026-11-21" in house.book.proposal(one["id"])["diff"]
    house.desk().accept([one["id"]])
    with Graph(house.home) as graph:
        assert not graph.facts("Ann") and len(graph.facts("Ann", ended=True)) == 1


def test_what_a_fact_speaks_against(house: House) -> None:
    """Where there can be but one, the other waits with both dates; nothing is closed by itself."""
    house.facts = GraphFacts(house.home, lambda text: text)
    with Graph(house.home) as graph:
        graph.assert_fact("Ann", "lives in", "Berlin", single=True, valid_from=1_700_000_000_000)
    house.day(
        house.wish("Ann lives in Porto", "fact", topic="Ann", relation="lives in", other="Porto")
    )
    told = house.run()
    (one,) = told.waiting
    assert "2023-11-14" in one["why"] or "2023-11-15" in one["why"]
    with Graph(house.home) as graph:
        assert [fact.value for fact in graph.facts("Ann")] == ["Berlin"]
