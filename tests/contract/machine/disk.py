"""A disk under SQLite that can be looked at after each write, cut off, and made to fail.

Registered as SQLite's default way to the disk for as long as it is in use. The files are real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

_NAME = "stead-tests"

#: Bytes of the files that make up a database, by their names.
Image = dict[str, bytes]

FILES = ("state.db", "state.db-wal")


class Disk(apsw.VFS):
    """``on_write`` is called after each write; ``synced`` is what a power cut would leave."""

    def __init__(self) -> None:
        self.base = apsw.vfs_names()[0]
        super().__init__(_NAME, self.base)
        self.on_write: Callable[[], None] | None = None
        self.synced: Image = {}
        self.fail_after = -1
        """So many writes succeed, then all fail; -1: none fails."""
        self.fail_with = apsw.SQLITE_FULL
        self.failed = 0

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return _File(self, name, flags)

    def about_to_write(self, file: _File, data: bytes, offset: int) -> None:
        if self.fail_after < 0:
            return
        if self.fail_after > 0:
            self.fail_after -= 1
            return
        self.failed += 1
        if self.fail_with == apsw.SQLITE_IOERR_WRITE:  # half of it is on the disk all the same
            file.write_through(data[: len(data) // 2], offset)
        raise apsw.exception_for(self.fail_with)


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._path = Path(path) if path else None
        super().__init__(disk.base, name, flags)

    def write_through(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.about_to_write(self, data, offset)
        super().xWrite(data, offset)
        if self._disk.on_write is not None:
            self._disk.on_write()

    def xSync(self, flags: int) -> None:
        if self._disk.fail_after == 0 and self._disk.fail_with == apsw.SQLITE_IOERR_FSYNC:
            self._disk.failed += 1
            raise apsw.exception_for(self._disk.fail_with)
        super().xSync(flags)
        if self._path is not None and self._path.name in FILES:
            self._disk.synced[self._path.name] = self._path.read_bytes()


@contextmanager
def disk() -> Iterator[Disk]:
    """A disk under every connection that is opened meanwhile."""
    made = Disk()
    apsw.set_default_vfs(_NAME)
    try:
        yield made
    finally:
        apsw.set_default_vfs(made.base)


def image(folder: Path) -> Image:
    """What a SIGKILL would leave at this moment."""
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def rows_of(kept: Image, folder: Path, vfs: str) -> dict[str, list[Any]]:
    """All rows of all tables of what was left, after SQLite has recovered it on another disk."""
    folder.mkdir()
    for name, data in kept.items():
        (folder / name).write_bytes(data)
    connection = apsw.Connection(str(folder / "state.db"), vfs=vfs)
    try:
        return rows_in(connection)
    finally:
        connection.close()


def rows_in(connection: apsw.Connection) -> dict[str, list[Any]]:
    tables = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    ).fetchall()
    names = [str(name) for (name,) in tables]
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


__all__ = ["Disk", "Image", "disk", "image", "rows_in", "rows_of"]
