"""The daily log: ``memory/YYYY-MM-DD.md``, append-only, fsynced, never truncated.

Lines are first committed to the database together with what they tell of, then
appended here and deleted there. A crash between the two is found by the words
and the id that end each entry (``<!-- 17 -->``): one that the file has already is
not written again. The id alone would not do, as a new database counts from 1.

Secrets and card numbers never come into the file (:mod:`stead.memory.files.masking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path

from stead.core.storage import DayStore

log = logging.getLogger(__name__)

_MARK = re.compile(rb"<!-- (\d+) -->\s*$", re.MULTILINE)
_TAIL_BYTES = 262_144

#: Control characters are shown (``␀``, ``␛``): with one of them in it grep takes a file for
#: binary, and cat obeys the others.
_CONTROLS = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\t\n"},
    **dict.fromkeys(range(0x7F, 0xA0), 0xFFFD),
}


#: Lines are gathered so long before they are written to the file (seconds).
_REST_S = 0.25


class DailyLog:
    """Moves lines from the database into the day's file. ``written`` is called when it has."""

    def __init__(
        self, folder: Path, store: DayStore, written: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._store = store
        self._masking: Callable[[str], str] | None = None
        self._written = written
        self._wanted = asyncio.Event()
        # A write goes on in its thread when its task is cancelled; the next one must wait for it.
        self._one = threading.Lock()
        self._turn = asyncio.Lock()
        self.trouble = ""
        """Why the file cannot be written, in words; empty when it can."""

    def nudge(self) -> None:
        """There may be lines to write."""
        self._wanted.set()

    async def run(self) -> None:
        """Write for ever; a full disk or a wrong mode is logged and tried again."""
        while True:
            with contextlib.suppress(TimeoutError):  # a look now and then, if nobody nudged
                # Not wait_for: in Python 3.11 it swallows a cancel that comes with the event.
                async with asyncio.timeout(5.0):
                    await self._wanted.wait()
                # The line is safe in the database; its way into the file (two more syncs) must
                # not get in the way of the work that the same message set off.
                await asyncio.sleep(_REST_S)
            self._wanted.clear()
            try:
                await self.write_pending()
                self.trouble = ""
            except Exception as error:  # the edge of a service: the lines wait in the database
                self.trouble = f"the daily log cannot be written ({_words(error)}); nothing is lost"
                log.exception("the daily log could not be written; its lines are kept")
                await asyncio.sleep(5.0)

    async def write_pending(self) -> int:
        """Write what waits; return how many lines were appended."""
        total = 0
        while many := await self._write_some():
            total += many
        if total:
            self._written()
        return total

    async def _write_some(self) -> int:
        async with self._turn:
            lines = await self._store.day_lines()
            if lines:
                await asyncio.to_thread(self._append, lines)
                await self._store.day_lines_written(lines[-1][0])
            return len(lines)

    @contextlib.asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nothing is written meanwhile, and none is on its way from the database into a file."""
        async with self._turn:
            await asyncio.to_thread(self._settled)
            yield

    def _settled(self) -> None:
        """A write whose task was cancelled goes on in its thread: wait for its end."""
        with self._one:
            pass

    def _mask(self) -> Callable[[str], str]:
        # late: its expressions take 30 ms, which a start can do without
        from stead.memory.files.masking import Masking

        if self._masking is None:
            self._masking = Masking(self._folder.parent / "secrets")
        return self._masking

    def _append(self, lines: list[tuple[int, int, str]]) -> None:
        mask = self._mask()
        by_day: dict[str, list[tuple[int, int, str]]] = {}
        for line in lines:
            day = datetime.fromtimestamp(line[1] / 1000).strftime("%Y-%m-%d")
            by_day.setdefault(day, []).append((line[0], line[1], mask(line[2])))
        for day, of_day in by_day.items():
            with self._one:
                append_lines(self._folder / f"{day}.md", day, of_day)


@contextlib.contextmanager
def held(path: Path) -> Iterator[int]:
    """A day's file, made if need be, open to be added to, with its lock; the descriptor.

    Whoever puts another file in its place must hold this meanwhile: who waited for the lock then
    goes on with the new one, so no line goes into a file that is not there any more.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if _is_still(path, fd):
                yield fd
                return
        finally:
            os.close(fd)


def _is_still(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def append_lines(path: Path, day: str, lines: list[tuple[int, int, str]]) -> None:
    """Append what the file does not have yet and fsync. ``lines`` are (id, ms, text)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    entries = [
        (ident, _clock(at), f"{_one_entry(words)} <!-- {ident} -->".encode(errors="replace"))
        for ident, at, words in lines
    ]
    with held(path) as fd:
        size = os.fstat(fd).st_size
        # All that a write cut short by a crash can have left, as it was no longer than this one.
        reach = _TAIL_BYTES + sum(len(entry) + 16 for _, _, entry in entries)
        tail = os.pread(fd, min(size, reach), max(0, size - reach))
        known = {int(mark) for mark in _MARK.findall(tail)}
        pieces = [] if size else [f"# {day}\n\n".encode()]
        if tail and not tail.endswith(b"\n"):  # torn by a crash: the next entry starts anew
            pieces.append(b"\n")
        for ident, clock, entry in entries:
            if ident not in known or entry not in tail:
                pieces += (f"- {clock} ".encode(), entry, b"\n")
        data = b"".join(pieces)
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
        if not size:
            _fsync_folder(path.parent)


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'its file'}: {(error.strerror or str(error)).lower()}"
    return str(error)


def _clock(at: int) -> str:
    return datetime.fromtimestamp(at / 1000).strftime("%H:%M:%S")


def _one_entry(words: str) -> str:
    """Further lines of an entry are indented, so that each entry stays one list item."""
    words = words.strip().replace("\r", "").translate(_CONTROLS)
    return words.replace("<!--", "<!- -").replace("\n", "\n  ")


def _fsync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
