"""The secrets that are known on this machine, and the mask made of them, always as of now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from stead.sandbox.mask import Masker
from stead.sandbox.secrets import MOST, SUFFIX

_LOOK_S = 1.0
"""How long what was seen of the files is taken to hold."""

_Seen = tuple[tuple[str, int, int], ...]


class Known:
    """Masks the values in some files, and in all files of some folders; notices changes.

    What cannot be read is passed over: this process then has not got it either.
    """

    def __init__(self, folders: Sequence[Path], files: Sequence[Path] = ()) -> None:
        self._folders = tuple(folders)
        self._files = tuple(files)
        self._seen: _Seen | None = None
        self._looked = 0.0
        self._masker = Masker()

    @property
    def masker(self) -> Masker:
        """As the files are now."""
        now = time.monotonic()
        if self._seen is None or now - self._looked > _LOOK_S:
            seen = tuple(self._look())
            if seen != self._seen:
                self._masker = Masker(self._values())
                self._seen = seen
            self._looked = now
        return self._masker

    def hide(self, text: str) -> str:
        """The text without the values."""
        return self.masker.mask(text)

    def _paths(self) -> Iterator[Path]:
        for folder in self._folders:
            try:
                yield from sorted(path for path in folder.iterdir() if not path.is_symlink())
            except OSError:
                continue
        yield from self._files

    def _look(self) -> Iterator[tuple[str, int, int]]:
        for path in self._paths():
            try:
                info = path.stat()
            except OSError:
                continue
            yield str(path), info.st_mtime_ns, info.st_size

    def _values(self) -> Iterator[tuple[str, str]]:
        for path in self._paths():
            try:
                if path.stat().st_size > MOST or not path.is_file():
                    continue
                value = path.read_text().strip()
            except (OSError, UnicodeDecodeError):
                continue
            if value:
                yield path.name.removesuffix(SUFFIX), value
