"""When the review is due: every slot leaves a record, whatever the clock does."""

from __future__ import annotations

import asyncio
from datetime import datetime, time
from typing import Any

import pytest

from stead.core.errors import BackendFailed
from stead.memory.review import slots
from tests.unit.memory.review.house import BOILER, House

AT = time(3, 30)


@pytest.mark.parametrize(
    ("text", "at"),
    [("03:30", time(3, 30)), ("3:05", time(3, 5)), ("23:59", time(23, 59)), ("", None),
     ("24:00", None), ("3", None), ("nightly", None)],
)  # fmt: skip
def test_times(text: str, at: time | None) -> None:
    """A time of day is read as people write it; anything else is no time."""
    assert slots.parsed(text) == at


def test_one_slot_a_day_whatever_the_clock_does() -> None:
    """The hour that comes twice makes no second slot; the one that is left out takes none away."""
    night = [f"2026-10-25T{moment}" for moment in ("02:20", "02:40", "02:10", "02:50", "03:10")]
    assert {
        slots.due(time(2, 30), datetime.fromisoformat(at)).isoformat() for at in night[1:2]
    } == {"2026-10-25"}
    seen = [slots.due(time(2, 30), datetime.fromisoformat(at)).isoformat() for at in night]
    assert set(seen) == {"2026-10-24", "2026-10-25"}
    spring = [slots.due(time(2, 30), datetime(2026, 3, 29, hour)).isoformat() for hour in (1, 3)]
    assert spring == ["2026-03-28", "2026-03-29"]


def look(house: House, *at: str) -> list[Any]:
    """Looks at the clock, by one gateway."""

    async def looks() -> list[Any]:
        review = house.review()
        return [await review.look(datetime.fromisoformat(one)) for one in at]

    return asyncio.run(looks())


def state(house: House, slot: str) -> tuple[str, str]:
    record = house.book.night(slot)
    return record.get("state", ""), record.get("why", "")


def test_a_night(house: House) -> None:
    """At its time the day before is read, once; the owner is told what came of it."""
    house.day(house.add(BOILER, "boiler"), house.add("the PIN is under the pot", "keys"))
    look(house, "2026-11-21T03:29:00", "2026-11-21T03:30:05", "2026-11-21T03:31:00")
    assert state(house, "2026-11-21") == ("ran", "") and house.cards() == ["boiler"]
    assert len(house.model.asked) == 1
    (told,) = house.told
    ident = house.book.proposals()[0]["id"]
    assert "Ines Weber" in told and f"approve {ident}" in told and "stead memory undo" in told
    look(house, "2026-11-21T12:00:00")
    assert len(house.told) == 1


def test_today_is_not_over(house: House) -> None:
    """The day that is still going on is left for the next night."""
    house.day("good morning", day="2026-11-21")
    look(house, "2026-11-21T03:30:00")
    assert not house.model.asked and state(house, "2026-11-21")[1] == "there was nothing to read"


def test_missed_nights(house: House) -> None:
    """Nights that nobody was there for leave a record each, and are made up for once."""
    look(house, "2026-11-18T03:30:00")
    for day in ("2026-11-18", "2026-11-19", "2026-11-20"):
        house.day(house.add(f"On {day} we bought a lamp for the hall", f"hall {day}"), day=day)
    look(house, "2026-11-21T09:00:00")
    assert [state(house, f"2026-11-{day}")[0] for day in (18, 19, 20, 21)] == [
        "ran", "missed", "missed", "late",
    ]  # fmt: skip
    assert len(house.cards()) == 3 and len(house.model.asked) == 3


def test_a_new_home(house: House) -> None:
    """A home that has had no night is not late for one: the next night is the first."""
    assert slots.first(house.home, "2026-11-21") and not slots.first(house.home, "2026-11-22")
    assert state(house, "2026-11-21") == ("skipped", "stead was new then")
    house.day(house.add(BOILER, "boiler"))
    assert look(house, "2026-11-21T18:00:00") == [None]
    look(house, "2026-11-22T03:30:10")
    assert state(house, "2026-11-22")[0] == "ran" and house.cards() == ["boiler"]


def test_no_model(house: House) -> None:
    """Without a model the slot waits a while for one, and says so; when none comes it is skipped,
    and why is said."""
    house.day(house.add(BOILER, "boiler"))
    house.ready = "no model is set up"
    (record,) = look(house, "2026-11-21T03:30:00")
    assert record["state"] == "running" and "no model is set up" in record["why"]
    for _ in range(20):
        look(house, "2026-11-21T05:00:00")
    assert state(house, "2026-11-21") == ("skipped", "no model is set up")
    house.ready = ""
    look(house, "2026-11-22T03:30:00")
    assert house.cards() == ["boiler"]


def test_refused_by_the_rules(house: House) -> None:
    """What policy or a budget forbids is said in the door's own words, and not tried all night."""
    house.day(house.add(BOILER, "boiler"))
    fault = BackendFailed("the rule private forbids it")
    fault.failure = fault.failure.AUTH
    house.model.fails = fault
    look(house, "2026-11-21T03:30:00")
    assert state(house, "2026-11-21") == ("skipped", "the rule private forbids it")


def test_a_fallen_model_is_tried_again(house: House) -> None:
    """A model that falls in the night does not end it: it goes on where it was."""
    house.day(*(house.add(f"The {one} is in the hall", one) for one in ("lamp", "kettle")))
    house.model.fails = BackendFailed("it fell")
    house.model.fails.failure = house.model.fails.failure.NETWORK
    (record,) = look(house, "2026-11-21T03:30:00")
    assert record["state"] == "running" and record["tries"] == 1
    house.model.fails = None
    look(house, "2026-11-21T03:45:00")
    assert state(house, "2026-11-21") == ("ran", "") and house.cards() == ["kettle", "lamp"]


def test_off(house: House) -> None:
    """Without a time nothing runs by itself."""
    house.at = ""
    house.day(house.add(BOILER, "boiler"))
    assert look(house, "2026-11-21T03:30:00") == [None] and not house.model.asked


def test_status_words(house: House) -> None:
    """The status line says when it ran, what came of it, and what waits."""
    assert slots.words(house.home) == []
    house.day(house.add("the PIN is under the pot", "keys"))
    look(house, "2026-11-21T03:30:00")
    first, second = slots.words(house.home)
    assert first == "memory was reviewed on 2026-11-21: 0 taken, 1 proposed, 120 tokens"
    assert second == "1 proposal waits for your word: stead memory review list"
