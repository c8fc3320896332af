"""Write a whole file of the workspace."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stead.agent.files.text import Form, read_text
from stead.agent.files.tree import Parts, Refused, State, say
from stead.agent.tools.base import Args, Context, Tool, blocking
from stead.agent.tools.changing import Desk, changing, files_box
from stead.agent.tools.workspace import one_place, size_words
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches

MOST = 20_000_000
"""Bytes of a file that is read to be written."""
GUARDED = 1_000
"""Files of so many bytes and more are not shrunk below half by the way."""


class WriteArgs(Args, frozen=True):
    path: Annotated[str, Meta(description="File; folders are made")]
    content: Annotated[str, Meta(description="All of its text")]
    append: Annotated[bool, Meta(description="Add at the end")] = False
    overwrite: Annotated[bool, Meta(description="Allow a much shorter text")] = False


def write(args: WriteArgs, context: Context) -> str:
    """One line: what was written, and what was kept of how the file was."""
    with changing(context, "write_file", args) as desk:
        if desk.before:
            return desk.before
        parts = desk.tree.find(args.path)
        old, before = _old(desk, parts, args)
        made, form = _made(args, old)
        name = say(parts)
        if before is None:
            told = f"wrote {name}: new, {size_words(len(made))}"
        else:
            _guard(name, before.size, len(made), args)
            verb = "added to" if args.append else "wrote"
            told = f"{verb} {name}: {size_words(len(made))}, before {size_words(before.size)}"
        if form.words:
            told += f" (kept: {form.words})"
        desk.write(parts, made, before)
        return desk.done(told)


def _old(desk: Desk, parts: Parts, args: WriteArgs) -> tuple[bytes, State | None]:
    info = desk.tree.look(parts)
    if info is None:
        return b"", None
    desk.check_size(parts, info)
    if info.st_size > MOST and not args.append:
        return b"", desk.tree.state(parts)
    return desk.tree.read(parts, MOST)


def _made(args: WriteArgs, old: bytes) -> tuple[bytes, Form]:
    """The bytes to be written, in the form that the file had."""
    if not old:
        return _utf8(args.content), Form()
    try:
        text, form = read_text(old)
    except Refused:
        if args.append:
            raise
        return _utf8(args.content), Form()
    fits = args.content if "\r\n" in args.content else form.ended(args.content)
    if args.append:
        gap = form.ends if text and not text.endswith("\n") and fits else ""
        return old + form.encode(gap + fits)[len(form.bom) :], form
    try:
        return form.encode(fits), form
    except Refused:
        return _utf8(fits), Form(ends=form.ends)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # half of a pair of surrogates cannot be written


def _guard(name: str, before: int, after: int, args: WriteArgs) -> None:
    if args.overwrite or before < GUARDED or after * 2 >= before:
        return
    raise Refused(
        f"{name} has {size_words(before)} and would be left with {size_words(after)}."
        " Use edit_file to change a part of it; or, if that is meant, overwrite=true"
    )


def touches(args: WriteArgs, context: Context) -> Touches:
    return Touches(writes=(one_place(context, args.path),))


def preview(args: WriteArgs, context: Context) -> str:
    """What will happen, in plain words."""
    lines = args.content.count("\n") + 1
    verb = "Add to the end of" if args.append else "Write"
    return f"{verb} the file {args.path}: {lines} lines, {size_words(len(args.content))}"


WRITE_FILE = Tool(
    name="write_file",
    about="Write a whole text file of the workspace.",
    short="write a file",
    args=WriteArgs,
    run=blocking(write),
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=60,
    touches=touches,
    preview=preview,
    box=lambda _, context: files_box(context),
)
