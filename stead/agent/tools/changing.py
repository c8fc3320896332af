"""What all tools that change files share: one change, whole or not at all, that can be undone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from stead.agent.files.blobs import check_size
from stead.agent.files.book import BEGUN, DONE, Book, Entry
from stead.agent.files.change import Change, Source, recover
from stead.agent.files.tree import Parts, Refused, State, Tree, say
from stead.agent.tools.base import Args, Context, ToolError
from stead.sandbox.box import Bounds, Box, Mount

UNDO = "undo"
"""The folder below ``Context.keep``."""


class Desk:
    """One call of a tool at work on files, alone."""

    def __init__(self, context: Context, tool: str, args: Args, book: Book) -> None:
        self.tree = Tree(context.workspace)
        self.change = Change(self.tree, book)
        self._book = book
        self._entry = Entry(
            id="", at_ms=0, tool=tool, root="", ops=[], job=context.job, step=context.step,
            digest=hashlib.sha256(tool.encode() + msgspec.json.encode(args)).hexdigest(),
        )  # fmt: skip
        self.before = self._told_before() if context.job else ""
        """What this very call answered when it was made before: it happened, and is not to happen
        twice. Empty: it did not."""

    def check_size(self, parts: Parts, info: os.stat_result) -> None:
        """Refuse early what is too large to be kept for undo."""
        try:
            check_size(info.st_size, int(self._book.limits.max_file_mb * 1e6))
        except Refused as problem:
            raise Refused(f"{say(parts)}: {problem}") from problem

    def write(
        self, parts: Parts, data: bytes | Source, before: State | None, mode: int = 0
    ) -> None:
        """Plan new content for a file; ``before``: what was read there."""
        if before is not None and before.kind != "file":
            raise Refused(f"{say(parts)} is a {before.kind}, not a file")
        source = Source(data) if isinstance(data, bytes) else data
        if source.data is not None:
            sha, size = hashlib.sha256(source.data).hexdigest(), len(source.data)
        else:
            sha, size = source.measure()
        after = State("file", mode, sha, size)
        if before is not None:
            if not before.mode & 0o222:
                raise Refused(f"{say(parts)} is write-protected; the owner would have to allow it")
            after = msgspec.structs.replace(after, mode=before.mode & 0o777)
        self.change.put(parts, source, after, before)

    def done(self, told: str) -> str:
        """Do it; what is told to the model is kept, for the same call made again."""
        self.change.commit(msgspec.structs.replace(self._entry, result=told))
        return told

    def _told_before(self) -> str:
        lines = self._book.lines()
        for line in self._book.of_call(self._entry.job, self._entry.step):
            if line.state != DONE or self._book.undone(line.id, lines):
                continue
            entry = self._book.read(line)
            if entry.digest == self._entry.digest:
                return entry.result or "done"
        return ""


@contextlib.contextmanager
def changing(context: Context, tool: str, args: Args) -> Iterator[Desk]:
    """Work on the files of the workspace, alone. Raises ``ToolError``."""
    if context.keep is None:
        raise ToolError("files cannot be changed here: there is no place to keep what they held")
    try:
        book = Book(context.keep / UNDO)
        with book.alone(context.until):
            recover(book)
            if any(line.state == BEGUN for line in book.of_call(context.job, context.step)):
                raise Refused("an earlier try of this call cannot be settled yet")
            yield Desk(context, tool, args, book)
    except Refused as problem:
        raise ToolError(str(problem)) from problem


@contextlib.contextmanager
def speaking() -> Iterator[None]:
    """What is refused is told to the model."""
    try:
        yield
    except Refused as problem:
        raise ToolError(str(problem)) from problem


def content(context: Context, path: str, most: int) -> tuple[bytes, str]:
    """All bytes of a file of at most so many, and its name. Raises ``Refused``."""
    tree = Tree(context.workspace)
    parts = tree.find(path)
    info = tree.look(parts)
    if info is None:
        raise Refused(missing(tree, path, parts))
    if stat.S_ISDIR(info.st_mode):
        raise Refused(f"{say(parts)} is a folder")
    return tree.read(parts, most)[0], say(parts)


def put_all(
    context: Context, tool: str, args: Args, made: list[tuple[str, bytes]], told: str,
    *, overwrite: bool,
) -> str:  # fmt: skip
    """Write what was made, by path, as one change; ``told`` is what is said of it."""
    with changing(context, tool, args) as desk:
        if desk.before:
            return desk.before
        for path, data in made:
            at = desk.tree.find(path)
            info = desk.tree.look(at)
            if info is not None and not overwrite:
                raise Refused(f"{say(at)} is there already; overwrite=true replaces it")
            if info is not None:
                desk.check_size(at, info)
            desk.write(at, data, desk.tree.state(at) if info is not None else None)
        return desk.done(told)


def find(tree: Tree, path: str, *, follow: bool = True) -> tuple[Parts, State]:
    """What is at a path. Raises ``Refused`` where there is nothing."""
    parts = tree.find(path, follow=follow)
    state = tree.state(parts)
    if state is None:
        raise Refused(missing(tree, path, parts))
    return parts, state


def missing(tree: Tree, path: str, parts: Parts) -> str:
    """Words for a path where there is nothing."""
    hint = tree.hint(parts)
    more = f"there is {hint!r}, and capitals count" if hint else "list_files shows what is"
    return f"there is no {path!r} in the workspace; {more}"


def files_box(context: Context) -> Box:
    """The one sandbox of all tools that change files: the workspace, and what undoes it."""
    return Box("files", mounts=(Mount(context.workspace, write=True), *kept(context)), bounds=_MOST)


_MOST = Bounds(memory_mb=1024, processes=64, cpu_s=120, wall_s=120, file_mb=8192)


def kept(context: Context) -> tuple[Mount, ...]:
    """The folder of copies and of the journal, which is made."""
    if context.keep is None:
        return ()
    folder: Path = context.keep / UNDO
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return (Mount(folder, write=True),)
