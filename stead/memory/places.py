"""What of a home is remembered, as the index reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stead.core.errors import SteadError
from stead.memory.contacts.entries import card_paths, entry_of
from stead.memory.files.read import PARSER, entries_of, kind_of, remembered_files
from stead.memory.graph import entries as facts
from stead.memory.index.sources import Source, Unit
from stead.memory.nouns import Entry, Layer

_JOURNAL = "knowledge/journal.jsonl"


class Files:
    """The files below ``memory/``."""

    version = PARSER

    def __init__(self, home: Path) -> None:
        self._home = home
        self._units: dict[str, Unit] = {}

    def units(self) -> Iterator[Unit]:
        for path in remembered_files(self._home):
            unit = self._units.get(path)
            if unit is None:  # there are thousands, and each is looked at again and again
                unit = self._units[path] = Unit(path, grows=kind_of(path).layer is Layer.DAILY)
            yield unit

    def entries(self, unit: Unit, start: int, line: int) -> Iterator[Entry]:
        try:
            if start:
                yield from entries_of(self._home, unit.path, start=start, line=line)
            else:
                yield from entries_of(self._home, unit.path)
        except SteadError as error:  # what it is called or holds is no memory after all
            raise OSError(error.message) from error


class Facts:
    """What the graph knows, out of the journal of its operations."""

    version = "facts-1"

    def __init__(self, home: Path) -> None:
        self._home = home

    def units(self) -> Iterator[Unit]:
        if (self._home / _JOURNAL).exists():
            yield Unit(_JOURNAL, chained=False)

    def entries(self, unit: Unit, start: int, line: int) -> Iterator[Entry]:
        try:
            yield from facts(self._home)
        except SteadError as error:
            raise OSError(error.message) from error


class People:
    """Contacts, one vCard a file."""

    version = "people-1"

    def __init__(self, home: Path) -> None:
        self._home = home

    def units(self) -> Iterator[Unit]:
        for path in card_paths(self._home):
            yield Unit(path, chained=False)

    def entries(self, unit: Unit, start: int, line: int) -> Iterator[Entry]:
        yield entry_of(self._home, unit.path)


def sources_of(home: Path) -> list[Source]:
    """All that is remembered in a home."""
    return [Files(home), Facts(home), People(home)]
