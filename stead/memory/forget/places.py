"""Copies: what lies in spools, kept outputs, bodies, caches, logs and old databases.

Nothing here is the truth of anything, so what holds words that are to be forgotten goes whole, or
loses those lines.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stead.core.files import sync_folder, write_atomic
from stead.memory.forget.prove import Seeker

_WAIT_S = 5.0
_LOOK_S = 0.1

TRUTH = ("memory", "knowledge")
COPIES = ("keep", "audit", "spool", "run", "logs")
DATABASE = "state.db"
INDEX = "index"
BACKUPS = "backups"
ATTACHED = "files"
_REPORTS = "spool/reports.jsonl"


@dataclass(slots=True)
class Cleared:
    """What became of the copies."""

    counts: dict[str, int] = field(default_factory=dict)
    """By place."""
    left: list[str] = field(default_factory=list)
    """What could not be reached, in words."""

    def add(self, place: str, many: int = 1) -> None:
        if many:
            self.counts[place] = self.counts.get(place, 0) + many


def kind_of(path: str) -> str:
    """Which of the places a file of the home belongs to: ``database``, ``truth``, ``index``,
    ``backups``, ``attached``, ``copy``, or ``yours``: that is said and left."""
    top = path.split("/", 1)[0]
    if top.startswith(DATABASE):
        return "database"
    if top in TRUTH:
        return "truth"
    if top in (INDEX, BACKUPS):
        return top
    if top == ATTACHED:
        return "attached"
    return "copy" if top in COPIES else "yours"


def of_jobs(home: Path, jobs: Iterable[str], calls: Iterable[str]) -> list[str]:
    """The copies that belong to jobs and calls by their names."""
    found = []
    for job in jobs:
        if job and (home / "keep" / "spool" / job).is_dir():
            found.append(f"keep/spool/{job}")
    wanted = set(calls)
    for path in (home / "audit").glob("*/*") if wanted else ():
        if path.stem in wanted:
            found.append(path.relative_to(home).as_posix())
    return found


def clear(
    home: Path, paths: Iterable[str], seeker: Seeker, jobs: Sequence[str], *, backups: bool
) -> Cleared:
    """Take words out of the copies at these paths. Again is the same as once. Without words to look
    for (after a crash), files go whole."""
    done = Cleared()
    for name in dict.fromkeys(paths):
        path = home / name
        try:
            _one(home, name, path, seeker, jobs, backups, done)
        except FileNotFoundError:
            continue
        except OSError as error:
            done.left.append(f"{name}: {(error.strerror or str(error)).lower()}")
    _spool(home, seeker, jobs, done)
    return done


def _one(
    home: Path, name: str, path: Path, seeker: Seeker, jobs: Sequence[str], backups: bool,
    done: Cleared,
) -> None:  # fmt: skip
    top = name.split("/", 1)[0]
    if top == BACKUPS:
        if backups:
            path.unlink()
            sync_folder(path.parent)
            done.add("backups")
    elif name.startswith("keep/spool/") and path.is_dir():
        done.add("outputs of tools", sum(1 for _ in path.iterdir()))
        shutil.rmtree(path)
    elif top == "keep" and name.startswith("keep/undo/"):
        with _undo_lock(home):
            path.unlink()
        done.add("copies for undo")
    elif top in ("keep", "audit"):
        path.unlink()
        done.add("bodies of model calls" if top == "audit" else "outputs of tools")
    elif top == "spool":
        if not seeker.phrases and name != _REPORTS:
            done.add("spool", _gone(path))  # else see _spool
    elif top == "run":
        done.add("caches", _blot(path, seeker) if path.suffix == ".pid" else _gone(path))
    elif top == INDEX:
        done.add("index", _gone(path))
    elif top == "logs":  # line by line, others may be writing to it
        done.add("logs", _blot(path, seeker))


def _gone(path: Path) -> int:
    path.unlink()
    return 1


@contextlib.contextmanager
def _undo_lock(home: Path) -> Iterator[None]:
    """No tool changes files meanwhile."""
    fd = os.open(home / "keep" / "undo" / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _blot(path: Path, seeker: Seeker) -> int:
    """Overwrite, in place and at the same length, the lines that hold what is looked for: whoever
    writes to the file at the same time is not disturbed."""
    if not seeker.phrases:
        os.truncate(path, 0)
        return 1
    many = offset = 0
    with path.open("r+b") as file:
        for line in file:
            body = line.rstrip(b"\n")
            if body and seeker.seen(body):
                word = b'{"forgotten": true}'
                os.pwrite(file.fileno(), word[: len(body)].ljust(len(body)), offset)
                many += 1
            offset += len(line)
        os.fsync(file.fileno())
    return many


# --- the spool of this machine's node ----------------------------------------------


def _spool(home: Path, seeker: Seeker, jobs: Sequence[str], done: Cleared) -> None:
    folder = home / "spool"
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name == "lock" or not path.is_file():
            continue
        if path.name != "reports.jsonl":
            done.add("spool", _without(path, seeker, jobs))
    reports = home / _REPORTS
    until = time.monotonic() + _WAIT_S
    while reports.exists() and _held_lines(reports, seeker, jobs):
        with _alone(folder) as alone:
            if alone:
                done.add("spool", _without(reports, seeker, jobs))
                return
        if time.monotonic() > until:
            done.left.append(
                f"{_REPORTS}: the node works with it; what it holds goes as soon as all of it is"
                " delivered"
            )
            return
        time.sleep(_LOOK_S)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no node has this spool open; none opens it meanwhile."""
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def _holds(line: bytes, seeker: Seeker, jobs: Sequence[str]) -> bool:
    return bool(seeker.seen(line)) or any(job.encode() in line for job in jobs if job)


def _held_lines(path: Path, seeker: Seeker, jobs: Sequence[str]) -> int:
    with path.open("rb") as file:
        return sum(_holds(line, seeker, jobs) for line in file)


def _without(path: Path, seeker: Seeker, jobs: Sequence[str]) -> int:
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not _holds(line, seeker, jobs)]
    if len(kept) == len(lines):
        return 0
    write_atomic(path, b"".join(kept))
    return len(lines) - len(kept)
