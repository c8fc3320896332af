"""The owner has words forgotten: they are in no byte of the home any more, and stead goes on."""

from __future__ import annotations

import json
import threading

from stead.memory.forget.prove import Seeker, search
from stead.memory.forget.words import Phrase
from tests.story.house import House

WORD = "Zwetschgendatschi"


def holding(house: House, text: str) -> list[str]:
    """Files of the home that hold a text (what the parts wrote to the terminal is not its own)."""
    found = search(house.home, Seeker([Phrase.of(text)])).paths
    return [path for path in found if not path.endswith(".out")]


def test_forget(house: House) -> None:
    """A text that was said, answered and noted goes from a running stead on the owner's word, shown
    before; the gateway writes on meanwhile and loses no line; the same message sent again is not
    answered again; without a gateway it works as well."""
    house.all_up()
    said = f"[[say So be it.]] I like {WORD} best of all"
    job = house.say(said, external_id="m1", channel="cli")
    house.ended(job)
    card = house.home / "memory" / "cards" / "food.md"
    card.parent.mkdir(exist_ok=True)
    card.write_text(f"---\ntopic: food\n---\n\n- likes {WORD}\n- and tea\n")
    (house.home / "workspace" / "mine.txt").write_text(WORD)
    house.until(lambda: any(p.startswith("memory/20") for p in holding(house, WORD)), 60, "the log")

    shown = house.cli("forget", "text", WORD, "--dry-run")
    assert shown.returncode == 0 and "best of all" in shown.stdout and "food.md" in shown.stdout
    unasked = house.cli("forget", "text", WORD)
    assert unasked.returncode == 2 and "--yes" in unasked.stderr
    assert "state.db" in " ".join(holding(house, WORD))

    others: list[str] = []
    talk = threading.Thread(
        target=lambda: others.extend(
            house.say(f"[[say Yes.]] another {n}", session=f"s{n}", mark="light") for n in range(20)
        )
    )
    talk.start()
    done = house.cli("forget", "text", WORD, "--yes", "--json", timeout=180)
    talk.join()
    assert done.returncode == 0, (done.stdout, done.stderr)
    receipt = json.loads(done.stdout)
    assert holding(house, WORD) == receipt["found"] == ["workspace/mine.txt"]
    assert receipt["jobs"] == 1 and receipt["tombstones"]
    assert "- and tea" in card.read_text()

    for one in others:
        assert house.ended(one)["job"]["state"] == "done"
    days = (house.home / "memory").glob("20*.md")

    def all_there() -> bool:
        text = "".join(day.read_text() for day in (house.home / "memory").glob("20*.md"))
        return all(text.count(f"another {n}\n") + text.count(f"another {n} ") for n in range(20))

    house.until(all_there, 60, "the lines of what was said meanwhile")
    assert any("forgotten (" in day.read_text() for day in days)
    before = len(house.calls())
    assert house.say(said, external_id="m1", channel="cli") == job
    story = house.story(job)
    assert story["message"]["text"] == "" and story["job"]["state"] == "done"
    assert len(house.calls()) == before

    for name in ("node", "gateway"):
        house.stop(name)
    again = house.cli("forget", "text", "another 3", "--yes", timeout=180)
    assert again.returncode == 0, again.stderr
    assert "Searched" in again.stdout and holding(house, "another 3") == []
    assert holding(house, "another 4") != []
