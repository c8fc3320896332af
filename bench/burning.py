"""A tool that burns the processor on command, and a node that has it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from stead.agent.pool import Pool
from stead.agent.tools import TOOLS
from stead.agent.tools.base import Args, Context, Tool, Toolbox, blocking
from stead.core.states import Effects, OnUnknown
from stead.node.main import NodeOptions, run_node
from stead.sandbox.box import Box, Mount
from stead.sandbox.walls import walls_here

BACKGROUND = 10
CHAT = 2
_LONG_S = 600.0


class BurnArgs(Args, frozen=True):
    flag: Annotated[str, Meta(description="Burn while this file is there, wait while it is not")]


def burn(args: BurnArgs, context: Context) -> str:
    """Compute as hard as one process can, until its time is up."""
    burnt = 0
    while not context.late:
        if os.path.exists(args.flag):
            burnt += sum(number * number for number in range(20_000))
        else:
            time.sleep(0.02)
    return str(burnt)


BURN = Tool(
    name="burn",
    about="Burn the processor.",
    short="burn",
    args=BurnArgs,
    run=blocking(burn),
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    time_limit_s=_LONG_S,
)


def _box(args: BurnArgs, context: Context) -> Box:
    repository = Path(__file__).parents[1]
    return Box("burn", (Mount(repository), Mount(Path(args.flag).parent)))


ALL = (*TOOLS, BURN)
BOXED = (*TOOLS, replace(BURN, box=_box))


def tools(workspace: Path, boxed: bool = False) -> Toolbox:
    """All tools that ship, and the burning one."""
    registry = "bench.burning:BOXED" if boxed else "bench.burning:ALL"
    walls = walls_here(workspace.parent / "run") if boxed else None
    pool = Pool(most=BACKGROUND, registry=registry, walls=walls)
    return Toolbox(BOXED if boxed else ALL, Context(workspace, walls=walls), pool)


def main(home: Path, gateway: str, boxed: bool) -> int:
    """Run the node of a house, with room for ten jobs in the background."""
    options = NodeOptions(
        gateway, home / "secrets" / "node.key", slots=BACKGROUND + CHAT, chat_slots=CHAT
    )
    return run_node(home, options, lambda workspace: tools(workspace, boxed))


if __name__ == "__main__":
    # The processes of tools import this file by its name.
    from bench import burning

    sys.exit(burning.main(Path(sys.argv[1]), sys.argv[2], "boxed" in sys.argv[3:]))
