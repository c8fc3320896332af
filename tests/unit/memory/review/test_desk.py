"""What the owner says to proposals, and what happens when something comes between."""

from __future__ import annotations

from datetime import date

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.memory.review.changes import STANDING
from stead.memory.review.nouns import Op, Stale, Terms, Unfit
from tests.unit.memory.review.house import DAY, House, operation


def offered(house: House, **fields: object) -> str:
    one = operation(**fields)  # type: ignore[arg-type]
    return house.desk().offer(one, "why not")


def test_accept(house: House) -> None:
    """What is accepted is done, committed and struck off; twice is a clear error."""
    ident = offered(house, topic="boiler", text="It hums at night.")
    done = house.desk().accept([ident], by="owner (mail)")
    assert done["paths"] == ["memory/cards/boiler.md"] and done["commit"] == "c1"
    kept = house.book.proposal(ident)
    assert kept["state"] == "accepted" and kept["by"] == "owner (mail)" and kept["commit"] == "c1"
    with pytest.raises(BadRequest, match="accepted already"):
        house.desk().accept([ident])
    assert house.text("boiler").count("It hums") == 1


def test_rejected_is_not_asked_again(house: House) -> None:
    """What the owner said no to is not proposed a second time."""
    ident = offered(house, topic="boiler", text="It hums at night.")
    house.desk().reject(ident, why="no")
    assert offered(house, topic="boiler", text="it  hums at NIGHT.") == ""
    assert not house.book.proposals() and not house.cards()


def test_a_changed_file_makes_it_anew(house: House) -> None:
    """A card that was edited since it was shown is never overwritten: the proposal is made against
    the card as it is, and waits again."""
    card = house.card("boiler", "It is old.")
    ident = offered(house, topic="boiler", text="It hums at night.")
    card.write_text(card.read_text() + "- by hand\n")
    with pytest.raises(Stale, match=ident):
        house.desk().accept([ident])
    assert "hums" not in house.text("boiler")
    assert "by hand" in house.book.proposal(ident)["diff"]
    house.desk().accept([ident])
    assert "by hand" in house.text("boiler") and "hums" in house.text("boiler")


def test_what_became_impossible_is_struck_off(house: House) -> None:
    """A close of what the owner took out meanwhile is told and over."""
    card = house.card("boiler", "Karl services the boiler.")
    ident = offered(house, op=Op.CLOSE, topic="boiler", old="Karl services the boiler.")
    card.write_text(card.read_text().replace("Karl services the boiler.", "Nobody does."))
    with pytest.raises(Unfit, match="does not say"):
        house.desk().accept([ident])
    assert house.book.proposal(ident)["state"] == "stale"


def test_several_are_one_change(house: House) -> None:
    """What is accepted together is one commit; what waits beside it is not called stale for it."""
    house.card("boiler", "It is old.")
    idents = [offered(house, topic="boiler", text=f"It has number {n}.") for n in range(3)]
    house.desk().accept(idents[:2])
    assert len(house.commits) == 1
    house.desk().accept(idents[2:])
    assert all(f"It has number {n}." in house.text("boiler") for n in range(3))


def test_edit(house: House) -> None:
    """The owner's own words go in, with the source that it came from."""
    ident = offered(house, topic="boiler", text="It hums at night.")
    made = house.desk().edit(ident, "It hums\nwhen it is cold.")
    assert "It hums when it is cold." in made["diff"] and made["state"] == "open"
    house.desk().accept([ident])
    assert "It hums when it is cold." in house.text("boiler")
    other = offered(house, op=Op.FACT, topic="Ann", relation="works at", other="Acme")
    with pytest.raises(BadRequest):
        house.desk().edit(other, "words")


def test_merge_loses_nothing(house: House) -> None:
    """Of two merged cards each statement is in the one that is left, and the other whole in the
    archive."""
    house.card("boiler", "It is old.", "It hums.")
    card = house.card("heating", "It hums.", "It is a Vaillant.")
    card.write_text(card.read_text() + "\nprose by hand\n")
    whole = card.read_text()
    ident = offered(house, op=Op.MERGE, topic="boiler", other="heating")
    house.desk().accept([ident])
    text = house.text("boiler")
    assert all(one in text for one in ("It is old.", "It is a Vaillant.", "prose by hand"))
    assert text.count("It hums.") == 1 and house.cards() == ["boiler"]
    assert (house.home / "memory/cards/archive/heating.md").read_text() == whole


def test_memory_md_keeps_its_size(house: House) -> None:
    """MEMORY.md does not grow over its size, not even by the owner's yes to a proposal."""
    house.terms = Terms(standing_bytes=120)
    standing = house.home / STANDING
    standing.write_text("# What\n\n- " + "x" * 100 + "\n")
    before = standing.read_text()
    ident = offered(house, op=Op.PROMOTE, text="Ines services the boiler.")
    assert "memory_md_kb" in house.book.proposal(ident)["note"]
    with pytest.raises(Unfit, match="memory_md_kb"):
        house.desk().accept([ident])
    assert standing.read_text() == before
    house.terms = Terms()
    house.desk().accept([ident])
    assert "Ines services the boiler." in standing.read_text()


def test_a_file_with_conflict_marks_is_left_alone(house: House) -> None:
    """A merge that nobody has solved is no ground to build on."""
    card = house.card("boiler", "It is old.")
    card.write_text(card.read_text() + "<<<<<<< mine\n- a\n=======\n- b\n>>>>>>> theirs\n")
    before = card.read_text()
    with pytest.raises(Unfit, match="merge"):
        offered(house, topic="boiler", text="It hums at night.")
    assert card.read_text() == before


@pytest.mark.parametrize(
    "raw", [b"\xff\xfe-\x80 caf\xe9\n", b"- a\r\n- b\r\n", b"\xef\xbb\xbf- a\n"]
)
def test_bytes_stay_what_they_are(house: House, raw: bytes) -> None:
    """Bytes that are no text, and ends of lines, are what they were, but for the new line."""
    card = house.card("boiler", "x")
    card.write_bytes(raw)
    house.desk().do([operation(topic="boiler", text="It hums.")], "words")
    made = card.read_bytes()
    end = b"\r\n" if b"\r\n" in raw else b"\n"
    new = next(line for line in made.split(b"\n") if b"It hums." in line) + b"\n"
    assert made.replace(new, b"") in (raw, raw + b"\n") and new.endswith(end)


def test_names_of_proposals(house: House) -> None:
    """A proposal is found by the beginning of its id; what none has is said."""
    ident = offered(house, topic="boiler", text="It hums at night.")
    assert house.book.proposal(ident[:5])["id"] == ident
    for wrong in ("zzz", "", "../x"):
        with pytest.raises(NotFound):
            house.book.proposal(wrong)
    assert house.book.proposal(ident)["day"] == DAY


def test_duplicates_and_what_nobody_used(house: House) -> None:
    """Cards of one topic are proposed to be merged, old and unused ones for the archive; neither is
    done by itself, and nothing is deleted."""
    today = date.today().isoformat()
    house.card("boiler", "It is old.", updated=today)
    house.card("the-boiler", "It hums.", topic="The Boiler", updated=today)
    house.card("tent", "It leaks.", updated="2024-01-01")
    house.card("knots", "Bowline.", updated="2024-01-01")
    recalled = 4_000_000_000_000  # in the year 2096
    house.used = lambda: {"memory/cards/knots.md": recalled}
    house.run()
    found = {one["operation"]["op"]: one for one in house.book.proposals()}
    assert set(found) == {"merge", "archive"} and found["archive"]["paths"][-1].endswith("tent.md")
    assert house.cards() == ["boiler", "knots", "tent", "the-boiler"]
    house.desk().accept([found["archive"]["id"]])
    assert (house.home / "memory/cards/archive/tent.md").exists() and "tent" not in house.cards()
    house.desk().accept([found["merge"]["id"]])
    assert "It hums." in house.text("boiler") and "It is old." in house.text("boiler")
