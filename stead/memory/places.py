"""What of a home is remembered, as the index reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stead.memory.files.read import PARSER, entries_of, kind_of, remembered_files
from stead.memory.index.sources import Source, Unit
from stead.memory.nouns import Entry, Layer


class Files:
    """The files below ``memory/``."""

    version = PARSER

    def __init__(self, home: Path) -> None:
        self._home = home

    def units(self) -> Iterator[Unit]:
        for path in remembered_files(self._home):
            yield Unit(path, grows=kind_of(path).layer is Layer.DAILY)

    def entries(self, unit: Unit, start: int, line: int) -> Iterator[Entry]:
        if start:
            return entries_of(self._home, unit.path, start=start, line=line)
        return entries_of(self._home, unit.path)


def sources_of(home: Path) -> list[Source]:
    """All that is remembered in a home."""
    return [Files(home)]
