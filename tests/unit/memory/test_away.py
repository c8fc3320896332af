"""A copy of memory that is taken along, and what was said there brought home."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import BadRequest
from stead.memory.away.copies import NoCopy, export
from stead.memory.away.merge import BroughtHome, Merge, join
from stead.memory.away.three import merge as merge_lines
from stead.memory.forget import tomb
from stead.memory.forget.tomb import Buried, Hasher

DAY = "memory/2026-11-20.md"
THERE = "memory/2026-11-20.laptop.md"
CARD = "memory/cards/boiler.md"
SAID = "- 08:00:00 **owner** (cli, main) [job 1a2b3c4d, node]: the boiler is warm <!-- 1 -->\n"


class Two:
    """A home, and a copy of it."""

    def __init__(self, top: Path) -> None:
        self.home, self.copy = top / "home", top / "copy"
        self.put(DAY, f"# 2026-11-20\n\n{SAID}")
        self.put(CARD, "---\ntopic: boiler\n---\n\n- a Vaillant\n- in the cellar\n- 1.5 bar\n")
        self.put("knowledge/journal.jsonl", line("o1", 10) + line("o2", 20))

    def put(self, path: str, text: str, *, away: bool = False) -> None:
        place = (self.copy if away else self.home) / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.chmod(0o600)
        place.write_text(text)

    def text(self, path: str, *, away: bool = False) -> str:
        return ((self.copy if away else self.home) / path).read_text()

    def out(self) -> Any:
        return export(self.home, self.copy, "laptop", 1)

    def back(self, **more: Any) -> BroughtHome:
        return Merge(self.home, self.copy, **more).run()

    def picture(self) -> dict[str, str]:
        return {
            path.relative_to(self.home).as_posix(): path.read_text()
            for path in sorted(self.home.rglob("*"))
            if path.is_file() and "run" not in path.parts
        }


def line(ident: str, at: int, **more: Any) -> str:
    return json.dumps({"id": ident, "v": 1, "at": at, "op": "assert", **more}) + "\n"


@pytest.fixture
def two(tmp_path: Path) -> Two:
    made = Two(tmp_path)
    made.out()
    return made


def test_only_what_differs_is_copied(two: Two) -> None:
    """An export copies everything once, then what has changed, and removes what is gone; the daily
    logs of home are read-only there."""
    assert two.text(DAY, away=True) == two.text(DAY)
    assert (two.copy / DAY).stat().st_mode & 0o222 == 0
    again = two.out()
    assert not again.copied and not again.removed and again.same == 3
    two.put(CARD, "changed\n")
    (two.home / "knowledge/journal.jsonl").unlink()
    third = two.out()
    assert third.copied == [CARD] and third.removed == ["knowledge/journal.jsonl"]
    assert two.text(CARD, away=True) == "changed\n"


def test_what_was_changed_there_is_not_overwritten(two: Two) -> None:
    """An export leaves what was changed there until it was brought home; then it goes on."""
    two.put(CARD, two.text(CARD) + "- loud\n", away=True)
    two.put(CARD, two.text(CARD).replace("Vaillant", "Viessmann"))
    assert two.out().kept == [CARD]
    assert "- loud" in two.text(CARD, away=True)
    two.back()
    assert two.out().copied == [CARD]
    assert two.text(CARD, away=True) == two.text(CARD)
    assert "Viessmann" in two.text(CARD) and "- loud" in two.text(CARD)


def test_daily_logs_come_home_once(two: Two) -> None:
    """What was said there is in a file of that device at home, each entry once however often it is
    brought, with its further lines; lines put into home's own file there too."""
    first = "- 09:00:00 **owner** (cli, main) [job 99aabbcc, node]: away\n  and more <!-- 7 -->\n"
    two.put(THERE, f"# 2026-11-20\n\n{first}", away=True)
    done = two.back()
    assert done.lines == {THERE: 1} and two.text(THERE) == f"# 2026-11-20\n\n{first}"
    twice = "- 09:05:00 ping\n- 09:05:00 ping\n"
    two.put(THERE, two.text(THERE, away=True) + twice, away=True)
    assert two.back().lines == {THERE: 2}
    assert two.text(THERE).endswith(twice)
    two.put(DAY, two.text(DAY, away=True) + "- 10:00:00 by hand\n", away=True)
    assert two.back().lines == {THERE: 1}
    assert two.text(DAY) == f"# 2026-11-20\n\n{SAID}" and "by hand" in two.text(THERE)
    before = two.picture()
    assert two.back().paths == []
    (two.copy / ".stead-away/manifest.json").write_text(
        json.dumps({"device": "laptop", "files": {}})  # as after a crash before it was written
    )
    two.back()
    assert two.picture() == before


def test_operations_are_joined(two: Two) -> None:
    """Operations of both are there once, in the order of time; each side's stay in their own order,
    though the clock there was set back in between."""
    two.put("knowledge/journal.jsonl", line("o1", 10) + line("o2", 20) + line("h3", 30))
    told = line("o1", 10) + line("o2", 20) + line("a1", 25) + line("a2", 5) + line("a3", 40)
    two.put("knowledge/journal.jsonl", told, away=True)
    assert two.back().operations == 3
    found = [json.loads(one)["id"] for one in two.text("knowledge/journal.jsonl").splitlines()]
    assert found == ["o1", "o2", "a1", "a2", "h3", "a3"]
    assert two.back().operations == 0


def test_joining_keeps_both_orders() -> None:
    """However clocks jump, a join holds every operation of both once, and the lines of each side in
    the order they had there."""
    dice = random.Random(7)
    for _ in range(300):
        base = [line(f"b{n}", dice.randrange(50)) for n in range(dice.randrange(4))]
        mine = base + [line(f"m{n}", dice.randrange(90)) for n in range(dice.randrange(6))]
        theirs = base + [line(f"t{n}", dice.randrange(90)) for n in range(dice.randrange(6))]
        joined, added = join([one.encode() for one in mine], [one.encode() for one in theirs])
        made = [one.decode() for one in joined]
        assert [one for one in made if one in mine] == mine
        assert [one for one in made if one in theirs] == theirs
        assert len(made) == len({*mine, *theirs}) and added == len(theirs) - len(base)


def test_cards_are_merged(two: Two) -> None:
    """Changes of different lines of a card are both there, and no conflict is made."""
    two.put(CARD, two.text(CARD).replace("a Vaillant", "a Viessmann"))
    two.put(CARD, two.text(CARD, away=True).replace("1.5 bar", "1.8 bar"), away=True)
    two.put("memory/cards/new.md", "---\ntopic: new\n---\nx\n", away=True)
    done = two.back()
    assert done.changed == [CARD, "memory/cards/new.md"] and not done.conflicts
    assert "Viessmann" in two.text(CARD) and "1.8 bar" in two.text(CARD)
    two.put(CARD, two.text(CARD, away=True) + "- later\n", away=True)
    two.back()
    assert two.text(CARD).endswith("- 1.8 bar\n- later\n") and "Viessmann" in two.text(CARD)


def test_a_conflict_is_shown(two: Two) -> None:
    """Where both changed the same line, home's stays and a card shows both, once."""
    two.put(CARD, two.text(CARD).replace("1.5 bar", "1.6 bar"))
    two.put(CARD, two.text(CARD, away=True).replace("1.5 bar", "1.7 bar"), away=True)
    (name,) = two.back().conflicts
    assert "1.6 bar" in two.text(CARD) and "1.7 bar" not in two.text(CARD)
    shown = two.text(name)
    assert "1.6 bar" in shown and "1.7 bar" in shown and CARD in shown and "laptop" in shown
    before = two.picture()
    two.back()
    assert two.picture() == before


def test_forgotten_things_do_not_come_back(two: Two) -> None:
    """A line, an item, a whole card and an operation that were forgotten at home stay away, though
    the copy still has them; what is new there comes."""
    hasher = Hasher(two.home)
    secret = "**owner** (cli, main) [job 00112233, node]: my pin is 4711"
    item, card = "- pin 4711", "memory/cards/pin.md"
    operation = line("o9", 30, why="pin 4711")
    told = [hasher.of(one) for one in (secret, item, operation)] + [hasher.of_path(card)]
    tomb.bury(two.home, Buried(1, "text", told))
    two.put(THERE, f"# x\n\n- 09:00:00 {secret} <!-- 4 -->\n- 09:01:00 fine\n", away=True)
    two.put(CARD, two.text(CARD) + f"{item}\n- new\n", away=True)
    two.put(card, "---\ntopic: pin\n---\n4711\n", away=True)
    two.put("knowledge/journal.jsonl", line("o1", 10) + line("o2", 20) + operation, away=True)
    done = two.back()
    assert done.forgotten == 4
    assert not any("4711" in text for text in two.picture().values())
    assert "fine" in two.text(THERE) and "- new" in two.text(CARD)


def test_a_dry_run_changes_nothing(two: Two) -> None:
    """`--dry-run` tells what would come and leaves all as it is."""
    two.put(THERE, "- 09:01:00 fine\n", away=True)
    before = two.picture()
    assert two.back(dry=True).lines == {THERE: 1}
    assert two.picture() == before
    assert two.back().lines == {THERE: 1}


def test_what_is_no_copy_is_refused(two: Two, tmp_path: Path) -> None:
    """A folder with other things, one inside of the home, a bad name, a broken manifest: an error
    each, and nothing is written."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("x")
    with pytest.raises(NoCopy):
        export(two.home, other, "laptop", 1)
    with pytest.raises(NoCopy):
        export(two.home, two.home / "memory", "laptop", 1)
    with pytest.raises(NoCopy):
        export(two.home, two.home / "inside", "laptop", 1)
    with pytest.raises(BadRequest):
        export(two.home, tmp_path / "third", "a/b", 1)
    with pytest.raises(NoCopy):
        Merge(two.home, other)
    (two.copy / ".stead-away/manifest.json").write_text("{")
    with pytest.raises(NoCopy):
        two.back()


def test_nothing_is_lost_in_a_merge_of_lines() -> None:
    """One side's changes alone are taken as they are; of two, every line that either added is in
    the merged text or in a clash."""
    dice = random.Random(11)

    def edited(lines: list[str], tag: str) -> list[str]:
        made = list(lines)
        for n in range(dice.randrange(4)):
            place = dice.randrange(len(made) + 1)
            if dice.random() < 0.4 and place < len(made):
                del made[place]
            else:
                made.insert(place, f"{tag}{n}\n")
        return made

    for _ in range(500):
        base = [f"{dice.randrange(6)}\n" for _ in range(dice.randrange(8))]
        ours, theirs = edited(base, "o"), edited(base, "t")
        assert merge_lines(base, ours, base).lines == ours
        assert merge_lines(base, base, theirs).lines == theirs
        assert merge_lines(base, ours, ours).lines == ours
        both = merge_lines(base, ours, theirs)
        shown = {*both.lines, *(one for clash in both.clashes for one in clash.theirs)}
        added = {one for one in [*ours, *theirs] if one[0] in "ot"}
        assert added <= shown


def test_a_whole_copy_moved(two: Two, tmp_path: Path) -> None:
    """The copy may be carried to any other place and back."""
    two.put(THERE, "- 09:01:00 fine\n", away=True)
    shutil.move(two.copy, tmp_path / "elsewhere")
    two.copy = tmp_path / "elsewhere"
    assert two.back().lines == {THERE: 1}
