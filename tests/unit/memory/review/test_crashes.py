"""Whatever comes between: a kill at each write, a full disk, an editor, a hostile file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stead.core import files
from stead.memory.review.nouns import Op
from tests.unit.memory.review.house import BOILER, DAY, House, operation

#: What makes a write durable: a stop before or after each of them is a crash that counts.
_CALLS = ("fsync", "replace", "unlink")
_MOST = 400


class Killed(BaseException):
    """The process is gone: nothing catches it."""


class Stops:
    """Lets so many writes happen, and then ends the process, or says that the disk is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, make: Callable[[], BaseException]) -> None:
        self.left = -1
        self._make = make
        for name in _CALLS:
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            if self.left == 0:
                raise self._make()
            self.left -= 1
            return real(*args, **more)

        return call


def told_day(house: House) -> None:
    """A day that gives additions, a contradiction and proposals, in several pieces."""
    house.card("boiler", "Karl services the boiler.")
    house.day(
        house.add(BOILER, "boiler", "Ines Weber services the boiler."),
        house.add("We planted two plum trees in March", "garden"),
        *(f"good morning number {n}" for n in range(9)),
        house.add("The lamp hangs in the hall", "hall"),
        house.wish(BOILER, "promote", text="Ines Weber services the boiler."),
        house.add("The kettle stands in the garden shed", "garden"),
    )


def outcome(house: House) -> tuple[Any, ...]:
    """What is on disk, but for times of day."""
    texts = {path.name: path.read_text() for path in (house.home / "memory").rglob("*.md")}
    found = sorted((one["id"], one["state"], one["diff"]) for one in house.book.proposals(""))
    return texts, found


def test_killed_at_each_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any write, the review goes on to the same end: nothing twice, nothing skipped, no
    file in pieces."""
    whole = House(_new(tmp_path, "whole"))
    told_day(whole)
    whole.run()
    wanted = outcome(whole)
    stops = Stops(monkeypatch, Killed)
    for at in range(_MOST):
        house = House(_new(tmp_path, f"at-{at}"))
        told_day(house)
        before = house.text("boiler")
        stops.left = at
        try:
            house.run()
            done = True
        except Killed:
            done = False
        stops.left = -1
        assert house.text("boiler") in (before, wanted[0]["boiler.md"])
        house.run()
        assert outcome(house) == wanted, at
        if done:
            assert at > 20  # there was something to stop
            return
    pytest.fail("it never came to an end")


def test_killed_while_accepting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any write of what the owner accepted, it is there once after the next look, and the
    proposal is either open or done."""
    stops = Stops(monkeypatch, Killed)
    for at in range(_MOST):
        house = House(_new(tmp_path, f"at-{at}"))
        house.card("boiler", "It is old.")
        house.card("heating", "It is a Vaillant.")
        one = operation(op=Op.MERGE, topic="boiler", other="heating")
        ident = house.desk().offer(one, "why")
        stops.left = at
        done = True
        try:
            house.desk().accept([ident])
        except Killed:
            done = False
        stops.left = -1
        house.desk().recover()
        if house.book.proposal(ident)["state"] == "open":
            house.desk().accept([ident])
        assert house.book.proposal(ident)["state"] == "accepted"
        assert house.cards() == ["boiler"] and house.text("boiler").count("Vaillant") == 1
        assert "Vaillant" in (house.home / "memory/cards/archive/heating.md").read_text()
        assert not house.book.proposals()
        if done:
            return
    pytest.fail("it never came to an end")


def test_disk_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at any write loses nothing: it is said, and the review goes on when there is
    room."""
    whole = House(_new(tmp_path, "whole"))
    told_day(whole)
    whole.run()
    wanted = outcome(whole)
    stops = Stops(monkeypatch, lambda: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    for at in range(0, _MOST, 3):
        house = House(_new(tmp_path, f"at-{at}"))
        told_day(house)
        stops.left = at
        try:
            house.run()
            done = True
        except OSError:
            done = False
        stops.left = -1
        house.run()
        assert outcome(house) == wanted, at
        if done:
            return
    pytest.fail("it never came to an end")


def test_edited_while_it_is_written(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who edits a card in the very moment of the write loses nothing: both are in it."""
    card = house.card("boiler", "It is old.")
    house.day(house.add("The boiler hums at night", "boiler"))
    real, edits = files.write_atomic, iter(range(2))

    def late(path: Path, data: bytes, mode: int | None = None) -> None:
        real(path, data, mode)
        if path.name == "batch.json" and (n := next(edits, None)) is not None:
            card.write_text(card.read_text() + f"- by hand {n}\n")

    monkeypatch.setattr("stead.memory.review.book.write_atomic", late)
    house.run()
    assert "by hand 0" in card.read_text() and "hums at night" in card.read_text()


def test_an_unreadable_card_is_not_an_empty_one(house: House) -> None:
    """A card that cannot be read ends the review with why; it is not written over."""
    card = house.home / "memory/cards/boiler.md"
    card.mkdir(parents=True)  # what no one can read as a file, not even root
    house.day(house.add("The boiler hums at night", "boiler"))
    with pytest.raises(OSError):
        house.run()
    assert card.is_dir()


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"cursors": {}}'])
def test_a_spoilt_note_is_no_matter(house: House, raw: bytes) -> None:
    """A note of the review's that was spoilt costs reading the day again, and doubles nothing."""
    house.day(house.add(BOILER, "boiler"))
    house.run()
    before = house.text("boiler")
    (house.home / f"keep/review/days/{DAY}.json").write_bytes(raw)
    house.run()
    assert house.text("boiler") == before


def test_a_very_long_entry(house: House) -> None:
    """One entry larger than any piece is read part by part, also over several nights."""
    words = " ".join(f"Sentence number {n} of this long letter." for n in range(1500))
    house.day(f"{words} The lamp hangs in the hall.")
    house.model.wishes.append(("The lamp hangs", {
        "op": "add", "quote": "The lamp hangs in the hall", "topic": "hall",
        "text": "The lamp hangs in the hall.",
    }))  # fmt: skip
    told = house.run()
    assert told.counts.pieces > 5 and house.cards() == ["hall"]
    shown = "".join(house.model.asked)
    assert sum(f" {n} of this" in shown for n in range(1500)) > 1450  # the others are cut in two


def _new(folder: Path, name: str) -> Path:
    home = folder / name
    home.mkdir()
    return home
