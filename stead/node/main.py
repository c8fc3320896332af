"""The node as a process of its own: what starts in which order, and stops in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stead.agent.loop import Toolbox, toolbox
from stead.agent.pool import Pool
from stead.core.errors import SteadError
from stead.core.files import write_atomic
from stead.core.keys import read_key
from stead.core.permits import PermitRule
from stead.inference.client import HttpModelClient
from stead.node.link import HttpLink
from stead.node.presence import REFUSED_S, Presence
from stead.node.runner import GRACE_S, Runner, Unwanted
from stead.node.spool import Spool
from stead.sandbox.box import Walls

try:
    import uvloop
except ImportError:  # not on every platform; asyncio's own loop does the same, slower
    uvloop = None  # type: ignore[assignment]

log = logging.getLogger("stead.node")

UNWANTED = 4
"""Exit code of a node whose key was revoked: to start it again is of no use."""


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What a node is told at its start."""

    gateway: str
    """URL of the gateway."""
    key_file: Path
    """File with this node's key."""
    labels: tuple[str, ...] = ()
    slots: int = 3
    chat_slots: int = 1
    grace_s: float = GRACE_S
    version: str = ""
    refused_s: float = REFUSED_S
    """A node whose key is refused for this long ends."""
    permits: tuple[PermitRule, ...] = ()
    """Rules of permission of this node itself."""


def run_node(home: Path, options: NodeOptions, tools: Callable[[Path], Toolbox] = toolbox) -> int:
    """Run a node in ``home`` until SIGTERM or SIGINT; return its exit code.

    ``tools`` makes the tools of a workspace: all there are, unless others are wanted.
    0: stopped cleanly. 1: it could not start; one sentence on stderr and in the log says why.
    4: the gateway does not know its key any more.
    """
    pid_file = home / "run" / "node.pid"
    try:
        key = read_key(options.key_file)
        spool = Spool(home / "spool")
    except SteadError as error:
        _tell(error)
        return 1
    try:
        pid_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(pid_file, b"%d\n" % os.getpid())
        return _runner_of_loop()(_serve(home, options, key, spool, tools(home / "workspace")))
    except Exception:
        # The edge of the process: its log is where the owner looks for the reason.
        log.exception("the node failed")
        return 1
    finally:
        spool.close()
        with contextlib.suppress(OSError):
            pid_file.unlink()


async def _serve(home: Path, options: NodeOptions, key: str, spool: Spool, tools: Toolbox) -> int:
    link = HttpLink(options.gateway, key)
    tools = tools.with_pool(Pool(most=options.slots, walls=tools.walls))
    runner = Runner(
        link,
        lambda job: HttpModelClient(link.client, job.key),
        tools,
        spool,
        slots=options.slots,
        chat_slots=options.chat_slots,
        labels=options.labels,
        grace_s=options.grace_s,
        presence=Presence(options.gateway, refused_s=options.refused_s),
        version=options.version,
        own=options.permits,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, runner.stop)
    log.info("node started, for the gateway at %s", options.gateway)
    telling = asyncio.create_task(_tell_of_walls(runner, tools.walls))
    try:
        await runner.run()
    except SteadError as error:
        _tell(error)
        return UNWANTED if isinstance(error, Unwanted) else 1
    finally:
        telling.cancel()
        await tools.aclose()
        await link.aclose()
    log.info("node stopped")
    return 0


async def _tell_of_walls(runner: Runner, walls: Walls | None) -> None:
    """The owner sees in `stead status` whether sandboxes hold here."""
    if walls is None:
        return
    report = await walls.tested()
    if not report.ok:
        log.error("no sandbox holds here: %s", report.why)
    await runner.greeting.tell(
        {"sandbox": {"ok": report.ok, "kind": report.kind, "why": report.why,
                     "weaker": report.weaker}}
    )  # fmt: skip


def _tell(error: SteadError) -> None:
    """Why it ends, in the log and for whoever started it (a terminal shows the log itself)."""
    log.error("%s", error.message)
    if not sys.stderr.isatty():
        sys.stderr.write(error.message + "\n")


def _runner_of_loop() -> Callable[..., int]:
    return uvloop.run if uvloop is not None else asyncio.run
