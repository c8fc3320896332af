"""``knowledge/journal.jsonl``: one operation a line, only ever added to, fsynced.

A line is an operation or it is not there: what a crash left of a last line is set aside in a file
of its own and said. One process writes at a time (:func:`lock`); anyone may read meanwhile. The
file may be edited by hand or by git: a chain of hashes over its lines tells.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stead.core.files import sync_folder
from stead.memory.graph.nouns import VERSION, JournalUnusable, Operation

PATH = "knowledge/journal.jsonl"
LOCK = "run/journal.lock"

_MOST_BYTES = 4_000_000
"""Of a line; no operation is nearly as long."""
_MARKS = (b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")
_BOM = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder(Operation).decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was read."""

    number: int
    """From 1."""
    end: int
    """The byte after it."""
    chain: bytes
    """Hash of all lines up to and with this one."""
    operation: Operation | None
    trouble: str = ""
    """Why it is no operation, in words; empty also for an empty line."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the journal was read."""

    end: int = 0
    lines: int = 0
    chain: bytes = b""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells without reading that a file is as it was."""

    size: int
    changed_ns: int
    inode: int


def stamp(path: Path) -> Stamp:
    try:
        info = path.stat()
    except FileNotFoundError:
        return Stamp(0, 0, 0)
    return Stamp(info.st_size, info.st_mtime_ns, info.st_ino)


@contextmanager
def lock(home: Path) -> Iterator[None]:
    """Hold the journal for writing; waits for another process that does."""
    path = home / LOCK
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read(path: Path, mark: Mark) -> Iterator[Line]:
    """The whole lines after ``mark``; a last line that is not ended yet is not among them.

    Raises ``JournalUnusable``, so that a file that cannot be read is never taken for an empty one.
    """
    chain, number, end = mark.chain, mark.lines, mark.end
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unusable(path, error) from error
    with file:
        try:
            file.seek(end)
            while raw := file.readline(_MOST_BYTES):
                size = len(raw)
                hashed = hashlib.sha256(chain + raw)
                long = not raw.endswith(b"\n") and size == _MOST_BYTES
                while long and (more := file.readline(_MOST_BYTES)):
                    hashed.update(more)
                    size += len(more)
                    raw = more
                    if more.endswith(b"\n"):
                        break
                if not raw.endswith(b"\n"):
                    return
                number, end, chain = number + 1, end + size, hashed.digest()
                if long:
                    told = f"it is longer than {_MOST_BYTES} bytes"
                    yield Line(number, end, chain, None, f"line {number}: {told}")
                else:
                    yield _line(number, end, chain, raw)
        except OSError as error:
            raise _unusable(path, error) from error


def _line(number: int, end: int, chain: bytes, raw: bytes) -> Line:
    text = raw.strip()
    if number == 1:
        text = text.removeprefix(_BOM)
    if not text:
        return Line(number, end, chain, None)
    if text.startswith(_MARKS):
        told = "a mark of a merge conflict. The operations of both sides count; take the mark out"
        return Line(number, end, chain, None, f"line {number}: {told}")
    try:
        operation = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Line(number, end, chain, None, f"line {number}: {_why(text, error)}")
    if operation.v != VERSION:
        return Line(number, end, chain, None, _newer(number, operation.v))
    return Line(number, end, chain, operation)


def _newer(number: int, version: int) -> str:
    return (
        f"line {number}: it was written in version {version} of the journal, and this program knows"
        f" {VERSION}. Use a newer stead"
    )


def _why(text: bytes, error: Exception) -> str:
    """A line of a later version need not fit what this one knows."""

    class Versioned(msgspec.Struct):
        v: int

    try:
        version = msgspec.json.decode(text, type=Versioned).v
        if version > VERSION:
            return _newer(0, version).partition(": ")[2]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    return f"it is no operation ({error})"


def same_beginning(path: Path, mark: Mark) -> bool:
    """Whether the file still begins with what was read up to ``mark``."""
    if not mark.end:
        return True
    for line in read(path, Mark()):
        if line.end >= mark.end:
            return line.end == mark.end and line.chain == mark.chain
    return False


def mend(path: Path) -> str:
    """Put right what a crash left at the end; under :func:`lock`. What it was, in words.

    A last line that is a whole operation and lacks only its end gets that. Other bytes go into
    ``journal.torn.HASH.jsonl`` beside it, before they are taken away here.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        rest = _unended(handle)
        if not rest:
            return ""
        size = os.fstat(handle).st_size
        try:
            _decode(rest)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            aside = path.with_name(f"journal.torn.{hashlib.sha256(rest).hexdigest()[:8]}.jsonl")
            _write_whole(aside, rest)
            os.ftruncate(handle, size - len(rest))
            os.fsync(handle)
            return (
                f"the last line of {path.name} was cut off in the writing ({len(rest)} bytes);"
                f" it was set aside as {aside.name}"
            )
        os.pwrite(handle, b"\n", size)
        os.fsync(handle)
        return ""
    except OSError as error:
        raise _unusable(path, error) from error
    finally:
        os.close(handle)


def _unended(handle: int) -> bytes:
    """What stands after the last line break."""
    at = os.fstat(handle).st_size
    rest = b""
    while at:
        step = min(at, 65_536)
        piece = os.pread(handle, step, at - step)
        at -= step
        _, found, after = piece.rpartition(b"\n")
        rest = (after if found else piece) + rest
        if found:
            break
    return rest


def append(path: Path, operations: Sequence[Operation], mark: Mark) -> list[Line]:
    """Write and fsync; under :func:`lock`, after :func:`mend`, with all before read (``mark``).

    Raises ``JournalUnusable`` when there is no room; nothing of them is in the file then.
    """
    made, chain, end = [], mark.chain, mark.end
    for number, operation in enumerate(operations, mark.lines + 1):
        raw = _encode(operation) + b"\n"
        chain = hashlib.sha256(chain + raw).digest()
        end += len(raw)
        made.append((raw, Line(number, end, chain, operation)))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(handle).st_size
            try:
                data = memoryview(b"".join(raw for raw, _ in made))
                while data:
                    data = data[os.write(handle, data) :]
                os.fsync(handle)
            except OSError:
                os.ftruncate(handle, before)
                raise
        finally:
            os.close(handle)
        if fresh:
            sync_folder(path.parent)
    except OSError as error:
        raise _unusable(path, error) from error
    return [line for _, line in made]


def _write_whole(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(path.parent)


def _unusable(path: Path, error: OSError) -> JournalUnusable:
    return JournalUnusable(path=path, why=(error.strerror or str(error)).lower())
