"""CardDAV against a real server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from stead.memory.contacts import Book
from stead.memory.contacts.carddav import AddressBook, CardDavFailed
from stead.memory.contacts.sync import Account, State, Sync, Synced, load, save
from stead.memory.contacts.vcard import Card, parse

ANNA = (
    "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:anna-1\r\nFN:Anna Schmidt\r\nN:Schmidt;Anna;;;\r\n"
    "TEL;TYPE=cell:+49 171 1\r\nX-ODD;X-P=1:kept\\, whole\r\nEND:VCARD\r\n"
)


class House:
    """A home that synchronises with a server."""

    def __init__(self, book: Book, server: AddressBook) -> None:
        self.book, self.server = book, server
        self.state = State(accounts={"it": Account(server.url)})

    def run(self, *, force: bool = False) -> Synced:
        self.book.tidy()
        account = self.state.accounts["it"]
        run = Sync(self.book, self.server, account, lambda: save(self.book.graph.home, self.state))
        told = run.run(force=force)
        self.state = load(self.book.graph.home)
        return told

    def there(self) -> dict[str, Card]:
        listed = self.server.changes("").there
        return {href: parse(text) for href, _, text in self.server.get(listed)}

    def edit_there(self, old: str, new: str) -> None:
        (href, etag, text), *_ = self.server.get(self.server.changes("").there)
        assert old in text
        self.server.put(href, text.replace(old, new), etag)

    def edit_here(self, old: str, new: str) -> None:
        for path in self.book.cards.paths():
            file = self.book.graph.home / path
            if old in (text := file.read_bytes().decode()):
                file.write_bytes(text.replace(old, new).encode())
                return
        raise AssertionError(old)

    def names(self) -> list[str]:
        return [person.name for person in self.book.people()]


@pytest.fixture
def house(book: Book, server: AddressBook) -> House:
    return House(book, server)


def test_there_and_back_nothing_is_lost(house: House) -> None:
    """What is there comes here, what is here goes there, whole; a second run does nothing."""
    house.server.put(house.server.path_for("anna-1"), ANNA)
    house.book.add("Bernd Maier", emails=["b@example.org"])
    told = house.run()
    assert (told.pulled, told.pushed, told.conflicts, told.bad) == (1, 1, [], [])
    assert house.names() == ["Anna Schmidt", "Bernd Maier"]
    mine = house.book.cards.read(house.book.person("Anna Schmidt").cards[0])
    assert mine.first("X-ODD") == "kept, whole"
    assert {card.name for card in house.there().values()} == {"Anna Schmidt", "Bernd Maier"}
    again = house.run()
    assert (again.pulled, again.pushed, again.removed_here, again.removed_there) == (0, 0, 0, 0)


def test_changes_go_both_ways(house: House) -> None:
    """An edit by hand of the file here, an edit there."""
    house.server.put(house.server.path_for("anna-1"), ANNA)
    house.run()
    house.edit_here("+49 171 1", "+49 171 2")
    assert house.run().pushed == 1
    assert [card.first("TEL") for card in house.there().values()] == ["+49 171 2"]
    house.edit_there("+49 171 2", "+49 171 3")
    assert house.run().pulled == 1
    assert house.book.person("Anna Schmidt").addresses[0].shown == "+49 171 3"


def test_a_conflict_keeps_both(house: House) -> None:
    """Changed here and there: one person with both, the server as it was, and it is said."""
    house.server.put(house.server.path_for("anna-1"), ANNA)
    house.run()
    house.edit_here("+49 171 1", "+49 171 22222")
    house.edit_there("+49 171 1", "+49 171 33333")
    told = house.run()
    assert len(told.conflicts) == 1 and "Both are kept" in told.conflicts[0]
    person = house.book.person("Anna Schmidt")
    assert {one.shown for one in person.addresses} == {"+49 171 22222", "+49 171 33333"}
    assert house.run().conflicts == []
    assert [card.first("TEL") for card in house.there().values()] == ["+49 171 33333"]


def test_removed_there_is_put_away_here(house: House) -> None:
    """And can be got back: the file is kept."""
    href = house.server.path_for("anna-1")
    house.server.put(href, ANNA)
    house.run()
    house.server.delete(href, "")
    assert house.run().removed_here == 1
    assert house.names() == []
    house.book.undo()
    assert house.names() == ["Anna Schmidt"]


def test_removed_here_is_removed_there(house: House) -> None:
    """Unless it was changed there meanwhile: then it is back."""
    house.server.put(house.server.path_for("anna-1"), ANNA)
    house.run()
    house.book.remove("Anna Schmidt")
    house.edit_there("+49 171 1", "+49 171 4")
    told = house.run()
    assert "it is back" in told.conflicts[0] and house.names() == ["Anna Schmidt"]
    house.book.remove("Anna Schmidt")
    assert house.run().removed_there == 1
    assert house.there() == {}


def test_a_server_that_lost_all_takes_nothing_away(house: House) -> None:
    """An empty answer is more likely a fault than a wish."""
    for n in range(8):
        house.book.add(f"Person Nr{n}")
    house.run()
    for href in house.there():
        house.server.delete(href, "")
    with pytest.raises(CardDavFailed, match="8 of 8 contacts are gone"):
        house.run()
    assert len(house.names()) == 8
    assert house.run(force=True).removed_here == 8


def test_a_lost_state_makes_nothing_double(house: House) -> None:
    """Without what was agreed, equal cards are found equal."""
    house.server.put(house.server.path_for("anna-1"), ANNA)
    house.book.add("Bernd Maier")
    house.run()
    house.state = State(accounts={"it": Account(house.server.url)})
    told = house.run()
    assert (told.pulled, told.pushed, told.conflicts) == (0, 0, [])
    assert len(house.names()) == 2 and len(house.there()) == 2


def test_the_address_book_is_found(house: House, radicale: str) -> None:
    """The address of the server is enough."""
    user = urlsplit(house.server.url).path.split("/")[1]
    found = AddressBook(radicale, user, "pass")
    found.find()
    assert found.path == house.server.path
    found.close()


def test_what_is_wrong_is_said(radicale: str, tmp_path: Path) -> None:
    """A wrong password, nobody there, a password in the open."""
    wrong = AddressBook(f"{radicale}/user0/people/", "user0", "nope")
    with pytest.raises(CardDavFailed, match="password is wrong"):
        wrong.changes("")
    wrong.close()
    with pytest.raises(CardDavFailed):
        AddressBook("http://127.0.0.1:1/x", "u", "p").changes("")
    with pytest.raises(CardDavFailed, match="https"):
        AddressBook("http://dav.example.org/x", "u", "p")
