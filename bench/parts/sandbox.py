"""What a sandbox costs a tool call: a shell that does nothing, and a function that does nothing,
in a sandbox and without one, in turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from bench.figures import Figure, Place, quantile
from stead.agent.pool import Pool
from stead.agent.tools.base import Args, Context, Tool, Toolbox, blocking
from stead.core.states import Effects, OnUnknown
from stead.sandbox.box import Box, Mount, Walls
from stead.sandbox.walls import walls_here

TIMES = 120
AIM_MS = 15.0
_REPOSITORY = Path(__file__).parents[2]


class NoArgs(Args, frozen=True):
    pass


def nothing(args: NoArgs, context: Context) -> str:
    """A call that takes no time of its own."""
    return "done"


def _box(args: NoArgs, context: Context) -> Box:
    return Box("nothing", (Mount(context.workspace, write=True), Mount(_REPOSITORY)))


def _tool(name: str, box: Callable[[NoArgs, Context], Box] | None) -> Tool[NoArgs]:
    return Tool(
        name=name, about=name, short=name, args=NoArgs, run=blocking(nothing), box=box,
        effects=Effects.WORKSPACE, on_unknown=OnUnknown.REPEAT,
    )  # fmt: skip


TOOLS = (_tool("bare", None), _tool("boxed", _box))


def run(place: Place) -> list[Figure]:
    """Milliseconds that the sandbox adds to the median of each kind of call."""
    took = asyncio.run(_measure(place.scratch))
    return [
        _figure("a shell command", took["shell"], took["boxed shell"]),
        _figure("a function", took["function"], took["boxed function"]),
    ]


def _figure(what: str, bare: list[float], boxed: list[float]) -> Figure:
    beside = (
        f"{median(boxed):.1f} ms (p99 {quantile(boxed, 0.99):.1f}) in a sandbox, "
        f"{median(bare):.1f} ms (p99 {quantile(bare, 0.99):.1f}) bare"
    )
    added = median(boxed) - median(bare)
    return Figure(f"added by the sandbox to {what}", added, "ms", AIM_MS, beside=beside)


async def _measure(scratch: Path) -> dict[str, list[float]]:
    workspace = scratch / "workspace"
    workspace.mkdir()
    walls = walls_here(scratch / "run")
    report = await walls.tested()
    if not report.ok:
        raise RuntimeError(report.why)
    pool = Pool(registry="bench.parts.sandbox:TOOLS", walls=walls)
    tools = Toolbox(TOOLS, Context(workspace, walls=walls), pool)

    async def call(name: str) -> None:
        outcome = await tools.call(*tools.read(name, "{}"), 1000)
        if not outcome.ok:
            raise RuntimeError(outcome.text)

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "shell": _bare,
        "boxed shell": lambda: _boxed(walls, workspace),
        "function": lambda: call("bare"),
        "boxed function": lambda: call("boxed"),
    }
    took: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TIMES + 3):
        for name, way in ways.items():
            began = time.perf_counter()
            await way()
            if turn >= 3:  # the first ones start what is started once
                took[name].append(1000 * (time.perf_counter() - began))
    await tools.aclose()
    return took


async def _bare() -> None:
    process = await asyncio.create_subprocess_exec("sh", "-c", "true")
    await process.wait()


async def _boxed(walls: Walls, workspace: Path) -> None:
    box = Box("true", (Mount(workspace, write=True),), cwd=workspace)
    boxed = await walls.start(box, ["sh", "-c", "true"])
    await boxed.wait()
