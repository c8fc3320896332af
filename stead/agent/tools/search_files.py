"""Which files of the workspace contain some words."""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.agent.tools.workspace import is_binary, locate, looked_at, open_inside
from stead.core.states import Effects, OnUnknown

MOST_FILES = 5_000
MOST_BYTES = 2_000_000
"""Larger files are not read."""
MOST_HITS = 40
MOST_HITS_A_FILE = 5
LINE = 160
"""Characters of a line shown."""
SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".venv"})


class SearchArgs(Args, frozen=True):
    text: Annotated[str, Meta(description="Words to find, as they stand; case does not matter")]
    path: Annotated[str, Meta(description="Folder to search; empty: the whole workspace")] = ""


class _Search:
    def __init__(self, text: str, context: Context) -> None:
        self.needle = text.casefold()
        self.context = context
        self.hits: list[str] = []
        self.files = 0
        self.large = 0
        self.stopped = ""

    def full(self) -> bool:
        room = self.context.limit - MOST_HITS_A_FILE * (LINE + 80)  # for one more file
        if len(self.hits) >= MOST_HITS or sum(map(len, self.hits)) > room:
            self.stopped = f"stopped at {len(self.hits)} hits"
        elif self.files >= MOST_FILES:
            self.stopped = f"stopped after {MOST_FILES} files"
        elif self.context.late:
            self.stopped = "stopped: it took too long"
        return bool(self.stopped)

    def walk(self, top: int, within: str) -> None:
        for folder, folders, names, fd in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            folders[:] = sorted(name for name in folders if name not in SKIPPED)
            prefix = os.path.normpath(os.path.join(within, folder)) + "/"
            for name in sorted(names):
                if self.full():
                    return
                self.files += 1
                self.file(fd, name, (prefix + name).removeprefix("./"))

    def file(self, folder: int, name: str, shown: str) -> None:
        if self.needle in name.casefold():
            self.hits.append(f"{shown} (the name)")
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError:
            return  # a link, gone, or not ours to read
        if len(data) > MOST_BYTES:
            self.large += 1
        elif not is_binary(data[:8192]):
            self._lines(data.decode("utf-8", "replace"), shown)

    def _lines(self, text: str, shown: str) -> None:
        found = 0
        if self.needle not in text.casefold():
            return
        for number, line in enumerate(text.splitlines(), 1):
            if self.needle not in line.casefold():
                continue
            found += 1
            if found > MOST_HITS_A_FILE:
                self.hits.append(f"{shown}: more hits not shown")
                return
            self.hits.append(f"{shown}:{number}: {line.strip()[:LINE]}")


def search(args: SearchArgs, context: Context) -> str:
    """One line a hit: ``path:line number: the line``. Links are not followed."""
    if not args.text.strip():
        raise ToolError("text is empty; say what to look for")
    real, within = locate(context, args.path)
    if not real.is_dir():
        raise ToolError(f"{args.path!r} is a file; give its folder, or use read_file")
    found = _Search(args.text.strip(), context)
    top = open_inside(context, real)
    try:
        found.walk(top, within)
    finally:
        os.close(top)
    notes = [found.stopped] if found.stopped else []
    if found.large:
        notes.append(f"{found.large} files over {MOST_BYTES // 1_000_000} MB not searched")
    if not found.hits:
        found.hits.append(f"nothing found for {args.text!r} in {found.files} files")
    text = "\n".join(found.hits + [f"[{note}]" for note in notes])
    return text.encode("utf-8", "replace").decode()


SEARCH_FILES = Tool(
    name="search_files",
    about="Find words in the names and lines of the text files in the workspace.",
    short="which files have a word",
    args=SearchArgs,
    run=blocking(search),
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    touches=looked_at,
    small=True,
)
