"""Paths under the workspace: nothing outside it can be named, linked to or raced into."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from stead.agent.files.tree import Refused, Tree
from stead.agent.tools.base import Context, ToolError
from stead.agent.tools.changing import missing
from stead.permit.words import Touches


def locate(context: Context, path: str) -> tuple[Path, str]:
    """The real place of ``path`` and its name relative to the workspace (``""``: itself).

    Absolute paths, ``..`` and symlinks are fine as long as they end inside;
    anything else raises ``ToolError``.
    """
    try:
        tree = Tree(context.workspace)
        parts = tree.find(path)
        real = tree.root.joinpath(*parts)
        if not real.exists():
            raise ToolError(missing(tree, path, parts))
    except Refused as problem:
        raise ToolError(str(problem)) from problem
    except OSError as problem:
        raise ToolError(f"{path[:80]!r}: {problem.strerror}") from problem
    return real, "/".join(parts)


def open_inside(context: Context, real: Path) -> int:
    """Open what :func:`locate` found, for reading; the caller closes the descriptor.

    Every folder on the way is opened without following links, so a link put
    there after the check leads nowhere. Devices, pipes and sockets are refused.
    """
    root = _root(context)
    parts = real.relative_to(root).parts
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    at = os.open(root, flags | os.O_DIRECTORY)
    try:
        for part in parts:
            below = os.open(part, flags, dir_fd=at)
            os.close(at)
            at = below
        mode = os.fstat(at).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ToolError(f"{real.name!r} is not an ordinary file or folder")
    except OSError as problem:
        os.close(at)
        raise ToolError(f"{real.name!r} cannot be opened: {problem.strerror}") from problem
    except ToolError:
        os.close(at)
        raise
    return at


def size_words(size: int) -> str:
    """Bytes as a person says them."""
    if size < 1000:
        return f"{size} bytes"
    for unit, bytes_each in (("KB", 1e3), ("MB", 1e6)):
        if size < bytes_each * 1000:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size / 1e9:.1f} GB"


def is_binary(start: bytes) -> bool:
    """Whether the first bytes of a file look like no text."""
    return b"\0" in start


def _root(context: Context) -> Path:
    root = Path(os.path.realpath(context.workspace))
    if not root.is_dir():
        raise ToolError("the workspace folder does not exist yet, so it holds no files")
    return root


def looked_at(args: Any, context: Context) -> Touches:
    """What reading ``args.path`` touches: something of the owner's."""
    try:
        return Touches(reads=(one_place(context, args.path or "."),), private=True)
    except ToolError:  # the tool itself says what is wrong with it
        return Touches(private=True)


def one_place(context: Context, path: str) -> Path:
    """The absolute place of a path that need not exist, for the rules of permission.

    Raises ``ToolError`` where it is outside the workspace.
    """
    try:
        tree = Tree(context.workspace)
        return tree.root.joinpath(*tree.find(path))
    except Refused as problem:
        raise ToolError(str(problem)) from problem
