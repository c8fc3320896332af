"""The bytes of files, by their SHA-256: ``files/ab/abcdef...`` below the home.

A file comes piece by piece into a part of its own (``files/.part-...``), is put on disk for good
(fsync), and then gets its name; what is cut off leaves nothing. Bytes are there before anything
names them, and go after everything that named them is gone; what a crash leaves in between is
found by :meth:`Blobs.sweep`. The gateway alone works here (one a home).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stead.blobs.sniff import HEAD
from stead.core.errors import FileTooLarge, NoRoom, NotFound
from stead.core.files import sync_folder
from stead.core.ids import uuid7

_PART = ".part-"
_BATCH = 1 << 20
"""Bytes that are gathered before they are hashed and written, in a thread."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may be kept, in bytes."""

    most: int = 2_000_000_000
    """Of one file."""
    quota: int = 50_000_000_000
    """Of all of them."""
    spare: int = 500_000_000
    """So much of the disk stays free."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Bytes that are on disk."""

    sha256: str
    size: int
    head: bytes
    """The first ones."""


class Blobs:
    """The folder of bytes. ``bounds`` is asked at each file, since settings change."""

    def __init__(self, folder: Path, bounds: Callable[[], Bounds] = Bounds) -> None:
        self.folder = folder
        self._bounds = bounds
        self._used = -1
        self._coming = 0
        self._writing: set[str] = set()
        self._held: Counter[str] = Counter()
        """By hash: bytes that nothing names yet, and something soon will."""
        self._tidying = asyncio.Lock()

    def path(self, sha256: str) -> Path:
        """Where bytes lie. Raises ``NotFound`` when they are gone."""
        path = self._place(sha256)
        if not path.is_file():
            raise NotFound(what=f"content of that file in {self.folder.name}/ any more")
        return path

    def _place(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256

    def used(self) -> int:
        """Bytes of all there are."""
        if self._used < 0:
            self._used = sum(size for _, size in self._all())
        return self._used

    def _all(self) -> Iterator[tuple[Path, int]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as folders:
            for folder in folders:
                if len(folder.name) == 2 and folder.is_dir(follow_symlinks=False):
                    with os.scandir(folder) as entries:
                        yield from (
                            (Path(one.path), one.stat(follow_symlinks=False).st_size)
                            for one in entries
                        )

    @contextlib.asynccontextmanager
    async def take(self, pieces: AsyncIterator[bytes], size: int = 0) -> AsyncIterator[Taken]:
        """Put bytes on disk. They stay if something names them within the context. ``size``: how
        many are said to come, so that what has no room is refused at once.

        Raises ``FileTooLarge``, ``NoRoom``, and what the pieces raise; nothing stays then.
        """
        bounds = self._bounds()
        name, counted = f"{_PART}{uuid7()}", 0
        part = _Part(self.folder / name)
        self._writing.add(name)
        try:
            await asyncio.to_thread(self._check, bounds, size)
            gathered: list[bytes] = []
            many = 0
            async for piece in pieces:
                gathered.append(piece)
                many += len(piece)
                if part.size + many > bounds.most:
                    raise FileTooLarge(limit=bounds.most // 1_000_000)
                if many >= _BATCH:
                    self._coming += many
                    counted += many
                    await asyncio.to_thread(self._add, part, gathered, bounds)
                    gathered, many = [], 0
            self._coming += many
            counted += many
            await asyncio.to_thread(self._add, part, gathered, bounds)
            sha = part.sha256
            self._held[sha] += 1
            try:
                async with self._tidying:
                    self._used += await asyncio.to_thread(part.keep, self._place(sha))
                yield Taken(sha, part.size, part.head)
            finally:
                self._held[sha] -= 1
                if not self._held[sha]:
                    del self._held[sha]
        except OSError as error:
            if error.errno in _FULL:
                raise NoRoom(why="the disk is full") from error
            raise
        finally:
            self._coming -= counted
            await asyncio.to_thread(part.drop)
            self._writing.discard(name)

    def _check(self, bounds: Bounds, more: int) -> None:
        if more > bounds.most:
            raise FileTooLarge(limit=bounds.most // 1_000_000)
        if self.used() + self._coming + more > bounds.quota:
            raise NoRoom(
                why=f"{bounds.quota // 1_000_000} MB are kept at most ([files] quota_mb), and"
                f" {self.used() // 1_000_000} MB are there"
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free - more < bounds.spare:
            raise NoRoom(
                why=f"the disk has {free // 1_000_000} MB left, and"
                f" {bounds.spare // 1_000_000} MB are to stay free ([files] spare_mb)"
            )

    def _add(self, part: _Part, pieces: list[bytes], bounds: Bounds) -> None:
        self._check(bounds, 0)
        for piece in pieces:
            part.add(piece)

    async def sweep(self, named: Callable[[], Awaitable[Collection[str]]]) -> int:
        """Remove what nothing names (``named``: the hashes that are), and parts that nobody writes
        to; how many files.

        What was kept before this began is held still, or was named before ``named`` looks; and
        nothing new is kept meanwhile.
        """

        def tidy(wanted: Collection[str]) -> int:
            many = used = 0
            for path, size in list(self._all()):
                if path.name in wanted:
                    used += size
                else:
                    path.unlink(missing_ok=True)
                    many += 1
            # Listed before it is looked which are being written: what comes later is not among
            # them, and what is whole by then has another name.
            for path in list(self.folder.glob(f"{_PART}*")):
                if path.name not in self._writing:
                    path.unlink(missing_ok=True)
                    many += 1
            self._used = used
            return many

        async with self._tidying:
            held = {*self._held}
            return await asyncio.to_thread(tidy, held | {*await named()})


class _Part:
    """Bytes on their way to the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._file: Any = None
        self.size = 0
        self.head = b""

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def add(self, piece: bytes) -> None:
        if self._file is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.fdopen(os.open(self._path, flags, 0o600), "wb", buffering=0)
        self._digest.update(piece)
        left = memoryview(piece)
        while left:
            left = left[self._file.write(left) :]
        if len(self.head) < HEAD:
            self.head += piece[: HEAD - len(self.head)]
        self.size += len(piece)

    def keep(self, place: Path) -> int:
        """Give it its name; how many bytes more there are by that."""
        if self._file is None:
            self.add(b"")
        os.fsync(self._file.fileno())
        os.fchmod(self._file.fileno(), 0o400)
        self._file.close()
        place.parent.mkdir(mode=0o700, exist_ok=True)
        known = place.exists() and place.stat().st_size == self.size
        os.replace(self._path, place)
        sync_folder(place.parent)
        sync_folder(place.parent.parent)
        return 0 if known else self.size

    def drop(self) -> None:
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
