"""Shared parts of the node's tests: a runner over the test gateway, and steps to journal."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from stead.agent.loop import Result, Toolbox
from stead.core.nouns import Step
from stead.core.ports import ModelClient
from stead.core.states import StepState
from stead.core.wire import ClaimedJob
from stead.node.kinds import KINDS, Handler, Work
from stead.node.link import HttpLink
from stead.node.presence import Presence
from stead.node.runner import Runner
from stead.node.spool import Spool
from tests.unit.node.gateway import KEY, Gateway


def step(seq: int, state: StepState = StepState.DONE, output: str = "") -> Step:
    return Step(seq, "tool:clock", f"{seq:064x}", state, output=output)


def quick_presence(url: str) -> Presence:
    """Short pauses, so that outages in tests are short."""
    return Presence(url, first_s=0.02, longest_s=0.1)


def no_model(_: object) -> Any:
    raise AssertionError("this job asks no model")


@contextlib.asynccontextmanager
async def running(
    gateway: Gateway,
    spool_folder: Path | None = None,
    kinds: Mapping[str, Handler] | None = None,
    toolbox: Toolbox | None = None,
    model_for: Callable[[ClaimedJob], ModelClient] = no_model,
    **options: Any,
) -> AsyncIterator[Runner]:
    """A runner at work; stopped and drained at the end."""
    link = HttpLink(gateway.url, KEY)
    spool = Spool(spool_folder) if spool_folder is not None else None
    options.setdefault("grace_s", 0.0)
    runner = Runner(
        link,
        model_for,
        toolbox,  # type: ignore[arg-type]  # jobs of the tests that use none
        spool,
        presence=quick_presence(gateway.url),
        kinds={**KINDS, **(kinds or {})},
        **options,
    )
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        runner.stop()
        await task
        await link.aclose()
        if spool is not None:
            spool.close()


class Hold:
    """A handler that says when it has started and ends when it is let go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.let_go = asyncio.Event()

    async def __call__(self, work: Work) -> Result:
        self.started.append(work.job.id)
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(work.job.id)
            raise
        return Result(outcome="done", text="let go")


async def settle_when_told(work: Work) -> Result:
    """A handler that intends a step, settles it once a file exists, and then waits for ever."""
    await work.journal.intend(step(1, StepState.INTENT))
    file = work.job.payload["file"]
    while not os.path.exists(file):  # noqa: ASYNC110, ASYNC240  it waits for another process
        await asyncio.sleep(0.005)
    await work.journal.settle(step(1, output='"paid"'))
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
