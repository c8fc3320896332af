"""The address book of a server and the one at home made alike, in both directions.

What was agreed last is in ``knowledge/contacts/.sync.json``: of each card its path on the server,
its etag there, its file here, and what it said. Whoever changed it since then is right; if both
did, both are kept here, as two cards of one person, and the server keeps its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from stead.core.files import write_atomic
from stead.core.ids import uuid7
from stead.memory.contacts.book import Book
from stead.memory.contacts.carddav import AddressBook, CardDavFailed, Changed
from stead.memory.contacts.cards import FOLDER, content_hash
from stead.memory.contacts.vcard import Card, Property, parse

STATE = f"{FOLDER}/.sync.json"
_SHARE = 0.2
_FEW = 5
"""So many may always vanish at once; of more only a share, but by the owner's word."""


class Agreed(msgspec.Struct):
    """One card as both had it."""

    path: str
    etag: str
    said: str


class Account(msgspec.Struct):
    url: str
    user: str = ""
    secret: str = ""
    """Name of the password among the secrets."""
    token: str = ""
    cards: dict[str, Agreed] = {}
    """By path on the server."""
    kept: list[str] = []
    """Files here that lost a conflict: they stay here, and are not sent."""


class State(msgspec.Struct):
    v: int = 1
    accounts: dict[str, Account] = {}


@dataclass(slots=True)
class Synced:
    """What was done."""

    pulled: int = 0
    pushed: int = 0
    removed_here: int = 0
    removed_there: int = 0
    conflicts: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)


def load(home: Path) -> State:
    """Raises ``CardDavFailed`` for a file that cannot be understood."""
    path = home / STATE
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return State()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        why = f"{STATE} is damaged ({error}). Take it away; the next run compares all cards anew"
        raise CardDavFailed(url="", why=why) from error


def save(home: Path, state: State) -> None:
    (home / FOLDER).mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(home / STATE, msgspec.json.format(msgspec.json.encode(state), indent=1))


class Sync:
    """One run. ``keep`` is called after each step, so that a run cut off goes on where it was."""

    def __init__(
        self, book: Book, server: AddressBook, account: Account, keep: Callable[[], None]
    ) -> None:
        self.book, self.server, self.account, self._keep = book, server, account, keep
        self.told = Synced()
        self._batch = uuid7()

    def run(self, *, force: bool = False) -> Synced:
        """Pull, then push. Raises ``CardDavFailed``; what was done until then is kept.

        ``force``: also where so many cards would vanish that something is rather broken.
        """
        account, cards = self.account, self.book.cards
        changes = self.server.changes(account.token)
        changed = [
            href
            for href, etag in changes.there.items()
            if href not in account.cards or account.cards[href].etag != etag or not etag
        ]
        gone = set(changes.gone) & account.cards.keys()
        if changes.whole:
            gone |= account.cards.keys() - changes.there.keys()
        here = {path: content_hash(cards.read(path)) for path in cards.paths()}
        lost = [href for href, one in account.cards.items() if one.path not in here]
        if not force:
            self._guard(len(gone), "on the server")
            self._guard(len(lost), "here")
        for href, etag, text in self.server.get(changed):
            self._pull(href, etag, text, here)
        for href in gone:
            self._gone(href, here)
        self._keep()
        self._push(here, [href for href in lost if href in account.cards and href not in changed])
        account.token = changes.token
        self._keep()
        self.book.tidy()
        return self.told

    def _guard(self, count: int, where: str) -> None:
        total = len(self.account.cards)
        if count > max(_FEW, total * _SHARE):
            why = (
                f"{count} of {total} contacts are gone {where}. If that is right, say so with"
                " --force; nothing was changed"
            )
            raise CardDavFailed(url=self.account.url, why=why)

    # --- from there

    def _pull(self, href: str, etag: str, text: str, here: dict[str, str]) -> None:
        try:
            card = parse(text)
        except ValueError as error:
            self.told.bad.append(f"{href}: {error}")
            return
        account, book = self.account, self.book
        said, known = content_hash(card), account.cards.get(href)
        if known is None:
            same = [p for p in book.cards.same(said) if self._free(p)]
            if same:
                account.cards[href] = Agreed(same[0], etag, said)
                return
            self._new(href, etag, card, said, here)
        elif known.path not in here:  # removed here, changed there: it comes back
            self._new(href, etag, card, said, here)
            self.told.conflicts.append(f"{card.name}: removed here, changed there; it is back")
        elif here[known.path] == known.said or here[known.path] == said:
            if here[known.path] != said:
                book.cards.write(known.path, card)
                here[known.path] = said
                self.told.pulled += 1
            account.cards[href] = Agreed(known.path, etag, said)
        else:
            mine = book.cards.read(known.path)
            owner = book.graph.owners([known.path]).get(known.path)
            path = book.put(mine, self._batch, owner.id if owner else "")
            account.kept.append(path)
            book.cards.write(known.path, card)
            here[known.path], here[path] = said, content_hash(mine)
            account.cards[href] = Agreed(known.path, etag, said)
            self.told.conflicts.append(
                f"{card.name}: changed here and there. Both are kept: {known.path} as the server"
                f" has it, {path} as it was here"
            )

    def _new(self, href: str, etag: str, card: Card, said: str, here: dict[str, str]) -> None:
        path = self.book.put(card, self._batch, self.book.owner_of(card))
        here[path] = said
        self.account.cards[href] = Agreed(path, etag, said)
        self.told.pulled += 1

    def _free(self, path: str) -> bool:
        return all(one.path != path for one in self.account.cards.values())

    def _gone(self, href: str, here: dict[str, str]) -> None:
        known = self.account.cards.pop(href)
        if known.path not in here:
            return
        if here[known.path] != known.said:
            self.told.conflicts.append(f"{known.path}: changed here, removed there; it is kept")
            return
        self.book.drop(known.path, self._batch)
        del here[known.path]
        self.told.removed_here += 1

    # --- to there

    def _push(self, here: dict[str, str], lost: list[str]) -> None:
        account, cards = self.account, self.book.cards
        by_path = {one.path: href for href, one in account.cards.items()}
        for path, said in here.items():
            href = by_path.get(path, "")
            if path in account.kept or (href and account.cards[href].said == said):
                continue
            card = cards.read(path)
            if not card.uid:
                uid = Property("UID", f"urn:uuid:{uuid7()}")
                card = replace(card, properties=(*card.properties, uid))
                cards.write(path, card)
            etag = account.cards[href].etag if href else ""
            target = href or self.server.path_for(_plain_uid(card.uid))
            try:
                fresh = self.server.put(target, card.text(), etag)
            except Changed:
                self.told.conflicts.append(f"{card.name}: changed there meanwhile; run it again")
                continue
            except CardDavFailed as error:
                self.told.bad.append(f"{path}: {error.message}")
                continue
            account.cards[target] = Agreed(path, fresh, said)
            self.told.pushed += 1
            self._keep()
        for href in lost:
            try:
                self.server.delete(href, account.cards[href].etag)
            except Changed:
                continue
            del account.cards[href]
            self.told.removed_there += 1


def _plain_uid(uid: str) -> str:
    """For the name of a resource: servers choke on odd ones, so those are hashed."""
    plain = uid.removeprefix("urn:uuid:")
    if plain and len(plain) < 100 and all(c.isalnum() or c in "-_" for c in plain):
        return plain
    return hashlib.sha256(uid.encode(errors="replace")).hexdigest()[:32]
