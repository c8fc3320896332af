"""Look into, cut, convert and join audio and video, with ffmpeg in a sandbox of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from stead.agent import media as lines
from stead.agent.files.book import sweep
from stead.agent.files.change import Source
from stead.agent.files.names import shown
from stead.agent.files.tree import Parts, Refused, Tree, open_file, say
from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.changing import changing, missing
from stead.agent.tools.workspace import one_place, size_words
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Bounds, Box, Mount

_WHERE = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin"
_BOUNDS = Bounds(memory_mb=2048, processes=64, cpu_s=3600, wall_s=900, file_mb=8192)
_MOST_SAID = 400_000
"""Bytes of what a program says that are kept."""

Action = Literal["probe", "cut", "convert", "audio", "frames", "join"]


class MediaArgs(Args, frozen=True):
    action: Action
    path: Annotated[str, Meta(description="Audio or video file of the workspace")]
    to: Annotated[str, Meta(description="New file, its ending says the form; frames: folder")] = ""
    start: Annotated[str, Meta(description="Seconds or H:MM:SS")] = ""
    end: str = ""
    width: Annotated[int, Meta(description="In pixels; 0: as it is", ge=0, le=lines.MOST_SIZE)] = 0
    every: Annotated[float, Meta(description="frames: one in so many seconds", gt=0)] = 1.0
    more: Annotated[list[str], Meta(description="join: the files that follow")] = []
    copy: Annotated[bool, Meta(description="cut: at key frames, fast, nothing made anew")] = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class _Stage:
    """A folder that the sandbox sees: files come in as they are, what is made goes out."""

    top: Path

    @property
    def inside(self) -> Path:
        return self.top / "in"

    @property
    def out(self) -> Path:
        return self.top / "out"

    def box(self, context: Context) -> Box:
        mounts = (Mount(self.inside), Mount(self.out, write=True))
        return Box("media", mounts, bounds=_BOUNDS, low=context.low, job=context.job)


async def work(args: MediaArgs, context: Context) -> str:
    """What the file holds, or what was made."""
    if context.keep is None:
        raise ToolError("there is no place here to work on media files")
    start, end = _times(args)
    if args.action != "probe":
        told = await asyncio.to_thread(_target, args, context)
        if told:
            return told
    with _stage(context) as stage:
        names = [args.path, *args.more] if args.action == "join" else [args.path]
        files = await asyncio.to_thread(_bring, names, context, stage)
        found = [await _probe(file, name, stage, context) for file, name in files]
        if args.action == "probe":
            return found[0][1]
        streams = [stream for stream, _ in found]
        _check(args, streams[0], start, end)
        argv = _argv(args, [file for file, _ in files], streams, stage, start, end)
        await _run(argv, stage, context)
        return await asyncio.to_thread(_take, args, context, stage)


def _times(args: MediaArgs) -> tuple[float, float]:
    try:
        start, end = lines.seconds(args.start), lines.seconds(args.end)
    except ValueError as problem:
        raise ToolError(str(problem)) from problem
    if end and end <= start:
        raise ToolError(f"the end {args.end} is not after the start {args.start or 0}")
    if args.action == "cut" and not (start or end):
        raise ToolError("say where to cut: start, end or both")
    if args.action == "join" and not args.more:
        raise ToolError("say in more which files follow")
    return start, end


def _target(args: MediaArgs, context: Context) -> str:
    """Refuse early what could not be written; what this very call told before, if it was made."""
    with changing(context, "media", args) as desk:
        if desk.before:
            return desk.before
        if not args.to.strip():
            raise Refused("to is empty; say which file to make")
        at = desk.tree.find(args.to)
        info = desk.tree.look(at)
        if args.action != "frames":
            ending = _ending(at)
            if ending not in lines.ENDINGS:
                raise Refused(f".{ending} is not made here; there are: {', '.join(lines.ENDINGS)}")
            if args.action == "audio" and lines.ENDINGS[ending][0]:
                raise Refused(f".{ending} is for video; for audio there are mp3, m4a, wav, flac")
            if info is not None and not args.overwrite:
                raise Refused(f"{say(at)} is there already; overwrite=true replaces it")
            if at == desk.tree.find(args.path):
                raise Refused("a file cannot be made of itself; give it another name")
    return ""


def _ending(parts: Parts) -> str:
    return parts[-1].rpartition(".")[2].lower() if parts else ""


@contextlib.contextmanager
def _stage(context: Context) -> Iterator[_Stage]:
    assert context.keep is not None
    top = context.keep / "media"
    top.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(top)
    folder = Path(tempfile.mkdtemp(dir=top))
    stage = _Stage(folder)
    try:
        stage.inside.mkdir(mode=0o755)
        stage.out.mkdir(mode=0o755)
        yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _bring(names: list[str], context: Context, stage: _Stage) -> list[tuple[Path, str]]:
    """Put the very files that were looked at where the sandbox sees them, and nothing else: a
    path could be swapped for a link before the sandbox is made of it."""
    made = []
    try:
        tree = Tree(context.workspace)
        for number, name in enumerate(names):
            parts = tree.find(name)
            if tree.look(parts) is None:
                raise Refused(missing(tree, name, parts))
            fd = tree.open(parts)
            try:
                made.append((stage.inside / str(number), say(parts)))
                _bring_one(fd, made[-1][0])
            finally:
                os.close(fd)
    except Refused as problem:
        raise ToolError(str(problem)) from problem
    return made


def _bring_one(fd: int, to: Path) -> None:
    """A second name for the file where that can be had, else a copy."""
    if os.fstat(fd).st_mode & 0o004:
        with contextlib.suppress(OSError):
            os.link(f"/proc/self/fd/{fd}", to, follow_symlinks=True)
            return
    with open(to, "xb") as file, os.fdopen(os.dup(fd), "rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)
        os.fchmod(file.fileno(), 0o644)


async def _probe(
    file: Path, name: str, stage: _Stage, context: Context
) -> tuple[lines.Stream, str]:
    said = await _run(lines.probe(_program("ffprobe"), file), stage, context, name)
    try:
        told = json.loads(said)
    except ValueError as problem:
        raise ToolError(f"{name} could not be understood as audio or video") from problem
    stream = lines.stream_of(told)
    if not stream.video and not stream.audio:
        raise ToolError(f"{name} holds neither audio nor video")
    return stream, _words(told, stream, file, name)


def _words(told: dict[str, Any], stream: lines.Stream, file: Path, name: str) -> str:
    words = [f"{name}: {told.get('format', {}).get('format_name', '?')}"]
    words += [f"{stream.seconds:.2f} s"] if stream.seconds else []
    if stream.video:
        words.append(f"video {stream.video} {stream.width}x{stream.height} {stream.rate:.4g}/s")
    words += [f"audio {stream.audio}"] if stream.audio else []
    words.append(size_words(file.stat().st_size))
    tags = told.get("format", {}).get("tags", {})
    words += [f"{shown(str(key))[:40]}: {shown(str(value))[:200]}" for key, value in tags.items()]
    return "\n".join(words[:30])


def _check(args: MediaArgs, stream: lines.Stream, start: float, end: float) -> None:
    if stream.seconds and start >= stream.seconds:
        raise ToolError(f"it is only {stream.seconds:.2f} s long")
    if args.action in ("frames",) and not stream.video:
        raise ToolError(f"{args.path} has no pictures")
    if args.action == "audio" and not stream.audio:
        raise ToolError(f"{args.path} has no sound")


def _argv(
    args: MediaArgs,
    files: list[Path],
    streams: list[lines.Stream],
    stage: _Stage,
    start: float,
    end: float,
) -> list[str]:
    program = _program("ffmpeg")
    if args.action == "frames":
        return lines.frames(
            program, files[0], stage.out, every=args.every, start=start, end=end, width=args.width
        )
    out = stage.out / f"made.{args.to.rpartition('.')[2].strip().lower()}"
    if args.action == "join":
        return lines.join(program, files, streams, out)
    return lines.convert(
        program, files[0], out, start=start, end=end, width=args.width,
        exact=not (args.copy and args.action == "cut"), what=streams[0],
    )  # fmt: skip


async def _run(argv: list[str], stage: _Stage, context: Context, name: str = "") -> str:
    """What it printed. Raises ``ToolError`` with its own words when it failed."""
    if context.walls is None:
        raise ToolError("there are no sandboxes on this worker, so no media file is opened here")
    pipe = asyncio.subprocess.PIPE
    boxed = await context.walls.start(stage.box(context), argv, stdout=pipe, stderr=pipe)
    try:
        assert boxed.stdout is not None
        assert boxed.stderr is not None
        said, wrong = await asyncio.gather(_gather(boxed.stdout), _gather(boxed.stderr))
        ended = await boxed.wait()
    finally:
        if boxed.ended is None:
            await boxed.kill()
    if ended.code == 0 and not ended.why:
        return said
    last = [line for line in wrong.strip().split("\n") if line][-3:]
    words = ended.why or " / ".join(shown(line)[:300] for line in last) or f"code {ended.code}"
    words = words.replace(str(stage.top) + "/", "")
    if "format_whitelist" in wrong or "not on whitelist" in wrong or "whitelist" in wrong:
        words = "it is a list of other files, or of a form that is not opened here"
    raise ToolError(f"{name or 'it'} could not be worked on: {words}")


async def _gather(stream: asyncio.StreamReader) -> str:
    kept = bytearray()
    while block := await stream.read(65_536):
        if len(kept) < _MOST_SAID:
            kept += block
    return kept.decode("utf-8", "replace")


def _take(args: MediaArgs, context: Context, stage: _Stage) -> str:
    """Put what was made into the workspace, as one change that can be undone."""
    opened: list[int] = []
    folder = os.open(stage.out, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with changing(context, "media", args) as desk:
            names = sorted(os.listdir(folder))
            if not names:
                raise Refused("nothing came of it")
            top = desk.tree.find(args.to)
            for name in names:
                fd = open_file(folder, name)
                opened.append(fd)
                at = (*top, name) if args.action == "frames" else top
                info = desk.tree.look(at)
                if info is not None and not args.overwrite:
                    raise Refused(f"{say(at)} is there already; overwrite=true replaces it")
                if info is not None:
                    desk.check_size(at, info)
                before = desk.tree.state(at) if info is not None else None
                desk.write(at, Source(fd=fd), before)
            if args.action == "frames":
                return desk.done(f"made {len(names)} pictures in {say(top)}")
            size = size_words(os.fstat(opened[0]).st_size)
            return desk.done(f"made {say(top)} ({size})")
    finally:
        for fd in (*opened, folder):
            os.close(fd)


def _program(name: str) -> str:
    found = shutil.which(name, path=_WHERE)
    if found is None:
        raise ToolError(f"{name} is not installed here; the owner gets it with: apt install ffmpeg")
    return found


def touches(args: MediaArgs, context: Context) -> Touches:
    reads = tuple(one_place(context, path) for path in (args.path, *args.more))
    if args.action == "probe":  # titles and the like are what others wrote
        return Touches(reads=reads, private=True, foreign=True)
    return Touches(reads=reads, writes=(one_place(context, args.to),))


def preview(args: MediaArgs, context: Context) -> str:
    """What will happen, in plain words."""
    if args.action == "probe":
        return f"Look what {args.path} holds"
    files = ", ".join((args.path, *args.more))
    part = f" from {args.start or 'the start'} to {args.end or 'the end'}"
    return f"Make {args.to} of {files} ({args.action}{part if args.start or args.end else ''})"


MEDIA = Tool(
    name="media",
    about="Look into audio and video files, cut, convert and join them, take out sound or frames.",
    short="audio and video",
    args=MediaArgs,
    run=work,
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.REPEAT,  # the journal of changes knows whether it happened
    time_limit_s=900,
    touches=touches,
    preview=preview,
    group="media",
)
