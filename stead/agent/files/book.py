"""The journal of changes: what was meant, written before anything is touched.

``changes/<id>.<call>.<state>``: JSON, written once. ``id`` is a UUIDv7, so names sort by time;
``call`` names the tool's call (job and step), or the change that this one undoes. The state is in
the name, so that changing it is one rename:

=========  ======================================================================
``begun``  under way, or its process died: whoever comes next looks at the files,
           takes back what was half done (or sees that all was) and settles it
``made``   all of it happened; what was taken out may still lie beside it
``done``   the same, and that is removed
``none``   nothing of it happened (or it was taken back)
=========  ======================================================================
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from stead.agent.files.blobs import Blobs
from stead.agent.files.tree import Refused, State
from stead.core.files import sync_folder, write_atomic

BEGUN, MADE, DONE, NONE = "begun", "made", "done", "none"
_LOCK_WAIT_S = 20.0
_PRUNE_EVERY_S = 3600.0
_DAY_MS = 86_400_000
_LEFT_S = 86_400.0
PACKED = "packed-"
"""Begins the names of folders in which archives are unpacked or made."""


class Op(msgspec.Struct, frozen=True, omit_defaults=True):
    """One path that changes from one state into another; or, with ``to``, a move."""

    path: str
    """As :func:`stead.agent.files.names.shown` shows it."""
    before: State | None = None
    after: State | None = None
    to: str = ""
    temp: str = ""
    """The name, in the same folder, of what is put there or was taken away, while under way."""
    ino: int = 0
    """Of a move: the inode that moves."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change, of one file or of many."""

    id: str
    at_ms: int
    tool: str
    root: str
    """The workspace."""
    ops: list[Op]
    result: str = ""
    """What the tool answered, for the same call made a second time."""
    digest: str = ""
    """Of the call's arguments."""
    job: str = ""
    step: int = 0
    undoes: str = ""
    """Id of the change that this one takes back."""


class Limits(msgspec.Struct, frozen=True):
    """How much is kept, and for how long (``[undo]`` in stead.toml)."""

    keep_days: float = 30.0
    max_mb: float = 2000.0
    max_file_mb: float = 500.0


class Line(msgspec.Struct, frozen=True):
    """What the name of an entry says."""

    id: str
    call: str
    state: str

    @property
    def name(self) -> str:
        return f"{self.id}.{self.call}.{self.state}"


class Book:
    """The journal and the copies in ``folder``, which is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changes = folder / "changes"
        for place in (folder, self._changes):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.blobs = Blobs(folder / "blobs")
        self.limits = _limits(folder)

    @contextlib.contextmanager
    def alone(self, until: float = float("inf")) -> Iterator[None]:
        """Nobody else changes anything meanwhile; the lock goes with its process.

        ``until``: ``time.monotonic()`` after which ``Refused`` is raised.
        """
        until = min(until, time.monotonic() + _LOCK_WAIT_S)
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as problem:
                    if time.monotonic() >= until:
                        raise Refused(
                            "another change of files is still under way; try again"
                        ) from problem
                    time.sleep(0.01)
            yield
        finally:
            os.close(fd)

    # --- entries -------------------------------------------------------------------

    def lines(self) -> list[Line]:
        """The names of all entries, the oldest first."""
        found = []
        for name in os.listdir(self._changes):
            parts = name.split(".")
            if len(parts) == 3 and parts[0]:
                found.append(Line(*parts))
        return sorted(found, key=lambda line: line.id)

    def read(self, line: Line) -> Entry:
        """Raises ``Refused`` for one that cannot be read."""
        try:
            return msgspec.json.decode((self._changes / line.name).read_bytes(), type=Entry)
        except (OSError, msgspec.DecodeError) as problem:
            raise Refused(f"the record of change {line.id} cannot be read: {problem}") from problem

    def begin(self, entry: Entry) -> Line:
        """Make the intent durable."""
        line = Line(entry.id, call_name(entry), BEGUN)
        write_atomic(self._changes / line.name, msgspec.json.encode(entry), 0o600)
        return line

    def settle(self, line: Line, state: str) -> Line:
        """Say what became of it, durably."""
        now = msgspec.structs.replace(line, state=state)
        os.rename(self._changes / line.name, self._changes / now.name)
        if state != DONE:  # that nothing lies about any more can be found out again
            sync_folder(self._changes)
        return now

    def of_call(self, job: str, step: int) -> list[Line]:
        """The entries of a tool's call."""
        wanted = _call(job, step)
        return [line for line in self.lines() if line.call == wanted]

    def undone(self, ident: str, lines: list[Line]) -> bool:
        """Whether a change has been taken back, and that not been taken back itself."""
        return _is_undone(ident, _backs(lines))

    def undone_of(self, lines: list[Line]) -> set[str]:
        """The ids of all that have been."""
        backs = _backs(lines)
        return {line.id for line in lines if _is_undone(line.id, backs)}

    # --- limits --------------------------------------------------------------------

    def prune(self, *, now: bool = False) -> int:
        """Forget what is over the limits, the oldest first; how many changes went.

        Looked at once an hour, or when what was kept since may be too much. Call it alone.
        """
        stamp = self.folder / "pruned"
        last = _number(stamp)
        if not now and time.time() - last < _PRUNE_EVERY_S and not self._too_much():
            return 0
        sweep(self.folder, PACKED)
        lines = [line for line in self.lines() if line.state in (DONE, NONE)]
        entries = {line: self._entry(line) for line in lines}
        oldest = int(time.time() * 1000) - int(self.limits.keep_days * _DAY_MS)
        room = int(self.limits.max_mb * 1e6)
        kept: list[Line] = []
        seen: set[str] = set()
        for line in reversed(lines):
            entry = entries[line]
            if entry is None:  # perhaps only for now: neither it nor what it needs may go
                kept.append(line)
                continue
            if entry.at_ms < oldest:
                break
            more = {sha for sha in blobs_of(entry) if sha not in seen}
            room -= sum(map(self.blobs.size, more)) + 1000
            if room < 0 and kept:
                break
            seen |= more
            kept.append(line)
        gone = [line for line in lines if line not in set(kept)]
        for line in gone:
            os.unlink(self._changes / line.name)
        for name in os.listdir(self._changes):
            if name.startswith("."):  # of a writer that was killed
                os.unlink(self._changes / name)
        rest = [self._entry(line) for line in self.lines()]
        if any(entry is None for entry in rest):
            return len(gone)
        left = self.blobs.sweep(seen.union(*(blobs_of(entry) for entry in rest if entry)))
        write_atomic(stamp, f"{time.time()}".encode(), 0o600)
        write_atomic(self.folder / "size", str(left).encode(), 0o600)
        return len(gone)

    def grew(self, size: int) -> None:
        """Count what was kept since the last look."""
        if size:
            total = int(_number(self.folder / "size")) + size
            (self.folder / "size").write_bytes(str(total).encode())

    def _too_much(self) -> bool:
        return _number(self.folder / "size") > self.limits.max_mb * 1e6

    def _entry(self, line: Line) -> Entry | None:
        try:
            return self.read(line)
        except Refused:
            return None


def _backs(lines: list[Line]) -> dict[str, list[str]]:
    """By the id of a change, the ids of those that took it back."""
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.call.startswith("undo-") and line.state in (MADE, DONE):
            found.setdefault(line.call[5:], []).append(line.id)
    return found


def _is_undone(ident: str, backs: dict[str, list[str]]) -> bool:
    return any(not _is_undone(back, backs) for back in backs.get(ident, ()))


def sweep(folder: Path, prefix: str = "") -> None:
    """Remove what processes that were killed have left in a folder of stead's own, a day ago."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            old = time.time() - entry.stat(follow_symlinks=False).st_mtime > _LEFT_S
            if entry.name.startswith(prefix) and entry.is_dir(follow_symlinks=False) and old:
                shutil.rmtree(entry.path, ignore_errors=True)


def blobs_of(entry: Entry) -> set[str]:
    """The copies that it needs to be taken back."""
    return {op.before.sha for op in entry.ops if op.before is not None and op.before.sha}


def call_name(entry: Entry) -> str:
    if entry.undoes:
        return f"undo-{entry.undoes}"
    return _call(entry.job, entry.step)


def set_limits(folder: Path, limits: Limits) -> None:
    """Write down what holds for the undo folder, where a tool in its sandbox finds it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(folder / "limits.json", msgspec.json.encode(limits), 0o600)


def _limits(folder: Path) -> Limits:
    try:
        return msgspec.json.decode((folder / "limits.json").read_bytes(), type=Limits)
    except (OSError, msgspec.DecodeError):
        return Limits()


def _call(job: str, step: int) -> str:
    return f"{hashlib.sha256(job.encode()).hexdigest()[:16]}-{step}" if job else "-"


def _number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return 0.0
