"""A folder and what is below it, reached so that no link and no race leads out of it.

Every file is reached from the top by one descriptor a folder, none through a link (openat(2),
O_NOFOLLOW), and is then named by its folder's descriptor and its own name: a folder that someone
swaps for a link in between leads nowhere. This holds on every kernel; RESOLVE_BENEATH of
openat2(2) would say the same in one call, on Linux alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from stead.agent.files.names import alike, given, shown

CHUNK = 1 << 20
_LOOK = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ALIKE_MOST = 20_000
"""Names of a folder that are compared at most."""
#: What our own files that are under way are called.
OURS = ".stead-"

Parts = tuple[str, ...]


class Refused(Exception):
    """It was not done, and nothing was changed. The text says why and what to do instead."""


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was at a path. For a file ``sha`` and ``size`` are of its bytes."""

    kind: Literal["file", "folder", "link"]
    mode: int = 0
    sha: str = ""
    size: int = 0
    target: str = ""

    def same(self, other: State | None) -> bool:
        """Whether the content is the same, whatever the mode and the owner."""
        mine = (self.kind, self.sha, self.target)
        return other is not None and mine == (other.kind, other.sha, other.target)


class Tree:
    """The files below ``root``. Raises ``Refused`` where there is no such folder."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        if not self.root.is_dir():
            raise Refused("the workspace folder does not exist yet, so it holds no files")

    # --- names ---------------------------------------------------------------------

    def find(self, path: str, *, follow: bool = True) -> Parts:
        """Where a path that a model gave leads: the names from the top, none of them a link.

        Absolute paths, ``..`` and links are fine where they end inside. ``follow``: a link at the
        very end too. The file need not exist. Raises ``Refused``.
        """
        wanted = self._meant(path)
        try:
            above, name = os.path.split(os.path.join(self.root, wanted))
            if follow or name in ("", ".", ".."):
                real = os.path.realpath(os.path.join(above, name))
            else:
                real = os.path.join(os.path.realpath(above), name)
        except OSError as problem:
            raise Refused(f"{shown(path[:80])}: {problem.strerror}") from problem
        except ValueError as problem:
            raise Refused(f"{shown(path[:80])} cannot be a path") from problem
        top = str(self.root)
        if real != top and not real.startswith(top.rstrip("/") + "/"):
            raise Refused(
                f"{path!r} is outside the workspace; give a path relative to it, such as notes.md"
            )
        parts = tuple(part for part in real[len(top) :].split("/") if part)
        return self._spelled(parts)

    def _meant(self, path: str) -> str:
        if "\0" in path:
            raise Refused("a path cannot contain a NUL character")
        bare = path.strip()
        if bare in ("", "/", "~", "."):
            return "."
        try:
            wanted = given(bare)
        except ValueError as problem:
            raise Refused(f"{bare[:80]}: {problem}") from problem
        if "\0" in wanted:
            raise Refused("a path cannot contain a NUL character")
        first, _, rest = wanted.partition("/")
        if first == "workspace" and not os.path.lexists(self.root / first):
            return rest or "."  # models name the folder they were told about
        return wanted

    def _spelled(self, parts: Parts) -> Parts:
        """The names as the disk has them, where it has the same ones in another normal form."""
        if all(part.isascii() for part in parts):
            return parts
        found: list[str] = []
        for part in parts:
            here = self.root.joinpath(*found)
            if not part.isascii() and not os.path.lexists(here / part):
                part = next((name for name in _names(here) if alike(name, part)), part)
            found.append(part)
        return tuple(found)

    def hint(self, parts: Parts) -> str:
        """A name that differs only in capitals from one that is missing; else nothing."""
        for depth in range(len(parts)):
            here = self.root.joinpath(*parts[:depth])
            if not os.path.lexists(here / parts[depth]):
                low = parts[depth].casefold()
                near = (name for name in _names(here) if name.casefold() == low)
                name = next(near, None)
                return "" if name is None else say((*parts[:depth], name))
        return ""

    # --- reaching them -------------------------------------------------------------

    @contextlib.contextmanager
    def folder(self, parts: Parts) -> Iterator[int]:
        """A descriptor of a folder. Raises ``OSError``."""
        at = os.open(self.root, _LOOK | os.O_DIRECTORY)
        try:
            for part in parts:
                below = os.open(part, _LOOK | os.O_DIRECTORY, dir_fd=at)
                os.close(at)
                at = below
            yield at
        finally:
            os.close(at)

    def open(self, parts: Parts) -> int:
        """A descriptor of an ordinary file, for reading. Raises ``Refused`` and ``OSError``."""
        if not parts:
            raise Refused("that is the workspace itself, not a file")
        with self.folder(parts[:-1]) as above:
            return open_file(above, parts[-1])

    def look(self, parts: Parts) -> os.stat_result | None:
        """What the disk says of it, links not followed; None where there is nothing."""
        if not parts:
            return os.stat(self.root)
        try:
            with self.folder(parts[:-1]) as above:
                return os.stat(parts[-1], dir_fd=above, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def state(self, parts: Parts) -> State | None:
        """What is there now; reads the whole file. Raises ``Refused`` for a device or a pipe."""
        if not parts:
            return State("folder")
        try:
            with self.folder(parts[:-1]) as above:
                return state_of(above, parts[-1])
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, parts: Parts, most: int) -> tuple[bytes, State]:
        """All bytes of a file and what was there; ``Refused`` if they are more than ``most``."""
        with os.fdopen(self.open(parts), "rb") as file:
            info = os.fstat(file.fileno())
            data = file.read(most + 1)
        if len(data) > most:
            raise Refused(f"{say(parts)} is too large for that ({info.st_size} bytes)")
        sha = hashlib.sha256(data).hexdigest()
        return data, file_state(info, sha, len(data))


def open_file(folder: int, name: str) -> int:
    """A descriptor of an ordinary file in a folder. Raises ``Refused`` and ``OSError``."""
    try:
        fd = os.open(name, _LOOK, dir_fd=folder)
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.EMLINK):
            raise Refused(f"{shown(name)} is a link, which is not followed here") from problem
        if problem.errno == errno.ENXIO:
            raise Refused(f"{shown(name)} is not an ordinary file") from problem
        raise
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    os.close(fd)
    what = "a folder" if stat.S_ISDIR(mode) else "not an ordinary file"
    raise Refused(f"{shown(name)} is {what}")


def state_of(folder: int, name: str) -> State:
    """What a name in a folder stands for; reads the whole file."""
    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        return State("folder", mode=info.st_mode & 0o7777)
    if stat.S_ISLNK(info.st_mode):
        return State("link", target=shown(os.readlink(name, dir_fd=folder)))
    fd = open_file(folder, name)
    try:
        info = os.fstat(fd)
        sha, size = hash_of(fd)
    finally:
        os.close(fd)
    return file_state(info, sha, size)


def file_state(info: os.stat_result, sha: str, size: int) -> State:
    return State("file", info.st_mode & 0o7777, sha, size)


def hash_of(fd: int) -> tuple[str, int]:
    """SHA-256 and length of a file from its beginning on."""
    digest = hashlib.sha256()
    at = 0
    while block := os.pread(fd, CHUNK, at):
        digest.update(block)
        at += len(block)
    return digest.hexdigest(), at


def say(parts: Parts) -> str:
    """A place below the top as a model is told it."""
    return shown("/".join(parts)) or "the workspace"


def place(path: str) -> Parts:
    """The place that the journal names."""
    return tuple(part for part in given(path).split("/") if part)


def _names(folder: Path) -> list[str]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return [entry.name for entry, _ in zip(entries, range(_ALIKE_MOST), strict=False)]
    return []
