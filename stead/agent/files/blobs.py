"""What files held before they were changed, kept by the hash of it.

``blobs/<sha256>``, or with ``.z`` (zlib) where that saves a tenth. Written to a temporary file,
synced and renamed, so a blob that has its name is whole; reading one checks its hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from stead.agent.files.tree import CHUNK, Refused, hash_of
from stead.core.files import sync_folder

_WORTH = 0.9
_PROBE = 1 << 16


class Damaged(Refused):
    """What was kept is no longer what it was."""


class Blobs:
    """Those in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, fd: int, most: int) -> tuple[str, int]:
        """Keep a copy of a file; its hash and length. Raises ``Refused`` for one over ``most``."""
        size = os.fstat(fd).st_size
        check_size(size, most)
        sha, _ = hash_of(fd)
        if self.has(sha):
            return sha, size
        self._folder.mkdir(mode=0o700, exist_ok=True)
        probe = os.pread(fd, _PROBE, 0)
        packs = len(zlib.compress(probe, 1)) < len(probe) * _WORTH
        temporary = self._folder / f".{os.getpid()}.{sha[:16]}.tmp"
        try:
            done, length = self._copy(fd, temporary, packs, most)
            os.replace(temporary, self._folder / (done + ".z" * packs))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        sync_folder(self._folder)
        return done, length

    def _copy(self, fd: int, target: Path, packs: bool, most: int) -> tuple[str, int]:
        digest, at = hashlib.sha256(), 0
        packer = zlib.compressobj(1)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            while block := os.pread(fd, CHUNK, at):
                digest.update(block)
                at += len(block)
                write_all(handle, packer.compress(block) if packs else block)
                if at > most:
                    raise Refused("it is growing while it is read; try again when it is at rest")
            if packs:
                write_all(handle, packer.flush())
            os.fsync(handle)
        finally:
            os.close(handle)
        return digest.hexdigest(), at

    def has(self, sha: str) -> bool:
        return any(path.exists() for path in self._paths(sha))

    def blocks(self, sha: str) -> Iterator[bytes]:
        """Its bytes in blocks. Raises ``Damaged`` when it is gone or, at the end, not the same."""
        path = next((path for path in self._paths(sha) if path.exists()), None)
        if path is None:
            raise Damaged("what was there before is no longer kept (limits under [undo])")
        digest = hashlib.sha256()
        unpacker = zlib.decompressobj() if path.suffix else None
        with open(path, "rb") as file:
            while block := file.read(CHUNK):
                try:
                    made = unpacker.decompress(block) if unpacker else block
                except zlib.error as problem:
                    raise Damaged(f"the copy {path.name} is damaged: {problem}") from problem
                digest.update(made)
                yield made
        rest = unpacker.flush() if unpacker else b""
        digest.update(rest)
        yield rest
        if digest.hexdigest() != sha:
            raise Damaged(f"the copy {path.name} is damaged: its bytes have another hash")

    def read(self, sha: str, most: int) -> bytes | None:
        """The first ``most`` bytes; None where it is not kept."""
        made = bytearray()
        try:
            for block in self.blocks(sha):
                made += block
                if len(made) >= most:
                    break
        except Damaged:
            return None
        return bytes(made[:most])

    def sweep(self, used: set[str]) -> int:
        """Remove all but these; the bytes that are left."""
        left = 0
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.split(".")[0] in used:
                    left += entry.stat(follow_symlinks=False).st_size
                else:
                    os.unlink(entry.path)
        return left

    def size(self, sha: str) -> int:
        """Bytes that it takes."""
        return sum(path.stat().st_size for path in self._paths(sha) if path.exists())

    def _paths(self, sha: str) -> tuple[Path, Path]:
        return self._folder / sha, self._folder / f"{sha}.z"


def check_size(size: int, most: int) -> None:
    """Raises ``Refused`` for a file over ``most`` bytes."""
    if size > most:
        raise Refused(
            f"it has {size} bytes and only files up to {most} are kept for `stead undo`"
            " (undo.max_file_mb in stead.toml); the owner may raise that or do it himself"
        )


def write_all(fd: int, data: bytes) -> None:
    """Write all of it; the system may take less at a time. Raises ``OSError``."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
