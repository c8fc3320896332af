"""Taking changes back, and taking that back: what `stead undo` does.

A change is taken back by a new change, so it can be taken back itself (``redo``) and what a crash
leaves of it is settled like any other.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stead.agent.files.book import BEGUN, DONE, Book, Entry, Line, Op
from stead.agent.files.change import Change, Source, recover
from stead.agent.files.names import given
from stead.agent.files.tree import Refused, State, Tree, place

_DIFF_MOST = 200_000
"""Bytes of a file that are compared line by line."""
_DIFF_LINES = 400


@dataclass(frozen=True, slots=True)
class Told:
    """A change, as `stead undo list` tells it."""

    entry: Entry
    line: Line
    undone: bool


class Conflict(Refused):
    """What the change left is no longer there as it left it; ``diff`` shows what differs."""

    def __init__(self, text: str, diff: str) -> None:
        super().__init__(text)
        self.diff = diff


@dataclass(slots=True)
class Undone:
    """What taking a change back did."""

    id: str
    new_id: str
    paths: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def told(book: Book) -> list[Told]:
    """All changes that happened, the newest first. What a crash left is settled before."""
    with book.alone():
        recover(book)
    lines = book.lines()
    undone = book.undone_of(lines)
    found = []
    for line in reversed(lines):
        if line.state == DONE:
            with contextlib.suppress(Refused):
                found.append(Told(book.read(line), line, line.id in undone))
    return found


def unsettled(book: Book) -> list[Line]:
    """Those that a crash left and that cannot be settled, as their workspace is away."""
    return [line for line in book.lines() if line.state == BEGUN]


def take_back(book: Book, ident: str, *, force: bool = False) -> Undone:
    """Take a change back. Raises ``Conflict`` where the files have changed since, unless ``force``
    (what is there now is kept, as the new change can be taken back), and ``Refused``."""
    with book.alone():
        recover(book)
        lines = book.lines()
        line = next((one for one in lines if one.id == ident and one.state == DONE), None)
        if line is None:
            raise Refused(f"there is no change {ident}")
        if book.undone(ident, lines):
            raise Refused(f"the change {ident[-8:]} has been taken back already")
        entry = book.read(line)
        tree = Tree(Path(given(entry.root)))
        change = Change(tree, book, backwards=True)
        undone = Undone(ident, "")
        leaving = {place(op.path) for op in entry.ops} | {place(op.to) for op in entry.ops}
        freed = {op.to for op in entry.ops if op.to}  # by moving back what is there
        for op in reversed(entry.ops):
            if op.to:
                _move_back(tree, change, op)
            elif op.after is None and op.path in freed:
                assert op.before is not None
                change.put(place(op.path), Source(sha=op.before.sha), op.before, None)
            elif "folder" in (_kind(op.before), _kind(op.after)):
                _folder_back(tree, change, op, leaving, undone)
            else:
                _file_back(tree, change, op, force, undone, book)
            undone.paths.append(op.path)
        if change.paths == 0:
            raise Refused("there is nothing left to take back; " + "; ".join(undone.notes))
        undone.new_id = change.commit(
            msgspec.structs.replace(entry, tool="undo", undoes=ident, result="", digest="")
        )
        return undone


def _file_back(tree: Tree, change: Change, op: Op, force: bool, undone: Undone, book: Book) -> None:
    parts = place(op.path)
    now = tree.state(parts)
    left = op.after
    if (left is None) != (now is None) or (left is not None and not left.same(now)):
        if op.before is not None and op.before.same(now):
            undone.notes.append(f"{op.path} is as it was before already")
            return
        if op.before is None and now is None:
            undone.notes.append(f"{op.path} is gone already")
            return
        if not force or (now is not None and now.kind == "folder"):
            raise Conflict(
                f"{op.path} has changed since; it is not touched",
                _since(tree, book, op, now),
            )
        undone.notes.append(f"{op.path} had changed since; what was there is kept")
    source = Source(sha=op.before.sha) if op.before is not None else Source()
    if source.sha and not book.blobs.has(source.sha):
        raise Refused(f"{op.path}: what was there before is no longer kept (limits: [undo])")
    change.put(parts, source, _mode_of_now(op, now), now)


def _mode_of_now(op: Op, now: State | None) -> State | None:
    """What was before; but a mode that somebody set since stays."""
    if op.before is None or op.after is None or now is None or op.after.mode in (0, now.mode):
        return op.before
    return msgspec.structs.replace(op.before, mode=now.mode)


def _folder_back(
    tree: Tree, change: Change, op: Op, leaving: set[tuple[str, ...]], undone: Undone
) -> None:
    parts = place(op.path)
    now = tree.look(parts)
    if op.after is None:
        if now is None:
            change.folder(parts, None, op.before)
        return
    if now is None:
        return
    with tree.folder(parts) as fd:
        others = [name for name in os.listdir(fd) if (*parts, name) not in leaving]
    if others:
        undone.notes.append(f"the folder {op.path} stays: it holds other files by now")
        return
    change.folder(parts, State("folder", mode=now.st_mode & 0o7777), None)


def _move_back(tree: Tree, change: Change, op: Op) -> None:
    info = tree.look(place(op.to))
    if info is None:
        raise Conflict(f"{op.to} is not there any more, so it cannot be moved back", "")
    there = tree.look(place(op.path))
    if there is not None and not (there.st_ino == info.st_ino and there.st_nlink == 1):
        raise Conflict(f"there is something new at {op.path}; move it away first", "")
    change.move(place(op.to), place(op.path), info.st_ino)


# --- what changed ------------------------------------------------------------------


def diff_of(book: Book, entry: Entry) -> str:
    """What a change did, as a unified diff where the files are text. What came after is read from
    the disk, or from what a later change kept of it; else it is only told."""
    made: list[str] = []
    tree: Tree | None = None
    with contextlib.suppress(Refused):
        tree = Tree(Path(given(entry.root)))
    for op in entry.ops:
        if op.to:
            made.append(f"moved {op.path} to {op.to}")
            continue
        made.append(
            _compare(op.path, op.before, op.after, _kept(book, op.before), _found(book, tree, op))
        )
    return "\n".join(part for part in made if part)


def _since(tree: Tree, book: Book, op: Op, now: State | None) -> str:
    """What differs between what the change left and what is there now."""
    data: bytes | None = None
    if now is not None and now.kind == "file":
        with contextlib.suppress(Refused, OSError):
            data, _ = tree.read(place(op.path), _DIFF_MOST)
    left = _kept(book, op.after)
    if left is None and op.after is not None:  # only what was before is always kept
        old = _kept(book, op.before)
        head = f"(what the change left of {op.path} is not kept; compared with what was before)\n"
        return head + _compare(op.path, op.before, now, old, data)
    return _compare(op.path, op.after, now, left, data)


def _kept(book: Book, state: State | None) -> bytes | None:
    if state is None or state.kind != "file":
        return None
    return book.blobs.read(state.sha, _DIFF_MOST + 1)


def _found(book: Book, tree: Tree | None, op: Op) -> bytes | None:
    if op.after is None or op.after.kind != "file":
        return None
    kept = _kept(book, op.after)
    if kept is None and tree is not None:
        with contextlib.suppress(Refused, OSError):
            data, state = tree.read(place(op.path), _DIFF_MOST)
            kept = data if op.after.same(state) else None
    return kept


def _compare(
    path: str, one: State | None, other: State | None, before: bytes | None, after: bytes | None
) -> str:
    kinds = (_words(one), _words(other))
    if "folder" in (_kind(one), _kind(other)) or "link" in (_kind(one), _kind(other)):
        return f"{path}: {kinds[0]} -> {kinds[1]}"
    unknown = (one is not None and before is None) or (other is not None and after is None)
    old, new = before or b"", after or b""
    if unknown or max(len(old), len(new)) > _DIFF_MOST or b"\0" in old or b"\0" in new:
        return f"{path}: {kinds[0]} -> {kinds[1]}"
    lines = list(
        difflib.unified_diff(
            old.decode("utf-8", "replace").splitlines(),
            new.decode("utf-8", "replace").splitlines(),
            f"a/{path}" if one else "/dev/null",
            f"b/{path}" if other else "/dev/null",
            lineterm="",
        )
    )
    if not lines:
        return f"{path}: {kinds[0]} -> {kinds[1]}"
    more = len(lines) - _DIFF_LINES
    return "\n".join(lines[:_DIFF_LINES]) + (f"\n[{more} more lines]" if more > 0 else "")


def _words(state: State | None) -> str:
    if state is None:
        return "nothing"
    if state.kind == "file":
        return f"file of {state.size} bytes"
    return f"link to {state.target}" if state.kind == "link" else "folder"


def _kind(state: State | None) -> str:
    return state.kind if state is not None else ""
