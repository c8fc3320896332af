"""What is in a zip or tar file, read without believing it.

Names may lead outside ("zip-slip"), entries may be links or devices, sizes may lie, and a few
kilobytes may unpack to any size. Nothing is written here: members are told and handed out.
"""

from __future__ import annotations

import contextlib
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, BinaryIO, Literal

from stead.agent.files.names import shown
from stead.agent.files.tree import CHUNK, Parts, Refused

MOST_MEMBERS = 10_000
MOST_BYTES = 2_000_000_000
_BOMB_BYTES = 100_000_000
_BOMB_RATIO = 200
#: What the libraries raise for archives that are damaged.
BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError,
    NotImplementedError, RuntimeError, OSError, OverflowError,
)  # fmt: skip

Kind = Literal["file", "folder", "link", "odd"]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry. ``parts``: where it belongs, below the folder it is unpacked to."""

    name: str
    parts: Parts
    kind: Kind
    size: int
    runs: bool
    opened: Callable[[], IO[bytes]]


class Packed:
    """An open archive."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        """Raises ``Refused`` for what is no archive."""
        self._file, self._size = file, size
        self._left = MOST_BYTES
        start = file.read(8)
        file.seek(0)
        self.form = "zip" if start[:4] in (b"PK\x03\x04", b"PK\x05\x06") else "tar"

    def members(self) -> Iterator[Member]:
        """In their order. Raises ``Refused`` for what is damaged, hostile or too much."""
        count = 0
        total = 0
        try:
            for member in self._zip() if self.form == "zip" else self._tar():
                count += 1
                total += member.size
                if count > MOST_MEMBERS:
                    raise Refused(f"it has more than {MOST_MEMBERS} entries")
                self._check(total)
                yield member
        except Refused:
            raise
        except BROKEN as problem:
            raise Refused(f"it is damaged, or no archive: {problem}") from problem

    def blocks(self, member: Member) -> Iterator[bytes]:
        """What a member holds, never more than it said."""
        got = 0
        with contextlib.closing(member.opened()) as source:
            while block := source.read(CHUNK):
                got += len(block)
                self._left -= len(block)
                if got > member.size or self._left < 0:
                    raise Refused(f"{shown(member.name)} holds more than the archive says")
                yield block

    def _check(self, total: int) -> None:
        if total > MOST_BYTES:
            raise Refused(f"it would unpack to more than {MOST_BYTES // 1_000_000} MB")
        if total > _BOMB_BYTES and total > self._size * _BOMB_RATIO:
            raise Refused(f"it would unpack to {total // max(1, self._size)} times its size")

    def _zip(self) -> Iterator[Member]:
        with zipfile.ZipFile(self._file) as held:
            for info in held.infolist():
                if info.flag_bits & 1:
                    raise Refused("it is encrypted; unpack it yourself, with its password")
                mode = info.external_attr >> 16
                kind: Kind = "folder" if info.is_dir() else "file"
                if stat.S_ISLNK(mode):
                    kind = "link"
                elif stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    kind = "odd"

                def opened(info: zipfile.ZipInfo = info) -> IO[bytes]:
                    return held.open(info)

                name = info.filename
                runs = bool(mode & 0o100)
                yield Member(name, _parts(name), kind, info.file_size, runs, opened)

    def _tar(self) -> Iterator[Member]:
        with tarfile.open(fileobj=self._file, mode="r:*", errorlevel=1) as held:
            while (info := held.next()) is not None:
                kind: Kind = "odd"
                if info.isreg():
                    kind = "file"
                elif info.isdir():
                    kind = "folder"
                elif info.issym() or info.islnk():
                    kind = "link"

                def opened(info: tarfile.TarInfo = info) -> IO[bytes]:
                    source = held.extractfile(info)
                    assert source is not None
                    return source

                size = info.size if kind == "file" else 0
                if info.size < 0:
                    raise Refused("it is damaged: an entry has a size below nothing")
                name = info.name
                yield Member(name, _parts(name), kind, size, bool(info.mode & 0o100), opened)
                held.members = []  # type: ignore[attr-defined] # else it keeps them all
            self._to_the_end(held)

    @staticmethod
    def _to_the_end(held: tarfile.TarFile) -> None:
        """What was cut off after the last entry shows only now; so does a wrong checksum."""
        for _ in range(64):
            if held.fileobj is None or not held.fileobj.read(CHUNK):
                return


def _parts(name: str) -> Parts:
    """Where an entry belongs. Raises ``Refused`` for one that leads outside."""
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"[A-Za-z]:", plain) or "\0" in plain:
        raise Refused(f"its entry {shown(name[:200])} leads outside; nothing of it was unpacked")
    parts = tuple(part for part in plain.split("/") if part not in ("", "."))
    if ".." in parts:
        raise Refused(f"its entry {shown(name[:200])} leads outside; nothing of it was unpacked")
    return parts
