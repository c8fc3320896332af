"""What the disk itself can do: the limit beside every durable figure."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType

import psutil

_PAGE = b"\x5a" * 4096
#: File systems in memory, where a sync costs nothing and proves nothing.
_IN_MEMORY = ("tmpfs", "ramfs")


class Probe:
    """A file to which 4 KB are added and synced, over and over."""

    def __init__(self, folder: Path) -> None:
        self._fd = os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def sync(self) -> float:
        """Seconds to write and fsync 4 KB."""
        begun = time.perf_counter()
        os.write(self._fd, _PAGE)
        os.fsync(self._fd)
        return time.perf_counter() - begun


def file_system(folder: Path) -> str:
    """The kind of file system a folder lies on; empty where the system does not say."""
    best, kind = "", ""
    here = str(folder.resolve())
    for part in psutil.disk_partitions(all=True):
        root = part.mountpoint.rstrip("/") + "/"
        if (here + "/").startswith(root) and len(root) > len(best):
            best, kind = root, part.fstype
    return kind


def in_memory(folder: Path) -> bool:
    """Whether a folder lies on a file system that has no disk."""
    return file_system(folder) in _IN_MEMORY
