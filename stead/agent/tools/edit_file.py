"""Change a part of a text file of the workspace."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stead.agent.files.text import Form, read_text
from stead.agent.files.tree import Refused, say
from stead.agent.tools.base import Args, Context, Tool, blocking
from stead.agent.tools.changing import changing, files_box, find
from stead.agent.tools.workspace import one_place
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches

MOST = 20_000_000
"""Bytes of a file that can be edited."""
_LINES_COMPARED = 20_000
_SHOWN = 300
"""Characters of the nearest text that are told."""


class EditArgs(Args, frozen=True):
    path: Annotated[str, Meta(description="File")]
    old: Annotated[str, Meta(description="Exact text, once in the file")]
    new: Annotated[str, Meta(description="What to put there")]
    all: Annotated[bool, Meta(description="Replace all of them")] = False


def edit(args: EditArgs, context: Context) -> str:
    """One line: how many places were changed, and in which lines."""
    with changing(context, "edit_file", args) as desk:
        if desk.before:
            return desk.before
        if not args.old:
            raise Refused("old is empty; name the text to be replaced, or use write_file")
        parts, state = find(desk.tree, args.path)
        if state.kind != "file":
            raise Refused(f"{say(parts)} is a folder")
        data, before = desk.tree.read(parts, MOST)
        text, form = read_text(data)
        old = _as_written(text, args.old, form)
        at = _places(text, old)
        _check(at, text, args, say(parts))
        new = args.new if form.mixed and "\n" not in args.old else form.ended(args.new)
        if old == new:
            raise Refused("old and new are the same, so there is nothing to change")
        made = text.replace(old, new) if args.all else text.replace(old, new, 1)
        lines = [text.count("\n", 0, place) + 1 for place in at[:5]]
        desk.write(parts, form.encode(made), before)
        return desk.done(_told(say(parts), at, lines, form))


def _as_written(text: str, old: str, form: Form) -> str:
    """What to look for: models write line ends their own way."""
    if old in text or "\n" not in old:
        return old
    plain = old.replace("\r\n", "\n")
    for ends in (form.ends, "\r\n", "\n"):
        if (there := plain.replace("\n", ends)) in text:
            return there
    return old


def _places(text: str, old: str) -> list[int]:
    found = []
    at = text.find(old)
    while at >= 0:
        found.append(at)
        at = text.find(old, at + len(old))
    return found


def _check(at: list[int], text: str, args: EditArgs, name: str) -> None:
    if not at:
        near = _nearest(text, args.old)
        raise Refused(f"that text is not in {name}; nothing was changed. {near}")
    if len(at) > 1 and not args.all:
        lines = ", ".join(dict.fromkeys(str(text.count("\n", 0, place) + 1) for place in at[:8]))
        raise Refused(
            f"that text stands {len(at)} times in {name} (lines {lines}); nothing was changed."
            " Give more of the text around it, or all=true"
        )


def _nearest(text: str, old: str) -> str:
    """Where the file is most like what was looked for, in words."""
    import difflib  # late: only a failed edit needs it

    wanted = old.replace("\r\n", "\n").strip("\n").split("\n")
    lines = text.replace("\r\n", "\n").split("\n")[:_LINES_COMPARED]
    first = max(wanted, key=lambda line: len(line.strip()))
    offset = wanted.index(first)
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(first.strip()[:400])
    best, where = 0.0, -1
    for number, line in enumerate(lines):
        matcher.set_seq1(line.strip()[:400])
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) <= best:
            continue
        if (ratio := matcher.ratio()) > best:
            best, where = ratio, number
            if best == 1.0:
                break
    if best < 0.5:
        return "Nothing in it is like that; read_file shows what it says"
    start = max(0, where - offset)
    near = "\n".join(lines[start : start + len(wanted)])
    cut = f"{near[:_SHOWN]}..." if len(near) > _SHOWN else near
    return f"The nearest is in line {start + 1}:\n{cut}"


def _told(name: str, at: list[int], lines: list[int], form: Form) -> str:
    where = ", ".join(map(str, lines)) + (", ..." if len(at) > len(lines) else "")
    if len(at) == 1:
        return f"changed {name} in line {where}"
    kept = f" (kept: {form.words})" if form.words else ""
    return f"changed {name} in {len(at)} places (lines {where}){kept}"


def touches(args: EditArgs, context: Context) -> Touches:
    place = one_place(context, args.path)
    return Touches(reads=(place,), writes=(place,))


def preview(args: EditArgs, context: Context) -> str:
    """What will happen, in plain words."""
    many = "wherever it stands" if args.all else "in one place"
    return f"In the file {args.path} replace, {many}:\n{args.old[:500]}\nby:\n{args.new[:500]}"


EDIT_FILE = Tool(
    name="edit_file",
    about="Replace a text in a file of the workspace by another.",
    short="change a part of a file",
    args=EditArgs,
    run=blocking(edit),
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=60,
    touches=touches,
    preview=preview,
    box=lambda _, context: files_box(context),
)
