"""Output of any length: all of it in a file that can be paged, its ends shown, none of it in
memory for long.

A spool takes at most :data:`MOST` bytes; who prints more is stopped by its reader. Old ones are
removed as new ones come.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

MOST = 64_000_000
"""Bytes of one call that are kept."""
MOST_ALL = 512_000_000
"""Bytes kept of all jobs together."""
MOST_AGE_S = 3 * 86_400

_ENDS = 65_536
"""Bytes of the beginning and of the end that are in memory."""
_HEAD_PART = 0.35
"""Of what is shown; the end of an output mostly says what went wrong."""
_NOTE = 160
_AROUND = 4096
"""Bytes beside a page in which a secret is looked for that the page may cut in two."""

_ESCAPE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[PX^_][^\x1b]*\x1b\\|[ -/]*[0-~])"
)
"""Sequences of a terminal (ECMA-48): colours, titles, movements."""
_OVERWRITTEN = re.compile(r"[^\n\r]*\r(?=[^\r\n])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,80}")


def folder(keep: Path, job: str) -> Path:
    """Where the outputs of one job are kept."""
    return keep / "spool" / (job if _PLAIN.fullmatch(job) else job.encode().hex()[:80] or "none")


def forget_outputs(keep: Path | None, job: str) -> None:
    """Remove what the calls of a job printed."""
    if keep is not None:
        shutil.rmtree(folder(keep, job), ignore_errors=True)


class Spool:
    """Takes the output of one call as it comes. ``keep`` None: only its ends are kept."""

    def __init__(self, keep: Path | None, job: str, name: str) -> None:
        """Raises ``OSError`` where no file can be made."""
        self.name = name
        self.size = 0
        self.lost = ""
        """Why the file does not hold all of it; empty: it does."""
        self._head = bytearray()
        self._tail = bytearray()
        self._file = -1
        if keep is None:
            self.lost = "there is no place for it here"
            return
        place = folder(keep, job)
        _make_room(place.parent)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(place / name, flags, 0o600)

    @property
    def full(self) -> bool:
        return self.size >= MOST

    def add(self, data: bytes) -> None:
        """Take what comes next. A disk that is full loses the middle, never the call."""
        if len(self._head) < _ENDS:
            self._head += data[: _ENDS - len(self._head)]
        self._tail += data[-_ENDS:]
        if len(self._tail) > 4 * _ENDS:
            del self._tail[:-_ENDS]
        self.size += len(data)
        if self._file >= 0:
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(self._file, left) :]
            except OSError as problem:
                self.lost = f"it could not be kept: {problem.strerror}"
                self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def text(self, limit: int) -> str:
        """What a model is shown of it: all, or its two ends with a word on what is between."""
        if looks_binary(bytes(self._head)):
            return f"[{self._binary()}]"
        if self.size <= len(self._head):
            whole = readable(bytes(self._head))
            if len(whole) <= limit:
                return whole
        room = max(200, limit - _NOTE)
        head = whole_lines(bytes(self._head[: int(room * _HEAD_PART)]))
        tail = bytes(self._tail[-min(self.size - len(head), room - len(head), _ENDS) :])
        cut = tail.find(b"\n", 0, len(tail) // 2)
        tail = tail[cut + 1 :] if cut >= 0 else tail
        between = self.size - len(head) - len(tail)
        note = f"[... {between} bytes left out{self._more(len(head))} ...]"
        return "\n".join((readable(head).rstrip("\n"), note, readable(tail)))

    def _more(self, offset: int) -> str:
        if self.lost:
            return f"; {self.lost}"
        return f"; read_output with id={self.name} and from_byte={offset} shows them"

    def _binary(self) -> str:
        begins = bytes(self._head[:16]).hex(" ")
        return (
            f"{self.size} bytes of binary data, not shown; they begin with {begins}."
            " To keep them, write them into a file of the workspace"
        )


def page(
    keep: Path, job: str, name: str, offset: int, limit: int, hide: Callable[[str], str] = str
) -> tuple[str, int, int]:
    """A part of what a call printed: the text, where it goes on, and the size until now.

    ``hide`` takes secrets out of text. Where there is one near, whole lines are given, so that none
    is handed over in pieces that nothing recognizes.

    Raises ``FileNotFoundError`` when there is no such output here.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(folder(keep, job) / name, flags), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        binary = looks_binary(file.read(8192))
        offset = min(offset, size)
        start = max(0, offset - _AROUND)
        file.seek(start)
        window = file.read(offset - start + limit + _AROUND)
    if binary:
        return "[binary data, not shown]", size, size
    data = window[offset - start :][:limit]
    shown = whole_lines(data) if offset + len(data) < size else data
    upto = offset + len(shown)
    around = readable(window)
    if hide(around) != around:
        begin = window.rfind(b"\n", 0, offset - start) + 1
        end = window.find(b"\n", max(upto - start - 1, 0)) + 1 or len(window)
        return hide(readable(window[begin:end]))[:limit], max(start + end, upto), size
    return readable(shown), upto, size


def whole_lines(data: bytes) -> bytes:
    """Cut off the last line that is not whole; in a very long line, the last character."""
    cut = data.rfind(b"\n")
    if cut >= len(data) // 2:
        return data[: cut + 1]
    for back in range(1, min(4, len(data)) + 1):  # UTF-8: at most three bytes follow a first one
        if data[-back] & 0xC0 != 0x80:
            return data[:-back] if data[-back] >= 0xC0 else data
    return data


def readable(data: bytes) -> str:
    """Text without what only a terminal understands; of a line that was overwritten the last."""
    text = data.decode("utf-8", "replace")
    text = _ESCAPE.sub("", text).replace("\r\n", "\n")
    return _CONTROL.sub("", _OVERWRITTEN.sub("", text))


def looks_binary(start: bytes) -> bool:
    """Whether an output that begins so is no text."""
    start = start[:8192]
    if b"\0" in start:
        return True
    return start.decode("utf-8", "replace").count("\ufffd") * 10 > len(start) + 20


def _make_room(top: Path) -> None:
    """Remove the outputs of jobs of long ago, and the oldest where they are too many."""
    with contextlib.suppress(OSError):
        jobs = sorted((one.stat().st_mtime, one) for one in top.iterdir())
        sizes = [sum(file.stat().st_size for file in job.iterdir()) for _, job in jobs]
        total, old = sum(sizes), time.time() - MOST_AGE_S
        for (at, job), size in zip(jobs, sizes, strict=True):
            if at >= old and total <= MOST_ALL:
                return
            shutil.rmtree(job, ignore_errors=True)
            total -= size
