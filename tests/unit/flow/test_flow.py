"""accept and settle: each message goes in once and comes out once, and its end is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stead.core.errors import StaleEpoch
from stead.core.nouns import NewJob, Step, Usage
from stead.core.place import Place
from stead.core.states import Failure, JobState, Lane, StepState
from stead.core.wire import Event
from tests.unit.flow.house import House


def step(seq: int, state: StepState = StepState.DONE) -> Event:
    made = Step(seq, "tool:clock", "h", state, input="{}", output='{"result": 1}')
    return Event(seq, "step", step=made)


# --- the way of a message --------------------------------------------------------


async def test_the_way_of_a_message(house: House) -> None:
    """A message is recorded, routed and queued; its answer is recorded, sent, charged and
    logged."""
    accepted = await house.say("what time is it?", instructions="be brief")
    job = await house.claim()
    assert job.id == accepted.job_id
    assert job.payload == {
        "text": "what time is it?", "role": "main", "instructions": "be brief", "overrides": {},
            "channel": "cli",
    }  # fmt: skip
    assert (job.session, job.conc_key, job.max_tries) == ("main", "session:main", 2)
    await house.tell(job, Event(1, "token", "It is "), step(2), Event(3, "token", "noon."))
    ended = await house.settle(job, text="It is noon.", usage=Usage(10, 0, 5, 0), worked_ms=40)
    assert ended.state is JobState.DONE
    assert await house.sent() == [("assistant", "It is noon.")]
    assert await house.watched(job.id) == [("token", "It is noon.")]
    log = await house.log()
    for part in (
        f"**owner** (cli, main) [job {job.id[-8:]}, node: everything else]: what time is it?",
        "tool:clock `{}` done", "**stead** [job", "10+5 tokens", "It is noon.",
    ):  # fmt: skip
        assert part in log
    assert (house.accepted, house.replies) == (1, 1)


async def test_light_work_stays_in_the_house(house: House) -> None:
    """Small talk is for the worker in the gateway, and wakes no fear of nodes being away."""
    accepted = await house.say("ping")
    assert accepted.route == "light: small talk"
    job = await house.claim("@gateway", light=True)
    assert (job.id, job.payload["role"], job.needs) == (accepted.job_id, "light", "@gateway")
    assert house.accepted == 0


async def test_the_lane_and_limits_of_a_message(house: House) -> None:
    """What the sender asked for goes with the job."""
    await house.say("x", lane=Lane.BACKGROUND, session="work", overrides={"max_tokens": 5})
    job = await house.claim()
    assert (job.lane, job.conc_key) == (Lane.BACKGROUND, "session:work")
    assert job.payload["overrides"] == {"max_tokens": 5}


async def test_the_same_message_again(house: House) -> None:
    """A repeated delivery by its channel is answered as the first, and does nothing."""
    first = await house.say("do it", external_id="7")
    again = await house.say("do it", external_id="7")
    assert again.duplicate and again.job_id == first.job_id and again.route == first.route
    assert house.accepted == 1
    assert (await house.log()).count("do it") == 1


async def test_a_message_wakes_who_waits(house: House) -> None:
    """A node that waits begins with the message as soon as it is recorded."""
    waiting = asyncio.create_task(
        house.queue.claim(
            request_id="r", node_id="n1", boot="b", lanes=["chat"], labels=[], wait_s=30
        )
    )
    await house.store.write(lambda c: None)
    accepted = await house.say()
    granted = await asyncio.wait_for(waiting, 60)
    assert granted is not None and granted.job.id == accepted.job_id


# --- on the way ------------------------------------------------------------------


async def test_tokens_cost_no_write(house: House) -> None:
    """What is only for the eye goes past the database; what must last is in it."""
    await house.say()
    job = await house.claim()
    journalled = 0
    real = house.store.journal

    async def journal(*asked: Any) -> bool:
        nonlocal journalled
        journalled += 1
        return await real(*asked)

    house.store.journal = journal  # type: ignore[assignment,method-assign]
    await house.tell(job, Event(1, "token", "a"), Event(2, "note", "b"))
    assert journalled == 0
    await house.tell(job, step(3))
    assert journalled == 1


async def test_who_lost_a_job_is_told(house: House) -> None:
    """Events of an epoch that is no more are refused, tokens and steps alike, and not shown."""
    await house.say()
    old = await house.claim()
    await house.queue.restarted("n1", "b2", house.flow.crash_rule)
    new = await house.claim("n2")
    for event in (Event(1, "token", "late"), step(1)):
        with pytest.raises(StaleEpoch):
            await house.tell(old, event)
    await house.settle(new, text="there")
    assert await house.watched(new.id) == []


async def test_a_wish_to_cancel_reaches_the_worker(house: House) -> None:
    """With its next journalled step a worker learns that the owner wants it to stop."""
    await house.say()
    job = await house.claim()
    assert await house.tell(job, step(1)) is False
    assert (await house.flow.cancel(job.id)).state is JobState.RUNNING
    assert await house.tell(job, step(2)) is True
    await house.settle(job, "cancelled")
    assert await house.sent() == [("notice", "Cancelled.")]


async def test_a_repeated_batch_is_logged_once(house: House) -> None:
    """A batch that a node sends again after a lost answer gives no second line."""
    await house.say()
    job = await house.claim()
    for _ in range(3):
        await house.tell(job, Event(1, "token", "a"), step(2))
    assert (await house.log()).count("tool:clock") == 1
    await house.settle(job)
    assert await house.watched(job.id) == [("token", "a")]


# --- ends --------------------------------------------------------------------------


async def test_a_failure_starts_again_and_says_so(house: House) -> None:
    """Who watches is told that the answer begins anew, and why; the owner gets no mail of it."""
    await house.say()
    job = await house.claim()
    await house.tell(job, Event(1, "token", "half an ans"))
    ended = await house.settle(job, "failed", failure=Failure.NETWORK)
    assert ended.state is JobState.QUEUED and await house.sent() == []
    again = await house.claim()
    await house.tell(again, Event(1, "token", "whole"))
    await house.settle(again, text="whole")
    assert await house.watched(job.id) == [("token", "whole")]
    assert await house.watched(job.id, Place(1, 11)) == [
        ("reset", "starting again: it broke"),
        ("token", "whole"),
    ]
    assert "will be tried again: it broke" in await house.log()


async def test_a_death_is_told_with_what_to_do(house: House) -> None:
    """After the last try the owner gets an apology with its reason and the commands that help."""
    accepted = await house.say()
    for _ in range(2):
        await house.settle(await house.claim(), "failed", failure=Failure.TIMEOUT)
    ((role, text),) = await house.sent()
    assert role == "notice"
    assert "it broke (tried 2 times)" in text
    assert f"stead why {accepted.job_id[-8:]}" in text
    assert f"stead jobs retry {accepted.job_id[-8:]}" in text
    assert await house.watched(accepted.job_id) == []
    assert "dead: it broke" in await house.log()


async def test_a_stop_of_the_house_costs_no_try(house: House) -> None:
    """However often gateway or node are stopped in the midst of a job, it is not its fault."""
    await house.say()
    for _ in range(5):
        job = await house.claim()
        ended = await house.settle(job, "failed", failure=Failure.AWAY)
        assert (ended.state, ended.job.tries) == (JobState.QUEUED, 0)


async def test_a_question_and_its_answer(house: House) -> None:
    """A job that must ask says how to answer, frees its conversation, and goes on with the
    answer."""
    accepted = await house.say()
    job = await house.claim()
    await house.settle(job, "waiting", waiting_for="Was it sent?")
    ((role, text),) = await house.sent()
    assert role == "notice" and text.startswith("Was it sent? Answer with `stead jobs answer")
    later = await house.say("something else")
    assert (await house.claim()).id == later.job_id
    await house.settle(await house.store.job(later.job_id))
    await house.flow.answer(accepted.job_id, "done")
    again = await house.claim()
    assert again.id == accepted.job_id and again.payload["answers"]
    watching = asyncio.create_task(house.watched(job.id))
    await asyncio.sleep(0)
    await house.tell(again, Event(1, "token", "fine"))
    await house.settle(again, text="fine")
    assert await asyncio.wait_for(watching, 60) == [("token", "fine")]


async def test_a_revived_job(house: House) -> None:
    """A dead job that is tried again can be watched, and answers in the end."""
    accepted = await house.say()
    await house.settle(await house.claim(), "failed", failure=Failure.AUTH)
    assert len(await house.sent()) == 1
    await house.flow.revive(accepted.job_id)
    job = await house.claim()
    await house.tell(job, Event(1, "token", "now"))
    await house.settle(job, text="now")
    assert await house.sent() == [("assistant", "now")]
    assert await house.watched(job.id) == [("token", "now")]


async def test_cancel_before_it_began(house: House) -> None:
    """A queued job is over at once, and who watches it is let go."""
    accepted = await house.say()
    watching = asyncio.create_task(house.watched(accepted.job_id))
    await asyncio.sleep(0)
    assert (await house.flow.cancel(accepted.job_id)).state is JobState.CANCELLED
    assert await asyncio.wait_for(watching, 60) == []
    assert await house.sent() == [("notice", "Cancelled.")]
    assert house.replies == 1


async def test_a_rescue_is_told(house: House) -> None:
    """When a worker vanished those who watch are told so, and of the end if it was the last."""
    accepted = await house.say()
    for boot in ("b1", "b2"):
        await house.claim(boot=boot)
        await house.queue.restarted("n1", "later", house.flow.crash_rule)
    ((_, text),) = await house.sent()
    assert "vanished 2 times" in text
    async with asyncio.timeout(60):
        await house.watched(accepted.job_id)


async def test_the_owner_is_told_of_poison_that_came_by_no_message(house: House) -> None:
    """A job that nobody asked for by a message brings workers down: the owner hears of it once,
    where he spoke last. Its other ends concern nobody."""
    await house.say(session="garden")
    await house.settle(await house.claim(), text="hi")
    await house.sent()
    poison, _ = await house.queue.enqueue(NewJob("noop", {}, max_crashes=2))
    for boot in ("b1", "b2"):
        assert (await house.claim(boot=boot)).id == poison
        await house.queue.restarted("n1", "later", house.flow.crash_rule)
    ((role, text),) = await house.sent()
    assert role == "notice" and "vanished 2 times" in text and poison[-8:] in text
    (told,) = (await house.store.view_messages("garden", -1, 1))["messages"]
    assert told["text"] == text
    await house.queue.enqueue(NewJob("noop", {}, max_tries=1))
    await house.settle(await house.claim(), "failed")
    assert await house.sent() == []


async def test_a_repeated_end_says_nothing_twice(house: House) -> None:
    """A report that comes again is answered the same; one reply is sent."""
    await house.say()
    job = await house.claim()
    first = await house.settle(job, text="hi", ident="r1")
    again = await house.settle(job, text="hi", ident="r1")
    assert again.repeat and again.state is first.state
    assert await house.sent() == [("assistant", "hi")]


async def test_an_end_that_was_cut_off_is_told_by_its_repeat(house: House) -> None:
    """When the first report was written but its telling was cut off, the repeat frees who
    watches and the memory of who holds the job."""
    await house.say()
    job = await house.claim()
    watching = asyncio.create_task(house.watched(job.id))
    await asyncio.sleep(0)
    cut = asyncio.create_task(house.settle(job, text="hi", ident="r1"))
    await asyncio.sleep(0)
    cut.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cut
    assert (await house.settle(job, text="hi", ident="r1")).repeat
    await asyncio.wait_for(watching, 60)
    assert house.queue.running("n1") == 0
    assert await house.sent() == [("assistant", "hi")]


async def test_a_repeat_of_an_old_report_frees_nothing(house: House) -> None:
    """A late repeat of an earlier attempt's report takes nothing from the present one."""
    await house.say()
    old = await house.claim()
    await house.settle(old, "failed", failure=Failure.NETWORK, ident="r1")
    new = await house.claim("n2")
    assert (await house.settle(old, "failed", failure=Failure.NETWORK, ident="r1")).repeat
    assert house.queue.holds(new.id, 2, "n2")
    await house.tell(new, Event(1, "token", "a"))
    await house.settle(new, text="a")
    assert ("token", "a") in await house.watched(new.id)


async def test_all_of_it_over_a_restart(house: House) -> None:
    """A gateway that restarts between any two steps of a message's way loses nothing of it."""
    accepted = await house.say()
    await house.restart()
    job = await house.claim()
    await house.restart()
    await house.tell(job, Event(1, "token", "a"), step(2))
    await house.restart()
    await house.settle(job, text="there", ident="r1")
    await house.restart()
    assert (await house.settle(job, text="there", ident="r1")).repeat
    assert await house.sent() == [("assistant", "there")]
    story = await house.store.view_why(accepted.message_id)
    assert story["reply"]["text"] == "there" and len(story["steps"]) == 1
    log = await house.log()
    assert log.count("**owner**") == log.count("**stead**") == log.count("tool:clock") == 1
