"""Attacks, carried out by the tools as a node has them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from stead.agent.named import Peripheral
from stead.agent.pool import Pool
from stead.agent.tools import TOOLS
from stead.agent.tools.base import Context, Toolbox, ToolError
from stead.agent.web import Web
from stead.sandbox.egress import EgressProcess
from stead.sandbox.known import Known
from stead.sandbox.walls import walls_here
from tests.drill.attacks.case import Case
from tests.drill.attacks.off import Bent, bent, terms_of
from tests.drill.attacks.prey import Prey


@dataclass
class Attackers:
    """Tools over one prey; ``off``: the wall that is not there."""

    prey: Prey
    off: str
    tools: Toolbox
    bounds: dict[str, float]
    said: str = ""

    async def attack(self, case: Case) -> str:
        """How it has won, or nothing. What it was told is in ``said``."""
        self.prey.reset()
        self.bounds.clear()
        self.bounds.update(case.bounds)
        filled = {name: _filled(self.prey, value) for name, value in case.args.items()}
        try:
            tool, args = self.tools.read(case.tool, json.dumps(filled))
        except ToolError as problem:  # such an argument is refused: that is a wall as well
            self.said = f"refused: {problem}"
            return self.prey.won("")
        try:
            if tool.touches is not None:
                tool.touches(args, self.tools.context)
        except ToolError as problem:
            self.said = f"refused: {problem}"
            return self.prey.won("")
        outcome = await self.tools.call(tool, args, 8000, job="job", step=1)
        self.said = outcome.text
        return self.prey.won(outcome.text)


def _filled(prey: Prey, value: Any) -> Any:
    if isinstance(value, str):
        return prey.fill(value)
    return [prey.fill(one) for one in value] if isinstance(value, list) else value


@asynccontextmanager
async def attackers(
    prey: Prey, off: str = "", *, private: bool = False, web: Web | None = None
) -> AsyncIterator[Attackers]:
    """``private``: places that are not public may be granted to boxes."""
    egress = EgressProcess(lambda: terms_of(off, prey, private=private))
    bounds: dict[str, float] = {}
    run = prey.folder / "run"
    walls = Bent(walls_here(run, egress), lambda box: bent(off, prey, bounds)(box))
    known = Known([prey.folder / "known"])
    context = Context(
        workspace=prey.workspace, walls=walls, keep=prey.folder / "keep",
        peripherals={"nas": Peripheral("nas", "127.0.0.1", "me", prey.folder / ".ssh/id_ed25519",
                                       prey.folder / ".ssh/known_hosts")},
        web=web or Web(), closing=(egress.aclose,), hide=str if off == "masks" else known.hide,
    )  # fmt: skip
    tools = Toolbox(TOOLS, context)
    if off != "paths":  # in a process of its own nothing could be taken away from here
        tools = tools.with_pool(Pool(walls=walls))
    try:
        yield Attackers(prey, off, tools, bounds)
    finally:
        await tools.aclose()
