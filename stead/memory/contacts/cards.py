"""The files ``knowledge/contacts/*.vcf``, and a table of what they say in ``index/contacts.db``.

The files are the truth; the table is disposable and follows them by size, time and content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from stead.core.files import sync_folder
from stead.core.ids import uuid7
from stead.memory.contacts.addresses import normal, tail
from stead.memory.contacts.vcard import Card, parse
from stead.memory.graph.names import plain

FOLDER = "knowledge/contacts"
REMOVED = "knowledge/contacts/removed"
INDEX = "index/contacts.db"
_SCHEMA = 2

_TABLES = """
CREATE TABLE card (
  path TEXT PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL, inode INTEGER NOT NULL,
  hash TEXT NOT NULL, uid TEXT NOT NULL, name TEXT NOT NULL, trouble TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX card_hash ON card (hash);
CREATE INDEX card_uid ON card (uid) WHERE uid != '';
CREATE TABLE address (
  path TEXT, kind TEXT, normal TEXT, tail TEXT NOT NULL, shown TEXT NOT NULL,
  types TEXT NOT NULL, PRIMARY KEY (path, kind, normal)
) WITHOUT ROWID;
CREATE INDEX address_normal ON address (normal);
CREATE INDEX address_tail ON address (tail) WHERE tail != '';
CREATE TABLE named (path TEXT, plain TEXT, PRIMARY KEY (plain, path)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Address:
    kind: str
    """email, tel, impp, url."""
    normal: str
    shown: str
    types: tuple[str, ...]
    path: str
    """The card it stands on."""


def content_hash(card: Card) -> str:
    """Equal for cards that say the same, whatever their order of lines."""
    return hashlib.sha256("\n".join(sorted(card.content())).encode(errors="replace")).hexdigest()


class Cards:
    """The folder of a home. Not for two threads at once."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._file = home / INDEX
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._execute = self._open()
            self._execute("SELECT count(*) FROM card").fetchone()
        except apsw.Error:
            self._remove()
            self._execute = self._open()

    def _open(self) -> Any:
        self._connection = apsw.Connection(str(self._file))
        self._connection.set_busy_timeout(60_000)
        self._connection.pragma("synchronous", 0)  # made anew when it is damaged
        if self._connection.pragma("user_version") != _SCHEMA:
            self._connection.execute("BEGIN IMMEDIATE")
            if self._connection.pragma("user_version") != _SCHEMA:
                self._connection.execute(_TABLES)
                self._connection.pragma("user_version", _SCHEMA)
            self._connection.execute("COMMIT")
        return self._connection.execute

    def _remove(self) -> None:
        with contextlib.suppress(AttributeError):
            self._connection.close()
        for end in ("", "-journal"):
            self._file.with_name(self._file.name + end).unlink(missing_ok=True)

    def close(self) -> None:
        self._connection.close()

    # --- following the files

    def refresh(self) -> None:
        """Look at the folder; take in what changed. Raises ``OSError`` where it cannot be read."""
        known = {
            path: (size, changed, inode)
            for path, size, changed, inode in self._execute(
                "SELECT path, size, changed, inode FROM card"
            )
        }
        there: dict[str, tuple[int, int, int]] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self.home / FOLDER) as found:
            for item in found:
                if item.name.endswith(".vcf") and item.is_file():
                    there[f"{FOLDER}/{item.name}"] = _stamp(item.stat())
        changed = [path for path, stamp in there.items() if known.get(path) != stamp]
        gone = known.keys() - there.keys()
        if changed or gone:
            with self._connection:
                for path in gone:
                    self._forget(path)
                for path in changed:
                    self._take(path, there[path])

    def _forget(self, path: str) -> None:
        for table in ("card", "address", "named"):
            self._execute(f"DELETE FROM {table} WHERE path = ?", (path,))

    def _take(self, path: str, stamp: tuple[int, int, int]) -> None:
        try:
            self._note(path, stamp, self.read(path), "")
        except ValueError as error:
            self._note(path, stamp, None, str(error))

    def _note(
        self, path: str, stamp: tuple[int, int, int], card: Card | None, trouble: str
    ) -> None:
        self._forget(path)
        hashed, uid, name = "", "", ""
        if card is not None:
            hashed, uid, name = content_hash(card), card.uid, card.name
            for address in addresses_of(card, path):
                end = tail(address.normal) if address.kind == "tel" else ""
                self._execute(
                    "INSERT OR IGNORE INTO address VALUES (?, ?, ?, ?, ?, ?)",
                    (path, address.kind, address.normal, end, address.shown,
                     ",".join(address.types)),
                )  # fmt: skip
            self._execute("INSERT OR IGNORE INTO named VALUES (?, ?)", (path, plain(name)))
        self._execute(
            "INSERT INTO card VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (path, *stamp, hashed, uid, name, trouble),
        )

    # --- questions

    def paths(self) -> list[str]:
        """All that could be read."""
        rows = self._execute("SELECT path FROM card WHERE trouble = '' ORDER BY path").fetchall()
        return [path for (path,) in rows]

    def troubles(self) -> list[tuple[str, str]]:
        rows = self._execute("SELECT path, trouble FROM card WHERE trouble != ''").fetchall()
        return [(path, told) for path, told in rows]

    def names(self) -> dict[str, str]:
        """Path -> name."""
        return dict(self._execute("SELECT path, name FROM card WHERE trouble = ''").fetchall())

    def same(self, hashed: str) -> list[str]:
        """Cards that say exactly that."""
        rows = self._execute("SELECT path FROM card WHERE hash = ?", (hashed,)).fetchall()
        return [path for (path,) in rows]

    def with_uid(self, uid: str) -> list[str]:
        rows = self._execute("SELECT path FROM card WHERE uid = ? AND uid != ''", (uid,)).fetchall()
        return [path for (path,) in rows]

    def sharing(self, addresses: Iterable[Address]) -> list[str]:
        """Cards with one of these addresses (email, tel, impp)."""
        found: dict[str, None] = {}
        for one in addresses:
            if one.kind != "url" and one.normal:
                rows = self._execute(
                    "SELECT path FROM address WHERE normal = ? AND kind = ?",
                    (one.normal, one.kind),
                )
                found.update(dict.fromkeys(path for (path,) in rows))
        return list(found)

    def near(self, name: str, addresses: Iterable[Address]) -> list[str]:
        """Cards of the same name, or with a telephone number that ends alike."""
        rows = self._execute(
            "SELECT path FROM named WHERE plain = ? AND plain != ''", (plain(name),)
        ).fetchall()
        for one in addresses:
            if one.kind == "tel" and tail(one.normal):
                rows += self._execute(
                    "SELECT path FROM address WHERE tail = ? AND tail != ''", (tail(one.normal),)
                ).fetchall()
        return list(dict.fromkeys(path for (path,) in rows))

    def groups(self) -> Iterator[tuple[str, list[str]]]:
        """Cards that have something in common, and what."""
        asked = (
            ("an address in common: {}", "SELECT normal, json_group_array(path) FROM address"
             " WHERE kind != 'url' GROUP BY kind, normal HAVING count(*) > 1"),
            ("the same name: {}", "SELECT plain, json_group_array(path) FROM named"
             " WHERE plain != '' GROUP BY plain HAVING count(*) > 1"),
            ("both have a number that ends in {}", "SELECT tail, json_group_array(path)"
             " FROM address WHERE tail != '' GROUP BY tail HAVING count(*) > 1"),
        )  # fmt: skip
        for words, sql in asked:
            for what, paths in self._execute(sql).fetchall():
                yield words.format(what), json.loads(paths)[:20]

    def addresses(self, paths: Sequence[str]) -> list[Address]:
        """All addresses on these cards, each once."""
        found: dict[tuple[str, str], Address] = {}
        for path in paths:
            for kind, flat, shown, types in self._execute(
                "SELECT kind, normal, shown, types FROM address WHERE path = ?", (path,)
            ):
                split = tuple(one for one in types.split(",") if one)
                found.setdefault((kind, flat), Address(kind, flat, shown, split, path))
        return list(found.values())

    def by_address(self, text: str) -> list[str]:
        """Cards with an address that a person wrote so."""
        flats = {normal(kind, text) for kind in ("email", "tel", "impp")} - {""}
        found: dict[str, None] = {}
        for flat in flats:
            rows = self._execute("SELECT path FROM address WHERE normal = ?", (flat,))
            found.update(dict.fromkeys(path for (path,) in rows))
        return list(found)

    # --- files

    def read(self, path: str) -> Card:
        """Raises ``ValueError`` for what is no vCard."""
        return parse((self.home / path).read_bytes())

    def fresh_path(self, name: str) -> str:
        """A file name for a person; never made of more than letters and digits of the name."""
        words = re.sub(r"[^a-z0-9]+", "-", plain(name)).strip("-")[:40].strip("-") or "contact"
        return f"{FOLDER}/{words}-{uuid7()[-8:]}.vcf"

    def write(self, path: str, card: Card) -> None:
        """Whole or not at all."""
        self.write_all([(path, card)])

    def write_all(self, cards: Sequence[tuple[str, Card]]) -> None:
        """Each whole or not at all. All are written before the first is synced: most of the cost
        of a sync is shared then."""
        folder = self.home / FOLDER
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        waiting: list[tuple[Path, Path]] = []
        try:
            for path, card in cards:
                target = self.home / path
                temporary = target.with_name(f".{target.name}.tmp")
                waiting.append((temporary, target))
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(card.text().encode(errors="replace"))
            for temporary, _ in waiting:
                handle = os.open(temporary, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            while waiting:
                temporary, target = waiting[-1]
                os.replace(temporary, target)
                waiting.pop()
        finally:
            for temporary, _ in waiting:
                temporary.unlink(missing_ok=True)
        sync_folder(folder)
        with self._connection:
            for path, card in cards:
                self._note(path, _stamp((self.home / path).stat()), card, "")

    def put_away(self, path: str) -> None:
        """Into ``removed/``, where it can be got back from."""
        self._move(path, f"{REMOVED}/{Path(path).name}")

    def drop(self, path: str) -> None:
        """Into ``removed/dropped/``: one card of somebody who stays."""
        self._move(path, f"{REMOVED}/dropped/{Path(path).name}")

    def bring_back(self, path: str) -> bool:
        """Out of ``removed/``; whether it was there."""
        kept = f"{REMOVED}/{Path(path).name}"
        if not (self.home / kept).exists() or (self.home / path).exists():
            return False
        self._move(kept, path)
        return True

    def _move(self, path: str, target: str) -> None:
        (self.home / target).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.replace(self.home / path, self.home / target)
        for folder in {Path(path).parent, Path(target).parent}:
            sync_folder(self.home / folder)

    def removed(self) -> list[str]:
        """Paths, as they were in the folder, of what was put away."""
        folder = self.home / REMOVED
        if not folder.is_dir():
            return []
        return [f"{FOLDER}/{one.name}" for one in folder.iterdir() if one.suffix == ".vcf"]


def _stamp(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_size, info.st_mtime_ns, info.st_ino


def addresses_of(card: Card, path: str = "") -> list[Address]:
    """Its addresses, comparable."""
    return [
        Address(kind, flat, shown, types, path)
        for kind, shown, types in card.addresses()
        if (flat := normal(kind, shown))
    ]
