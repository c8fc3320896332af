"""Move, copy and delete files and folders of the workspace; make folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta

from stead.agent.files.change import Source
from stead.agent.files.tree import Parts, Refused, State, say
from stead.agent.tools.base import Args, Context, Tool, blocking
from stead.agent.tools.changing import Desk, changing, files_box, missing
from stead.agent.tools.workspace import one_place
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches

Action = Literal["move", "copy", "delete", "make_folder"]


class ManageArgs(Args, frozen=True):
    action: Action
    path: Annotated[str, Meta(description="File or folder, relative to the workspace")]
    to: Annotated[str, Meta(description="Of move and copy: the new path, or a folder")] = ""
    recursive: Annotated[bool, Meta(description="Of delete: a folder with all in it")] = False
    overwrite: Annotated[bool, Meta(description="Of move and copy: replace a file")] = False


def manage(args: ManageArgs, context: Context) -> str:
    """One line on what was done."""
    with changing(context, "manage_files", args) as desk:
        if desk.before:
            return desk.before
        at = desk.tree.find(args.path, follow=args.action == "make_folder")
        if args.action == "make_folder":
            return _make(desk, at)
        info = desk.tree.look(at)
        if info is None:
            raise Refused(missing(desk.tree, args.path, at))
        if not at:
            raise Refused("that is the workspace itself; name something in it")
        if args.action == "delete":
            return _delete(desk, at, args.recursive)
        to = _target(desk, at, args)
        if args.action == "move":
            _clear(desk, at, to, args)
            desk.change.move(at, to, info.st_ino)
            return desk.done(f"moved {say(at)} to {say(to)}")
        return _copy(desk, at, to, args)


def _make(desk: Desk, at: Parts) -> str:
    info = desk.tree.look(at)
    if info is not None and stat.S_ISDIR(info.st_mode):
        return f"the folder {say(at)} is there already"
    if info is not None:
        raise Refused(f"{say(at)} is there already, and is no folder")
    desk.change.folders(at)
    return desk.done(f"made the folder {say(at)}")


def _delete(desk: Desk, at: Parts, recursive: bool) -> str:
    found = list(_walk(desk, at))
    if len(found) > 1 and not recursive:
        raise Refused(f"{say(at)} is a folder that is not empty ({len(found) - 1} in it);"
                      " with recursive=true all of it is deleted")  # fmt: skip
    for parts, state in reversed(found):
        if state.kind == "folder":
            desk.change.folder(parts, state, None)
        else:
            desk.change.put(parts, Source(), None, state)
    more = f" and all in it ({len(found) - 1})" if len(found) > 1 else ""
    return desk.done(f"deleted {say(at)}{more}")


def _target(desk: Desk, at: Parts, args: ManageArgs) -> Parts:
    """Where it goes: into a folder that is there, or to a new name."""
    if not args.to.strip():
        raise Refused(f"to is empty; say where to {args.action} it")
    to = desk.tree.find(args.to, follow=True)
    info = desk.tree.look(to)
    inside = info is not None and stat.S_ISDIR(info.st_mode) and to != at
    if inside or args.to.rstrip().endswith("/"):
        to = (*to, at[-1])
    if to[: len(at)] == at and len(to) > len(at):
        raise Refused(f"{say(to)} is within {say(at)} itself")
    return to


def _clear(desk: Desk, at: Parts, to: Parts, args: ManageArgs) -> None:
    """Take away what is at the new place, if that is allowed."""
    info = desk.tree.look(to)
    if info is None:
        return
    if to == at:
        raise Refused(f"{say(at)} is there already")
    mine = desk.tree.look(at)
    if mine is not None and mine.st_ino == info.st_ino and mine.st_nlink == 1:
        return  # the same name to this file system, but for its capitals
    if not args.overwrite or not stat.S_ISREG(info.st_mode):
        more = "" if stat.S_ISDIR(info.st_mode) else "; overwrite=true replaces it"
        raise Refused(f"{say(to)} is there already{more}")
    desk.check_size(to, info)
    desk.change.put(to, Source(), None, desk.tree.state(to))


def _copy(desk: Desk, at: Parts, to: Parts, args: ManageArgs) -> str:
    if to == at:
        raise Refused(f"{say(at)} cannot be copied onto itself")
    found = list(_walk(desk, at))
    opened: list[int] = []
    try:
        for parts, state in found:
            new = (*to, *parts[len(at) :])
            if state.kind == "folder":
                desk.change.folders(new)
                continue
            if state.kind == "link":
                raise Refused(f"{say(parts)} is a link, which is not copied")
            fd = desk.tree.open(parts)
            opened.append(fd)
            if len(opened) > _MOST_OPEN:
                raise Refused(f"that are more than {_MOST_OPEN} files; copy them in parts")
            _over(desk, new, fd, state, args)
        more = f" ({len(opened)} files)" if len(found) > 1 else ""
        return desk.done(f"copied {say(at)} to {say(to)}{more}")
    finally:
        for fd in opened:
            os.close(fd)


_MOST_OPEN = 800


def _over(desk: Desk, new: Parts, fd: int, state: State, args: ManageArgs) -> None:
    info = desk.tree.look(new)
    before = None
    if info is not None:
        if not args.overwrite or not stat.S_ISREG(info.st_mode):
            raise Refused(f"{say(new)} is there already; overwrite=true replaces files")
        desk.check_size(new, info)
        before = desk.tree.state(new)
    desk.write(new, Source(fd=fd), before, state.mode & 0o777)


def _walk(desk: Desk, at: Parts) -> Iterator[tuple[Parts, State]]:
    """It and all below it, folders before what is in them."""
    info = desk.tree.look(at)
    if info is not None and stat.S_ISREG(info.st_mode):
        desk.check_size(at, info)
    state = desk.tree.state(at)
    if state is None:
        return
    yield at, state
    if state.kind == "folder":
        with desk.tree.folder(at) as fd:
            names = sorted(os.listdir(fd))
        for name in names:
            yield from _walk(desk, (*at, name))


def touches(args: ManageArgs, context: Context) -> Touches:
    here = one_place(context, args.path)
    if args.action in ("delete", "make_folder"):
        return Touches(writes=(here,))
    there = one_place(context, args.to)
    writes = (there,) if args.action == "copy" else (here, there)
    return Touches(reads=(here,), writes=writes)


def preview(args: ManageArgs, context: Context) -> str:
    """What will happen, in plain words."""
    match args.action:
        case "delete":
            return f"Delete {args.path}" + (" and all in it" if args.recursive else "")
        case "make_folder":
            return f"Make the folder {args.path}"
        case verb:
            over = ", replacing what is there" if args.overwrite else ""
            return f"{verb.capitalize()} {args.path} to {args.to}{over}"


MANAGE_FILES = Tool(
    name="manage_files",
    about="Move, copy or delete files and folders of the workspace, or make a folder.",
    short="move, copy, delete files",
    args=ManageArgs,
    run=blocking(manage),
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=120,
    touches=touches,
    preview=preview,
    box=lambda _, context: files_box(context),
    group="files",
)
