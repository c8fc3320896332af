"""Copies of attached files in a workspace, where tools read them: ``attachments/ID/NAME``.

Tools write there too, so nothing is taken for granted: every folder is opened without following
links, from its parent's descriptor, and a copy gets its name when it is whole. A copy is marked by
the nanoseconds of its time and cannot be written to; one that somebody changed all the same is his,
and is never removed or written over.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from pathlib import Path

from stead.core.attached import Attached
from stead.core.errors import SteadError
from stead.core.states import Failure

FOLDER = "attachments"
KEPT_S = 3 * 86_400.0
"""A copy that no job has asked for in so long goes; it is made anew when one asks."""

_MARK_NS = 574_213
"""Nanoseconds below a millisecond in the times of copies that nobody touched."""
_ID = 8
_LOOK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PART = ".stead-part-"
_TEXT = "text-"


class NotCopied(SteadError):
    """{name} could not be put into the workspace: {why}."""

    code = "not_copied"
    failure = Failure.CODE


def place_of(file: Attached) -> str:
    """Where its copy lies, below the workspace."""
    return f"{FOLDER}/{_name(file)}/{file.name}"


def _name(file: Attached) -> str:
    return file.id if file.id.startswith(_TEXT) else file.id[-_ID:]


def text_file(job_id: str, data: bytes) -> Attached:
    """A message too long to be told whole, as a file for the time of its job."""
    sha = hashlib.sha256(data).hexdigest()
    ident = f"{_TEXT}{job_id[-_ID:]}"
    return Attached(ident, "message.txt", "text/plain", "text", len(data), sha, at=1_000)


def is_there(workspace: Path, file: Attached) -> bool:
    """Whether there is a copy, or what somebody made of it; then it counts as asked for just
    now."""
    try:
        with _folder(workspace, _name(file)) as folder:
            info = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
            there = stat.S_ISREG(info.st_mode)
            there = there and (not _untouched(info) or info.st_size == file.size)
            if there:
                os.utime(folder)
            return there
    except OSError:
        return False


async def put(workspace: Path, file: Attached, pieces: AsyncIterator[bytes]) -> None:
    """Make a copy. Raises ``NotCopied``, and what the pieces raise; nothing stays then."""
    try:
        with _folder(workspace, _name(file), make=True) as folder:
            await _put(folder, file, pieces)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NotCopied(name=file.name, why=why) from error


async def _put(folder: int, file: Attached, pieces: AsyncIterator[bytes]) -> None:
    part = f"{_PART}{os.getpid()}-{time.monotonic_ns()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    digest = hashlib.sha256()
    try:
        with os.fdopen(os.open(part, flags, 0o600, dir_fd=folder), "wb") as out:
            async for piece in pieces:
                digest.update(piece)
                out.write(piece)
            out.flush()
            if digest.hexdigest() != file.sha256:
                raise NotCopied(name=file.name, why="what came of it is not what was handed in")
            os.fchmod(out.fileno(), 0o400)
            at = file.at * 1_000_000 + _MARK_NS
            os.utime(out.fileno(), ns=(at, at))
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
            if not _untouched(there):
                raise NotCopied(name=file.name, why="somebody's changed copy is in its place")
        os.rename(part, file.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise


def read(workspace: Path, file: Attached, most: int) -> bytes:
    """The bytes of a copy of at most so many. Raises ``OSError``."""
    with _folder(workspace, _name(file)) as folder:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        with os.fdopen(os.open(file.name, flags, dir_fd=folder), "rb") as copy:
            return copy.read(most)


def remove(workspace: Path, files: Collection[Attached]) -> None:
    """Remove the copies of these, as far as nobody changed them."""
    gone = {_name(file) for file in files}
    _tidy(workspace, lambda name, _: name in gone)


def keep_only(workspace: Path, ids: Collection[str]) -> None:
    """Remove the copies of all files but those with these ids, and but long texts that jobs are
    at work on."""
    kept = {ident[-_ID:] for ident in ids}
    _tidy(workspace, lambda name, _: name not in kept and not name.startswith(_TEXT))


def remove_old(workspace: Path, older_s: float = KEPT_S) -> None:
    """Remove the copies that no job has asked for in so long."""
    before = time.time() - older_s
    _tidy(workspace, lambda _, info: info.st_mtime < before)


def _tidy(workspace: Path, goes: Callable[[str, os.stat_result], bool]) -> None:
    with contextlib.suppress(OSError), _folder(workspace) as top:
        for name in os.listdir(top):
            with contextlib.suppress(OSError):
                info = os.stat(name, dir_fd=top, follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode) and goes(name, info):
                    _empty(top, name)


def _empty(top: int, name: str) -> None:
    """Remove the untouched copies in a folder, and the folder if nothing else is there."""
    folder = os.open(name, _LOOK, dir_fd=top)
    try:
        for one in os.listdir(folder):
            info = os.stat(one, dir_fd=folder, follow_symlinks=False)
            if _untouched(info) or one.startswith(_PART):
                os.unlink(one, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _untouched(info: os.stat_result) -> bool:
    marked = info.st_mtime_ns % 1_000_000 == _MARK_NS
    return stat.S_ISREG(info.st_mode) and marked and not info.st_mode & 0o222


@contextlib.contextmanager
def _folder(workspace: Path, name: str = "", *, make: bool = False) -> Iterator[int]:
    """A descriptor of ``attachments/`` or of a folder in it; no link is followed below the
    workspace. Raises ``OSError``."""
    at = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in filter(None, (FOLDER, name)):
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=at)
            below = os.open(part, _LOOK, dir_fd=at)
            os.close(at)
            at = below
        yield at
    finally:
        os.close(at)
