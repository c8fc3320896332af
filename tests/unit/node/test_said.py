"""Live text survives a restart of the gateway: the node says again what is missing there."""

from __future__ import annotations

import asyncio

import pytest

from stead.agent.loop import Result
from stead.core.states import StepState
from stead.core.wire import Event
from stead.node import said as said_room
from stead.node.kinds import Work
from stead.node.said import Said
from tests.unit.node.gateway import Gateway
from tests.unit.node.parts import running, step
from tests.unit.node.test_sender import sending


def text(gateway: Gateway, job_id: str = "j") -> str:
    return "".join(text for type, text in gateway.shown(job_id) if type == "token")


async def test_text_goes_on_after_a_restart() -> None:
    """However often the gateway restarts between two pieces, in the end it has the whole text,
    each character once, and remarks and steps are not lost by that."""
    with Gateway() as gateway:
        gateway.restarted()
        async with sending(gateway) as (sender, _, _):
            for n in range(60):
                sender.live("token", f"{n:03} ")
                if n % 20 == 10:
                    await sender.intend(step(n, StepState.INTENT))
                    gateway.restarted()
                    sender.live("tool", f"tool {n}")
                await asyncio.sleep(0.003)
            whole = "".join(f"{n:03} " for n in range(60))
            await gateway.until(lambda: text(gateway) == whole)
        assert ("tool", "tool 50") in gateway.shown()
        assert [one.seq for one in gateway.steps("j")] == [10, 30, 50]


async def test_text_said_while_the_gateway_was_down() -> None:
    """What was said while nobody listened is there when it is back, in its place."""
    with Gateway() as gateway:
        gateway.restarted()
        async with sending(gateway) as (sender, _, _):
            sender.live("token", "one ")
            await gateway.until(lambda: text(gateway) == "one ")
            gateway.down()
            for piece in ("two ", "three ", "four "):
                sender.live("token", piece)
                await asyncio.sleep(0.03)
            gateway.restarted()
            gateway.up()
            await gateway.until(lambda: text(gateway) == "one two three four ")


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_quiet_attempt_says_it_again(noticed: bool) -> None:
    """Also a job that says nothing just then: when the gateway is seen to be back, or, where its
    restart was not noticed, by the next heartbeat."""
    silent = asyncio.Event()

    async def handler(work: Work) -> Result:
        work.emit("token", "I am looking. ")
        await silent.wait()
        work.emit("token", "Found.")
        return Result("done", "I am looking. Found.")

    with Gateway(lease_ms=60_000 if noticed else 150) as gateway:
        gateway.restarted()
        async with running(gateway, kinds={"say": handler}, claim_wait_s=0.2, grace_s=5.0):
            job = gateway.add("say")
            await gateway.until(lambda: text(gateway, job) == "I am looking. ")
            await gateway.until(lambda: noticed or len(gateway.record.heartbeats) > 1)
            if noticed:
                gateway.down()
                await asyncio.sleep(0.3)
            gateway.restarted()
            if noticed:
                gateway.up()
            await gateway.until(lambda: text(gateway, job) == "I am looking. ")
            silent.set()
            await gateway.until(lambda: gateway.finishes(job))
            assert text(gateway, job) == "I am looking. Found."


async def test_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text is said again in pieces; one beyond the bound is not kept, and what still comes
    of it goes out all the same."""
    monkeypatch.setattr(said_room, "SAID_CHARS", 1_000)
    monkeypatch.setattr(said_room, "PIECE_CHARS", 64)
    with Gateway() as gateway:
        gateway.restarted()
        async with sending(gateway) as (sender, _, _):
            sender.live("token", "x" * 990)
            await gateway.until(lambda: len(text(gateway)) == 990)
            gateway.restarted()
            sender.live("token", "y")
            await gateway.until(lambda: text(gateway) == "x" * 990 + "y")
            gateway.restarted()
            sender.live("token", "z" * 100)
            await sender.intend(step(1, StepState.INTENT))
            assert text(gateway) == ""  # no text with a gap; its end has it whole
            reports = len(gateway.record.reports)
            await asyncio.sleep(0.1)
            assert len(gateway.record.reports) == reports


def test_a_gateway_that_takes_nothing_is_not_told_for_ever() -> None:
    """The same answer to what was said again is not answered by saying it again."""
    said = Said()
    assert said.add("hello") == 0 and said.add(" you") == 5
    said.went([Event(1, "token", "hello you", at=0)])
    assert not said.is_missing(9) and not said.is_missing(-1)
    assert said.is_missing(0)
    (again,) = said.again(0)
    assert (again.text, again.at, again.seq) == ("hello you", 0, 0)
    said.went([again])
    assert not said.is_missing(0)
    assert said.is_missing(3)
    (rest,) = said.again(3)
    assert (rest.text, rest.at) == ("lo you", 3)
