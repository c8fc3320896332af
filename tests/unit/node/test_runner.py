"""The runner over real HTTP: claims, lanes, cancels, fences, resumes, ends."""

from __future__ import annotations

import asyncio
import errno
import logging
from pathlib import Path

import pytest

from stead.agent.loop import Result, Toolbox
from stead.agent.tools.base import Context
from stead.core.errors import GatewayAway, LimitReached, WrongKey
from stead.core.states import Failure, StepState
from stead.core.wire import Finish
from stead.node.kinds import Work
from stead.node.link import HttpLink
from stead.node.presence import REFUSALS, Presence
from stead.node.runner import Runner, Unwanted
from stead.node.spool import Spool
from tests.unit.node.gateway import KEY, Gateway
from tests.unit.node.parts import Hold, no_model, quick_presence, running, step


async def test_a_job_is_claimed_run_and_reported(tmp_path: Path) -> None:
    """Hello comes first, then the claim; the job's end carries its text."""
    with Gateway() as gateway:
        job = gateway.add(payload={"text": "hello"})
        async with running(gateway, tmp_path, labels=["gpu"]) as runner:
            await gateway.until(gateway.finishes)
            assert gateway.record.hellos[0].boot == runner.boot
        (finish,) = gateway.finishes(job)
        assert (finish.outcome, finish.text, finish.epoch) == ("done", "hello", 1)
        assert gateway.record.order[:2] == ["/node/v1/hello", "/node/v1/claim"]
        assert gateway.record.claims[0].labels == ["gpu"]


async def test_a_lost_claim_answer_gives_the_same_job(tmp_path: Path) -> None:
    """The request id is reused until it was answered, so the job given with it is not lost."""
    with Gateway() as gateway:
        gateway.fault("claim", "drop", times=3)
        job = gateway.add()
        async with running(gateway, tmp_path):
            await gateway.until(gateway.finishes)
        assert len(gateway.finishes(job)) == 1
        first = gateway.record.claims[:4]
        assert len({claim.request_id for claim in first}) == 1
        assert gateway.record.claims[4].request_id != first[0].request_id


async def test_only_chat_is_claimed_for_the_reserved_slots(tmp_path: Path) -> None:
    """Background work never takes the slots kept for chat; chat may take all."""
    with Gateway() as gateway:
        hold = Hold()
        back = [gateway.add("hold", lane="background") for _ in range(3)]
        async with running(gateway, tmp_path, {"hold": hold}, slots=3, chat_slots=1):
            await gateway.until(lambda: gateway.record.claims[2:])
            assert gateway.record.claims[2].lanes == ["chat"]
            chat = gateway.add("hold", lane="chat")
            await gateway.until(lambda: chat in hold.started)
            assert sorted(hold.started) == sorted([*back[:2], chat])
            hold.let_go.set()
            await gateway.until(lambda: len(gateway.finishes()) == 4)


async def test_room_for_background_is_used_at_once(tmp_path: Path) -> None:
    """A long poll for chat only does not keep waiting background work waiting."""
    with Gateway() as gateway:
        hold = Hold()
        gateway.add("hold", lane="chat")
        async with running(gateway, tmp_path, {"hold": hold}, slots=2, chat_slots=1):
            await gateway.until(
                lambda: gateway.record.claims and gateway.record.claims[-1].lanes == ["chat"]
            )
            later = gateway.add("noop", lane="background")
            hold.let_go.set()
            await gateway.until(lambda: gateway.finishes(later), 5)
            asked = gateway.record.claims
            assert asked[1].request_id == asked[2].request_id
            assert asked[2].lanes == ["chat", "background"]


async def test_one_slot_is_for_everything(tmp_path: Path) -> None:
    """A node with a single slot does background work too, whatever is reserved."""
    with Gateway() as gateway:
        job = gateway.add(lane="background")
        async with running(gateway, tmp_path, slots=1, chat_slots=1):
            await gateway.until(lambda: gateway.finishes(job))


@pytest.mark.parametrize("by", ["heartbeat", "events"])
async def test_a_cancelled_job_stops_within_a_moment(tmp_path: Path, by: str) -> None:
    """Whichever reply says so first: the work is stopped and reported as cancelled."""
    with Gateway(lease_ms=300 if by == "heartbeat" else 30_000) as gateway:
        hold = Hold()

        async def talk(work: Work) -> Result:
            work.emit("token", "one")
            if by == "events":
                await gateway.until(lambda: gateway.events(work.job.id))
                gateway.cancel.add(work.job.id)
                work.emit("token", "two")
            else:
                gateway.cancel.add(work.job.id)
            return await hold(work)

        job = gateway.add("talk")
        async with running(gateway, tmp_path, {"talk": talk}):
            await gateway.until(gateway.finishes, 5)
        assert [finish.outcome for finish in gateway.finishes(job)] == ["cancelled"]
        assert hold.cancelled == [job]


@pytest.mark.parametrize("slots", [1, 2])
async def test_a_cancel_does_not_wait_for_the_heartbeat(tmp_path: Path, slots: int) -> None:
    """A claim is held open also while no slot is free, and its answer carries the cancel."""
    with Gateway() as gateway:  # the first heartbeat is due after 3 s, and says nothing of it
        hold = Hold()
        job = gateway.add("hold")
        async with running(gateway, tmp_path, {"hold": hold}, slots=slots, chat_slots=0) as runner:
            await gateway.until(lambda: hold.started)
            await gateway.until(lambda: len(gateway.record.claims) > 1)
            assert gateway.record.claims[-1].lanes == ([] if slots == 1 else runner.lanes)
            gateway.say_cancel(job)
            await gateway.until(lambda: hold.cancelled)
            assert not gateway.record.heartbeats
            asked = gateway.record.claims[-1].request_id
            await gateway.until(lambda: gateway.finishes(job))
            next_one = gateway.add()
            await gateway.until(lambda: gateway.finishes(next_one))
        assert asked in [claim.request_id for claim in gateway.record.claims[1:]]


async def test_a_fenced_job_is_stopped_and_says_nothing_more(tmp_path: Path) -> None:
    """After 409 the work stops, nothing of it is reported, and the spool forgets it."""
    with Gateway() as gateway:
        stopped = asyncio.Event()

        async def work_on(work: Work) -> Result:
            await work.journal.intend(step(1, StepState.INTENT))
            gateway.take_away(work.job.id)
            try:
                await work.journal.settle(step(1))
                await asyncio.Event().wait()
            finally:
                stopped.set()
            raise AssertionError

        job = gateway.add("work_on")
        async with running(gateway, tmp_path, {"work_on": work_on}):
            await asyncio.wait_for(stopped.wait(), 60)
            await gateway.until(lambda: gateway.record.claims[1:])
        assert gateway.finishes() == []
        assert [one.state for one in gateway.steps(job)] == [StepState.INTENT]
        spool = Spool(tmp_path)
        spool.close()
        assert spool.left == []


async def test_a_job_lost_by_heartbeat_is_stopped(tmp_path: Path) -> None:
    """A job that says nothing learns from the heartbeat that it is another's now."""
    with Gateway(lease_ms=150) as gateway:
        hold = Hold()
        job = gateway.add("hold")
        async with running(gateway, tmp_path, {"hold": hold}) as runner:
            await gateway.until(lambda: gateway.record.heartbeats)
            gateway.take_away(job)
            before = len(gateway.record.heartbeats)
            await gateway.until(lambda: len(gateway.record.heartbeats) > before)
            other = gateway.add()
            await gateway.until(lambda: gateway.finishes(other))
            await gateway.until(lambda: runner.running == 0)
        assert hold.cancelled == [job]
        assert gateway.finishes(job) == []


async def test_the_same_job_at_a_later_epoch_replaces_the_earlier(tmp_path: Path) -> None:
    """A node that lost a job and gets it again runs it once, under the new epoch."""
    with Gateway() as gateway:
        hold = Hold()
        job = gateway.add("hold")
        async with running(gateway, tmp_path, {"hold": hold}):
            await gateway.until(lambda: hold.started)
            gateway.add("noop", id=job, epoch=2)
            await gateway.until(gateway.finishes)
        assert [(one.epoch, one.outcome) for one in gateway.finishes(job)] == [(2, "done")]
        assert hold.cancelled == [job]


async def test_a_resumed_job_sees_its_past(tmp_path: Path) -> None:
    """The steps of earlier attempts are in the journal; later ones are not."""
    with Gateway() as gateway:
        seen = []

        async def resume(work: Work) -> Result:
            seen.extend([work.journal.past(1), work.journal.past(2), work.journal.past(3)])
            return Result(outcome="done")

        past = [step(1), step(2, StepState.INTENT)]
        gateway.add("resume", epoch=2, steps=past)
        async with running(gateway, tmp_path, {"resume": resume}):
            await gateway.until(gateway.finishes)
        assert seen == [*past, None]


@pytest.mark.parametrize(
    ("error", "failure", "words"),
    [
        (LimitReached(what="steps", used=20, limit=20), Failure.LIMIT, "limit on steps"),
        (ZeroDivisionError("by zero"), Failure.CODE, "ZeroDivisionError: by zero"),
    ],
)
async def test_failures_are_reported_with_their_class(
    error: Exception, failure: Failure, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A known error keeps its class and words; a bug is named, its traceback is in the log."""
    with Gateway() as gateway:

        async def fail(work: Work) -> Result:
            raise error

        gateway.add("fail")
        async with running(gateway, None, {"fail": fail}):
            await gateway.until(gateway.finishes)
        trouble = gateway.finishes()[0].trouble
        assert trouble is not None and trouble.failure is failure and words in trouble.message
        assert trouble.permanent is failure.permanent
        assert ("Traceback" in caplog.text) is (failure is Failure.CODE)


async def test_waiting_for_the_owner_is_reported(tmp_path: Path) -> None:
    """A job that asks hands its question over and frees its slot."""
    with Gateway() as gateway:

        async def ask(work: Work) -> Result:
            return Result(outcome="waiting", waiting_for="May I?")

        gateway.add("ask")
        async with running(gateway, tmp_path, {"ask": ask}, slots=1):
            await gateway.until(gateway.finishes)
            after = gateway.add()
            await gateway.until(lambda: gateway.finishes(after))
        assert gateway.finishes()[0].waiting_for == "May I?"


async def test_an_unknown_kind_fails_in_words(tmp_path: Path) -> None:
    """A job that this worker does not know is refused with the kinds it knows."""
    with Gateway() as gateway:
        gateway.add("paint")
        async with running(gateway, tmp_path):
            await gateway.until(gateway.finishes)
        trouble = gateway.finishes()[0].trouble
        assert trouble is not None and "'paint'" in trouble.message and "chat" in trouble.message


async def test_drain_lets_jobs_end_and_hands_back_the_rest(tmp_path: Path) -> None:
    """At the stop short jobs end well, long ones go back at no cost of a try, journal and all."""
    with Gateway() as gateway:
        hold = Hold()
        finishing = asyncio.Event()

        async def short(work: Work) -> Result:
            await finishing.wait()
            return Result(outcome="done", text="just in time")

        async def long(work: Work) -> Result:
            await work.journal.intend(step(1, StepState.INTENT))
            await work.journal.settle(step(1))
            return await hold(work)

        quick, slow = gateway.add("short"), gateway.add("long")
        kinds = {"short": short, "long": long}
        async with running(gateway, tmp_path, kinds, grace_s=0.3) as runner:
            await gateway.until(lambda: gateway.record.claims[2:])
            await gateway.until(lambda: len(gateway.steps(slow)) == 2)
            runner.stop()
            finishing.set()
        assert gateway.finishes(quick)[0].text == "just in time"
        (back,) = gateway.finishes(slow)
        assert back.trouble is not None
        assert (back.outcome, back.trouble.failure) == ("failed", Failure.AWAY)
        assert back.trouble.message == "node is shutting down" and not back.trouble.permanent
        assert gateway.record.claims[-1].lanes == []
        spool = Spool(tmp_path)
        spool.close()
        assert spool.left == []


async def test_drain_with_the_gateway_away_keeps_all_in_the_spool(tmp_path: Path) -> None:
    """What could not be delivered at the stop goes first at the next start, before the hello."""
    with Gateway() as gateway:
        hold = Hold()

        async def long(work: Work) -> Result:
            gateway.down()
            await work.journal.settle(step(1))
            return await hold(work)

        job = gateway.add("long")
        async with running(gateway, tmp_path, {"long": long}):
            await gateway.until(lambda: hold.started)
        assert gateway.steps(job) == []
        gateway.up()
        gateway.record.order.clear()
        async with running(gateway, tmp_path):
            await gateway.until(lambda: "/node/v1/hello" in gateway.record.order)
        assert gateway.record.order[:3] == ["/node/v1/events", "/node/v1/finish", "/node/v1/hello"]
        assert [one.seq for one in gateway.steps(job)] == [1]
        trouble = gateway.finishes(job)[0].trouble
        assert trouble is not None and trouble.failure is Failure.AWAY


async def test_a_handler_that_will_not_stop_does_not_hold_up_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end comes within a bounded time, and the job is handed back all the same."""
    monkeypatch.setattr("stead.node.runner._LET_GO_S", 0.1)
    with Gateway() as gateway:
        over = asyncio.Event()

        async def stubborn(work: Work) -> Result:
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue
            return Result(outcome="done")

        job = gateway.add("stubborn")
        async with running(gateway, tmp_path, {"stubborn": stubborn}) as runner:
            await gateway.until(lambda: runner.running)
        assert gateway.finishes(job)[0].outcome == "failed"
        assert "did not stop" in caplog.text
        over.set()


async def test_a_wrong_key_stops_the_start_in_words() -> None:
    """A node that the gateway does not know says so at once."""
    with Gateway() as gateway:
        link = HttpLink(gateway.url, "sn_wrong")
        runner = Runner(link, no_model, None, presence=quick_presence(gateway.url))  # type: ignore[arg-type]
        with pytest.raises(WrongKey):
            await asyncio.wait_for(runner.run(), 60)
        await link.aclose()


async def test_a_revoked_node_ends_in_words_and_keeps_its_spool(tmp_path: Path) -> None:
    """Once its key is refused for good the job under way is stopped, what it did is kept in the
    spool, and the runner ends with words that say how to come back."""
    hold = Hold()
    spool = Spool(tmp_path)
    with Gateway() as gateway:
        link = HttpLink(gateway.url, KEY)
        presence = Presence(gateway.url, first_s=0.02, longest_s=0.1, refused_s=0.3)
        runner = Runner(
            link, no_model, Toolbox([], Context(tmp_path)), spool, slots=1, chat_slots=0,
            presence=presence, kinds={"hold": hold}, grace_s=60.0,
        )  # fmt: skip
        running_it = asyncio.create_task(runner.run())
        job = gateway.add("hold")
        await gateway.until(lambda: hold.started)
        for path in ("claim", "heartbeat", "events", "finish"):
            gateway.fault(path, 401, times=100_000)
        with pytest.raises(Unwanted, match="stead node invite"):
            await asyncio.wait_for(running_it, 20)
        assert hold.cancelled == [job]
        await link.aclose()
        spool.close()
    (left,) = Spool(tmp_path).left
    assert isinstance(left, Finish) and left.job_id == job


async def test_a_key_refused_for_a_moment_ends_nobody() -> None:
    """A gateway whose database is being restored may not know its nodes for a moment; any other
    answer in between begins the count anew."""
    presence = Presence("http://x", refused_s=0.0)
    for _ in range(REFUSALS - 1):
        presence.away(WrongKey("no"))
    presence.away(GatewayAway(url="http://x", why="restarting"))
    for _ in range(REFUSALS - 1):
        presence.away(WrongKey("no"))
    presence.back()
    presence.away(WrongKey("no"))
    assert not presence.unwanted.is_set()
    slow = Presence("http://x", refused_s=60.0)
    for _ in range(10 * REFUSALS):
        slow.away(WrongKey("no"))
    assert not slow.unwanted.is_set()
    for _ in range(REFUSALS):
        presence.away(WrongKey("no"))
    assert presence.unwanted.is_set()


async def test_outages_are_told_in_words_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Away and back are one line each, however many tries lie between."""
    caplog.set_level(logging.INFO, "stead.node")
    with Gateway() as gateway:
        async with running(gateway, tmp_path):
            await gateway.until(lambda: gateway.record.claims)
            gateway.down()
            await gateway.until(lambda: "is away" in caplog.text)
            await asyncio.sleep(0.2)
            gateway.up()
            job = gateway.add()
            await gateway.until(lambda: gateway.finishes(job))
    assert caplog.text.count("is away") == 1
    assert caplog.text.count("is back after") == 1


async def test_many_jobs_through_faults_end_once_each(tmp_path: Path) -> None:
    """Answers lost, late and failed on the way: every job ends exactly once, its steps in order."""
    with Gateway() as gateway:

        async def work_on(work: Work) -> Result:
            for seq in (1, 2, 3):
                await work.journal.intend(step(seq, StepState.INTENT))
                work.emit("token", f"t{seq} ")
                await work.journal.settle(step(seq, output=f'"{seq}"'))
            return Result(outcome="done", text="t1 t2 t3 ")

        for path in ("claim", "events", "finish"):
            gateway.fault(path, "drop", times=5)
            gateway.fault(path, 503, times=4)
            gateway.fault(path, "cut", times=3)
            gateway.fault(path, 500, times=2)
            gateway.fault(path, "late", times=2, seconds=0.02)
        jobs = [gateway.add("work_on") for _ in range(12)]
        async with running(gateway, tmp_path, {"work_on": work_on}):
            await gateway.until(lambda: len(gateway.finishes()) == len(jobs))
        states = [StepState.INTENT, StepState.DONE]
        for job in jobs:
            assert [one.outcome for one in gateway.finishes(job)] == ["done"]
            told = [(one.seq, one.state) for one in gateway.steps(job)]
            assert told == [(seq, state) for seq in (1, 2, 3) for state in states]
            seqs = [event.seq for event in gateway.events(job) if event.seq]
            assert seqs == sorted(set(seqs))
            assert isinstance(gateway.record.reports[-1], Finish)
        assert gateway.record.repeats >= 5
        spool = Spool(tmp_path)
        spool.close()
        assert spool.left == []


async def test_what_neither_disk_nor_gateway_took_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk and no gateway at the stop: the loss is counted in the log, never silent."""
    monkeypatch.setattr("stead.node.runner._LET_GO_S", 0.1)
    with Gateway() as gateway:
        started = asyncio.Event()

        async def settle(work: Work) -> Result:
            gateway.down()
            monkeypatch.setattr("stead.node.spool._write_all", no_space)
            started.set()
            await work.journal.settle(step(1))
            raise AssertionError("this outcome is nowhere durable")

        gateway.add("settle")
        async with running(gateway, tmp_path, {"settle": settle}):
            await asyncio.wait_for(started.wait(), 60)
    assert "cannot be written" in caplog.text
    assert "2 report(s) reached neither the gateway nor the disk" in caplog.text


def no_space(*_: object) -> None:
    """The file layer of a disk that is full."""
    raise OSError(errno.ENOSPC, "No space left on device")
