"""What a text file of the workspace says."""

from __future__ import annotations

import codecs
import contextlib
import os
from typing import Annotated, BinaryIO

from msgspec import Meta

from stead.agent.files.text import read_text
from stead.agent.files.tree import Refused
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
        start = file.read(8192)
        wide = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if is_binary(start) and not (wide and size <= SKIP_MOST):
            raise ToolError(f"{args.path!r} is not text ({size_words(size)} {_kind(start)})")
        if wide:
            return _shown(_utf16(file, args), size, context.limit - 120, args.from_line)
        file.seek(0)
        for number in range(1, args.from_line):
            if not file.readline(SKIP_MOST):
                raise ToolError(f"{args.path!r} has only {number - 1} lines")
            if file.tell() > SKIP_MOST or context.late:
                raise ToolError(f"{args.path!r} is too large to read from line {args.from_line}")
        room = context.limit - 120  # for the note
        data = file.read(room * 4)
        whole = file.tell() >= size
    text = _decoded(data, whole)
    if args.from_line == 1:
        text = text.removeprefix("\ufeff")
    return _shown(text, size, room, args.from_line, whole=whole)


def _shown(text: str, size: int, room: int, first: int, *, whole: bool = True) -> str:
    """As much as fits, and a note on where it goes on."""
    if not text:
        return "[the file is empty]" if first == 1 else "[nothing after that line]"
    if whole and len(text) <= room:
        return text
    part = text[:room]
    if "\n" in part:
        part = part[: part.rindex("\n") + 1]
        note = f"go on with from_line={first + part.count(chr(10))}"
    else:
        note = "the rest of this very long line cannot be shown"
    return f"{part}[not all of {size_words(size)}; {note}]"


def _decoded(data: bytes, whole: bool) -> str:
    """As the tools that change files decode it, so that they find what was read here."""
    if not whole:  # it may end within a letter
        with contextlib.suppress(UnicodeDecodeError):
            return codecs.getincrementaldecoder("utf-8")().decode(data)
    with contextlib.suppress(Refused):
        return read_text(data)[0]
    return data.decode("utf-8", "replace")


def _utf16(file: BinaryIO, args: ReadArgs) -> str:
    file.seek(0)
    lines = file.read().decode("utf-16", "replace").splitlines(keepends=True)
    if args.from_line > max(1, len(lines)):
        raise ToolError(f"{args.path!r} has only {len(lines)} lines")
    return "".join(lines[args.from_line - 1 :])


def _kind(start: bytes) -> str:
    """What the first bytes say it is, and which tool looks into that."""
    for mark, words in _MARKS:
        if start.startswith(mark) or (mark == b"ftyp" and start[4:8] == mark):
            return words
    return "of binary data"


_PICTURE = "of a picture; the tool `image` looks into it, get it with more_tools"
_FILM = "of audio or video; the tool `media` looks into it, get it with more_tools"
_ARCHIVE = "of an archive; the tool `archive` lists it, get it with more_tools"
_MARKS = (
    (b"%PDF-", "of PDF; the tool `pdf` reads it, get it with more_tools"),
    (b"\x89PNG", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"RIFF", "of a picture or sound; the tools `image` and `media` look into it"),
    (b"ftyp", _FILM),
    (b"\x1aE\xdf\xa3", _FILM),
    (b"OggS", _FILM),
    (b"ID3", _FILM),
    (b"fLaC", _FILM),
    (b"PK\x03\x04", _ARCHIVE),
    (b"\x1f\x8b", _ARCHIVE),
    (b"BZh", _ARCHIVE),
    (b"\xfd7zXZ", _ARCHIVE),
    (b"SQLite format 3", "of an SQLite database; the tool `sql` reads it"),
)


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
