"""One job's way to the gateway: order, batches, bounds, and a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead.core.errors import StaleEpoch, SteadError
from stead.core.ids import uuid7
from stead.core.states import Failure, StepState
from stead.core.wire import Events, Finish
from stead.node.link import HttpLink
from stead.node.sender import LIVE_CHARS, TRIES_OF_A_FAULTY_GATEWAY, Sender
from stead.node.spool import FILE, Spool
from tests.unit.node.gateway import KEY, Gateway
from tests.unit.node.parts import quick_presence, step


class Watched:
    """Remembers what the sender was told about its job."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def cancel(self, job_id: str, epoch: int) -> None:
        self.told.append("cancel")

    def lost(self, job_id: str, epoch: int) -> None:
        self.told.append("lost")

    def refused(self, job_id: str, epoch: int, error: SteadError) -> None:
        self.told.append("refused")

    def closed(self, job_id: str, epoch: int) -> None:
        self.told.append("closed")


@contextlib.asynccontextmanager
async def sending(
    gateway: Gateway, folder: Path | None = None
) -> AsyncIterator[tuple[Sender, Watched, Spool | None]]:
    """A sender for job ``j`` at epoch 1, which the gateway knows as running."""
    gateway.epochs["j"] = 1
    link = HttpLink(gateway.url, KEY)
    spool = Spool(folder) if folder is not None else None
    watched = Watched()
    sender = Sender("j", 1, link, spool, quick_presence(gateway.url), watched)
    try:
        yield sender, watched, spool
    finally:
        await sender.aclose()
        await link.aclose()
        if spool is not None:
            spool.close()


def texts(gateway: Gateway, type: str = "token") -> str:
    return "".join(event.text for event in gateway.events("j") if event.type == type)


async def test_the_first_token_goes_at_once_the_rest_in_batches() -> None:
    """The owner sees the first token without a wait; a fast model does not flood the gateway."""
    with Gateway() as gateway:
        async with sending(gateway) as (sender, _, _):
            # An intent just before must not hold the first token up.
            await sender.intend(step(1, StepState.INTENT))
            loop = asyncio.get_running_loop()
            begun = loop.time()
            for number in range(200):
                sender.live("token", f"{number} ")
                await asyncio.sleep(0.001)
            took = loop.time() - begun
            await gateway.until(lambda: texts(gateway).endswith("199 "))
        assert texts(gateway) == "".join(f"{number} " for number in range(200))
        live = gateway.record.reports[1:]
        assert len(live) <= took / 0.02 + 3
        first = live[0]
        assert isinstance(first, Events) and first.events[0].text == "0 "
        assert gateway.record.at[1] - gateway.record.at[0] < 0.015


async def test_live_and_durable_keep_their_order(tmp_path: Path) -> None:
    """Tokens, notes, steps and the end arrive in the order in which they happened."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, watched, _):
            sender.live("token", "a")
            await sender.intend(step(1, StepState.INTENT))
            sender.live("tool", "looking")
            sender.live("token", "b")
            await sender.settle(step(1))
            sender.live("token", "c")
            await sender.finish(Finish(uuid7(), "j", 1, "done", "abc"))
            await gateway.until(lambda: "closed" in watched.told)
        told = [(event.type, event.text or event.step.state) for event in gateway.events("j")]
        assert told == [
            ("token", "a"),
            ("step", "intent"),
            ("tool", "looking"),
            ("token", "b"),
            ("step", "done"),
            ("token", "c"),
        ]
        seqs = [event.seq for event in gateway.events("j")]
        assert seqs == sorted(set(seqs))
        assert isinstance(gateway.record.reports[-1], Finish)


async def test_an_intent_waits_for_the_gateway_and_goes_on_at_once(tmp_path: Path) -> None:
    """While the gateway is away an intent is not believed; when it is back, work goes on."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, _, _):
            gateway.down()
            intending = asyncio.create_task(sender.intend(step(1, StepState.INTENT)))
            done, _ = await asyncio.wait({intending}, timeout=0.1)
            assert not done
            gateway.up()
            await asyncio.wait_for(intending, 60)
        assert [one.state for one in gateway.steps("j")] == [StepState.INTENT]


async def test_an_outcome_is_durable_while_the_gateway_is_away(tmp_path: Path) -> None:
    """The job goes on with the outcome on its own disk; after a crash it is still delivered."""
    with Gateway() as gateway:
        gateway.down()
        async with sending(gateway, tmp_path) as (sender, _, _):
            await asyncio.wait_for(sender.settle(step(1)), 60)
            assert [durable.kept for durable in sender.pending] == [True]
        spool = Spool(tmp_path)
        (left,) = spool.left
        spool.close()
        assert isinstance(left, Events) and left.events[0].step == step(1)


async def test_waiting_tokens_are_bounded_and_steps_are_not_dropped(tmp_path: Path) -> None:
    """A long outage costs the oldest live text, says so once, and never a step."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, _, _):
            sender.live("token", "first ")
            await gateway.until(lambda: texts(gateway))
            gateway.down()
            await sender.settle(step(1))
            for number in range(2000):
                sender.live("token", f"{number:06d}" + "x" * 994)
                assert sender._live_chars <= LIVE_CHARS
            await sender.settle(step(2))
            gateway.up()
            await gateway.until(lambda: len(gateway.steps("j")) == 2)
        assert texts(gateway, "note").count("left out") == 1
        assert "001999x" in texts(gateway) and "000000x" not in texts(gateway)
        types = [event.type for event in gateway.events("j")]
        assert types[0] == "token" and types[-1] == "step" and types.count("step") == 2
        assert all(
            sum(len(event.text) for event in report.events) < 2 * LIVE_CHARS
            for report in gateway.record.reports
            if isinstance(report, Events)
        )


async def test_a_fence_ends_the_job(tmp_path: Path) -> None:
    """409: whoever waits is told, later words fall on deaf ears, but for the last ones."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, watched, _):
            sender.live("token", "half of ")
            sender.live("token", "it")
            await gateway.until(lambda: texts(gateway) == "half of it")
            gateway.take_away("j")
            with pytest.raises(StaleEpoch):
                await sender.intend(step(1, StepState.INTENT))
            with pytest.raises(StaleEpoch):
                await sender.settle(step(1))
            sender.live("token", "x")
            assert watched.told == ["lost"]
            assert sender.pending == []
            told = len(gateway.record.reports)
            await sender.last_words(Finish(uuid7(), "j", 1, "failed"))
            assert watched.told == ["lost", "closed"]
            last = gateway.record.stale[-1]
            assert isinstance(last, Finish) and last.text == "half of it"
            await sender.last_words(Finish(uuid7(), "j", 1, "failed"))
        assert len(gateway.record.reports) == told


async def test_what_a_spool_holds_of_a_lost_job_goes_out_once_as_evidence(tmp_path: Path) -> None:
    """A node that comes back late tells all that it did, is refused, and keeps nothing of it."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, watched, _):
            gateway.down()
            await sender.settle(step(1))
            await sender.settle(step(2))
            await sender.finish(Finish(uuid7(), "j", 1, "done", "all of it"))
        gateway.take_away("j")
        gateway.up()
        async with sending(gateway, tmp_path) as (sender, watched, spool):
            gateway.take_away("j")
            assert spool is not None
            waiting = [one.arrived for left in spool.left for one in sender.resume(left)]
            await asyncio.wait(waiting, timeout=10)
            assert all(isinstance(one.exception(), StaleEpoch) for one in waiting)
            assert watched.told == ["lost", "closed"]
            steps, more, end = gateway.record.stale
            assert isinstance(steps, Events) and isinstance(more, Events)
            told = [event.step for event in [*steps.events, *more.events]]
            assert [one.seq for one in told if one is not None] == [1, 2]
            assert isinstance(end, Finish) and end.text == "all of it"
        assert gateway.record.reports == []
        assert (tmp_path / FILE).stat().st_size == 0


async def test_a_full_disk_loses_nothing_while_the_gateway_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the spool cannot be written the gateway's own acknowledgement is waited for."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, watched, _):
            gateway.fault("events", "late", seconds=0.1)
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, limit[1]))
            try:
                await asyncio.wait_for(sender.settle(step(1)), 60)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            assert [one.seq for one in gateway.steps("j")] == [1]
            await sender.finish(Finish(uuid7(), "j", 1, "done"))
            await gateway.until(lambda: "closed" in watched.told)
        assert "cannot be written" in caplog.text and "free some disk" in caplog.text


async def test_a_report_the_gateway_never_takes_does_not_block_the_rest(tmp_path: Path) -> None:
    """A refused step fails the job in words and is kept for people; the end still arrives."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, watched, _):
            gateway.fault("events", 413)
            with contextlib.suppress(SteadError):  # when the refusal is quicker than the disk
                await sender.settle(step(1, output="x" * 100))
            await gateway.until(lambda: "refused" in watched.told)
            await sender.finish(Finish(uuid7(), "j", 1, "failed"))
            await gateway.until(lambda: "closed" in watched.told)
        assert b"a fault of the test: 413" in (tmp_path / "refused.jsonl").read_bytes()
        assert gateway.finishes("j")


async def test_a_refused_end_becomes_a_short_failure(tmp_path: Path) -> None:
    """A result that the gateway will not take ends the job as failed, with the reason."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, watched, _):
            gateway.fault("finish", 413)
            with contextlib.suppress(SteadError):  # when the refusal is quicker than the disk
                await sender.finish(Finish(uuid7(), "j", 1, "done", "x" * 1000))
            await gateway.until(lambda: "closed" in watched.told)
        (finish,) = gateway.finishes("j")
        assert finish.trouble is not None and finish.trouble.permanent
        assert finish.trouble.failure is Failure.CODE
        assert "refused the result" in finish.trouble.message


async def test_an_internal_error_that_stays_is_not_tried_for_ever() -> None:
    """A gateway that fails on one report again and again loses that report, not the job's end."""
    with Gateway() as gateway:
        async with sending(gateway) as (sender, watched, _):
            gateway.fault("events", 500, times=TRIES_OF_A_FAULTY_GATEWAY + 1)
            with pytest.raises(SteadError, match="500"):
                await asyncio.wait_for(sender.intend(step(1, StepState.INTENT)), 10)
            await sender.finish(Finish(uuid7(), "j", 1, "failed"))
            await gateway.until(lambda: "closed" in watched.told)
        assert gateway.finishes("j")


async def test_resumed_reports_keep_their_ids(tmp_path: Path) -> None:
    """A report that was processed but not acknowledged before a crash is not processed twice."""
    with Gateway() as gateway:
        async with sending(gateway, tmp_path) as (sender, _, _):
            gateway.fault("events", "drop", times=1)
            gateway.fault("events", "cut", times=1000)
            await sender.settle(step(1))
            await gateway.until(lambda: gateway.steps("j"))
        gateway.faults.clear()
        async with sending(gateway, tmp_path) as (sender, _, spool):
            assert spool is not None
            (durable,) = sender.resume(spool.left[0])
            await asyncio.wait_for(durable.arrived, 60)
        assert len(gateway.steps("j")) == 1
        assert gateway.record.repeats >= 1
