"""Where entries come from: the files of a home directory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from stead.memory.nouns import Entry

_PIECE = 1 << 20
_RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Unit:
    """What is read as one: a file, or some that belong together."""

    path: str
    """Relative to the home."""
    parts: tuple[str, ...] = ()
    """The files, where they are not just the one that ``path`` names."""
    grows: bool = False
    """It is only ever added to at its end, as far as stead goes; people may do otherwise."""
    chained: bool = True
    """What stands before and after an entry has to do with it."""

    def files(self, home: Path) -> list[Path]:
        return [home / part for part in self.parts or (self.path,)]


class Source(Protocol):
    """Some of the files, and how to read them."""

    @property
    def version(self) -> str:
        """Changes whenever the same bytes give other entries."""
        ...

    def units(self) -> Iterator[Unit]:
        """What there is to read. Raises ``OSError`` at its end where not all of it could be
        listed: what cannot be listed is not gone."""
        ...

    def entries(self, unit: Unit, start: int, line: int) -> Iterator[Entry]:
        """What it holds, from a byte on, which begins a line of that number. Raises ``OSError``."""
        ...


@dataclass(frozen=True, slots=True)
class Stamp:
    """How a unit looks from outside. Only a hint: times are compared for being the same, not for
    being later, as clocks jump."""

    size: int
    mtime: int
    ctime: int
    inode: int

    @classmethod
    def of(cls, home: Path, unit: Unit) -> Stamp:
        """Raises ``OSError``."""
        if not unit.parts:  # the usual case, for every file at every look
            one = os.stat(f"{home}/{unit.path}")
            return cls(one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino % 2**62)
        found = [os.stat(file) for file in unit.files(home)]
        whole = hashlib.blake2b(digest_size=7)
        for part, one in zip(unit.parts, found, strict=True):
            whole.update(f"{part}\0{one.st_ino}\0{one.st_mtime_ns}\0".encode(errors="replace"))
        return cls(
            sum(one.st_size for one in found),
            max((one.st_mtime_ns for one in found), default=0),
            max((one.st_ctime_ns for one in found), default=0),
            int.from_bytes(whole.digest(), "big"),
        )

    def sure(self, seen: int) -> bool:
        """Whether a change after the look at ``seen`` (nanoseconds) would show: file systems tell
        times in steps."""
        return abs(seen - self.mtime) > _RACY_NS and abs(seen - self.ctime) > _RACY_NS


def digest_of(home: Path, unit: Unit) -> bytes:
    """Of all its bytes. Raises ``OSError``."""
    whole = hashlib.blake2b(digest_size=16)
    for file in unit.files(home):
        if unit.parts:
            whole.update(f"\0{file.name}\0{file.stat().st_size}\0".encode(errors="replace"))
        _feed(whole, file)
    return whole.digest()


def digests_of(file: Path, upto: int) -> tuple[hashlib.blake2b, bytes]:
    """Of the first ``upto`` bytes of a file, to be gone on with, and of all. Raises ``OSError``."""
    head = hashlib.blake2b(digest_size=16)
    with open(file, "rb", buffering=0) as f:
        more_of(head, f, upto)
        whole = head.copy()
        while piece := f.read(_PIECE):
            whole.update(piece)
    return head, whole.digest()


def more_of(digest: hashlib.blake2b, file: IO[bytes], count: int) -> None:
    """Goes on with the next ``count`` bytes."""
    while count > 0 and (piece := file.read(min(_PIECE, count))):
        digest.update(piece)
        count -= len(piece)


def byte_of_line(file: Path, start: int, line: int, wanted: int) -> int:
    """Where line ``wanted`` begins, given that ``line`` begins at ``start``; -1: there is none."""
    with open(file, "rb", buffering=0) as f:
        f.seek(start)
        at = start
        while line < wanted:
            piece = f.read(_PIECE)
            if not piece:
                return -1
            found = piece.count(b"\n")
            if line + found < wanted:
                line += found
                at += len(piece)
                continue
            place = -1
            while line < wanted:
                place = piece.index(b"\n", place + 1)
                line += 1
            return at + place + 1
    return at


def _feed(whole: hashlib.blake2b, file: Path) -> None:
    with open(file, "rb", buffering=0) as f:
        while piece := f.read(_PIECE):
            whole.update(piece)
