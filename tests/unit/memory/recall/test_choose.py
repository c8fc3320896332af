"""Which remembered things an agent is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from stead.memory.nouns import Entry, Found, Hit, Layer
from stead.memory.recall.choose import BUDGETS, RECALLED_TAG, Visible, chosen, question, told
from stead.memory.recall.words import age, content

NOW = int(datetime(2026, 11, 21, 12).timestamp() * 1000)
HOUR = 3_600_000
FULL, SMALL = BUDGETS["full"], BUDGETS["small"]


def entry(text: str, **more: object) -> Entry:
    base = Entry(f"k-{text}", Layer.DAILY, "memory/2026-11-20.md", (3, 3), text, speaker="owner")
    return replace(base, **more)  # type: ignore[arg-type]


def found(*entries: Entry, scores: tuple[float, ...] = ()) -> Found:
    given = scores or tuple(1 - n / 100 for n in range(len(entries)))
    return Found(tuple(Hit(one, score) for one, score in zip(entries, given, strict=True)))


def texts(hits: list[Hit]) -> list[str]:
    return [hit.entry.text for hit in hits]


@pytest.mark.parametrize(
    "text",
    ["ping", "hello", "Hallo!", "danke dir", "ok", "¿qué?", "how are you", "merci beaucoup?"[:5],
     "", "?!", "What is this"],
)  # fmt: skip
def test_small_talk_brings_nothing_to_mind(text: str) -> None:
    """There is nothing to look for in it, so nothing is looked for."""
    assert question(text) is None


@pytest.mark.parametrize(
    "text", ["When is Anna's birthday?", "wo steht der Heizkessel", "le code de la cave", "8123?"]
)
def test_what_means_something_is_looked_for(text: str) -> None:
    """In whatever language."""
    asked = question(text)
    assert asked is not None and asked.text == text


def test_a_follow_up_is_looked_for_with_what_went_before() -> None:
    """Two words alone find nothing that was meant."""
    asked = question("and the price?", "Which boiler did we buy in March?")
    assert asked is not None and "boiler" in asked.text
    asked = question("the price of the new garden fence", "Which boiler did we buy?")
    assert asked is not None and "boiler" not in asked.text


def test_what_does_not_fit_is_not_shown() -> None:
    """The index always finds a best; that alone is no reason."""
    asked = "Which boiler do we have in the cellar?"
    fits, other = entry("The boiler in the cellar is a Vaillant"), entry("Ann likes tea")
    assert texts(chosen(found(other, fits), asked, Visible(), FULL)) == [fits.text]
    assert chosen(found(other), asked, Visible(), FULL) == []


def test_near_in_meaning_is_enough() -> None:
    """With vectors no word need be the same."""
    hit = Hit(entry("Der Heizkessel steht im Keller"), 0.9, {"cosine": 0.91})
    far = Hit(entry("Ann mag Tee"), 0.8, {"cosine": 0.79})
    shown = chosen(Found((hit, far)), "where is our boiler", Visible(), FULL)
    assert texts(shown) == ["Der Heizkessel steht im Keller"]


def test_no_two_say_the_same() -> None:
    """The better of them is shown."""
    one = entry("The boiler is a Vaillant of 2019")
    same = entry("The boiler is a Vaillant of 2019.", layer=Layer.CARD)
    assert len(chosen(found(one, same), "the boiler, which", Visible(), FULL)) == 1


def test_the_best_of_each_layer_comes_first() -> None:
    """Many lines of talk do not keep out the card."""
    talk = [entry(f"boiler talk number {n} about {'x' * n}") for n in range(9)]
    card = entry("boiler: serviced by Kern", layer=Layer.CARD)
    shown = chosen(found(*talk, card), "the boiler", Visible(), FULL)
    assert card.text in texts(shown)[:2]


@pytest.mark.parametrize("budget", [FULL, SMALL])
def test_it_keeps_its_budget(budget: object) -> None:
    """Of many long ones, few and short."""
    assert budget in (FULL, SMALL)
    kept = FULL if budget is FULL else SMALL
    words = "abcdefghijklmnopqrst"
    many = [entry(f"boiler {words[n] * 5} " + f"{words[n] * 6}{n} " * 200) for n in range(20)]
    shown = chosen(found(*many), "the boiler", Visible(), kept)
    made = [told(hit, kept, NOW) for hit in shown]
    assert made and len(made) <= kept.items
    assert sum(len(one.text) for one in made) <= kept.chars


def test_what_is_in_the_conversation_is_not_recalled() -> None:
    """Not what was said in the visible part of it, by session and time, by job, or by the words."""
    asked = "the boiler"
    seen = Visible("s", NOW - HOUR, ("The boiler makes noises again, like in May",),
                   frozenset({"0199-12345678"}))  # fmt: skip
    inside = entry("boiler one", session="s", at=NOW - HOUR // 2)
    before = entry("boiler two", session="s", at=NOW - 2 * HOUR)
    other = entry("boiler three", session="t", at=NOW - HOUR // 2)
    of_job = entry("boiler four", ident="12345678")
    words = entry("boiler makes noises again")
    shown = texts(chosen(found(inside, before, other, of_job, words), asked, seen, FULL))
    assert sorted(shown) == ["boiler three", "boiler two"]


def test_steps_and_notices_are_not_recalled() -> None:
    """Nobody said them."""
    step = entry("tool:shell `boiler` done in 2 s", speaker="")
    assert chosen(found(step), "the boiler", Visible(), FULL) == []


def test_what_was_made_of_memory_comes_last() -> None:
    """An answer that said it again does not stand before what it was said from, nor beside it."""
    again = entry("Your boiler is a Vaillant", speaker="stead", tags=(RECALLED_TAG,))
    first = entry("The boiler of ours is a Vaillant ecoTEC")
    other = entry("boiler service is due in May")
    shown = chosen(found(again, first, other), "boiler", Visible(), FULL)
    assert texts(shown)[:2] == [first.text, other.text]


def test_what_others_wrote_comes_only_where_nothing_else_fits() -> None:
    """It would bind the hands of the run; alone it is shown, and says that it is foreign."""
    mail = entry("the boiler of the mail wants a service", foreign=True)
    own = entry("the boiler was chosen by Anna")
    asked = "which boiler was chosen for service"
    assert texts(chosen(found(mail, own), asked, Visible(), FULL)) == [own.text]
    (alone,) = chosen(found(mail), asked, Visible(), FULL)
    assert told(alone, FULL, NOW).foreign


def test_source_age_and_end_are_told() -> None:
    """Each says where it stands, how old it is, and until when it held."""
    old = entry("the boiler is a Junkers", at=NOW - 30 * 24 * HOUR, until=NOW - 24 * HOUR)
    one = told(Hit(old, 0.5, {"words": 0.5, "none": 0.0}), FULL, NOW)
    assert one.source == old.source and one.age == "4 weeks ago"
    assert one.held_until == "2026-11-20" and one.signals == {"words": 0.5}


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0, "just now"), (30, "30 minutes ago"), (180, "3 hours ago"), (60 * 26, "yesterday"),
     (60 * 24 * 5, "5 days ago"), (60 * 24 * 200, "7 months ago"), (1_576_800, "3 years ago")],
)  # fmt: skip
def test_ages(minutes: int, words: str) -> None:
    """As people say it."""
    assert age(NOW - minutes * 60_000, NOW) == words


def test_words_are_folded() -> None:
    """Case, accents and endings do not matter; figures do."""
    assert content("Kühlschränke 8123") == content("kuhlschrank 8123")
    assert content("8123") != content("8124")
