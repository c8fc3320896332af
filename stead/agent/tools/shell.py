"""Command lines, run by a shell in a sandbox."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.command import Command, run
from stead.agent.tools.workspace import locate
from stead.agent.web import with_credentials
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Bounds, Box, Host, Mount

SECONDS = 60
"""Of a command, where nothing is said."""
MOST_SECONDS = 900
BACKGROUND_SECONDS = 3600
MOST_BACKGROUND = 8
"""Processes of one job in the background at once."""
MOST_COMMAND = 100_000
"""Bytes: Linux takes 128 KiB for one argument (execve(2))."""
_FIRST_WORDS_S = 0.5
"""How long a background process is watched before its start is reported."""

_HOST = re.compile(r"(\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:]+\])(?::(\d{1,5}))?")


class ShellArgs(Args, frozen=True):
    command: Annotated[str, Meta(description="Command line for bash", min_length=1)]
    folder: Annotated[str, Meta(description="Within the workspace")] = ""
    seconds: Annotated[
        int, Meta(description=f"Limit; 0: {SECONDS}", ge=0, le=BACKGROUND_SECONDS)
    ] = 0
    stdin: str = ""
    background: Annotated[bool, Meta(description="Leave it running while this job lasts")] = False
    terminal: bool = False
    hosts: Annotated[
        list[str], Meta(description="Hosts it needs; without any it has no network")
    ] = []


def hosts_of(names: Sequence[str]) -> tuple[Host, ...]:
    """``name`` or ``name:port`` each. Raises ``ToolError`` for what is no name of a host."""
    found = []
    for name in names:
        match = _HOST.fullmatch(name.strip().lower())
        port = int(match.group(4) or 0) if match else 0
        if match is None or port > 65_535:
            raise ToolError(f"{name[:80]!r} is no host; give a name such as pypi.org or a.org:8080")
        found.append(Host(match.group(1), port))
    return tuple(found)


def workspace_of(context: Context) -> Path:
    """The real folder of the workspace, made where it is missing."""
    context.workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
    return context.workspace.resolve()


def seconds_of(args: ShellArgs) -> int:
    """The time limit of a call. Raises ``ToolError`` for one that only the background has."""
    if args.background:
        return args.seconds or BACKGROUND_SECONDS
    if args.seconds > MOST_SECONDS:
        raise ToolError(
            f"a call may take {MOST_SECONDS} s; what takes longer runs with background=true"
        )
    return args.seconds or SECONDS


def box(args: ShellArgs, context: Context) -> Box:
    """The workspace to write in, and the hosts that were asked for."""
    top = workspace_of(context)
    where, _ = locate(context, args.folder)
    if not where.is_dir():
        raise ToolError(f"{args.folder!r} is no folder; give one of the workspace")
    seconds = seconds_of(args)
    return Box(
        name="shell",
        mounts=(Mount(top, write=True),),
        hosts=with_credentials(context.web, "shell", hosts_of(args.hosts)),
        cwd=where,
        bounds=Bounds(cpu_s=max(600.0, seconds), wall_s=seconds + 30.0),
        low=context.low,
        job=context.job,
    )


def touches(args: ShellArgs, context: Context) -> Touches:
    """The workspace; with hosts, the network both ways, which is asked for."""
    top = context.workspace.resolve()
    named = with_credentials(context.web, "shell", hosts_of(args.hosts))
    hosts = tuple(host.name for host in named)
    return Touches(
        reads=(top,),
        writes=(top,),
        hosts=hosts,
        credentials=tuple(dict.fromkeys(one for host in named for one in host.credentials)),
        private=True,
        foreign=bool(hosts),
        sends=bool(hosts),
        commands=(args.command,),
        code=True,
    )


def preview(args: ShellArgs, context: Context) -> str:
    """What will be run, word for word, and what it can reach."""
    where = f" in the folder {args.folder!r}" if args.folder else ""
    network = f"It can reach {', '.join(args.hosts)}." if args.hosts else "It has no network."
    if used := touches(args, context).credentials:
        network += f" Requests to them may carry your credential {', '.join(used)}."
    stays = " It goes on in the background." if args.background else ""
    given = f"\nIts input: {args.stdin}" if args.stdin else ""
    return (
        f"Run this in a sandbox{where}, where it can change all files of the workspace:\n"
        f"{args.command}{given}\n{network}{stays}"
    )


async def shell(args: ShellArgs, context: Context) -> str:
    """Output and exit code; of a background process its handle and its first words."""
    if len(args.command.encode()) > MOST_COMMAND or "\0" in args.command:
        raise ToolError("this is too long for a command, or has a NUL in it; make a file of it")
    made = box(args, context)
    argv = [_shell(), "-c", args.command]
    if not args.background:
        return await run(
            context, made, argv, shown=args.command, seconds=seconds_of(args),
            stdin=args.stdin, terminal=args.terminal,
        )  # fmt: skip
    there = context.background.of(context.job)
    if sum(1 for one in there.values() if "still runs" in one.about()) >= MOST_BACKGROUND:
        raise ToolError(
            f"{MOST_BACKGROUND} processes run in the background; stop one with `processes` first"
        )
    shown = args.command.strip().split("\n", 1)[0][:120]
    command = await Command.start(context, made, argv, shown=shown, terminal=args.terminal)
    context.background.keep(context.job, command.spool.name, command)
    command.end_after(seconds_of(args))
    if args.stdin:
        await command.write(args.stdin, end=False)
    await command.wait(_FIRST_WORDS_S)
    first = command.spool.text(context.limit - 400).rstrip("\n")
    return (
        f"{command.about()}\n{first}\n[read on with read_output, id={command.spool.name};"
        " `processes` lists, writes to and stops those of this job, and all end with it]"
    )


def _shell() -> str:
    return shutil.which("bash") or "/bin/sh"


SHELL = Tool(
    name="shell",
    about="Run a command in a sandbox; it can write in the workspace only.",
    short="run a command",
    args=ShellArgs,
    run=shell,
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.ASK,
    time_limit_s=MOST_SECONDS + 90.0,
    output_limit=8000,
    touches=touches,
    preview=preview,
    box=box,
)
