"""What an owner may rely on of contacts."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from stead.memory.contacts import Book, entries
from stead.memory.contacts.cards import FOLDER
from stead.memory.contacts.last import last_seen
from stead.memory.graph import AmbiguousName, BadOperation, UnknownName
from stead.memory.nouns import Layer


def vcf(name: str, *lines: str) -> bytes:
    return "\r\n".join(
        ["BEGIN:VCARD", "VERSION:3.0", f"FN:{name}", *lines, "END:VCARD", ""]
    ).encode()


def bring(book: Book, *cards: bytes) -> str:
    return book.import_(io.BytesIO(b"".join(cards))).batch


def names(book: Book) -> list[str]:
    return [person.name for person in book.people()]


def test_an_import_joins_only_what_is_sure(book: Book) -> None:
    """An address and the name in common: one person. Either alone: proposed."""
    bring(book, vcf("Anna Schmidt", "EMAIL:anna@example.org", "TEL:+49 171 1234567"))
    told = book.import_(
        io.BytesIO(
            vcf("Schmidt, Anna", "EMAIL:ANNA@example.org", "X-B:2")
            + vcf("Bob Maier", "EMAIL:anna@example.org")
            + vcf("Anna Schmidt", "EMAIL:other@example.org")
            + vcf("Anna Schmid", "TEL:0171 1234567")
            + vcf("Cy")
        )
    )
    assert (told.joined, told.new, told.unsure) == (1, 4, 3)
    anna = book.entity("+491711234567")
    assert len(anna.cards) == 2 and "Schmidt, Anna" in anna.aliases
    pairs = {frozenset((one.one.name, one.other.name)) for one in book.candidates()}
    assert frozenset(("Anna Schmidt", "Bob Maier")) in pairs
    assert (
        frozenset(("Anna Schmidt",)) in pairs
        and frozenset(("Anna Schmidt", "Anna Schmid")) in pairs
    )


def test_an_import_twice_changes_nothing(book: Book) -> None:
    """Nor does one with the lines in another order."""
    bring(book, vcf("Anna", "EMAIL:a@x.org", "TEL:12345"), vcf("Bob"))
    again = book.import_(io.BytesIO(vcf("Anna", "TEL:12345", "EMAIL:a@x.org") + vcf("Bob")))
    assert (again.same, again.new, again.joined) == (2, 0, 0)
    assert names(book) == ["Anna", "Bob"]


def test_a_dry_run_changes_nothing(book: Book) -> None:
    """It only tells."""
    told = book.import_(io.BytesIO(vcf("Anna")), dry=True)
    assert told.new == 1 and names(book) == []
    assert not (book.graph.home / "knowledge").exists()


def test_an_import_is_undone_and_redone_whole(book: Book) -> None:
    """The files follow."""
    book.add("Zoe")
    batch = bring(book, vcf("Anna"), vcf("Bob"))
    undone = book.undo(batch=batch)
    assert names(book) == ["Zoe"]
    assert len(list((book.graph.home / FOLDER).glob("*.vcf"))) == 1
    book.undo(undone.id)
    assert names(book) == ["Anna", "Bob", "Zoe"]


def test_merged_is_exported_as_one_with_all(book: Book) -> None:
    """No name and no address is lost by merging; split takes it back."""
    bring(book, vcf("Anna Schmidt", "EMAIL:a@x.org", "BDAY:1980-01-01"))
    bring(book, vcf("Anna Maier", "EMAIL:a@y.org", "BDAY:1981-01-01", "item1.X-ABLabel:x"))
    book.graph.merge(book.entity("Anna Schmidt").id, book.entity("Anna Maier").id)
    (text,) = book.export()
    for part in ("FN:Anna Schmidt", "NICKNAME:Anna Maier", "a@x.org", "a@y.org", "BDAY:1980-01-01",
                 "X-ALSO-BDAY:1981-01-01", "item1.X-ABLabel:x"):  # fmt: skip
        assert part in text
    assert len(book.person("a@y.org").addresses) == 2
    book.graph.split(book.entity("Anna Schmidt").id)
    assert names(book) == ["Anna Maier", "Anna Schmidt"]


def test_hostile_names_make_harmless_files(book: Book) -> None:
    """Neither a UID nor a name is ever a path."""
    bring(book, vcf("../../etc/passwd", "UID:../../../x"), vcf("\\n" * 3 + "a" * 3000, "UID:/y"))
    files = [path.name for path in (book.graph.home / "knowledge").rglob("*.vcf")]
    assert len(files) == 2 and all(len(name) < 60 and "/" not in name for name in files)
    assert any(name.startswith("etc-passwd-") for name in files)


def test_files_put_there_by_hand_count(book: Book) -> None:
    """One that is added, edited, broken, taken away."""
    folder = book.graph.home / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "anna.vcf"
    file.write_bytes(vcf("Anna", "EMAIL:a@x.org"))
    book.tidy()
    assert names(book) == ["Anna"]
    file.write_bytes(vcf("Anna", "EMAIL:new@x.org"))
    book.tidy()
    assert book.person("new@x.org").name == "Anna"
    file.write_bytes(b"rubbish")
    book.tidy()
    assert book.cards.troubles()[0][0].endswith("anna.vcf")
    assert names(book) == ["Anna"]


def test_a_crash_between_files_and_journal_leaves_orphans_that_are_taken_in(book: Book) -> None:
    """The files are there, the journal knows nothing: they are nobody's for no longer than that."""
    bring(book, vcf("Anna"), vcf("Bob"))
    book.graph.journal.unlink()
    book.tidy()
    assert names(book) == ["Anna", "Bob"]
    assert bring(book, vcf("Anna")) and names(book) == ["Anna", "Bob"]


def test_notes_and_follow_ups(book: Book) -> None:
    """Due when they are due, gone when they are done, back when that is undone."""
    book.add("Anna", emails=["a@x.org"])
    book.add("Bob")
    book.note("a@x.org", "likes tea")
    book.note("Anna", "has a dog")
    book.follow_up("Anna", "call back", 2_000)
    later = book.follow_up("Bob", "send the book", 10**14)
    assert [fact.value for fact in book.due(5_000)] == ["call back"]
    assert {fact.value for fact in book.person("Anna").notes} == {"likes tea", "has a dog"}
    book.done("Anna")
    assert book.due(5_000) == []
    book.undo()
    assert len(book.due(5_000)) == 1
    book.done(later.id[-8:])
    assert book.person("Bob").follow_ups == ()
    with pytest.raises(UnknownName, match="0 follow-ups"):
        book.done("Bob")


def test_the_last_word_of_somebody_is_found_in_the_record(book: Book) -> None:
    """By the whole name or an address; not within another word."""
    home = book.graph.home
    book.add("Anna Berg", emails=["anna@x.org"])
    (home / "memory").mkdir()
    (home / "memory/2026-01-02.md").write_text(
        "# 2026-01-02\n\n- 10:00:00 **owner** (terminal, main) [job 12345678]:"
        " Anna Berg called <!-- 1 -->\n"
    )
    (home / "memory/2026-01-03.md").write_text(
        "# 2026-01-03\n\n- 10:00:00 **owner** (terminal, main) [job 12345678]:"
        " Hanna Bergmann <!-- 2 -->\n"
    )
    seen = last_seen(home, book.person("Anna Berg"))
    assert seen is not None and seen.source.startswith("memory/2026-01-02.md#L3")
    assert last_seen(home, book.add("Nobody Else")) is None


def test_which_of_two_is_asked(book: Book) -> None:
    """An address of two, a name of nobody, an empty name."""
    bring(book, vcf("Anna", "EMAIL:home@x.org"), vcf("Bob", "EMAIL:home@x.org"))
    with pytest.raises(AmbiguousName):
        book.note("home@x.org", "x")
    with pytest.raises(UnknownName):
        book.note("Nobody", "x")
    with pytest.raises(BadOperation):
        book.add("  ")


def test_entries_for_the_index(book: Book) -> None:
    """One a card, with the person's name; not of people who were removed, and no photographs."""
    bring(book, vcf("Anna", "EMAIL:a@x.org", "PHOTO;ENCODING=b:AAAA"), vcf("Bob"))
    book.remove("Bob")
    (entry,) = entries(book.graph.home)
    assert entry.layer is Layer.CONTACT and entry.people == ("Anna",)
    assert entry.text == "Anna\nemail: a@x.org" and entry.path.startswith(FOLDER)


def test_a_lost_index_is_made_anew(book: Book) -> None:
    """Damaged or missing."""
    bring(book, vcf("Anna", "EMAIL:a@x.org"))
    book.close()
    for damage in (b"rubbish" * 1000, b""):
        (Path(book.graph.home) / "index/contacts.db").write_bytes(damage)
        with Book(book.graph) as again:
            assert again.person("a@x.org").name == "Anna"
