"""Bodies of requests and answers, kept apart from their rows: by rule, for a time, in files.

``audit/2026-11-21/ID.z`` holds one call: a line of JSON, then the request's bytes, then the
answer's, all deflated (RFC 1950). Files, because a body may be large and is worth less than a
row: the writer of the database never waits for one, a folder of a day is gone with one look, and
what was deleted is not in the database's free pages (docs/decisions/0021).

Nothing is kept unless the owner says so, and never what policy says is not to be.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from stead.core.nouns import Call

log = logging.getLogger(__name__)

#: Bytes that may wait to be written; while a disk is slower than that, bodies are left out.
_MOST_WAITING = 32 * 1024 * 1024
#: A folder that has grown too large is brought down to this part of what it may be.
_ROOM = 0.9
#: A body that is longer than this is not looked through, and so not kept where that is wanted.
_MOST_LOOKED_AT = 8_000_000
_DAY_MS = 86_400_000
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

Redact = Callable[[bytes, str], Awaitable[tuple[bytes, str] | None]]
"""Gives a body and its content type back with what is secret blacked out, perhaps in another type;
None: it cannot be looked at, so it may not be kept."""


class Keep(StrEnum):
    """Whose bodies are kept."""

    NONE = "none"
    ERRORS = "errors"
    """Of calls that came to no good end."""
    ALL = "all"


@dataclass(frozen=True, slots=True)
class KeepRule:
    """The first rule that fits decides; empty fits any."""

    keep: Keep
    key: str = ""
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is kept, how much of it and how long."""

    keep: Keep = Keep.NONE
    rules: tuple[KeepRule, ...] = ()
    most_bytes: int = 1_000_000
    """Of one body; the rest is cut off."""
    total_bytes: int = 500_000_000
    """Of all files together; the oldest go first."""
    days: float = 14.0


class Part(msgspec.Struct, frozen=True):
    """A body, or as much of it as was kept."""

    type: str
    """Its content type."""
    size: int
    """In bytes, when it passed."""
    kept: int
    """Bytes of it in the file."""
    redacted: bool = False
    """Something in it (or in the other one) was blacked out."""
    cut: bool = False
    """Not all of it was kept."""


class _Head(msgspec.Struct, frozen=True):
    call: str
    api: str
    request: Part
    answer: Part


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a call."""

    api: str
    request: Part
    answer: Part
    request_bytes: bytes
    answer_bytes: bytes


_Clean = tuple[tuple[bytes, bytes], tuple[str, str], bool]


class Bodies:
    """``keep`` never waits and never fails; a thread writes."""

    def __init__(self, folder: Path, terms: Terms, redact: Redact | None = None) -> None:
        self.folder = folder
        self._terms = terms
        self._redact = redact
        self._ruled: dict[tuple[str, str], Keep] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Future[_Clean | None]] = set()
        self._lock = threading.Lock()
        self._waiting = 0
        self._size = -1
        """Bytes of all files; -1: not looked yet."""
        self.hushed: Callable[[str | None], bool] = lambda job_id: False
        """Whether a job is one of which nothing may be kept."""
        self.left_out = 0
        """Bodies that were not kept though they should have been (the disk was full or slow)."""

    def use(self, terms: Terms, redact: Redact | None = None) -> None:
        """Other terms from now on."""
        self._terms, self._redact, self._ruled = terms, redact, {}

    def wanted(self, key: str, lane: str) -> Keep:
        """Whether bodies of a caller (the name of its key) in a lane are kept."""
        found = self._ruled.get((key, lane))
        if found is None:
            if len(self._ruled) > 1000:
                self._ruled.clear()
            found = self._ruled[key, lane] = self._rule(key, lane)
        return found

    def _rule(self, key: str, lane: str) -> Keep:
        for rule in self._terms.rules:
            if rule.key in ("", key) and rule.lane in ("", lane):
                return rule.keep
        return self._terms.keep

    @property
    def keeps(self) -> bool:
        """Whether anything at all is kept. Asked for each request."""
        terms = self._terms
        return terms.keep is not Keep.NONE or (bool(terms.rules) and _some_kept(terms.rules))

    @property
    def most_bytes(self) -> int:
        """Who gathers an answer as it passes need not gather more than this."""
        return self._terms.most_bytes

    def keep(
        self, call: Call, request: bytes, answer: Sequence[bytes], *, types: tuple[str, str],
        answer_size: int = -1,
    ) -> None:  # fmt: skip
        """Keep a call's bodies, if the rules want them. ``answer`` in pieces, as it went to the
        client; ``answer_size``: of all of it, where not all was gathered; ``types``: the content
        types of both."""
        want = self.wanted(call.caller, call.lane)
        if self.hushed(call.job_id):
            return
        if want is Keep.NONE or (want is Keep.ERRORS and call.outcome == "ok"):
            return
        most, ident, api = self._terms.most_bytes, call.id, call.api
        size = len(request), answer_size if answer_size >= 0 else sum(map(len, answer))
        cost = min(size[0], most) + min(size[1], most)
        with self._lock:
            if self._waiting + cost > _MOST_WAITING:
                self.left_out += 1
                return
            self._waiting += cost
        bodies = (request, b"".join(answer))

        def write(bodies: tuple[bytes, bytes], types: tuple[str, str], clean: bool) -> None:
            try:
                self._write(ident, api, bodies, size, types, redacted=clean)
            except OSError as error:
                self.left_out += 1
                told = {"fields": {"call": ident}}
                log.warning("a body could not be kept: %s", error, extra=told)
            finally:
                self._done(cost)

        if self._redact is None:
            self._pool().submit(write, bodies, types, False)
            return
        task = asyncio.ensure_future(self._clean(self._redact, bodies, types))
        self._tasks.add(task)

        def cleaned(task: asyncio.Future[_Clean | None]) -> None:
            self._tasks.discard(task)
            found = None if task.cancelled() or task.exception() else task.result()
            if found is None:
                self.left_out += 1
                self._done(cost)
            else:
                self._pool().submit(write, *found)

        task.add_done_callback(cleaned)

    def _done(self, cost: int) -> None:
        with self._lock:
            self._waiting -= cost

    async def _clean(
        self, redact: Redact, bodies: tuple[bytes, bytes], types: tuple[str, str]
    ) -> _Clean | None:
        """Both without what is to be blacked out; None: they may not be kept. All of them is
        looked at before anything is cut off, so that no half of a secret stays."""
        found = []
        for body, type_ in zip(bodies, types, strict=True):
            if len(body) > _MOST_LOOKED_AT:
                return None
            clean = await redact(body, type_) if body else (body, type_)
            if clean is None:
                return None
            found.append(clean)
        (request, first), (answer, second) = found
        return (request, answer), (first, second), (request, answer) != bodies

    def _pool(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")
        return self._thread

    def _write(
        self, ident: str, api: str, bodies: tuple[bytes, bytes], size: tuple[int, int],
        types: tuple[str, str], *, redacted: bool,
    ) -> None:  # fmt: skip
        path = place(self.folder, ident)
        if path is None:
            return
        most = self._terms.most_bytes
        data = [body[:most] for body in bodies]
        parts = [
            Part(type_, whole, len(kept), redacted, max(whole, len(body)) > most)
            for body, kept, whole, type_ in zip(bodies, data, size, types, strict=True)
        ]
        head = msgspec.json.encode(_Head(ident, api, *parts))
        packed = zlib.compress(b"\n".join((head, b"".join(data))), 6)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(packed)
        os.replace(temporary, path)
        if self._size < 0:
            self._size = sum(size for _, size in _files(self.folder))
        else:
            self._size += len(packed)
        if self._size > self._terms.total_bytes:
            self._make_room()

    # --- the end of what is kept -------------------------------------------------------------

    def _make_room(self) -> int:
        files = sorted(_files(self.folder))
        left, gone = sum(size for _, size in files), 0
        for path, size in files:
            if left <= self._terms.total_bytes * _ROOM:
                break
            path.unlink(missing_ok=True)
            left -= size
            gone += 1
        self._size = left
        return gone

    def _prune(self, before: int | None) -> int:
        """Files of days that are over, or of all before a time (ms); how many."""
        if before is None:
            if not self._terms.days:
                return self._make_room()
            before = int(time.time() * 1000 - self._terms.days * _DAY_MS)
        gone = 0
        for path, _ in list(_files(self.folder)):
            if made(path.stem) < before:
                path.unlink(missing_ok=True)
                gone += 1
        for day in _days(self.folder):
            with contextlib.suppress(OSError):  # it is not empty
                day.rmdir()
        return gone + self._make_room()

    async def prune(self, before: int | None = None) -> int:
        """Delete what is past its time, and the oldest of what is too much; how many.
        ``before``: the owner wants all from before that time gone (ms)."""
        if self._thread is None and not self.folder.exists():
            return 0
        return await asyncio.get_running_loop().run_in_executor(self._pool(), self._prune, before)

    async def read(self, ident: str) -> Kept | None:
        """What is kept of a call; None: nothing."""
        return await asyncio.to_thread(read, self.folder, ident)

    async def aclose(self) -> None:
        """Write what waits to be written."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await asyncio.sleep(0)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
            self._thread = None


def _some_kept(rules: Sequence[KeepRule]) -> bool:
    return any(rule.keep is not Keep.NONE for rule in rules)


def made(ident: str) -> int:
    """When an id was made, in ms: it begins with its time."""
    try:
        return int(ident.replace("-", "")[:12], 16)
    except ValueError:
        return 0


def place(folder: Path, ident: str) -> Path | None:
    """Where the bodies of a call are kept; None for what is no id."""
    if not _ID.fullmatch(ident):
        return None
    day = time.strftime("%Y-%m-%d", time.gmtime(made(ident) / 1000))
    return folder / day / f"{ident}.z"


def read(folder: Path, ident: str) -> Kept | None:
    """What is kept of a call; None: nothing, or nothing that can be read."""
    path = place(folder, ident)
    if path is None:
        return None
    try:
        data = zlib.decompress(path.read_bytes())
        line, _, rest = data.partition(b"\n")
        head = msgspec.json.decode(line, type=_Head)
    except (OSError, zlib.error, msgspec.DecodeError):
        return None
    cut = head.request.kept
    return Kept(head.api, head.request, head.answer, rest[:cut], rest[cut:])


def _days(folder: Path) -> list[Path]:
    try:
        return [one for one in folder.iterdir() if _DAY.fullmatch(one.name)]
    except OSError:
        return []


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every file and its size; those of a write that was cut off too."""
    for day in _days(folder):
        with contextlib.suppress(OSError), os.scandir(day) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    yield Path(entry.path), entry.stat(follow_symlinks=False).st_size
