"""Python code, run in a sandbox with the files of the workspace."""

from __future__ import annotations

import sys
from typing import Annotated

from msgspec import Meta

from stead.agent.tools.base import Args, Context, Tool, ToolError
from stead.agent.tools.command import run
from stead.agent.tools.shell import MOST_SECONDS, SECONDS, workspace_of
from stead.agent.tools.workspace import locate
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Touches
from stead.sandbox.box import Bounds, Box, Mount
from stead.sandbox.view import interpreter

_RUNNER = "stead.agent.tools.python_run"
_MEMORY_MB = 2048


class PythonArgs(Args, frozen=True):
    code: Annotated[
        str, Meta(description="Python; the value of a last expression is shown", min_length=1)
    ]
    folder: Annotated[str, Meta(description="Within the workspace")] = ""
    seconds: Annotated[int, Meta(description=f"Limit; 0: {SECONDS}", ge=0, le=MOST_SECONDS)] = 0


def box(args: PythonArgs, context: Context) -> Box:
    """The workspace to write in, no network, and stead's own interpreter with its packages."""
    top = workspace_of(context)
    where, _ = locate(context, args.folder)
    if not where.is_dir():
        raise ToolError(f"{args.folder!r} is no folder; give one of the workspace")
    seconds = args.seconds or SECONDS
    return Box(
        name="python",
        mounts=(Mount(top, write=True), *interpreter()),
        cwd=where,
        env={
            "MPLBACKEND": "Agg",
            "MPLCONFIGDIR": "/tmp/matplotlib",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": ":".join(path for path in sys.path if path),
            "PYTHONUNBUFFERED": "1",
        },
        bounds=Bounds(memory_mb=_MEMORY_MB, cpu_s=max(600.0, 2.0 * seconds), wall_s=seconds + 30.0),
        low=context.low,
        job=context.job,
    )


def touches(args: PythonArgs, context: Context) -> Touches:
    """All of the workspace; what code does cannot be told from its text."""
    top = context.workspace.resolve()
    return Touches(reads=(top,), writes=(top,), private=True, code=True)


def preview(args: PythonArgs, context: Context) -> str:
    """The code as it is."""
    where = f" in the folder {args.folder!r}" if args.folder else ""
    return (
        f"Run this Python in a sandbox{where}, where it can change all files of the workspace and"
        f" has no network:\n{args.code}"
    )


async def python(args: PythonArgs, context: Context) -> str:
    """What it printed, the last value or the traceback, the files written and the exit code."""
    return await run(
        context, box(args, context), [sys.executable, "-P", "-m", _RUNNER],
        shown="python", seconds=args.seconds or SECONDS, stdin=args.code,
    )  # fmt: skip


PYTHON = Tool(
    name="python",
    about="Run Python in a sandbox, with the files of the workspace; open figures become files.",
    short="run Python code",
    args=PythonArgs,
    run=python,
    effects=Effects.WORKSPACE,
    on_unknown=OnUnknown.ASK,
    time_limit_s=MOST_SECONDS + 90.0,
    output_limit=8000,
    touches=touches,
    preview=preview,
    box=box,
    group="data",
)
