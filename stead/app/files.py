"""What is handed in with messages, put together: where it lies, how much of it, what goes when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from stead.blobs import copies
from stead.blobs.blobs import Blobs, Bounds
from stead.blobs.handed import Handed
from stead.config import Settings
from stead.core.attached import FileStore
from stead.flow.off_record import OffRecord
from stead.gateway.node_service import NodeService

FOLDER = "files"
_MB = 1_000_000


class FileTerms:
    """The settings, as they hold now."""

    def __init__(self, settings: Settings) -> None:
        self._section = settings.files

    def prepare(self, settings: Settings) -> Callable[[], None]:
        """Of a running gateway: take other ones over."""

        def take() -> None:
            self._section = settings.files

        return take

    def bounds(self) -> Bounds:
        given = self._section
        return Bounds(int(given.max_mb * _MB), int(given.quota_mb * _MB), int(given.spare_mb * _MB))

    def unused_ms(self) -> int:
        return int(self._section.unused_h * 3_600_000)


def files_of(home: Path, store: FileStore, terms: FileTerms) -> Handed:
    """The files of a home. What is gone from there goes from its workspace too."""
    handed = Handed(store, Blobs(home / FOLDER, terms.bounds), terms.unused_ms)

    def from_workspace(ids: Sequence[str]) -> None:
        copies.keep_only(home / "workspace", ids)

    handed.swept.append(from_workspace)
    return handed


def files_into(
    home: Path, store: FileStore, terms: FileTerms, off: OffRecord, service: NodeService
) -> Handed:
    """The files of a home, where those who need them find them."""
    handed = service.handed = files_of(home, store, terms)
    off.on_erased = handed.sweep
    return handed


def sweeping(home: Path, store: FileStore) -> Callable[[], Awaitable[int]]:
    """Remove what nothing names any more, where no gateway runs."""
    return files_of(home, store, FileTerms(Settings())).sweep
