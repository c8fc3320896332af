"""Writing files of memory: whole or not at all, never over what somebody else wrote meanwhile, and
never so that a slip (or a model's answer that was cut short) takes much away.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stead.core.errors import BadRequest, SteadError
from stead.core.files import sync_folder
from stead.memory.files.blocks import HEADING, blocks_of
from stead.memory.files.lines import numbered
from stead.memory.files.masking import Masking
from stead.memory.files.places import checked, kind_of
from stead.memory.nouns import Layer

MEMORY_MD = "memory/MEMORY.md"
LOCK = "run/memory.lock"

_AT_CWD = -100
_EXCHANGE = 2


class Stale(SteadError):
    """{path} has been changed since it was read, by another program or by hand. Nothing was
    written; read it again and make the change there."""

    status = 409
    kind = "conflict_error"
    code = "memory_stale"


class Shrinks(SteadError):
    """{path} would go from {before} to {after} bytes, which is more than {percent}% less. Nothing
    was written. If that is what you want, do it by hand (`stead memory edit {path}`)."""

    status = 409
    kind = "conflict_error"
    code = "memory_shrinks"


class ChangesMuch(SteadError):
    """{count} entries of {path} would change or go in one step, and {most} may. Nothing was
    written. If that is what you want, do it by hand (`stead memory edit {path}`)."""

    status = 409
    kind = "conflict_error"
    code = "memory_changes_much"


class TooLong(SteadError):
    """{path} would have {size} bytes, and {most} are kept ([memory] memory_md_kb in stead.toml).
    Nothing was written or cut. Move what is not needed every day into a card."""

    status = 409
    kind = "conflict_error"
    code = "memory_too_long"


@dataclass(frozen=True, slots=True)
class Guards:
    """What one write by itself may take away; the owner's own hand is not held by them."""

    shrink: float = 0.2
    """Share of a file's bytes that may go at most."""
    entries: int = 20
    """Entries that may be changed or taken out (new ones do not count)."""
    memory_md_bytes: int = 8_000


@dataclass(frozen=True, slots=True)
class Text:
    """A file as it was read."""

    path: str
    text: str
    base: str
    """Hash of its bytes; empty for one that is not there yet."""


def hash_of(data: bytes) -> str:
    """What tells one version of a file from another."""
    return hashlib.sha256(data).hexdigest()


def load(home: Path, path: str) -> Text:
    """A file of memory, to be changed; an empty text if it is not there. Bytes that are no UTF-8
    are kept through a change of other lines."""
    try:
        data = checked(home, path).read_bytes()
    except FileNotFoundError:
        return Text(path, "", "")
    return Text(path, data.decode("utf-8", "surrogateescape"), hash_of(data))


def save(
    home: Path, path: str, text: str, *, base: str, guards: Guards | None = None,
    masking: Masking | None = None,
) -> str:  # fmt: skip
    """Write a file of memory; returns the hash of what it holds now.

    ``base`` is the hash of the version the change was made from, empty if there was none. What is
    secret is masked. ``guards``: None where the owner himself writes.

    Raises ``Stale``, ``Shrinks``, ``ChangesMuch``, ``TooLong``, ``BadRequest`` for a daily log
    (only added to), ``OSError`` (the disk is full); in each case the file is as it was.
    """
    file = checked(home, path)
    text = (masking or Masking(home / "secrets"))(text)
    data = text.encode("utf-8", "surrogateescape")
    with locked(home):
        old = _bytes(file)
        if _hash(old) != base:
            raise Stale(path=path)
        if guards is not None:
            check(path, old or b"", data, guards)
        if old == data:
            return base
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _swap(path, file, data, base)
    return hash_of(data)


def check(path: str, old: bytes, new: bytes, guards: Guards) -> None:
    """Whether a change is small enough to be made without the owner; raises as :func:`save`."""
    if kind_of(path).layer is Layer.DAILY:
        raise BadRequest(why=f"{path} is a daily log, which is only added to")
    if len(new) < len(old) * (1 - guards.shrink):
        raise Shrinks(
            path=path, before=len(old), after=len(new), percent=round(guards.shrink * 100)
        )
    gone = sum((_entries(old) - _entries(new)).values())
    if gone > guards.entries:
        raise ChangesMuch(path=path, count=gone, most=guards.entries)
    if path == MEMORY_MD and len(new) > max(guards.memory_md_bytes, len(old)):
        raise TooLong(path=path, size=len(new), most=guards.memory_md_bytes)


def too_long(home: Path, guards: Guards) -> str:
    """Why MEMORY.md should be made shorter, in words; empty if it need not."""
    with contextlib.suppress(OSError):
        size = (home / MEMORY_MD).stat().st_size
        if size > guards.memory_md_bytes:
            return (
                f"{MEMORY_MD} has {size} bytes, and {guards.memory_md_bytes} are meant to be its"
                " most ([memory] memory_md_kb): stead adds nothing to it. Move what is not needed"
                " every day into a card"
            )
    return ""


def _entries(data: bytes) -> Counter[str]:
    lines = numbered(data.decode("utf-8", "replace").split("\n"))
    return Counter(block.text for block in blocks_of(lines) if block.kind != HEADING)


@contextlib.contextmanager
def locked(home: Path) -> Iterator[None]:
    """One writer of memory at a time, of whatever process. Not to be entered twice."""
    folder = home / "run"
    folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def put(home: Path, path: str, data: bytes | None, *, base: bytes | None) -> None:
    """Make a file hold ``data`` (None: be gone) that holds ``base`` (None: is not there); under
    :func:`locked`. Raises ``Stale``."""
    file = home / path
    old = _bytes(file)
    if old != base:
        raise Stale(path=path)
    if data is None:
        file.unlink(missing_ok=True)
        sync_folder(file.parent)
    elif data != old:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _swap(path, file, data, _hash(old))


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def _hash(data: bytes | None) -> str:
    return "" if data is None else hash_of(data)


def _swap(path: str, file: Path, data: bytes, base: str) -> None:
    """Put ``data`` in the place of the file, which must hold ``base`` until the very moment."""
    file = file.resolve()  # a file that is linked stays linked
    temporary = file.with_name(f".{file.name}.stead.tmp")  # under the lock: nobody else's
    temporary.unlink(missing_ok=True)
    mode = file.stat().st_mode & 0o777 if base else 0o600
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        try:
            os.fchmod(handle, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if base:
            _replace(path, temporary, file, base)
        else:
            _place(path, temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(file.parent)


def _place(path: str, temporary: Path, file: Path) -> None:
    """A new file; one that appeared meanwhile is not replaced."""
    try:
        os.link(temporary, file)
    except FileExistsError:
        raise Stale(path=path) from None
    except OSError:  # a file system without links
        if file.exists():
            raise Stale(path=path) from None
        os.rename(temporary, file)


def _replace(path: str, temporary: Path, file: Path, base: str) -> None:
    """Where the system can, the two are swapped, so that what was replaced is seen: an editor that
    saved in the last moment gets its file back."""
    if _exchanged(temporary, file):
        if _hash(_bytes(temporary)) == base:
            return
        _exchanged(temporary, file)
        sync_folder(file.parent)
        raise Stale(path=path)
    if _hash(_bytes(file)) != base:
        raise Stale(path=path)
    os.replace(temporary, file)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two names (renameat2(2)); whether the system and the file system can."""
    call = getattr(ctypes.CDLL(None), "renameat2", None)
    if call is None:
        return False
    return bool(
        call(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), ctypes.c_uint(_EXCHANGE)) == 0
    )
