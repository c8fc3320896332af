"""What is kept of what was forgotten: keyed hashes, by which it is known again and kept out.

``memory/forgotten.jsonl``, a line for each time: hashes, ids, counts, never words. The hashes are
made with ``secrets/forget.key``: a bare hash of a short text (a number, a name) could be guessed.
``memory/.forgetting`` is there while one is under way, so that it can be ended after a crash.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from stead.core.files import write_atomic
from stead.memory.forget.words import plain

LIST = Path("memory") / "forgotten.jsonl"
UNDER_WAY = Path("memory") / ".forgetting"
_KEY = Path("secrets") / "forget.key"
_LENGTH = 32
SHOWN = 8
"""Digits that a tombstone shows."""


class Buried(msgspec.Struct, omit_defaults=True):
    """One time that something was forgotten. No words."""

    at: int
    kind: str
    hashes: list[str] = []
    """Of entries (their words), and of whole files (their paths)."""
    jobs: list[str] = []
    messages: list[str] = []
    entities: list[str] = []
    """Ids of what the graph knew."""


class UnderWay(msgspec.Struct, omit_defaults=True):
    """A forgetting that has begun: all that is needed to end it. No words."""

    at: int
    kind: str
    jobs: list[str] = []
    messages: list[str] = []
    lines: list[int] = []
    rows: list[tuple[str, str]] = []
    hashes: list[str] = []
    entries: list[str] = []
    """``PATH#HASH`` of those that go."""
    cited: list[str] = []
    """``PATH#LINE`` of lines that go: what cites one of them goes too."""
    entities: list[str] = []
    said: list[str] = []
    """Hashes of words in the history (of commits) that go."""
    derived: list[str] = []
    """Files, relative to the home, that hold copies."""
    backups: bool = False


class Hasher:
    """Hashes with this home's key, which is made when it is first needed."""

    def __init__(self, home: Path) -> None:
        self._path = home / _KEY
        self._key = b""

    def _known(self) -> bytes:
        try:
            return bytes.fromhex(self._path.read_text().strip())
        except (OSError, ValueError):
            made = secrets.token_bytes(32)
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            write_atomic(self._path, made.hex().encode() + b"\n", 0o600)
            return made

    def of(self, text: str) -> str:
        """The same for the same words, whatever stands around them."""
        words = plain(text) or text.strip()
        raw = words.encode("utf-8", "surrogatepass")
        self._key = self._key or self._known()
        return hmac.new(self._key, raw, hashlib.sha256).hexdigest()[:_LENGTH]

    def of_path(self, path: str) -> str:
        return self.of(f"file {path}")


def bury(home: Path, one: Buried) -> None:
    """Add a line to the list, durably; not a second time."""
    path = home / LIST
    line = msgspec.json.encode(one) + b"\n"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        known = os.pread(fd, os.fstat(fd).st_size, 0)
        if line in known:
            return
        if known and not known.endswith(b"\n"):  # torn by a crash
            line = b"\n" + line
        while line:
            line = line[os.write(fd, line) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def buried(path: Path) -> list[Buried]:
    """All that was ever forgotten; lines that cannot be read are passed over."""
    found = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            found.append(msgspec.json.decode(line, type=Buried))
        except msgspec.DecodeError:
            continue
    return found


def hashes(ones: Iterable[Buried]) -> set[str]:
    return {one for each in ones for one in each.hashes}


def begun(home: Path) -> UnderWay | None:
    """What is under way, or was cut off."""
    try:
        return msgspec.json.decode((home / UNDER_WAY).read_bytes(), type=UnderWay)
    except (OSError, msgspec.DecodeError):
        return None


def begin(home: Path, one: UnderWay) -> None:
    write_atomic(home / UNDER_WAY, msgspec.json.encode(one), 0o600)


def end(home: Path) -> None:
    (home / UNDER_WAY).unlink(missing_ok=True)
