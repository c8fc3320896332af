"""Names and sizes of what is in a folder of the workspace."""

from __future__ import annotations

import os
import stat
from typing import Annotated

from msgspec import Meta

from stead.agent.files.names import shown
from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.agent.tools.workspace import locate, looked_at, open_inside, size_words
from stead.core.states import Effects, OnUnknown

MOST = 200
"""Entries shown."""


class ListArgs(Args, frozen=True):
    path: Annotated[str, Meta(description="Folder within the workspace; empty: its top")] = ""


def entries(args: ListArgs, context: Context) -> str:
    """One line an entry: folders first (with a slash), then files with their size."""
    try:
        real, name = locate(context, args.path)
    except ToolError as problem:
        if args.path == "":
            raise
        here = entries(ListArgs(), context)  # small models guess a path and need a way back
        raise ToolError(f"{problem}\nThe workspace holds:\n{here}") from problem
    if not real.is_dir():
        raise ToolError(f"{args.path!r} is a file; call read_file to see what it says")
    fd = open_inside(context, real)
    try:
        names = sorted(os.listdir(fd))
        kinds = [_entry(fd, entry) for entry in names[: MOST * 5]]
    finally:
        os.close(fd)
    lines = [line for _, line in sorted(kinds, key=lambda kind: not kind[0])]
    where = f"folder {name!r}" if name else "the workspace"
    if not lines:
        return f"{where} is empty"
    more = f"\n[{len(names) - MOST} more not shown]" if len(names) > MOST else ""
    return "\n".join(lines[:MOST]) + more


def _entry(folder: int, name: str) -> tuple[bool, str]:
    shown_as = shown(name)
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False, f"{shown_as} (gone)"
    if stat.S_ISDIR(info.st_mode):
        return True, f"{shown_as}/"
    if stat.S_ISLNK(info.st_mode):
        return False, f"{shown_as} (link)"
    if not stat.S_ISREG(info.st_mode):
        return False, f"{shown_as} (not a file)"
    return False, f"{shown_as} {size_words(info.st_size)}"


LIST_FILES = Tool(
    name="list_files",
    about="List the files and folders in the workspace, or in a folder of it, with their sizes.",
    short="names of the owner's files",
    args=ListArgs,
    run=blocking(entries),
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    touches=looked_at,
    small=True,
)
