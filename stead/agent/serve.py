"""What a process for tools does with the calls it is given; :mod:`stead.agent.child` starts it."""

from __future__ import annotations

import os
import resource
import socket
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from stead.agent.pool import Answer, Asked
from stead.agent.tools.base import Blocking, Context, Tool, cut, failed

_CPU_MORE_S = 5


def load(registry: str) -> dict[str, Tool[Any]]:
    """The tools by name, of ``module:name``."""
    module, _, name = registry.partition(":")
    return {tool.name: tool for tool in getattr(import_module(module), name)}


def serve(tools: dict[str, Tool[Any]], fd: int, after: Callable[[], None] | None = None) -> None:
    """Do the calls that come over a socket, one a line, until there are no more; ``after`` is
    called when one has ended, before it is answered."""
    decode = msgspec.json.Decoder(Asked).decode
    with socket.socket(fileno=fd) as connection, connection.makefile("rb") as calls:
        connection.sendall(b"%d\n" % os.getpid())
        for line in calls:
            asked = decode(line)
            _limit_cpu(asked.most_s)
            answer = _do(tools[asked.tool], asked)
            if after is not None:
                after()
            connection.sendall(msgspec.json.encode(answer) + b"\n")


def _do(tool: Tool[Any], asked: Asked) -> Answer:
    """Run one tool; whatever goes wrong is an answer."""
    assert isinstance(tool.run, Blocking)
    context = Context(
        Path(asked.workspace), time.monotonic() + asked.seconds, asked.limit, job=asked.job,
        step=asked.step, keep=Path(asked.keep) if asked.keep else None,
    )  # fmt: skip
    try:
        args = msgspec.json.decode(asked.args, type=tool.args)
        return Answer(cut(tool.run.function(args, context), asked.limit))
    except Exception as problem:  # noqa: BLE001 - edge of a tool: its bug must not end the job
        return Answer(cut(failed(problem), asked.limit), ok=False)


def _limit_cpu(seconds: float) -> None:
    """Killed by the kernel after so much more work, whatever becomes of the parent."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds) + _CPU_MORE_S
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (most, hard))
