"""Tools that misbehave, for the processes in which tools run."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable

from stead.agent.tools.base import Args, Context, Tool, ToolError, blocking
from stead.core.states import Effects, OnUnknown


class NoArgs(Args, frozen=True):
    word: str = ""


def _made(
    name: str,
    run: Callable[[NoArgs, Context], str],
    limit_s: float = 20.0,
    effects: Effects = Effects.NONE,
) -> Tool[NoArgs]:
    return Tool(
        name=name, about=name, short=name, args=NoArgs, run=blocking(run), time_limit_s=limit_s,
        effects=effects,
        on_unknown=OnUnknown.REPEAT,
    )  # fmt: skip


def _backtrack(args: NoArgs, context: Context) -> str:
    """A regular expression that takes longer than anyone waits, and holds the lock all the time."""
    return str(re.match(r"(a+)+$", "a" * 60 + "b"))


def _kill(args: NoArgs, context: Context) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def _environment(args: NoArgs, context: Context) -> str:
    return "\n".join(f"{key}={value}" for key, value in sorted(os.environ.items()))


def _shout(args: NoArgs, context: Context) -> str:
    sys.stdout.write('["not an answer"]\n')
    sys.stdout.flush()
    os.write(1, b"[]\n")
    return args.word


def _refuse(args: NoArgs, context: Context) -> str:
    raise ToolError(f"no, {args.word}")


def _break(args: NoArgs, context: Context) -> str:
    raise LookupError(args.word)


def _eat(args: NoArgs, context: Context) -> str:
    raise MemoryError


def _priority(args: NoArgs, context: Context) -> str:
    return f"{os.getpriority(os.PRIO_PROCESS, 0)} {os.sched_getscheduler(0)} {os.getpid()}"


def _sleep(args: NoArgs, context: Context) -> str:
    time.sleep(float(args.word))
    return f"slept in {os.getpid()}"


def _much(args: NoArgs, context: Context) -> str:
    return "x" * 3_000_000


BURNING = (
    _made("backtrack", _backtrack, 0.5),
    _made("backtrack_effect", _backtrack, 0.2, effects=Effects.OUTSIDE),
    _made("kill", _kill),
    _made("environment", _environment),
    _made("shout", _shout),
    _made("refuse", _refuse),
    _made("break", _break),
    _made("eat", _eat),
    _made("priority", _priority),
    _made("sleep", _sleep),
    _made("much", _much),
)
