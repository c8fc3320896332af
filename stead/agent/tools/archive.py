"""List, unpack and make zip and tar files."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from stead.agent.files.blobs import write_all
from stead.agent.files.book import PACKED
from stead.agent.files.change import Source
from stead.agent.files.tree import Parts, Refused, Tree, say
from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.agent.tools.changing import UNDO, Desk, changing, files_box, missing, speaking
from stead.agent.tools.workspace import one_place, size_words
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches

if TYPE_CHECKING:
    from stead.agent.files.packed import Member, Packed

MOST_FILES = 10_000
_ENDINGS = {".zip": "zip", ".tar": "", ".tar.gz": "gz", ".tgz": "gz", ".tar.xz": "xz"}

Action = Literal["list", "extract", "create"]


class ArchiveArgs(Args, frozen=True):
    action: Action
    path: Annotated[str, Meta(description="The archive: .zip, .tar, .tar.gz, .tar.xz")]
    to: Annotated[str, Meta(description="extract: folder; empty: beside it, by its name")] = ""
    files: Annotated[list[str], Meta(description="create: files and folders to put in")] = []
    overwrite: bool = False


def work(args: ArchiveArgs, context: Context) -> str:
    """Names and sizes, or what was unpacked or made."""
    if args.action == "list":
        return _list(args, context)
    if context.keep is None:
        raise ToolError("files cannot be changed here: there is no place to keep what they held")
    place = context.keep / UNDO
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=PACKED) as folder:
        if args.action == "extract":
            return _extract(args, context, Path(folder))
        return _create(args, context, Path(folder))


def _libraries() -> ModuleType:
    from stead.agent.files import packed  # late: 1.3 MB in processes that never unpack

    return packed


def _opened(tree: Tree, path: str) -> tuple[Parts, int]:
    parts = tree.find(path)
    if tree.look(parts) is None:
        raise Refused(missing(tree, path, parts))
    return parts, tree.open(parts)


def _list(args: ArchiveArgs, context: Context) -> str:
    lines: list[str] = []
    more = 0
    with speaking():
        parts, fd = _opened(Tree(context.workspace), args.path)
        with os.fdopen(fd, "rb") as file:
            packed = _libraries().Packed(file, os.fstat(fd).st_size)
            for member in packed.members():
                if sum(map(len, lines)) > context.limit - 300 or context.late:
                    more += 1
                    continue
                what = size_words(member.size) if member.kind == "file" else member.kind
                lines.append(f"{say(member.parts)} {what}")
        head = f"{say(parts)}: {packed.form}, {len(lines) + more} entries"
    return "\n".join([head, *lines] + ([f"[{more} more not shown]"] if more else []))


def _extract(args: ArchiveArgs, context: Context, folder: Path) -> str:
    with speaking():
        tree = Tree(context.workspace)
        parts, fd = _opened(tree, args.path)
        top = tree.find(args.to) if args.to.strip() else (*parts[:-1], _stem(parts[-1]))
        with os.fdopen(fd, "rb") as file:
            packed = _libraries().Packed(file, os.fstat(fd).st_size)
            files, folders, skipped = _unpacked(packed, folder, context)
    with changing(context, "archive", args) as desk:
        if desk.before:
            return desk.before
        for at in folders:
            desk.change.folders((*top, *at))
        for at, (place, runs) in files.items():
            _put(desk, (*top, *at), Source(path=place), 0o755 if runs else 0o644, args.overwrite)
        told = f"unpacked {len(files)} files to {say(top)}"
        if skipped:
            told += f"; left out {len(skipped)} (links, devices, git's own): "
            told += ", ".join(say(at) for at in skipped[:5])
        return desk.done(told)


def _unpacked(
    packed: Packed, folder: Path, context: Context
) -> tuple[dict[Parts, tuple[Path, bool]], list[Parts], list[Parts]]:
    """All files, put aside under numbers, so that none of their names means anything yet."""
    files: dict[Parts, tuple[Path, bool]] = {}
    folders: list[Parts] = []
    skipped: list[Parts] = []
    for number, member in enumerate(packed.members()):
        if context.late:
            raise Refused("it took too long; nothing was unpacked")
        if member.kind in ("link", "odd") or ".git" in member.parts:
            skipped.append(member.parts)
        elif member.kind == "folder":
            folders.append(member.parts)
        elif not member.parts or member.parts in files:
            raise Refused(f"it has two files named {say(member.parts)}; nothing was unpacked")
        else:
            place = folder / str(number)
            _aside(packed, member, place)
            files[member.parts] = place, member.runs
    return files, [at for at in folders if at], skipped


def _aside(packed: Packed, member: Member, place: Path) -> None:
    fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for block in packed.blocks(member):
            write_all(fd, block)
    except _libraries().BROKEN as problem:
        if isinstance(problem, OSError) and problem.errno is not None:
            raise Refused(f"it could not be unpacked: {problem.strerror}") from problem
        raise Refused(f"{say(member.parts)} is damaged: {problem}; nothing was done") from problem
    finally:
        os.close(fd)


def _put(desk: Desk, at: Parts, source: Source, mode: int, overwrite: bool) -> None:
    info = desk.tree.look(at)
    before = None
    if info is not None:
        if not overwrite or not stat.S_ISREG(info.st_mode):
            raise Refused(f"{say(at)} is there already; overwrite=true replaces files")
        desk.check_size(at, info)
        before = desk.tree.state(at)
    desk.write(at, source, before, mode)


def _stem(name: str) -> str:
    ending = next((one for one in (*_ENDINGS, ".gz", ".tbz2") if name.lower().endswith(one)), "")
    return name[: len(name) - len(ending)] or "unpacked"


# --- making one ------------------------------------------------------------------


def _create(args: ArchiveArgs, context: Context, folder: Path) -> str:
    ending = next((one for one in _ENDINGS if args.path.lower().endswith(one)), None)
    if ending is None:
        raise ToolError(f"{args.path!r} is no name for an archive; use {', '.join(_ENDINGS)}")
    if not args.files:
        raise ToolError("say in files what to put into it")
    place = folder / "made"
    with speaking():
        tree = Tree(context.workspace)
        found: dict[Parts, None] = {}
        for name in args.files:
            parts = tree.find(name)
            if tree.look(parts) is None:
                raise Refused(missing(tree, name, parts))
            found |= dict.fromkeys(_below(tree, parts))
            if len(found) > MOST_FILES:
                raise Refused(f"that are more than {MOST_FILES} files")
        try:
            _pack(tree, list(found), place, _ENDINGS[ending], context)
        except _libraries().BROKEN as problem:
            raise Refused(f"it could not be made: {problem}") from problem
    with changing(context, "archive", args) as desk:
        if desk.before:
            return desk.before
        at = desk.tree.find(args.path)
        _put(desk, at, Source(path=place), 0, args.overwrite)
        size = size_words(place.stat().st_size)
        return desk.done(f"made {say(at)}: {len(found)} files, {size}")


def _below(tree: Tree, parts: Parts) -> list[Parts]:
    """The ordinary files there and below; links and devices are left out."""
    info = tree.look(parts)
    if info is None or not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return []
    if stat.S_ISREG(info.st_mode):
        return [parts]
    with tree.folder(parts) as fd:
        names = sorted(os.listdir(fd))
    return [one for name in names for one in _below(tree, (*parts, name))]


def _pack(tree: Tree, files: list[Parts], place: Path, form: str, context: Context) -> None:
    tarfile, zipfile = _libraries().tarfile, _libraries().zipfile
    if form == "zip":
        with zipfile.ZipFile(place, "x", zipfile.ZIP_DEFLATED) as made:
            for parts in files:
                _late(context)
                with os.fdopen(tree.open(parts), "rb") as source:
                    info = os.fstat(source.fileno())
                    when = time.localtime(max(info.st_mtime, 315_619_200))[:6]  # 1980, its oldest
                    entry = zipfile.ZipInfo("/".join(parts), when)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    entry.external_attr = (info.st_mode & 0o777 | stat.S_IFREG) << 16
                    with made.open(entry, "w", force_zip64=True) as target:
                        while block := source.read(1 << 20):
                            target.write(block)
        return
    kind: Literal["x", "x:gz", "x:xz"] = "x:gz" if form == "gz" else "x:xz" if form else "x"
    with tarfile.open(place, kind) as packed:
        for parts in files:
            _late(context)
            with os.fdopen(tree.open(parts), "rb") as source:
                held = packed.gettarinfo(arcname="/".join(parts), fileobj=source)
                held.uid = held.gid = 0
                held.uname = held.gname = ""
                if held.isreg():
                    packed.addfile(held, source)


def _late(context: Context) -> None:
    if context.late:
        raise Refused("it took too long; nothing was made")


def touches(args: ArchiveArgs, context: Context) -> Touches:
    here = one_place(context, args.path)
    if args.action == "list":
        return Touches(reads=(here,), private=True)
    if args.action == "create":
        reads = tuple(one_place(context, name) for name in args.files)
        return Touches(reads=reads, writes=(here,))
    to = one_place(context, args.to) if args.to.strip() else here.parent
    return Touches(reads=(here,), writes=(to,))


def preview(args: ArchiveArgs, context: Context) -> str:
    """What will happen, in plain words."""
    if args.action == "create":
        return f"Make the archive {args.path} of {', '.join(args.files)}"
    if args.action == "list":
        return f"List what is in {args.path}"
    over = ", replacing files that are there" if args.overwrite else ""
    return f"Unpack {args.path} to {args.to or 'a folder beside it'}{over}"


ARCHIVE = Tool(
    name="archive",
    about="List or unpack a zip or tar file of the workspace, or make one.",
    short="zip and tar files",
    args=ArchiveArgs,
    run=blocking(work),
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=300,
    touches=touches,
    preview=preview,
    box=lambda _, context: files_box(context),
    group="files",
)
