"""Apply a unified diff to files of the workspace."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stead.agent.files import hunks
from stead.agent.files.change import Source
from stead.agent.files.text import Form, read_text
from stead.agent.files.tree import Refused, State, say
from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.agent.tools.changing import Desk, changing, files_box, find
from stead.agent.tools.workspace import one_place
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches

MOST = 20_000_000
"""Bytes of a file that can be patched."""


class PatchArgs(Args, frozen=True):
    patch: Annotated[str, Meta(description="Unified diff; --- /dev/null makes a file")]


def patch(args: PatchArgs, context: Context) -> str:
    """One line a file, and what was needed to fit the diff in."""
    with changing(context, "patch", args) as desk:
        if desk.before:
            return desk.before
        parts = hunks.read(args.patch)
        names = [name for part in parts for name in {part.old, part.new} if name is not None]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise Refused(f"the diff speaks of {twice!r} twice; put its hunks into one part")
        told = [line for part in parts for line in _one(desk, part)]
        return desk.done("\n".join(told))


def _one(desk: Desk, part: hunks.Part) -> list[str]:
    if part.old is None:
        return _new(desk, part)
    at, state = find(desk.tree, part.old)
    if state.kind != "file":
        raise Refused(f"{say(at)} is a folder")
    data, before = desk.tree.read(at, MOST)
    text, form = read_text(data)
    made, notes = hunks.apply(part, text, form)
    if part.new is None:
        if made:
            raise Refused(f"the diff deletes {say(at)}, but it holds more than the diff says")
        desk.change.put(at, *_gone(before))
        return [f"deleted {say(at)}", *notes]
    if part.new == part.old:
        desk.write(at, form.encode(made), before)
        return [f"changed {say(at)} ({len(part.hunks)} hunks)", *notes]
    to = desk.tree.find(part.new)
    if desk.tree.look(to) is not None:
        raise Refused(f"the diff renames {say(at)} to {say(to)}, which is there already")
    desk.change.put(at, *_gone(before))
    desk.write(to, form.encode(made), None, before.mode & 0o777)
    return [f"renamed {say(at)} to {say(to)}", *notes]


def _new(desk: Desk, part: hunks.Part) -> list[str]:
    assert part.new is not None
    at = desk.tree.find(part.new)
    if desk.tree.look(at) is not None:
        raise Refused(f"the diff makes {say(at)} anew, but it is there already; nothing was done")
    made, _ = hunks.apply(part, "", Form())
    desk.write(at, made.encode("utf-8", "replace"), None)
    return [f"made {say(at)}"]


def _gone(before: State) -> tuple[Source, None, State]:
    return Source(), None, before


def touches(args: PatchArgs, context: Context) -> Touches:
    try:
        parts = hunks.read(args.patch)
    except Refused as problem:
        raise ToolError(str(problem)) from problem
    old = [one_place(context, part.old) for part in parts if part.old is not None]
    new = [one_place(context, part.new) for part in parts if part.new is not None]
    return Touches(reads=tuple(old), writes=tuple(dict.fromkeys(old + new)))


def preview(args: PatchArgs, context: Context) -> str:
    """What will happen, in plain words."""
    return f"Apply this diff to files of the workspace:\n{args.patch[:4000]}"


PATCH = Tool(
    name="patch",
    about="Apply a unified diff to files of the workspace: all of it, or nothing.",
    short="apply a diff",
    args=PatchArgs,
    run=blocking(patch),
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=60,
    touches=touches,
    preview=preview,
    box=lambda _, context: files_box(context),
    group="files",
)
