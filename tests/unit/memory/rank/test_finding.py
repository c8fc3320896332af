"""What is asked for comes first: the ranker on the real index, over real daily logs."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from statistics import fmean

import pytest

from stead.memory.index.sqlite import SqliteIndex
from stead.memory.nouns import Hit, Question
from stead.memory.places import sources_of
from stead.memory.rank.stop import STOP
from tests.unit.memory.rank.talks import LOG, QUESTIONS

_NOW = 1_795_000_000_000
"""November 2026."""


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteIndex]:
    home = tmp_path_factory.mktemp("home")
    (home / "memory").mkdir()
    number = 0
    for day, said in LOG.items():
        lines = [f"# {day}\n"]
        for minute, (who, text) in enumerate(said):
            number += 1
            where = "(terminal, main) [job j1, light]" if who == "owner" else "[job j1]"
            lines.append(f"- 10:{minute:02}:00 **{who}** {where}: {text} <!-- {number} -->")
        (home / "memory" / f"{day}.md").write_text("\n".join(lines) + "\n")
    made = SqliteIndex(home, sources_of(home))
    made.refresh()
    yield made
    made.close()


def ask(index: SqliteIndex, text: str, limit: int = 3, **more: object) -> tuple[Hit, ...]:
    return index.search(Question(text, limit=limit, now=_NOW, **more)).hits  # type: ignore[arg-type]


def recall(found: list[set[str]]) -> float:
    """Mean share of the answers that were found."""
    shares = []
    for texts, (_, answers) in zip(found, QUESTIONS, strict=True):
        wanted = {LOG[day][number][1] for day, number in answers}
        shares.append(len(wanted & texts) / len(wanted))
    return fmean(shares)


def floor(limit: int) -> list[set[str]]:
    """Plain FTS5 with stems and without words that say nothing."""
    db = sqlite3.connect(":memory:")
    db.execute("create virtual table said using fts5(who, text, tokenize='porter unicode61')")
    db.executemany("insert into said values (?, ?)", [one for day in LOG.values() for one in day])
    found = []
    for question, _ in QUESTIONS:
        words = [word for word in re.findall(r"\w+", question.lower()) if word not in STOP]
        rows = db.execute(
            "select text from said where said match ? order by bm25(said) limit ?",
            (" OR ".join(f'"{word}"' for word in words), limit),
        )
        found.append({text for (text,) in rows})
    return found


def test_it_finds_more_than_plain_full_text_search(index: SqliteIndex) -> None:
    """German and English questions, among them some whose answer has none of their words."""
    own = [{hit.entry.text for hit in ask(index, question)} for question, _ in QUESTIONS]
    assert recall(own) >= 0.75
    assert recall(own) > recall(floor(3)) + 0.1


@pytest.mark.parametrize(
    ("question", "has"),
    [
        ("boilre", "boiler"),
        ("schreinerei angebott", "Angebot der Schreinerei"),
        ("KUECHE oder Küche mit Jonas", "Jonas"),
        ("KUCHE JONAS", "Küche"),
        ("Krucken", "Krücken"),
        ("recycl", "recycling"),
        ("flat near universities", "university"),
    ],
)
def test_spelling_is_forgiven(index: SqliteIndex, question: str, has: str) -> None:
    """Letters left out or swapped, capitals, missing umlauts, other endings, beginnings."""
    assert has in ask(index, question)[0].entry.text


@pytest.mark.parametrize(
    ("question", "day"),
    [
        ("boiler in October", "2026-10-11"),
        ("boiler in March", "2026-03-02"),
        ("Was war mit Mia im März?", "2026-03-14"),
        ("Que s'est-il passé avec Mia en octobre 2026 ?", "2026-10-11"),
        ("hedge 11.10.2026", "2026-10-11"),
    ],
)
def test_the_time_that_is_asked_for_comes_first(
    index: SqliteIndex, question: str, day: str
) -> None:
    assert ask(index, question)[0].entry.path == f"memory/{day}.md"


def test_it_says_how_a_time_was_understood(index: SqliteIndex) -> None:
    found = index.search(Question("What about the boiler in March?", now=_NOW))
    assert found.meant == "1 to 31 March 2026"


def test_a_hit_says_what_each_signal_added(index: SqliteIndex) -> None:
    """The sum of them is its score; ``share`` is how much of the question it has itself."""
    for hit in ask(index, "Which printer driver version worked?", limit=10):
        parts = {name: value for name, value in hit.signals.items() if name != "share"}
        assert sum(parts.values()) == pytest.approx(hit.score, abs=0.01)
        assert 0.0 <= hit.signals["share"] <= 1.0
    best = ask(index, "printer driver version")[0]
    assert best.signals["share"] > 0.5


def test_what_nobody_ever_said_is_not_found_by_words_that_say_nothing(index: SqliteIndex) -> None:
    assert ask(index, "zzyzx") == ()


@pytest.mark.parametrize(
    "text", ["", "   ", "?", "the of and", "\x00", "a" * 10_000, "🙂", "((*\"'"]
)
def test_no_question_is_an_error(index: SqliteIndex, text: str) -> None:
    ask(index, text)
