"""What every index over what is remembered keeps to (:class:`stead.memory.index.Index`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stead.memory.graph import Graph
from stead.memory.index import Index
from stead.memory.index.sqlite import SqliteIndex
from stead.memory.nouns import Entry, Layer, Question
from stead.memory.places import sources_of

Open = Callable[[], Index]
_DAY = "memory/2026-03-14.md"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "memory" / "cards").mkdir(parents=True)
    return tmp_path


@pytest.fixture(params=["sqlite"])
def opened(request: pytest.FixtureRequest, home: Path) -> Iterator[Open]:
    """Opens an index over the home; all are closed in the end."""
    made: list[Index] = []

    def open_() -> Index:
        assert request.param == "sqlite"
        made.append(SqliteIndex(home, sources_of(home)))
        return made[-1]

    yield open_
    for one in made:
        one.close()


@pytest.fixture
def index(opened: Open) -> Index:
    return opened()


def say(home: Path, *texts: str, day: str = _DAY, hour: int = 10) -> None:
    """Lines of the owner's in a daily log."""
    path = home / day
    count = path.read_text().count("<!--") if path.exists() else 0
    with path.open("a") as file:
        for number, text in enumerate(texts, count):
            clock = f"{hour:02}:{number // 60 % 60:02}:{number % 60:02}"
            file.write(f"- {clock} **owner** (terminal, main) [job j{number}, light]: {text}")
            file.write(f" <!-- {number} -->\n")


def card(home: Path, name: str, *lines: str) -> Path:
    path = home / "memory" / "cards" / f"{name}.md"
    items = "".join(f"- {line}\n" for line in lines)
    path.write_text(f"---\ntopic: {name}\ntags: []\n---\n{items}")
    return path


def texts(index: Index, text: str, **more: object) -> list[str]:
    return [hit.entry.text for hit in index.search(Question(text, **more)).hits]  # type: ignore[arg-type]


def found(index: Index, text: str) -> bool:
    """Whether a word is found in an entry itself, not beside it."""
    return any(text in one for one in texts(index, text))


def test_what_files_hold_is_found_with_the_line_it_stands_on(home: Path, index: Index) -> None:
    """Each hit says file and line."""
    say(home, "the boiler leaks", "call the plumber")
    assert index.refresh().total == 2
    hit = index.search(Question("plumber")).hits[0]
    assert hit.entry.text == "call the plumber"
    assert hit.entry.source.startswith(f"{_DAY}#L2@")


def test_what_is_added_is_found_after_the_next_look(home: Path, index: Index) -> None:
    """A line that was appended, and a card that was edited, cost no rebuild."""
    say(home, "the boiler leaks")
    path = card(home, "garden", "roses by the wall", "a pond")
    index.refresh()
    say(home, "the chimney smokes")
    card(home, "garden", "tulips by the wall", "a pond")
    report = index.refresh()
    assert (report.added, report.removed, report.rebuilt) == (2, 1, False)
    assert found(index, "chimney")
    assert found(index, "tulips")
    assert not found(index, "roses")
    path.unlink()
    assert index.refresh().removed == 2
    assert not found(index, "tulips")


def test_nothing_is_read_that_has_not_changed(home: Path, index: Index) -> None:
    """A file whose bytes are the same is not parsed again, whenever it was written."""
    say(home, "the boiler leaks")
    index.refresh()
    os.utime(home / _DAY, (1, 1))
    report = index.refresh()
    assert (report.files, report.added, report.removed) == (0, 0, 0)


def test_an_edit_that_keeps_size_and_time_is_noticed(home: Path, index: Index) -> None:
    """Times are hints: what counts is what the file holds."""
    say(home, "the boiler leaks")
    index.refresh()
    before = (home / _DAY).stat()
    (home / _DAY).write_text((home / _DAY).read_text().replace("boiler", "beaver"))
    os.utime(home / _DAY, ns=(before.st_atime_ns, before.st_mtime_ns))
    index.refresh()
    assert found(index, "beaver")
    assert not found(index, "boiler")


def test_the_same_words_again_are_entries_of_their_own(home: Path, index: Index) -> None:
    """Their keys go on counting, however the file grew."""
    say(home, "ok", "ok")
    index.refresh()
    for _ in range(3):
        say(home, "ok")
        index.refresh()
    keys = {hit.entry.key for hit in index.search(Question("ok", exact=True)).hits}
    assert len(keys) == 5
    before = index.entries(sorted(keys))
    index.rebuild()
    assert index.entries(sorted(keys)) == before


def test_an_edited_log_is_the_same_as_one_that_is_read_anew(home: Path, opened: Open) -> None:
    """By hand: a line put in the midst, one taken out, one changed, all at once."""
    index = opened()
    say(home, *(f"line number{n} of the day" for n in range(40)))
    index.refresh()
    lines = (home / _DAY).read_text().splitlines(keepends=True)
    lines[20] = lines[20].replace("number20", "changed20")
    lines = [*lines[:10], "- 10:00:09 put in by hand\n", *lines[11:], lines[5]]
    (home / _DAY).write_text("".join(lines))
    index.refresh()
    say(home, "and one more")
    index.refresh()
    grown = index.search(Question("", limit=200)).hits
    index.rebuild()
    anew = index.search(Question("", limit=200)).hits
    assert _set(hit.entry for hit in grown) == _set(hit.entry for hit in anew)
    assert len(anew) == 42


def _set(entries: Iterator[Entry]) -> set[tuple[str, tuple[int, int]]]:
    return {(entry.key, entry.lines) for entry in entries}


def test_neighbours_are_found_with_what_was_said(home: Path, index: Index) -> None:
    """An answer without the word is a candidate for what stands beside it."""
    say(home, "where did we put the ladder?", "in the shed")
    index.refresh()
    assert "in the shed" in texts(index, "ladder")


def test_filters_hold(home: Path, index: Index) -> None:
    """Layer, time and what is known already."""
    say(home, "the boiler leaks")
    say(home, "the boiler is fixed", day="memory/2026-04-02.md")
    card(home, "boiler", "the boiler is from 1998")
    index.refresh()
    assert texts(index, "boiler", layers=frozenset([Layer.CARD])) == ["the boiler is from 1998"]
    days = {hit.entry.text: hit.entry for hit in index.search(Question("boiler")).hits}
    split = (days["the boiler leaks"].at + days["the boiler is fixed"].at) // 2
    daily = frozenset([Layer.DAILY])
    assert texts(index, "boiler", since=split, layers=daily) == ["the boiler is fixed"]
    assert texts(index, "boiler", until=split, layers=daily) == ["the boiler leaks"]
    skip = frozenset([days["the boiler leaks"].key])
    assert "the boiler leaks" not in texts(index, "boiler", skip=skip)


def test_an_exact_phrase_is_in_every_hit(home: Path, index: Index) -> None:
    """Also where all of its words are too common to be indexed."""
    say(home, "to be or not to be", "be not or", "call the plumber now", "the plumber, call him")
    index.refresh()
    assert texts(index, "or not to", exact=True) == ["to be or not to be"]
    assert texts(index, "call the plumber", exact=True) == ["call the plumber now"]


def test_what_cannot_be_read_is_not_gone(home: Path, index: Index) -> None:
    """An unreadable file or folder deletes nothing, and is said."""
    say(home, "the boiler leaks")
    card(home, "garden", "roses")
    index.refresh()
    real = home / "memory"
    hidden = home / "elsewhere"
    real.rename(hidden)
    real.write_text("not a folder")  # root can read whatever has no permissions
    report = index.refresh()
    assert report.stale
    assert found(index, "boiler")
    assert "roses" in texts(index, "roses")
    assert index.search(Question("boiler")).stale
    rebuilt = index.rebuild()
    assert rebuilt.total == 2
    assert found(index, "boiler")
    real.unlink()
    hidden.rename(real)
    assert not index.refresh().stale
    assert not index.search(Question("boiler")).stale


def test_only_one_writes_and_the_other_goes_on_searching(home: Path, opened: Open) -> None:
    """A second one says that another keeps it up to date, and takes over when that ends."""
    say(home, "the boiler leaks")
    first = opened()
    first.refresh()
    second = opened()
    assert second.refresh().stale
    assert found(second, "boiler")
    first.close()
    say(home, "the chimney smokes")
    assert not second.refresh().stale
    assert found(second, "chimney")


def test_meanings_are_kept_over_a_rebuild_and_leave_with_their_model(
    home: Path, index: Index
) -> None:
    """What was computed for some words stays with these words."""
    say(home, "the boiler leaks", "a walk in the park")
    index.refresh()
    index.use_model("toy")
    wanted = index.without_meaning(10)
    assert len(wanted) == 2
    vectors = {True: [1.0] + 15 * [0.0], False: 15 * [0.0] + [1.0]}
    index.add_meanings("toy", [(n, vectors["boiler" in text]) for n, text in wanted])
    assert index.without_meaning(10) == []
    best = index.search(Question("heating"), vectors[True]).hits
    assert best[0].entry.text == "the boiler leaks"
    index.rebuild()
    assert index.without_meaning(10) == []
    assert index.search(Question("heating"), vectors[False]).hits[0].entry.text.startswith("a walk")
    index.use_model("another")
    assert len(index.without_meaning(10)) == 2


def test_searches_go_on_while_files_are_read(home: Path, index: Index) -> None:
    """None fails, and none sees fewer than before."""
    say(home, *(f"the boiler number{n}" for n in range(300)))
    index.refresh()
    wrong: list[object] = []
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            hits = index.search(Question("boiler", limit=50)).hits
            if len(hits) < 50:
                wrong.append(hits)

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for n in range(5):
            say(home, f"the boiler again{n}")
            index.refresh()
        index.rebuild()
    finally:
        stop.set()
        thread.join()
    assert not wrong


def test_facts_of_the_graph_are_found_while_they_hold_and_after(home: Path, index: Index) -> None:
    """Out of the journal, with their dates; one that is closed says until when it held."""
    with Graph(home) as graph:
        fact = graph.assert_fact("Anna", "lives_in", "Lisbon", kind="person")
    index.refresh()
    assert [hit.entry.layer for hit in index.search(Question("Lisbon")).hits] == [Layer.FACT]
    with Graph(home) as graph:
        graph.close_fact(fact.id)
    index.refresh()
    hits = index.search(Question("Lisbon")).hits
    assert [bool(hit.entry.until) for hit in hits] == [True]


def test_an_answer_that_comes_later_belongs_to_its_conversation(home: Path, index: Index) -> None:
    """However the log grew: by its job, which was named long before."""
    path = home / _DAY
    path.write_text("- 08:00:00 **owner** (terminal, garden) [job aaaa1111, light]: roses?\n")
    say(home, *(f"something else number{n}" for n in range(60)))
    index.refresh()
    with path.open("a") as file:
        file.write("- 11:00:00 **stead** [job aaaa1111, waited 0.1 s]: prune them in March\n")
    index.refresh()
    grown = index.search(Question("prune")).hits[0].entry
    assert grown.session == "garden"
    index.rebuild()
    assert index.search(Question("prune")).hits[0].entry == grown
