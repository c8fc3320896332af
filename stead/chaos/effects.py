"""Tools with effects, for the nodes of a chaos run only: each leaves a line that can be counted.

One tool for each rule on what to do when it is not known whether a call happened
(``repeat``, ``ask``, ``fail``). The effect is one line, appended with one write
to a file that outlives every process of the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from stead.agent.tools.base import Args, Context, Tool, Toolbox
from stead.chaos.lines import MARK, append
from stead.core.errors import HomeUnusable
from stead.core.states import Effects, OnUnknown
from stead.permit.words import Word


class EffectArgs(Args, frozen=True):
    key: str
    """What is done, once: message and place in it."""
    before_ms: float = 0.0
    after_ms: float = 0.0


async def _effect(args: EffectArgs, context: Context) -> str:
    """Wait, have the effect, wait: so that a fault may come before it as well as after it."""
    await asyncio.sleep(args.before_ms / 1000)
    home = context.workspace.parent
    entry = {"key": args.key, "node": home.name, "pid": os.getpid(), "t": time.time()}
    append(_file(home), entry)
    await asyncio.sleep(args.after_ms / 1000)
    return f"done: {args.key}"


def _file(home: Path) -> Path:
    return Path(json.loads((home / MARK).read_text("utf-8"))["effects"])


def toolbox(workspace: Path) -> Toolbox:
    """The tools of a node of a chaos run. Raises ``HomeUnusable`` in a home of no such run."""
    home = workspace.parent
    if not (home / MARK).is_file():
        raise HomeUnusable(
            f"{home} is not the home of a node that `stead chaos` made, and only such a node"
            " may have its tools."
        )
    tools: list[Tool[Any]] = [_tool(rule) for rule in OnUnknown]
    return Toolbox(tools, Context(workspace=workspace))


def _tool(rule: OnUnknown) -> Tool[EffectArgs]:
    return Tool(
        name=f"chaos_{rule.value}",
        about=f"Have an effect that can be counted (rule: {rule.value}).",
        short="an effect",
        args=EffectArgs,
        run=_effect,
        effects=Effects.OUTSIDE,
        on_unknown=rule,
        permission=Word.ALLOW,
    )
