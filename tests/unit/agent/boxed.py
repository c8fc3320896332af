"""Tools that run as functions in a sandbox, some of which misbehave."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from stead.agent.tools.base import Args, Context, Tool, blocking
from stead.core.states import Effects, OnUnknown
from stead.sandbox.box import Bounds, Box, Mount

REPOSITORY = Path(__file__).parents[3]


class WordArgs(Args, frozen=True):
    word: str = ""


def _box(args: WordArgs, context: Context) -> Box:
    return Box(
        "boxed",
        (Mount(context.workspace, write=True), Mount(REPOSITORY)),
        bounds=Bounds(memory_mb=256, processes=40),
    )


def _made(
    name: str, run: Callable[[WordArgs, Context], str], limit_s: float = 30.0
) -> Tool[WordArgs]:
    return Tool(
        name=name, about=name, short=name, args=WordArgs, run=blocking(run), box=_box,
        time_limit_s=limit_s, effects=Effects.WORKSPACE, on_unknown=OnUnknown.REPEAT,
    )  # fmt: skip


def _write(args: WordArgs, context: Context) -> str:
    """Writes where it is told to, beside that says who it is."""
    path = Path(args.word)
    path.write_text("written")
    return f"{os.getuid()} {context.job} {context.step}"


def _call(args: WordArgs, context: Context) -> str:
    """Tries to reach a port of the machine."""
    with socket.create_connection(("127.0.0.1", int(args.word)), timeout=5):
        return "reached"


def _leave(args: WordArgs, context: Context) -> str:
    """Leaves a process behind, in a session of its own."""
    subprocess.Popen(["setsid", "sh", "-c", f"sleep {args.word} & sleep {args.word}"])
    return "left"


def _hang(args: WordArgs, context: Context) -> str:
    """The same, and never ends."""
    _leave(args, context)
    (context.workspace / "hangs").write_text("now")
    time.sleep(3600)
    return "never"


def _gorge(args: WordArgs, context: Context) -> str:
    """Takes more memory than there is for it."""
    held = []
    for _ in range(1024):
        held.append(b"1" * 1024 * 1024)
    return "had it"


BOXED = (
    _made("write", _write),
    _made("call", _call),
    _made("leave", _leave),
    _made("hang", _hang, limit_s=3.0),
    _made("gorge", _gorge),
)
