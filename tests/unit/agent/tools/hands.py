"""Calls of tools in real sandboxes, for the tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from stead.agent.tools import TOOLS
from stead.agent.tools.base import Context, Outcome, Tool, Toolbox
from stead.agent.tools.more_tools import with_more
from stead.sandbox.egress import EgressProcess
from stead.sandbox.egress_terms import Terms
from stead.sandbox.walls import walls_here

T = TypeVar("T")


@dataclass
class Hands:
    """The tools of one worker, in one workspace."""

    tools: Toolbox
    workspace: Path
    step: int = 0
    job: str = "job"
    outcomes: list[Outcome] = field(default_factory=list)

    async def use(self, name: str, most: int = 8000, **args: Any) -> Outcome:
        """A call as the loop makes it."""
        self.step += 1
        tool, read = self.tools.read(name, json.dumps(args))
        outcome = await self.tools.call(tool, read, most, job=self.job, step=self.step)
        self.outcomes.append(outcome)
        return outcome

    async def text(self, name: str, **args: Any) -> str:
        """What a call gave that must go well."""
        outcome = await self.use(name, **args)
        assert outcome.ok, outcome.text
        return outcome.text

    async def error(self, name: str, **args: Any) -> str:
        """What a call that must fail tells the model."""
        outcome = await self.use(name, **args)
        assert not outcome.ok, outcome.text
        return outcome.text


def at(folder: Path, *more: Tool[Any]) -> Hands:
    """Hands that work below a folder; ``more``: tools beside the registry's. To be made where a
    loop runs."""
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    known = [tool for tool in TOOLS if tool.name not in {one.name for one in more}]
    egress = EgressProcess(lambda: Terms(secrets=str(folder / "secrets")))
    context = Context(
        workspace=workspace,
        walls=walls_here(folder, egress),
        keep=folder / "keep",
        closing=(egress.aclose,),
    )
    return Hands(Toolbox(with_more([*known, *more]), context), workspace)


def with_hands(folder: Path, work: Callable[[Hands], Awaitable[T]], *more: Tool[Any]) -> T:
    """Run ``work`` with hands, and put them away."""

    async def run() -> T:
        hands = at(folder, *more)
        try:
            return await work(hands)
        finally:
            await hands.tools.aclose()

    return asyncio.run(run())


def running(marker: str) -> list[int]:
    """Processes of this machine that have a word in their command line; what makes sandboxes and
    has it there as well does nothing itself."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name() != "bwrap" and any(marker in word for word in process.cmdline()):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
    return found
