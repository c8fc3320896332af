"""People as entries of the index."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from stead.memory.contacts.cards import FOLDER
from stead.memory.contacts.vcard import Card, parse
from stead.memory.nouns import Entry, Layer, digest

_SKIPPED = {"PHOTO", "LOGO", "SOUND", "KEY", "UID", "REV", "PRODID", "N", "FN", "KIND"}


def card_paths(home: Path) -> Iterator[str]:
    """The files; raises ``OSError`` where the folder cannot be read."""
    if (home / FOLDER).is_dir():
        for path in sorted((home / FOLDER).iterdir()):
            if path.suffix == ".vcf" and not path.name.startswith("."):
                yield f"{FOLDER}/{path.name}"


def entry_of(home: Path, path: str) -> Entry:
    """One card. Raises ``OSError`` for what cannot be read, or is no vCard."""
    try:
        return _entry(home, path, parse((home / path).read_bytes()))
    except ValueError as error:
        raise OSError(f"{path} is no vCard: {error}") from error


def entries(home: Path) -> Iterator[Entry]:
    """Every card in ``knowledge/contacts/`` that is one, as :func:`entry_of`."""
    for path in card_paths(home):
        with contextlib.suppress(ValueError):
            yield _entry(home, path, parse((home / path).read_bytes()))


def _entry(home: Path, path: str, card: Card) -> Entry:
    lines = [card.name or Path(path).stem]
    for one in card.properties:
        if one.name not in _SKIPPED and ("ENCODING", "b") not in one.params:
            value = re.sub(r"[;\s]+", " ", one.text).strip()
            if value and len(value) < 2_000 and not value.startswith("data:"):
                lines.append(f"{one.name.lower().removeprefix('x-')}: {value}")
    text = "\n".join(lines)
    last = max(1, card.text().count("\r\n"))
    return Entry(
        key=f"{path}#{digest(text)}",
        layer=Layer.CONTACT,
        path=path,
        lines=(1, last),
        text=text,
        title=lines[0],
        people=(lines[0],),
        foreign=True,  # cards come from anywhere, and their notes say anything
        known_at=int((home / path).stat().st_mtime * 1000),
    )
