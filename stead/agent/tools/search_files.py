"""Which files of the workspace contain some words."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from typing import Annotated

from msgspec import Meta

from stead.agent.files import globs, ripgrep
from stead.agent.files.names import shown
from stead.agent.files.text import read_text
from stead.agent.files.tree import Refused
from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.agent.tools.workspace import locate, looked_at, open_inside
from stead.core.states import Effects, OnUnknown

MOST_FILES = 5_000
MOST_FILES_WITH_RIPGREP = 200_000
MOST_BYTES = 2_000_000
"""Larger files are not read."""
MOST_HITS = 40
MOST_HITS_A_FILE = 5
LINE = 160
"""Characters of a line shown."""
MOST_LINE = 10_000
"""Characters of a line that are looked at."""
SKIPPED = frozenset({".git", "node_modules", "__pycache__", ".venv"})


class SearchArgs(Args, frozen=True):
    text: Annotated[str, Meta(description="Words as they stand, in any case")]
    path: Annotated[str, Meta(description="Folder; empty: the workspace")] = ""
    glob: Annotated[str, Meta(description="Such as *.py")] = ""
    regex: bool = False
    context: Annotated[int, Meta(description="Lines around", ge=0, le=5)] = 0


class _Search:
    def __init__(self, args: SearchArgs, context: Context) -> None:
        self.needle = args.text.strip().lower()
        self.regex = _compiled(args.text) if args.regex else None
        self.glob = globs.pattern(args.glob) if args.glob else None
        self.around = args.context
        self.context = context
        self.hits: list[str] = []
        self.count = 0
        self.files = 0
        self.large = 0
        self.stopped = ""
        self.worth: set[str] | None = None

    def matches(self, text: str) -> bool:
        if self.regex is not None:
            return self.regex.search(text) is not None
        return self.needle in text.lower()

    def full(self) -> bool:
        room = self.context.limit - MOST_HITS_A_FILE * (LINE + 80)  # for one more file
        most = MOST_FILES if self.worth is None else MOST_FILES_WITH_RIPGREP
        if self.count >= MOST_HITS or sum(map(len, self.hits)) > room:
            self.stopped = f"stopped at {self.count} hits"
        elif self.files >= most:
            self.stopped = f"stopped after {most} files"
        elif self.context.late:
            self.stopped = "stopped: it took too long"
        return bool(self.stopped)

    def ask_ripgrep(self, top: int, args: SearchArgs) -> None:
        self.worth = ripgrep.candidates(
            top,
            args.text if args.regex else args.text.strip(),
            regex=args.regex,
            largest=MOST_BYTES,
            skipped=SKIPPED,
            seconds=self.context.until - time.monotonic() - 2,
        )

    def walk(self, top: int, within: str) -> None:
        for folder, folders, names, fd in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            folders[:] = sorted(name for name in folders if name not in SKIPPED)
            below = "" if folder == "." else folder.removeprefix("./") + "/"
            for name in sorted(names):
                if self.full():
                    return
                if self.glob is None or self.glob.fullmatch(below + name):
                    self.files += 1
                    self.file(fd, name, below + name, within)

    def file(self, folder: int, name: str, path: str, within: str) -> None:
        label = shown(f"{within}/{path}" if within else path)
        if self.matches(name):
            self.hit(f"{label} (the name)")
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if info.st_size > MOST_BYTES and stat.S_ISREG(info.st_mode):
                self.large += 1
                return
            if self.worth is not None and path not in self.worth:
                return
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(name, flags, dir_fd=folder), "rb") as file:
                data = file.read(MOST_BYTES + 1)
        except OSError:
            return  # a link, gone, or not ours to read
        with contextlib.suppress(Refused):  # no text
            self._lines(read_text(data)[0], label)

    def hit(self, line: str) -> None:
        self.count += 1
        self.hits.append(line)

    def _lines(self, text: str, label: str) -> None:
        if self.regex is None and self.needle not in text.lower():
            return
        lines = text.splitlines()
        told = -1  # the last line that was shown
        found = 0
        for number, line in enumerate(lines):
            if not self.matches(line[:MOST_LINE]):
                continue
            found += 1
            if found > MOST_HITS_A_FILE:
                self.hits.append(f"{label}: more hits not shown")
                return
            for near in range(max(told + 1, number - self.around), number):
                self.hits.append(f"{label}-{near + 1}- {lines[near].rstrip()[:LINE]}")
            text_of = line.rstrip() if self.around else line.strip()
            self.hit(f"{label}:{number + 1}: {text_of[:LINE]}")
            told = number
            after = lines[number + 1 : number + 1 + self.around]
            for more, near_line in enumerate(after, number + 1):
                if self.matches(near_line[:MOST_LINE]):
                    break
                self.hits.append(f"{label}-{more + 1}- {near_line.rstrip()[:LINE]}")
                told = more


def _compiled(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except (re.error, RecursionError, OverflowError) as problem:
        raise ToolError(f"{text[:80]!r} is no regular expression: {problem}") from problem


def search(args: SearchArgs, context: Context) -> str:
    """One line a hit: ``path:line number: the line``; of lines around it ``path-number- line``.
    Links are not followed."""
    if not args.text.strip():
        raise ToolError("text is empty; say what to look for")
    real, within = locate(context, args.path)
    if not real.is_dir():
        raise ToolError(f"{args.path!r} is a file; give its folder, or use read_file")
    found = _Search(args, context)
    top = open_inside(context, real)
    try:
        found.ask_ripgrep(top, args)
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
    about="Find words or a regular expression in the files of the workspace.",
    short="which files have a word",
    args=SearchArgs,
    run=blocking(search),
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    touches=looked_at,
    small=True,
)
