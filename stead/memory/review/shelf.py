"""Memory's files on disk, as the review reads and writes them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from stead.core.errors import SteadError
from stead.core.files import sync_folder
from stead.memory.files import history
from stead.memory.files.masking import Masking
from stead.memory.files.write import Stale, hash_of, locked, save
from stead.memory.review.nouns import Changed

log = logging.getLogger(__name__)

_CARDS = "memory/cards"
#: A larger file is no card of ours; it is left alone.
_LARGEST = 2_000_000

Commit = Callable[[str, list[str]], str]
"""(words, paths) -> the name of the change in the home's history; empty: there is no history."""


class FileShelf:
    """Files of one home. Bytes that are no UTF-8 stay as they are, and so do ends of lines."""

    def __init__(self, home: Path, commit: Commit | None = None) -> None:
        self.home = home
        self._masking = Masking(home / "secrets")
        self._commit = commit
        self._written: list[str] = []
        self._seen: dict[str, tuple[tuple[int, int, int], str]] = {}

    def read(self, path: str) -> str | None:
        """See :class:`~stead.memory.review.nouns.Shelf`. Raises ``OSError`` where nobody can say
        what is in it; that is not the same as nothing."""
        file = self.home / path
        try:
            stat = file.stat()
        except FileNotFoundError:
            self._seen.pop(path, None)
            return None
        sign = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if path in self._seen and self._seen[path][0] == sign:
            return self._seen[path][1]
        text = _unix(file.read_bytes())[0]
        self._seen[path] = sign, text
        return text

    def cards(self) -> list[str]:
        folder = self.home / _CARDS
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return [f"{_CARDS}/{path.name}" for path in found if _is_card(path)]

    def write(self, path: str, before: str | None, after: str | None) -> None:
        """See :class:`~stead.memory.review.nouns.Shelf`."""
        file = self.home / path
        try:
            raw: bytes | None = file.read_bytes()
        except FileNotFoundError:
            raw = None
        now, windows = _unix(raw) if raw is not None else (None, False)
        if now == after:
            self._written.append(path)  # it was written already, and perhaps not committed
            return
        if now != before:
            raise Changed(path)
        if after is None:
            with locked(self.home):
                if file.read_bytes() != raw:
                    raise Changed(path)
                file.unlink()
                sync_folder(file.parent)
        else:
            text = after.replace("\n", "\r\n") if windows else after
            base = "" if raw is None else hash_of(raw)
            try:
                save(self.home, path, text, base=base, masking=self._masking)
            except Stale:
                raise Changed(path) from None
        self._seen.pop(path, None)
        self._written.append(path)

    def settle(self) -> None:
        """What was changed by hand is kept apart, before anything of ours is written."""
        if self._commit is None:
            try:
                history.settle(self.home)
            except SteadError as error:
                log.warning("%s", error.message)

    def commit(self, words: str, more: Sequence[str] = ()) -> str:
        """See :class:`~stead.memory.review.nouns.Shelf`. A history that cannot be used stops
        nothing; `stead memory history` says what is wrong with it."""
        paths = list(dict.fromkeys([*self._written, *more]))
        self._written.clear()
        if not paths:
            return ""
        if self._commit is not None:
            return self._commit(words, paths)
        try:
            return history.commit(self.home, words, paths)
        except SteadError as error:
            log.warning("%s", error.message)
            return ""


def _is_card(path: Path) -> bool:
    shown = path.name.endswith(".md") and not path.name.startswith(".")
    return shown and path.is_file() and path.stat().st_size < _LARGEST


def _unix(raw: bytes) -> tuple[str, bool]:
    """The text, and whether all its lines end as they do on Windows (then they are shown with a
    plain end)."""
    text = raw.decode("utf-8", "surrogateescape")
    windows = "\r\n" in text and text.count("\r\n") == text.count("\n")
    return (text.replace("\r\n", "\n") if windows else text), windows
