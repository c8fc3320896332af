"""The contacts of a home, with what they need of other rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stead.app.graph import graph_of
from stead.app.secret_files import store_of
from stead.memory.contacts.book import Book, Candidate, Imported, Person
from stead.memory.contacts.carddav import AddressBook
from stead.memory.contacts.last import Seen, last_seen
from stead.memory.contacts.sync import Account, Sync, Synced, load, save
from stead.memory.graph import Fact

__all__ = ["Book", "Candidate", "Fact", "Imported", "Person", "Seen", "Synced"]


@contextmanager
def book_of(home: Path) -> Iterator[Book]:
    """The address book of a home; changes of the last hours made by hand are taken in first."""
    with graph_of(home) as graph, Book(graph) as book:
        yield book


def last_contact(home: Path, person: Person) -> Seen | None:
    """When somebody was last heard of."""
    return last_seen(home, person)


def accounts(home: Path) -> list[Account]:
    """Servers that were synchronised with."""
    return list(load(home).accounts.values())


def synchronise(
    book: Book,
    url: str = "",
    *,
    user: str = "",
    secret: str = "",
    force: bool = False,
    password: Callable[[str], str],
) -> dict[str, Synced]:
    """Synchronise with a server (and remember it), or with all that are known; by its address.

    ``secret``: the name of its password among the secrets; without one, ``password`` is called
    with the user's name. Raises ``CardDavFailed``.
    """
    home = book.graph.home
    state = load(home)
    if url:
        account = state.accounts.setdefault(url, Account(url))
        account.user, account.secret = user or account.user, secret or account.secret
    done = {}
    for account in [state.accounts[url]] if url else list(state.accounts.values()):
        word = ""
        if account.secret:
            word = store_of(home).get(account.secret)
        elif account.user:
            word = password(account.user)
        server = AddressBook(account.url, account.user, word)
        try:
            server.find()
            run = Sync(book, server, account, lambda: save(home, state))
            done[account.url] = run.run(force=force)
        finally:
            server.close()
    return done
