"""No node is there: the owner is told once an outage, and each asker sees why nothing happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stead.flow.away import Away
from tests.unit.flow.house import House


class Sky:
    """Whether nodes are there, as the test says."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.alive = False
        self.settled = True
        self.told = 0
        self.away = self.begin()

    def begin(self) -> Away:
        return Away(
            self.house.store, self.house.live, stuck=self._stuck, any_alive=lambda: self.alive,
            settled=lambda: self.settled, told=self._told, every_s=0.002,
        )  # fmt: skip

    async def _stuck(self) -> dict[tuple[str, str, str], str]:
        """With no node at all everything is; with one, what asks for a gpu."""
        demands = await self.house.store.view_demands()
        return {one: "no gpu" for one in demands if not self.alive or "gpu" in one[0]}

    def _told(self) -> None:
        self.told += 1


@pytest.fixture
def sky(house: House) -> Sky:
    return Sky(house)


async def test_an_outage_is_told_once(house: House, sky: Sky) -> None:
    """However many messages wait and however often it is looked, one notice is sent, to where
    the oldest came from."""
    await house.say(channel="mail", session="s")
    for n in range(5):
        await house.say(f"more {n}")
        await sky.away.look()
    ((role, text),) = await house.sent("mail")
    assert role == "notice" and "No node is connected" in text and "2 messages wait" in text
    assert await house.sent("cli") == []
    assert sky.told == 1


async def test_it_is_not_told_again_after_a_restart(house: House, sky: Sky) -> None:
    """The outage goes on over a restart of the gateway, and is not told a second time."""
    await house.say()
    await sky.away.look()
    assert len(await house.sent()) == 1
    await house.restart()
    sky.away = sky.begin()
    task = asyncio.create_task(sky.away.run())
    await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await house.sent() == []


async def test_a_stop_while_it_is_told(house: House, sky: Sky) -> None:
    """A gateway killed just as it was about to tell tells it at its next start, once."""
    await house.say()
    real = house.store.set_fact

    async def killed(name: str, value: str | None) -> None:
        raise OSError("killed here")

    house.store.set_fact = killed  # type: ignore[method-assign]
    with pytest.raises(OSError, match="killed"):
        await sky.away.look()
    house.store.set_fact = real  # type: ignore[method-assign]
    await sky.begin().look()
    assert len(await house.sent()) == 1


async def test_the_next_outage_is_told_again(house: House, sky: Sky) -> None:
    """When a node was back the outage is over, which is logged; the next one is a new one."""
    await house.say()
    await sky.away.look()
    await house.sent()
    sky.alive = True
    await sky.away.look()
    await sky.away.look()
    assert (await house.log()).count("a node is back; what") == 1
    await house.settle(await house.claim(), text="there")
    await house.sent()
    sky.alive = False
    await house.say("again")
    await sky.away.look()
    assert [role for role, _ in await house.sent()] == ["notice"]


async def test_each_asker_sees_why_nothing_happens(house: House, sky: Sky) -> None:
    """Whoever watches a job that waits is told so, once."""
    first = await house.say()
    await sky.away.look()
    second = await house.say("more", session="other")
    sky.away.nudge()
    for _ in range(3):
        await sky.away.look()
    for accepted in (first, second):
        watcher = aiter(house.live.watch(accepted.job_id, beat_s=0.005))
        seen = await anext(watcher)
        assert seen is not None and seen.type == "note" and "No node" in seen.text
        assert await anext(watcher) is None


async def test_nothing_is_told_when_nothing_waits(house: House, sky: Sky) -> None:
    """No message waits, or only such that need no node: nobody is bothered."""
    await sky.away.look()
    await house.say("ping")
    await sky.away.look()
    assert await house.sent() == [] and await house.store.fact("outage") is None


async def test_nodes_have_time_to_come_back(house: House, sky: Sky) -> None:
    """Right after the gateway's own start nobody can be there yet, so nothing is told."""
    sky.settled = False
    await house.say()
    await sky.away.look()
    assert await house.sent() == []
    sky.settled = True
    await sky.away.look()
    assert len(await house.sent()) == 1


async def test_work_in_hand_is_no_outage(house: House, sky: Sky) -> None:
    """While a node is there messages may wait for it without a word."""
    sky.alive = True
    await house.say()
    await sky.away.look()
    assert await house.sent() == []


async def test_what_only_an_absent_node_could_do_is_told_too(house: House, sky: Sky) -> None:
    """A node is there, but cannot do it: the owner is told once, with why; the asker sees it,
    and nobody else does."""
    sky.alive = True
    other = await house.say(session="other")
    drawn = await house.say(session="s", needs=("gpu",))
    for _ in range(3):
        await sky.away.look()
    ((role, text),) = await house.sent()
    assert role == "notice" and "1 message waits" in text and "no gpu" in text
    seen = await anext(aiter(house.live.watch(drawn.job_id, beat_s=0.005)))
    assert seen is not None and "no gpu" in seen.text
    assert await anext(aiter(house.live.watch(other.job_id, beat_s=0.005))) is None


async def test_it_looks_when_nudged_and_survives_a_bad_look(house: House, sky: Sky) -> None:
    """A look that fails is made again; a message nudges one at once."""
    real = house.store.view_waiting
    failed = asyncio.Event()

    async def fail(demands: object) -> dict[str, Any]:
        house.store.view_waiting = real  # type: ignore[method-assign]
        failed.set()
        raise OSError("not now")

    house.store.view_waiting = fail  # type: ignore[method-assign]
    await house.say()
    task = asyncio.create_task(sky.away.run())
    sky.away.nudge()
    await asyncio.wait_for(failed.wait(), 60)
    for _ in range(500):
        if sky.told:
            break
        await asyncio.sleep(0.002)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await house.sent()) == 1


async def test_an_outage_is_counted_when_there_is_news(house: House, sky: Sky) -> None:
    """However long an outage is, who waits is counted when another comes, not each second."""
    await house.say()
    real, counted = house.store.view_waiting, 0

    async def counting(*of: Any) -> dict[str, Any]:
        nonlocal counted
        counted += 1
        return await real(*of)

    house.store.view_waiting = counting  # type: ignore[method-assign, assignment]
    for _ in range(5):
        await sky.away.look()
    assert counted == 1
    await house.say("more")
    sky.away.nudge()
    for _ in range(5):
        await sky.away.look()
    assert counted == 2
