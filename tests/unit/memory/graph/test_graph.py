"""What an owner may rely on of the graph."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from stead.memory.graph import (
    AmbiguousName,
    BadOperation,
    Graph,
    JournalUnusable,
    UnknownName,
    entries,
)
from stead.memory.graph.state import PATH
from stead.memory.nouns import Layer


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    with Graph(tmp_path) as made:
        yield made


def ms(day: str) -> int:
    return int(datetime.fromisoformat(day).timestamp() * 1000)


def test_a_contradiction_closes_the_older_by_date_and_shows_both(graph: Graph) -> None:
    """Whoever moves lived somewhere before: nothing is overwritten."""
    old = graph.assert_fact("Anna", "lives in", "Bremen", valid_from=ms("2020-01-01"))
    new = graph.assert_fact("Anna", "lives_in", "Berlin", valid_from=ms("2026-03-01"))
    assert [f.value for f in graph.facts("Anna")] == ["Berlin"]
    assert [f.value for f in graph.facts("Anna", as_of=ms("2024-05-05"))] == ["Bremen"]
    (pair,) = graph.contradictions("Anna")
    assert (pair.older.id, pair.newer.id, pair.open) == (old.id, new.id, False)
    assert pair.older.valid_to == pair.newer.valid_from == ms("2026-03-01")
    assert pair.older.closed_by == new.id


def test_what_is_learnt_of_the_past_ends_where_the_known_begins(graph: Graph) -> None:
    """The order in which things are learnt is not the order in which they were true."""
    graph.assert_fact("Anna", "lives in", "Berlin", valid_from=ms("2026-03-01"))
    graph.assert_fact("Anna", "lives in", "Bremen", valid_from=ms("2020-01-01"))
    assert [f.value for f in graph.facts("Anna")] == ["Berlin"]
    assert [f.value for f in graph.facts("Anna", as_of=ms("2025-01-01"))] == ["Bremen"]


def test_the_same_said_again_is_one_fact_with_two_sources(graph: Graph) -> None:
    """A fact is not doubled by being repeated; learning its beginning does not double it either."""
    first = graph.assert_fact("Anna", "likes", "tea", source=["a"], confidence=0.5)
    again = graph.assert_fact("anna", "Likes", "Tea", source=["b"], confidence=0.8)
    assert again.id == first.id and again.source == ("a", "b") and again.confidence == 0.8
    graph.assert_fact("Anna", "likes", "tea", source=["b"])
    graph.assert_fact("Anna", "likes", "tea", valid_from=ms("2020-01-01"))
    assert len(graph.facts("Anna")) == 1
    assert graph.contradictions() == []


def test_who_knew_what_when(graph: Graph) -> None:
    """What was known at a time is another question than what was true then."""
    told = graph.assert_fact("Anna", "works at", "Acme", valid_from=ms("2020-01-01"))
    before = told.known_from
    graph.close_fact(told.id, ms("2024-01-01"))
    assert graph.facts("Anna") == []
    assert graph.facts("Anna", as_of=ms("2023-01-01"))[0].valid_to == ms("2024-01-01")
    versions = graph.fact_history(told.id)
    assert [v.fact.valid_to for v in versions] == [0, ms("2024-01-01")]
    assert versions[0].known_from == before and versions[1].known_to == 0
    assert graph.facts(known_at=before - 1, as_of=ms("2023-01-01")) == []


def test_a_retracted_fact_stays_in_its_history(graph: Graph) -> None:
    """Retracting is not forgetting."""
    fact = graph.assert_fact("Anna", "born on", "1 May 1980")
    graph.retract(fact.id, why="misheard")
    assert graph.facts("Anna", ended=True) == []
    (kept,) = graph.history("Anna")
    assert kept.id == fact.id and kept.known_to > 0


def test_merging_and_splitting_lose_nothing(graph: Graph) -> None:
    """Two that were taken for one are two again, each with what was known of it."""
    graph.assert_fact("Anna Schmidt", "likes", "tea", kind="person")
    graph.assert_fact("A. Schmidt", "works at", "Acme", kind="person")
    whole = graph.merge("Anna Schmidt", "A. Schmidt")
    assert whole.aliases == ("A. Schmidt",)
    assert {f.value for f in graph.facts("A. Schmidt")} == {"tea", "Acme"}
    apart = graph.split("Anna Schmidt")
    assert {e.name for e in apart} == {"Anna Schmidt", "A. Schmidt"}
    assert [f.value for f in graph.facts("A. Schmidt")] == ["Acme"]
    tea = graph.facts("Anna Schmidt")[0]
    graph.split("Anna Schmidt", facts=[tea.id], new_name="Anna Schmidt (dentist)")
    assert graph.facts("Anna Schmidt (dentist)")[0].value == "tea"


def test_undo_takes_back_and_can_be_taken_back(graph: Graph) -> None:
    """Also what an assertion ended holds again."""
    graph.assert_fact("Anna", "lives in", "Bremen")
    graph.assert_fact("Anna", "lives in", "Berlin")
    undone = graph.undo()
    assert [f.value for f in graph.facts("Anna")] == ["Bremen"]
    graph.undo(undone.id)
    assert [f.value for f in graph.facts("Anna")] == ["Berlin"]
    graph.undo()
    graph.undo()
    with pytest.raises(UnknownName):
        graph.facts("Anna")
    with pytest.raises(BadOperation, match="nothing to undo"):
        graph.undo()


def test_a_relation_has_two_ends(graph: Graph) -> None:
    """Who is related is found from either side."""
    graph.assert_fact("Anna", "married to", object="Bernd", kind="person", object_kind="person")
    (edge,) = graph.neighbours("Bernd")
    assert edge.entity.name == "Anna" and not edge.outwards
    (edge,) = graph.neighbours("Anna")
    assert edge.entity.name == "Bernd" and edge.fact.words == "Anna married to Bernd"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("jurgen muller", "Jürgen Müller"), ("Müller", "Jürgen Müller"),
        ("Jürgen Mueler", "Jürgen Müller"), ("MÜLLER, Jürgen", "Jürgen Müller"),
        ("王伟", "王伟"), ("Ольга", "Ольга Иванова"), ("Olgaa", "Olga"),
        ("Katherine", "Catherine Jones"), ("bo", "Bo"),
    ],
)  # fmt: skip
def test_names_are_found_as_people_write_them(graph: Graph, asked: str, found: str) -> None:
    """Accents, order, part of a name, a slip of the finger, other scripts."""
    for name in ("Jürgen Müller", "王伟", "Ольга Иванова", "Olga", "Catherine Jones", "Bo"):
        graph.assert_entity(name, "person")
    assert graph.find(asked)[0].entity.name == found


def test_a_name_of_two_is_asked_about(graph: Graph) -> None:
    """It is never guessed which Anna is meant."""
    graph.assert_entity("Anna Schmidt", "person")
    graph.assert_entity("Anna Maier", "person")
    with pytest.raises(AmbiguousName, match="Anna Maier"):
        graph.entity("Anna")
    with pytest.raises(UnknownName, match="Do you mean Anna Maier"):
        graph.entity("Ana Meier")


def test_what_does_not_make_sense_is_refused(graph: Graph) -> None:
    """Nothing of it is written."""
    for bad in (
        {"value": ""},
        {"value": "x", "object": "y"},
        {"value": "x", "valid_from": 10, "valid_to": 5},
        {"value": "x", "confidence": 2.0},
        {"value": "x", "valid_from": 10**18},
        {"value": "x" * 30_000},
        {"value": "lone \ud800 surrogate"},
    ):
        with pytest.raises(BadOperation):
            graph.assert_fact("Anna", "is", **bad)
    assert not graph.journal.exists()


def test_secrets_are_masked_before_they_are_written(tmp_path: Path) -> None:
    """The journal never has them."""
    with Graph(tmp_path, mask=lambda words: words.replace("hunter2", "[masked]")) as graph:
        fact = graph.assert_fact("NAS", "password is", "hunter2", why="hunter2")
        assert fact.value == "[masked]"
        assert b"hunter2" not in graph.journal.read_bytes()


@pytest.mark.parametrize("cut", [1, 20, -2])
def test_a_last_line_cut_off_is_set_aside_and_said(tmp_path: Path, cut: int) -> None:
    """What a crash left is in a file of its own; what was before it and what comes after counts."""
    with Graph(tmp_path) as graph:
        graph.assert_fact("Anna", "likes", "tea")
        whole = graph.journal.read_bytes()
        graph.assert_fact("Anna", "likes", "coffee")
        second = graph.journal.read_bytes()[len(whole) :]
        graph.journal.write_bytes(whole + second[:cut])
        assert [f.value for f in graph.facts("Anna")] == ["tea"]
        assert any("cut off" in told for told in graph.trouble)
        (aside,) = graph.journal.parent.glob("journal.torn.*.jsonl")
        assert aside.read_bytes() == second[:cut]
        graph.assert_fact("Anna", "likes", "water")
    with Graph(tmp_path) as graph:
        assert [f.value for f in graph.facts("Anna")] == ["tea", "water"]


def test_a_last_line_without_its_end_counts(graph: Graph) -> None:
    """Editors leave out the last line break."""
    graph.assert_fact("Anna", "likes", "tea")
    graph.journal.write_bytes(graph.journal.read_bytes().rstrip())
    graph.assert_fact("Anna", "likes", "water")
    assert [f.value for f in graph.facts("Anna")] == ["tea", "water"]


def test_edits_by_hand_and_by_git_count(graph: Graph) -> None:
    """The journal is the truth: a line taken out, one out of order, marks of a conflict, CRLF."""
    graph.assert_fact("Anna", "likes", "tea")
    graph.assert_fact("Anna", "likes", "water")
    graph.assert_fact("Anna", "likes", "rum")
    first, second, third = graph.journal.read_bytes().splitlines(keepends=True)
    graph.journal.write_bytes(first + third)
    assert [f.value for f in graph.facts("Anna")] == ["tea", "rum"]
    assert any("1 operation was taken out" in told for told in graph.trouble)
    both = [b"<<<<<<< here\n", second, b"=======\n", third, b">>>>>>> there\n", b"rubbish\n"]
    newer = b'{"id":"z","v":99,"at":1,"op":"sing","to":"you"}\n'
    graph.journal.write_bytes(b"\xef\xbb\xbf" + b"".join([first, *both, newer, b"\xff\n", third]))
    assert {f.value for f in graph.facts("Anna")} == {"tea", "water", "rum"}
    told = "\n".join(graph.trouble)
    assert "line 2: a mark of a merge conflict" in told and "line 7: it is no operation" in told
    assert "version 99" in told and "stands here again" in told
    graph.journal.write_bytes(graph.journal.read_bytes().replace(b"\n", b"\r\n"))
    assert {f.value for f in graph.facts("Anna")} == {"tea", "water", "rum"}


def test_a_damaged_index_is_made_anew(tmp_path: Path) -> None:
    """While it is open and while it is not."""
    with Graph(tmp_path) as graph:
        graph.assert_fact("Anna", "likes", "tea")
    path = tmp_path / PATH
    for damage in (b"rubbish " * 1000, b""):
        path.write_bytes(damage)
        with Graph(tmp_path) as graph:
            assert [f.value for f in graph.facts("Anna")] == ["tea"]
            path.unlink()
            assert [f.value for f in graph.facts("Anna")] == ["tea"]


def test_an_unreadable_journal_is_not_an_empty_one(graph: Graph) -> None:
    """What cannot be read is said; what is known is not thrown away."""
    graph.assert_fact("Anna", "likes", "tea")
    kept = graph.journal.rename(graph.journal.with_name("kept"))
    graph.journal.mkdir()
    with pytest.raises(JournalUnusable):
        graph.facts()
    graph.journal.rmdir()
    kept.rename(graph.journal)
    assert [f.value for f in graph.facts("Anna")] == ["tea"]


_WRITER = """
import sys
from pathlib import Path
from stead.memory.graph import Graph
with Graph(Path(sys.argv[1])) as graph:
    for n in range(int(sys.argv[3])):
        print(graph.assert_fact(sys.argv[2], "likes", f"thing {n}").id, flush=True)
"""


def _writer(home: Path, who: str, count: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _WRITER, str(home), who, str(count)]
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=env)


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    """Each sees the other's, and every line is whole."""
    writers = [_writer(tmp_path, who, 15) for who in ("Anna", "Bernd")]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    with Graph(tmp_path) as graph:
        assert graph.counts()["facts"] == 30 and graph.trouble == []


def test_a_killed_writer_leaves_what_it_said_was_written(tmp_path: Path) -> None:
    """kill -9 at some moment: what was answered is there, and the next one goes on."""
    with _writer(tmp_path, "Anna", 100_000) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline().decode().strip() for _ in range(4)]
        writer.kill()
    with Graph(tmp_path) as graph:
        assert set(said) <= {fact.id for fact in graph.facts("Anna")}
        graph.assert_fact("Anna", "likes", "peace")
        assert "peace" in {fact.value for fact in graph.facts("Anna")}


def test_a_full_disk_leaves_no_half_of_a_line(graph: Graph) -> None:
    """Said as it is, and nothing of the operation counts."""
    graph.assert_fact("Anna", "likes", "tea")
    size = graph.journal.stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, before[1]))
    try:
        with pytest.raises(JournalUnusable, match="too large"):
            graph.assert_fact("Anna", "likes", "water" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert graph.journal.stat().st_size == size
    graph.assert_fact("Anna", "likes", "rum")
    assert [f.value for f in graph.facts("Anna")] == ["tea", "rum"]


def test_entries_for_the_index_know_their_line_and_their_end(graph: Graph) -> None:
    """A closed fact comes with its end; a retracted one, or one of a removed entity, not at all."""
    old = graph.assert_fact("Anna", "lives in", "Bremen", kind="person", foreign=True)
    graph.assert_fact("Anna", "lives in", "Berlin")
    gone = graph.assert_fact("Bernd", "likes", "rum")
    graph.retract(gone.subject)
    first, second = entries(graph.home)
    assert first.layer is Layer.FACT and first.ident == old.id and first.until > 0
    assert first.foreign and first.people == ("Anna",)
    assert second.lines == (2, 2) and second.text.startswith("Anna lives in Berlin")
    assert second.source.startswith("knowledge/journal.jsonl#L2@")


def test_what_a_caller_did_once_is_not_done_twice(graph: Graph) -> None:
    """With an id of its own for the operation, a review may go on where it stopped."""
    one = graph.assert_fact("Anna", "likes", "tea", op="review-1")
    assert graph.assert_fact("Anna", "likes", "rum", op="review-1").id == one.id
    graph.close_fact(one.id, ms("2030-01-01"), op="review-2")
    graph.close_fact(one.id, ms("2031-01-01"), op="review-2")
    assert graph.fact(one.id).valid_to == ms("2030-01-01")


def test_a_batch_is_undone_in_one_go(graph: Graph) -> None:
    """What was brought in together goes together."""
    graph.assert_fact("Anna", "likes", "tea", batch="b1")
    graph.assert_fact("Bernd", "likes", "rum", batch="b1")
    graph.assert_fact("Anna", "likes", "water")
    graph.undo(batch="b1")
    assert [f.value for f in graph.facts()] == ["water"]
