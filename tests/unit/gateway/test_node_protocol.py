"""The node protocol over HTTP: idempotent, fenced, and forgiving of broken connections."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest

from stead.core.ids import uuid7
from stead.core.nouns import Step, Trouble
from stead.core.states import Failure, StepState
from stead.core.wire import (
    Claim,
    ClaimReply,
    Event,
    Events,
    Finish,
    Heartbeat,
    Held,
    Hello,
)
from stead.queue import queue as queue_room
from tests.unit.gateway.parts import Gate, events


async def test_a_claim_said_twice_gives_the_same_job(gate: Gate) -> None:
    """Same request id, same job and epoch, also at the same moment; another id, another job."""
    await gate.accept("one", "s1")
    await gate.accept("two", "s2")
    claim = Claim("r1", "b1", wait_s=0)
    first = (await gate.node("claim", claim)).data["job"]
    again = await asyncio.gather(*(gate.node("claim", claim) for _ in range(5)))
    assert {(a.data["job"]["id"], a.data["job"]["epoch"]) for a in again} == {(first["id"], 1)}
    other = (await gate.node("claim", Claim("r2", "b1", wait_s=0))).data["job"]
    assert other["id"] != first["id"]
    assert (await gate.node("claim", Claim("r3", "b1", wait_s=0))).data["job"] is None
    # Another node that says the same words gets nothing of this one's.
    far = await gate.add_node("far")
    assert (await gate.node("claim", claim, key=far)).data["job"] is None


async def test_hanging_up_during_a_long_poll_loses_no_job(gate: Gate) -> None:
    """A claim that is given up just as its job arrives: the next claim of the same id has it,
    and a job that comes after the hang-up goes to whoever asks next."""
    for round in range(10):
        request = f"r{round}"
        claim = Claim(request, "b1", wait_s=20)
        polling = asyncio.create_task(gate.node("claim", claim))
        await asyncio.sleep(0.005)
        giving = asyncio.create_task(gate.say(f"message {round} for a node"))
        await asyncio.sleep(0.0005 * round)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        job_id = await giving
        reply = await gate.node("claim", Claim(request, "b1", wait_s=5))
        job = msgspec.json.decode(reply.raw, type=ClaimReply).job
        assert job is not None and job.id == job_id
        assert job.epoch == 1
        assert (await gate.finish(job)).data == {"state": "done"}


async def test_a_node_that_hangs_up_has_said_what_it_said(gate: Gate) -> None:
    """A report that arrived whole is worked off to its end, though nobody waits for its answer."""
    for round in range(10):
        job_id = await gate.say(f"message {round}")
        job = await gate.claim(wait_s=5)
        assert job is not None and job.id == job_id
        body = msgspec.json.encode(Finish(uuid7(), job.id, job.epoch, "done", text="all of it"))
        head = (
            "POST /node/v1/finish HTTP/1.1\r\nhost: gate\r\n"
            f"authorization: Bearer {gate.node_key}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        watching = await gate.open("GET", f"/api/v1/jobs/{job_id}/events")
        _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
        writer.write(head.encode() + body)
        if round % 2:
            await asyncio.sleep(0.0003 * round)
            writer.transport.abort()
        else:
            writer.close()
        async with asyncio.timeout(60), watching:
            assert [event.type async for event in events(watching)][-1] == "end"
        assert (await gate.ended(job_id))["reply"]["text"] == "all of it"


async def test_a_job_wakes_a_waiting_claim(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message handed in reaches the claim that waits for it, not its next look."""
    monkeypatch.setattr(queue_room, "_BACKSTOP_S", 3600.0)
    for round in range(5):
        polling = asyncio.create_task(gate.claim(wait_s=300))
        await asyncio.sleep(0.02)
        job_id = await gate.say(f"something for the node {round}")
        job = await asyncio.wait_for(polling, 60)
        assert job is not None and job.id == job_id
        await gate.finish(job)


async def test_a_stale_epoch_is_told_to_stop(gate: Gate) -> None:
    """Events and finish of an epoch that is over are 409; a heartbeat names the job as lost."""
    await gate.node("hello", Hello("b1"))
    await gate.accept("hello")
    old = await gate.claim()
    assert old is not None
    await gate.node("hello", Hello("b2"))
    new = await gate.claim(wait_s=5)
    assert new is not None and (new.id, new.epoch) == (old.id, 2)

    step = Step(1, "model:main", "h", StepState.INTENT)
    for told in ([Event(1, "token", "x")], [Event(1, "step", step=step)], []):
        answer = await gate.node("events", Events(uuid7(), old.id, old.epoch, told))
        assert (answer.status, answer.error["code"]) == (409, "stale_epoch")
    answer = await gate.node("finish", Finish(uuid7(), old.id, old.epoch, "done", text="old"))
    assert (answer.status, answer.error["code"]) == (409, "stale_epoch")
    held = [Held(old.id, old.epoch)]
    assert (await gate.node("heartbeat", Heartbeat("b2", held))).data["lost"] == [old.id]
    held = [Held(new.id, new.epoch)]
    assert (await gate.node("heartbeat", Heartbeat("b2", held))).data["lost"] == []
    # Another node cannot speak for it either, even with the right epoch.
    far = await gate.add_node("far")
    other = Finish(uuid7(), new.id, new.epoch, "done", text="stolen")
    assert (await gate.node("finish", other, key=far)).status == 409
    assert (await gate.node("heartbeat", Heartbeat("b", held), key=far)).data["lost"] == [new.id]
    assert (await gate.finish(new, "right")).data == {"state": "done"}
    assert (await gate.why(new.id))["reply"]["text"] == "right"


async def test_a_finish_said_twice_is_answered_as_before(gate: Gate) -> None:
    """The same report gets the same answer, whatever became of the job; there is one reply."""
    await gate.accept("hello")
    job = await gate.claim()
    assert job is not None
    failed = Finish(
        "f1", job.id, job.epoch, "failed", trouble=Trouble(Failure.NETWORK, "line is down")
    )
    answers = await asyncio.gather(*(gate.node("finish", failed) for _ in range(4)))
    assert {answer.raw for answer in answers} == {b'{"state":"queued"}'}
    again = await gate.claim(wait_s=5)
    assert again is not None and (again.epoch, again.tries) == (2, 1)
    assert (await gate.node("finish", failed)).data == {"state": "queued"}
    done = Finish("f2", job.id, again.epoch, "done", text="there")
    answers = await asyncio.gather(*(gate.node("finish", done) for _ in range(4)))
    assert {answer.raw for answer in answers} == {b'{"state":"done"}'}
    # Another report on the same epoch is no repeat of it.
    other = Finish("f3", job.id, again.epoch, "done", text="there")
    assert (await gate.node("finish", other)).status == 409
    messages = (await gate.ask("GET", "/api/v1/messages?after=0")).data["messages"]
    assert [message["text"] for message in messages] == ["hello", "there"]
    story = await gate.why(job.id)
    assert [(a["epoch"], a["outcome"]) for a in story["attempts"]] == [(1, "failed"), (2, "done")]


async def test_journal_entries_said_twice_are_kept_once(gate: Gate) -> None:
    """An intent after its outcome changes nothing; an outcome is never overwritten."""
    await gate.accept("hello")
    job = await gate.claim()
    assert job is not None

    async def tell(*steps: Step) -> None:
        told = [Event(at, "step", step=step) for at, step in enumerate(steps, 1)]
        answer = await gate.node("events", Events(uuid7(), job.id, job.epoch, told))
        assert answer.status == 200, answer

    intent = Step(1, "tool:x", "h", StepState.INTENT)
    done = Step(1, "tool:x", "h", StepState.DONE, output='{"result": "first"}')
    other = Step(1, "tool:x", "h", StepState.DONE, output='{"result": "second"}')
    await tell(intent)
    await tell(intent, done)
    await tell(intent, done)
    await tell(other)
    (step,) = (await gate.why(job.id))["steps"]
    assert (step["state"], step["output"]) == ("done", '{"result": "first"}')
    await gate.parts.daily.write_pending()
    (log,) = (gate.home / "memory").glob("*.md")
    assert log.read_text().count("tool:x") == 1


async def test_labels(gate: Gate) -> None:
    """A job goes only to a node that carries what it needs; nobody can be the gateway's worker."""
    await gate.accept("light", "s1", needs="@gateway")
    await gate.accept("gpu", "s2", needs="gpu")
    await gate.accept("both", "s3", needs="gpu,tpu")
    await gate.node("hello", Hello("b1", ["@gateway"]))
    assert await gate.claim() is None
    assert await gate.claim(labels=("@gateway",)) is None
    assert await gate.claim(labels=("tpu", "@gateway")) is None
    one = await gate.claim(labels=("gpu", "other"))
    assert one is not None and one.payload["text"] == "gpu"
    two = await gate.claim(labels=("tpu", "gpu"))
    assert two is not None and two.payload["text"] == "both"
    status = (await gate.ask("GET", "/api/v1/status")).data
    assert status["nodes"][0]["labels"] == []
    assert status["queue"]["queued"] == 1


async def test_cancelling_a_running_job(gate: Gate) -> None:
    """Its worker is told by the next heartbeat or events, and its end is `cancelled`."""
    await gate.accept("long work")
    job = await gate.claim()
    assert job is not None
    asked = await gate.ask("POST", f"/api/v1/jobs/{job.id}/cancel")
    assert asked.data == {"job_id": job.id, "state": "running", "asked": True}
    beat = await gate.node("heartbeat", Heartbeat("b", [Held(job.id, job.epoch)]))
    assert beat.data["cancel"] == [job.id]
    step = Event(1, "step", step=Step(1, "model:main", "h", StepState.INTENT))
    told = await gate.node("events", Events(uuid7(), job.id, job.epoch, [step]))
    assert told.data["cancel"] is True
    ended = await gate.node("finish", Finish(uuid7(), job.id, job.epoch, "cancelled"))
    assert ended.data == {"state": "cancelled"}


async def test_a_cancel_is_told_to_a_waiting_claim(gate: Gate) -> None:
    """The node that runs the job hears at once that it is to stop, in the answer to the claim it
    holds open, whatever that asks for; it asks again under the same id, which gives it work."""
    first = await gate.accept("a", "one")
    job = await gate.claim()
    assert job is not None and job.id == first.job_id
    for lanes in ([], ["chat", "background"]):
        body = Claim(uuid7(), "boot-1", lanes=lanes, wait_s=30)
        waiting = asyncio.create_task(gate.node("claim", body))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        cancelled = await gate.ask("POST", f"/api/v1/jobs/{job.id}/cancel")
        assert cancelled.data["asked"]
        told = (await asyncio.wait_for(waiting, 10)).data
        assert (told["job"], told["again"], told["cancel"]) == (None, True, [job.id])
    second = await gate.accept("b", "two")
    again = (await gate.node("claim", replace(body, wait_s=10))).data
    assert (again["job"]["id"], again["cancel"]) == (second.job_id, [])


async def test_a_cancel_between_two_claims_is_told_by_the_next(gate: Gate) -> None:
    """Nothing is open just then: the next claim is answered with it, before it is given a job."""
    await gate.accept("a", "one")
    job = await gate.claim()
    assert job is not None
    await gate.accept("b", "two")
    await gate.ask("POST", f"/api/v1/jobs/{job.id}/cancel")
    body = Claim(uuid7(), "boot-1", wait_s=10)
    told = (await gate.node("claim", body)).data
    assert (told["job"], told["cancel"]) == (None, [job.id])
    assert (await gate.node("claim", body)).data["job"] is not None


async def test_presence(gate: Gate) -> None:
    """A node is there while its claim is open, for a while after its last word, and then away."""

    async def words() -> tuple[bool, str]:
        status = (await gate.ask("GET", "/api/v1/status")).data
        (node,) = status["nodes"]
        return node["alive"], " / ".join(status["works"] + status["not_yet"])

    alive, said = await words()
    assert not alive and "node hands is away (never seen)" in said
    await gate.node("hello", Hello("b1", ["gpu"], "9.9"))
    alive, said = await words()
    assert alive and "node hands is connected" in said
    polling = asyncio.create_task(gate.claim(wait_s=20))
    await asyncio.sleep(1.3)  # longer than away_after_s
    assert (await words())[0]
    polling.cancel()
    await asyncio.gather(polling, return_exceptions=True)
    for _ in range(400):
        alive, said = await words()
        if not alive:
            break
        await asyncio.sleep(0.01)
    assert not alive and "node hands is away (last seen" in said


async def test_status_words(gate: Gate) -> None:
    """What does not work is said with what to do: no model, dead jobs, jobs that wait."""
    status = (await gate.ask("GET", "/api/v1/status")).data
    assert status["home"] == str(gate.home)
    assert status["queue"] == {"queued": 0, "running": 0, "waiting": 0, "dead": 0, "oldest_ms": 0}
    await gate.node("hello", Hello("b1"))
    for outcome in ("failed", "waiting"):
        await gate.accept(outcome, outcome)
        job = await gate.claim()
        assert job is not None
        status = (await gate.ask("GET", "/api/v1/status")).data
        assert any("working on 1" in words for words in status["works"])
        trouble = Trouble(Failure.AUTH, "no key") if outcome == "failed" else None
        ended = Finish(uuid7(), job.id, job.epoch, outcome, trouble=trouble, waiting_for="Go on?")
        await gate.node("finish", ended)
    status = (await gate.ask("GET", "/api/v1/status")).data
    said = " / ".join(status["not_yet"])
    assert "stead jobs --state dead" in said and "stead jobs --state waiting" in said
    assert status["ok"] is False
    assert (status["queue"]["dead"], status["queue"]["waiting"]) == (1, 1)
