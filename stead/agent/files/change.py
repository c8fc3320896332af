"""One change of files, of as many as it takes: all of it happens or none, and it can be undone.

The order of things, so that a process that is killed anywhere leaves either the old or the new,
and the journal says which:

1. What is there now is copied (:mod:`stead.agent.files.blobs`).
2. The intent is journalled: for each path what is there, and what shall be.
3. New content is written beside its place and synced.
4. Each path is changed by one rename. A file is *swapped* with the new one, and only then is it
   looked at whether what came out is what was meant to be replaced: so an edit by another program
   between reading and renaming is noticed, and swapped back. What came out stays until the end,
   so that taking it all back needs no room on the disk.
5. The journal says that it is done, and what was taken out is removed.

Whoever finds a change that was begun and not settled (:func:`recover`) does the same as step 4
backwards, by looking at what is there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stead.agent.files import kernel
from stead.agent.files.blobs import Blobs, write_all
from stead.agent.files.book import BEGUN, DONE, MADE, NONE, Book, Entry, Line, Op
from stead.agent.files.names import given, shown
from stead.agent.files.tree import (
    CHUNK,
    OURS,
    Parts,
    Refused,
    State,
    Tree,
    hash_of,
    place,
    say,
)
from stead.agent.files.turn import (
    changed,
    dress,
    drop,
    happened,
    of_folder,
    same_place,
    take_back,
    turn_file,
    turn_folder,
)
from stead.core.ids import uuid7

MOST_PATHS = 20_000
"""Paths in one change."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class Source:
    """Where new content comes from: bytes, an open file, or a copy that was kept."""

    data: bytes | None = None
    fd: int = -1
    sha: str = ""
    path: Path | None = None
    """A file of stead's own, of which there may be more than can be open at once."""

    def measure(self) -> tuple[str, int]:
        """Hash and length of what a file holds."""
        if self.path is None:
            return hash_of(self.fd)
        with open(self.path, "rb") as file:
            return hash_of(file.fileno())

    def blocks(self, blobs: Blobs) -> Iterator[bytes]:
        if self.data is not None:
            yield self.data
        elif self.sha:
            yield from blobs.blocks(self.sha)
        elif self.path is not None:
            with open(self.path, "rb") as file:
                while block := file.read(CHUNK):
                    yield block
        else:
            at = 0
            while block := os.pread(self.fd, CHUNK, at):
                at += len(block)
                yield block


@dataclass(slots=True)
class _Step:
    op: Op
    source: Source = field(default_factory=Source)


class Change:
    """Collects what shall become of some paths, then does it. Used under ``book.alone()``."""

    def __init__(self, tree: Tree, book: Book, *, backwards: bool = False) -> None:
        """``backwards``: it takes another one back, so what was there before may come again."""
        self.tree, self.book = tree, book
        self._backwards = backwards
        self._steps: list[_Step] = []
        self._made: set[Parts] = set()
        self._id = uuid7()
        self._grew = 0

    @property
    def paths(self) -> int:
        return len(self._steps)

    # --- what shall be -------------------------------------------------------------

    def put(self, parts: Parts, source: Source, after: State | None, before: State | None) -> None:
        """``after`` instead of ``before``, which is what was seen there (None: nothing)."""
        self._check(parts, after)
        if after is not None:
            self.folders(parts[:-1])
        temp = f"{OURS}{self._id[-12:]}-{len(self._steps)}.tmp"
        self._add(_Step(Op(say(parts), before, after, temp=temp), source))

    def folders(self, parts: Parts) -> None:
        """Make a folder, and those above it, where they are missing."""
        for depth in range(1, len(parts) + 1):
            at = parts[:depth]
            if at in self._made:
                continue
            info = self.tree.look(at)
            if info is None:
                self.folder(at, None, State("folder"))

    def folder(self, parts: Parts, before: State | None, after: State | None) -> None:
        """Make one folder, or remove one that is empty by then."""
        self._check(parts, after)
        if after is not None:
            self._made.add(parts)
        temp = f"{OURS}{self._id[-12:]}-{len(self._steps)}.tmp" if after is None else ""
        self._add(_Step(Op(say(parts), before, after, temp=temp)))

    def move(self, parts: Parts, to: Parts, ino: int) -> None:
        """Give what is there another name; ``ino``: the inode that was seen."""
        self._check(to, State("folder"))
        self.folders(to[:-1])
        self._add(_Step(Op(say(parts), to=say(to), ino=ino)))

    def _check(self, parts: Parts, after: State | None) -> None:
        if after is not None and not self._backwards:
            _check_place(parts)

    def _add(self, step: _Step) -> None:
        if len(self._steps) >= MOST_PATHS:
            raise Refused(f"that would change more than {MOST_PATHS} paths at once")
        self._steps.append(step)

    # --- doing it ------------------------------------------------------------------

    def commit(self, entry: Entry) -> str:
        """Do it; the id of the change. Raises ``Refused`` or ``OSError``, and nothing is changed.

        ``entry`` says whose it is; its id, time and paths are filled in.
        """
        try:
            self._keep()
            ops = [step.op for step in self._steps]
            now = int(time.time() * 1000)
            line = self.book.begin(
                msgspec.structs.replace(
                    entry, id=self._id, at_ms=now, root=shown(str(self.tree.root)), ops=ops
                )
            )
        except OSError as problem:
            raise Refused(_room(problem, "what is there could not be kept for undo")) from problem
        done: list[_Step] = []
        try:
            for step in self._steps:
                done.append(step)
                self._apply(step)
            _sync(self.tree, ops)
        except BaseException as problem:
            for step in reversed(done):
                take_back(self.tree, self.book.blobs, step.op)
            self.book.settle(line, NONE)
            if isinstance(problem, OSError):
                raise Refused(_room(problem, "it could not be done")) from problem
            raise
        _finish(self.book, self.book.settle(line, MADE), self.tree, ops)
        with contextlib.suppress(OSError, Refused):  # no reason to fail what is done
            self.book.grew(self._grew)
            self.book.prune()
        return self._id

    def _keep(self) -> None:
        """Copies of all that will not be there any more."""
        most = int(self.book.limits.max_file_mb * 1e6)
        for step in self._steps:
            before = step.op.before
            if before is None or before.kind != "file":
                continue
            if self.book.blobs.has(before.sha):
                continue
            parts = place(step.op.path)
            fd = self.tree.open(parts)
            try:
                sha, _ = self.book.blobs.keep(fd, most)
            except Refused as problem:
                raise Refused(f"{step.op.path}: {problem}") from problem
            finally:
                os.close(fd)
            if sha != before.sha:
                raise changed(step.op)
            self._grew += self.book.blobs.size(sha)

    def _apply(self, step: _Step) -> None:
        op = step.op
        parts = place(op.path)
        if op.to:
            self._move(op, parts, place(op.to))
            return
        with self.tree.folder(parts[:-1]) as above:
            name = parts[-1]
            if of_folder(op):
                turn_folder(above, name, op)
                return
            if op.after is not None:
                self._stage(above, step)
            turn_file(above, name, op)

    def _stage(self, above: int, step: _Step) -> None:
        op, after = step.op, step.op.after
        assert after is not None
        if after.kind == "link":
            os.symlink(given(after.target), op.temp, dir_fd=above)
            return
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(op.temp, flags, 0o600 if after.mode else 0o666, dir_fd=above)
        try:
            for block in step.source.blocks(self.book.blobs):
                write_all(fd, block)
            dress(fd, after.mode, above, place(op.path)[-1])
            sha = after.sha if step.source.data is not None else hash_of(fd)[0]
            if sha != after.sha:
                raise Refused(f"{op.path}: its source was changed meanwhile; nothing was done")
            os.fsync(fd)
        finally:
            os.close(fd)

    def _move(self, op: Op, parts: Parts, to: Parts) -> None:
        with self.tree.folder(parts[:-1]) as above, self.tree.folder(to[:-1]) as new:
            info = os.stat(parts[-1], dir_fd=above, follow_symlinks=False)
            if info.st_ino != op.ino:
                raise changed(op)
            if same_place(above, parts[-1], new, to[-1]):  # only the capitals change
                os.rename(parts[-1], to[-1], src_dir_fd=above, dst_dir_fd=new)
            else:
                kernel.rename_new(above, parts[-1], new, to[-1])


# --- after a crash ---------------------------------------------------------------


def recover(book: Book) -> None:
    """Settle what was begun by a process that is no more; call it alone.

    One whose workspace is away is left as it is.
    """
    for line in book.lines():
        if line.state not in (BEGUN, MADE):
            continue
        entry = book.read(line)
        try:
            tree = Tree(Path(given(entry.root)))
        except Refused:
            continue
        if line.state == BEGUN and not all(happened(tree, op) for op in entry.ops):
            for op in reversed(entry.ops):
                take_back(tree, book.blobs, op)
            _sync(tree, entry.ops)
            book.settle(line, NONE)
            continue
        if line.state == BEGUN:
            _sync(tree, entry.ops)
            line = book.settle(line, MADE)
        _finish(book, line, tree, entry.ops)


def _finish(book: Book, line: Line, tree: Tree, ops: Iterable[Op]) -> None:
    """Remove what was taken out; the change is made whatever becomes of that."""
    for op in ops:
        if op.temp:
            parts = place(op.path)
            with contextlib.suppress(OSError), tree.folder(parts[:-1]) as above:
                drop(above, op.temp)
    book.settle(line, DONE)


def _sync(tree: Tree, ops: Iterable[Op]) -> None:
    """Make the new names durable."""
    folders = {place(path)[:-1] for op in ops for path in (op.path, op.to) if path}
    for parts in sorted(folders):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), tree.folder(parts) as fd:
            os.fsync(fd)


def _check_place(parts: Parts) -> None:
    if not parts:
        raise Refused("that is the workspace itself; name something in it")
    if any(part.startswith(OURS) and part.endswith(".tmp") for part in parts):
        raise Refused(f"{say(parts)} is a file of stead's own that is under way")
    if ".git" in parts[:-1] or parts[-1] == ".git":
        raise Refused(
            f"{say(parts)} is git's own; git itself keeps it, and what it holds can start programs"
        )


def _room(problem: OSError, what: str) -> str:
    if problem.errno in _FULL:
        return f"the disk is full ({problem.strerror}); nothing was changed"
    return f"{what} ({problem.strerror or problem}); nothing was changed"
