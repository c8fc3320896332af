"""What a text file of the workspace says."""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.agent.tools.workspace import is_binary, locate, looked_at, open_inside, size_words
from stead.core.states import Effects, OnUnknown

SKIP_MOST = 50_000_000
"""Bytes passed over at most on the way to ``from_line``."""


class ReadArgs(Args, frozen=True):
    path: Annotated[str, Meta(description="File, relative to the workspace")]
    from_line: Annotated[int, Meta(description="First line to show", ge=1)] = 1


def content(args: ReadArgs, context: Context) -> str:
    """The text from a line on, as much as fits, with a note on where it goes on."""
    real, _ = locate(context, args.path)
    if real.is_dir():
        raise ToolError(f"{args.path!r} is a folder; list_files shows what is in it")
    with os.fdopen(open_inside(context, real), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if is_binary(file.read(8192)):
            raise ToolError(f"{args.path!r} is not text ({size_words(size)} of binary data)")
        file.seek(0)
        for number in range(1, args.from_line):
            if not file.readline(SKIP_MOST):
                raise ToolError(f"{args.path!r} has only {number - 1} lines")
            if file.tell() > SKIP_MOST or context.late:
                raise ToolError(f"{args.path!r} is too large to read from line {args.from_line}")
        room = context.limit - 120  # for the note
        data = file.read(room * 4)
        whole = file.tell() >= size
    text = data.decode("utf-8", "replace")
    if not text:
        return "[the file is empty]" if args.from_line == 1 else "[nothing after that line]"
    if whole and len(text) <= room:
        return text
    shown = text[:room]
    if "\n" in shown:
        shown = shown[: shown.rindex("\n") + 1]
        note = f"go on with from_line={args.from_line + shown.count(chr(10))}"
    else:
        note = "the rest of this very long line cannot be shown"
    return f"{shown}[not all of {size_words(size)}; {note}]"


READ_FILE = Tool(
    name="read_file",
    about="Read a text file of the workspace. Long files come in parts; go on with from_line.",
    short="what a file says",
    args=ReadArgs,
    run=blocking(content),
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    touches=looked_at,
    small=True,
)
