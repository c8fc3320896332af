"""Which files of a home are remembered, and what kind each is by its name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath

from stead.core.errors import BadRequest
from stead.memory.nouns import Layer

FOLDER = "memory"
CARDS = "memory/cards"
IMPORTED = "memory/imported"

_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[.\-_ ].*)?")
_DEEPEST = 12


@dataclass(frozen=True, slots=True)
class Trouble:
    """A folder or file that could not be looked at. It is not empty, nor gone: nothing is known."""

    path: str
    """Relative to the home, with a slash at the end where all below it is unknown."""
    why: str


class Unreadable(OSError):
    """Not everything could be looked at; raised after all that could be was handed out.

    Whoever keeps something made from the files must not take for deleted what lies below
    ``troubles``.
    """

    def __init__(self, troubles: list[Trouble]) -> None:
        told = "; ".join(f"{one.path}: {one.why}" for one in troubles[:5])
        super().__init__(f"cannot be read: {told}")
        self.troubles = tuple(troubles)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is by its name."""

    layer: Layer
    day: date | None = None
    """Of a daily log."""
    tags: tuple[str, ...] = field(default=())
    """``imported`` and from where, for what lies in ``memory/imported/``."""


def kind_of(path: str) -> Kind:
    """The kind of a file, by its path relative to the home."""
    parts = PurePosixPath(path).parts
    imported = parts[:2] == ("memory", "imported")
    tags = ("imported", *parts[2:3]) if imported and len(parts) > 3 else ()
    if "cards" in parts[1:-1]:
        return Kind(Layer.CARD, tags=tags)
    found = _DAY.fullmatch(PurePosixPath(path).stem)
    if found:
        try:
            return Kind(Layer.DAILY, date.fromisoformat(found[1]), tags)
        except ValueError:  # 2026-13-45: a name like another
            pass
    return Kind(Layer.STANDING, tags=tags)


def checked(home: Path, path: str) -> Path:
    """Where a remembered file lies. Raises ``BadRequest`` for what is none."""
    pure = PurePosixPath(path)
    parts = pure.parts
    sound = (
        len(parts) > 1
        and parts[0] == FOLDER
        and not any(part.startswith(".") for part in parts)
        and pure.suffix.lower() == ".md"
        and "\0" not in path
        and len(parts) <= _DEEPEST + 2
    )
    if not sound:
        raise BadRequest(
            why=f"{path!r} is no file of memory (memory/NAME.md, memory/cards/NAME.md)"
        )
    return home / pure


def remembered_files(home: Path) -> Iterator[str]:
    """Paths of all files that are remembered, relative to the home (``memory/2026-11-20.md``), in
    order. Files of ``knowledge/`` are read by those who keep the graph and contacts.

    Hidden files and folders do not count; links are followed, once each. At its end it raises
    :class:`Unreadable` if a folder could not be listed (also when ``memory/`` itself is not
    there): what lies in it is unknown then, not gone.
    """
    troubles: list[Trouble] = []
    yield from _below(home, FOLDER, set(), troubles)
    if troubles:
        raise Unreadable(troubles)


def _below(
    home: Path, folder: str, seen: set[tuple[int, int]], troubles: list[Trouble], deep: int = 0
) -> Iterator[str]:
    try:
        info = os.stat(home / folder)
        if (info.st_dev, info.st_ino) in seen or deep > _DEEPEST:
            return
        seen.add((info.st_dev, info.st_ino))
        with os.scandir(home / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        troubles.append(Trouble(f"{folder}/", (error.strerror or str(error)).lower()))
        return
    for entry in entries:
        name = entry.name
        if name.startswith("."):
            continue
        path = f"{folder}/{name}"
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = path.encode(errors="surrogateescape").decode(errors="replace")
            troubles.append(Trouble(shown, "its name is no UTF-8: rename it"))
            continue
        try:
            if entry.is_dir():
                yield from _below(home, path, seen, troubles, deep + 1)
            elif name.lower().endswith(".md") and entry.is_file():
                yield path
            elif entry.is_symlink() and not (home / path).exists():
                # A disk that is not mounted, perhaps: what lies behind it is unknown.
                troubles.append(Trouble(f"{path}/", "what it links to is not there"))
        except OSError as error:
            troubles.append(Trouble(path, (error.strerror or str(error)).lower()))
