"""A gateway that is told to stop does stop, whatever happens at that very moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stead.core.wire import Event
from tests.unit.gateway.parts import Gate


async def _ends(task: asyncio.Task[None], news: Callable[[], None]) -> None:
    await asyncio.sleep(0.05)
    news()
    task.cancel()
    await asyncio.wait({task}, timeout=2)
    assert task.cancelled()


async def test_a_cancel_that_comes_with_news(gate: Gate) -> None:
    """Services and watchers that are cancelled just as something happens end all the same."""
    daily, away, live = gate.parts.daily, gate.parts.away, gate.parts.live

    async def watch() -> None:
        async for _ in live.watch("some-job"):
            pass

    await _ends(asyncio.create_task(daily.run()), daily.nudge)
    await _ends(asyncio.create_task(away.run()), away.nudge)
    told = [Event(1, "token", "x")]
    await _ends(asyncio.create_task(watch()), lambda: live.publish("some-job", 1, told))
