"""Following a job: its events as they happen, from where one left off, to its end."""

from __future__ import annotations

import asyncio
from typing import Any

from stead.core.ids import uuid7
from stead.core.nouns import Trouble
from stead.core.place import Place
from stead.core.states import Failure
from stead.core.wire import ClaimedJob, Events, Finish, Hello
from stead.core.wire import Event as Told
from tests.unit.gateway.parts import Event, Gate, events


async def _listen(gate: Gate, job_id: str, last: str = "") -> list[Event]:
    headers = {"last_event_id": last} if last else {}
    async with await gate.open("GET", f"/api/v1/jobs/{job_id}/events", **headers) as streamed:
        assert streamed.status == 200
        return [event async for event in events(streamed)]


class _Watch:
    """A watcher in the background."""

    def __init__(self, gate: Gate, job_id: str, last: str = "") -> None:
        self.heard: list[Event] = []
        self._news = asyncio.Event()
        self._task = asyncio.create_task(self._run(gate, job_id, last))

    async def _run(self, gate: Gate, job_id: str, last: str) -> None:
        headers = {"last_event_id": last} if last else {}
        async with await gate.open("GET", f"/api/v1/jobs/{job_id}/events", **headers) as streamed:
            async for event in events(streamed):
                self.heard.append(event)
                self._news.set()

    async def has(self, count: int) -> None:
        """Return once so many events were heard."""
        while len(self.heard) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 60)

    async def end(self) -> list[Event]:
        """All that was heard until the stream ended."""
        await asyncio.wait_for(self._task, 60)
        return self.heard


async def _tell(gate: Gate, job: ClaimedJob, *told: Told) -> Any:
    return await gate.node("events", Events(uuid7(), job.id, job.epoch, list(told)))


async def _held(gate: Gate, text: str = "hello") -> ClaimedJob:
    await gate.accept(text)
    job = await gate.claim()
    assert job is not None
    return job


async def test_live_and_late(gate: Gate) -> None:
    """Who watches sees each event with a growing id, the end last; who comes late sees the same."""
    job = await _held(gate)
    watching = _Watch(gate, job.id)
    await _tell(gate, job, Told(1, "token", "one "), Told(2, "tool", "looks"))
    await _tell(gate, job, Told(3, "note", "waits"), Told(4, "token", "two"))
    await watching.has(4)
    assert (await gate.finish(job, "one two")).data == {"state": "done"}
    told = await watching.end()
    assert [(event.type, event.data.get("text")) for event in told] == [
        ("token", "one "), ("tool", "looks"), ("note", "waits"), ("token", "two"),
        ("end", "one two"),
    ]  # fmt: skip
    ids = [Place.parse(event.id) for event in told[:-1]]
    assert ids == sorted(set(ids)) and str(ids[-1]) == "1.7"
    end = told[-1].data
    assert end["state"] == "done" and end["job_id"] == job.id and end["error"] == ""
    assert {"waited_ms", "worked_ms", "usage", "message_id", "waiting_for"} <= set(end)
    late = await _listen(gate, job.id)
    assert late[-1].data["text"] == "one two"
    by_piece = await _listen(gate, job.id[-8:])
    assert by_piece[-1].data == end


def _text(told: list[Event]) -> str:
    """The answer as a client has it: the text since the last reset."""
    text = ""
    for event in told:
        text = "" if event.type == "reset" else text
        text += event.data["text"] if event.type == "token" else ""
    return text


async def test_resuming(gate: Gate) -> None:
    """`Last-Event-ID` gives what came after it and nothing twice."""
    job = await _held(gate)
    first = _Watch(gate, job.id)
    for n in range(1, 4):
        await _tell(gate, job, Told(n, "token", f"{n} "))
        await first.has(n)
    rest = _Watch(gate, job.id, first.heard[1].id)
    await rest.has(1)
    await _tell(gate, job, Told(4, "token", "4 "))
    await rest.has(2)
    await gate.finish(job, "1 2 3 4 5 6 ")  # the last words came with the end only
    assert _text(await first.end()) == "1 2 3 4 5 6 "
    assert _text(await rest.end()) == "3 4 5 6 "
    assert [event.type for event in rest.heard][-2:] == ["token", "end"]
    for wrong in ("x", "5000", "1.x"):
        answer = await gate.ask("GET", f"/api/v1/jobs/{job.id}/events", last_event_id=wrong)
        assert (answer.status, answer.error["param"]) == (400, "Last-Event-ID")


async def test_resuming_when_all_is_over(gate: Gate) -> None:
    """The rest of the text comes from the record, from where the client was; who has seen text of
    another attempt is told that it begins anew."""
    job = await _held(gate)
    await gate.finish(job, "one two three")
    for last, types, text in (
        ("", ["token", "end"], "one two three"),
        ("1.0", ["token", "end"], "one two three"),
        ("1.4", ["token", "end"], "two three"),
        ("1.4.99", ["token", "end"], "two three"),
        ("1.13", ["end"], ""),
        ("7.4", ["reset", "token", "end"], "one two three"),
        ("1.999", ["reset", "token", "end"], "one two three"),
    ):
        told = await _listen(gate, job.id, last)
        assert [event.type for event in told] == types, last
        assert _text(told) == text and told[-1].data["text"] == "one two three"
        if len(told) > 1:
            assert told[-2].id == "1.13"


async def test_an_attempt_that_is_over(gate: Gate) -> None:
    """A client that comes back with text of an attempt that was given up is told so at once, also
    by a gateway that has not seen that attempt, and while nobody works on the job."""
    assert (await gate.node("hello", Hello("boot-1"))).status == 200
    job = await _held(gate)
    gate.parts.live._feeds.clear()  # as after a restart
    assert (await gate.node("hello", Hello("boot-2"))).status == 200
    watching = _Watch(gate, job.id, "1.9")
    await watching.has(1)
    assert (watching.heard[0].type, watching.heard[0].id) == ("reset", "2.0")
    again = await gate.claim(wait_s=5)
    assert again is not None and again.epoch == 2
    await _tell(gate, again, Told(1, "token", "whole", at=0))
    await gate.finish(again, "whole")
    assert _text(await watching.end()) == "whole"


async def test_a_worker_is_told_what_is_missing(gate: Gate) -> None:
    """After a restart the gateway's answer says what it has of the text, and no text is shown
    before what stands before it is there."""
    job = await _held(gate)
    told = await _tell(gate, job, Told(3, "token", "three", at=8))
    assert told.data["have"] == 0
    watching = _Watch(gate, job.id, "1.4")
    told = await _tell(gate, job, Told(0, "token", "one two three", at=0))
    assert told.data["have"] == 13
    await watching.has(1)
    await gate.finish(job, "one two three")
    assert _text(await watching.end()) == "two three"
    assert (await _tell(gate, job, Told(4, "token", "late", at=13))).status == 409


async def test_sent_again_is_seen_once(gate: Gate) -> None:
    """A batch that a node sends again, because it never saw the answer, is not doubled."""
    job = await _held(gate)
    watching = _Watch(gate, job.id)
    batch = [Told(1, "token", "once "), Told(2, "token", "only")]
    for _ in range(3):
        assert (await _tell(gate, job, *batch)).data == {
            "ok": True, "cancel": False, "have": 9,
        }  # fmt: skip
    await _tell(gate, job, *batch, Told(3, "token", "."))
    await watching.has(1)
    await gate.finish(job, "once only.")
    told = await watching.end()
    assert "".join(e.data["text"] for e in told if e.type == "token") == "once only."


async def test_reset_when_a_worker_died(gate: Gate) -> None:
    """The worker restarted: watchers are told that the answer begins again, then see it whole."""
    assert (await gate.node("hello", Hello("boot-1"))).status == 200
    job = await _held(gate)
    await _tell(gate, job, Told(1, "token", "half an ans"))
    watching = _Watch(gate, job.id)
    await watching.has(1)
    assert (await gate.node("hello", Hello("boot-2"))).status == 200
    again = await gate.claim(wait_s=5)
    assert again is not None and (again.id, again.epoch, again.crashes) == (job.id, 2, 1)
    await _tell(gate, again, Told(1, "token", "the whole"))
    # What the dead worker's last words are is no longer heard.
    assert (await _tell(gate, job, Told(2, "token", "wer"))).status == 409
    await watching.has(3)
    await gate.finish(again, "the whole")
    told = await watching.end()
    assert [event.type for event in told] == ["token", "reset", "token", "end"]
    assert "restarted" in told[1].data["text"]


async def test_ends_of_every_kind(gate: Gate) -> None:
    """Dead, waiting and cancelled jobs end the stream too, and say why."""
    job = await _held(gate, "dies")
    await gate.node(
        "finish",
        Finish(uuid7(), job.id, job.epoch, "failed", trouble=Trouble(Failure.AUTH, "no key")),
    )
    (end,) = await _listen(gate, job.id)
    assert (end.data["state"], end.data["error"]) == ("dead", "no key")
    assert "no key" in end.data["text"]

    job = await _held(gate, "asks")
    asking = Finish(uuid7(), job.id, job.epoch, "waiting", waiting_for="Shall I?")
    assert (await gate.node("finish", asking)).data == {"state": "waiting"}
    (end,) = await _listen(gate, job.id)
    assert (end.data["state"], end.data["waiting_for"]) == ("waiting", "Shall I?")

    queued = await gate.accept("never begins")
    watching = _Watch(gate, queued.job_id)
    await asyncio.sleep(0.02)
    cancelled = await gate.ask("POST", f"/api/v1/jobs/{queued.job_id}/cancel")
    assert cancelled.data == {"job_id": queued.job_id, "state": "cancelled", "asked": False}
    assert (await watching.end())[-1].data["state"] == "cancelled"
    again = await gate.ask("POST", f"/api/v1/jobs/{queued.job_id}/cancel")
    assert (again.status, again.error["code"]) == (409, "wrong_state")


async def test_a_watcher_goes_on_after_an_answer(gate: Gate) -> None:
    """A job that waited for the owner can be followed again once it is answered."""
    job = await _held(gate, "asks")
    await gate.node("finish", Finish(uuid7(), job.id, job.epoch, "waiting", waiting_for="Shall I?"))
    wrong = await gate.ask("POST", f"/api/v1/jobs/{job.id}/answer", {"answer": "perhaps"})
    assert (wrong.status, wrong.error["param"]) == (400, "answer")
    answered = await gate.ask("POST", f"/api/v1/jobs/{job.id}/answer", {"answer": "done"})
    assert answered.data == {"job_id": job.id, "state": "queued"}
    watching = _Watch(gate, job.id)
    again = await gate.claim(wait_s=5)
    assert again is not None and "done" in again.payload["answers"].values()
    await gate.finish(again, "did it")
    assert (await watching.end())[-1].data["text"] == "did it"


async def test_what_there_is_not(gate: Gate) -> None:
    """An unknown job is a 404 before any stream begins; a short piece of an id says it is short."""
    for ident in ("00000000", "x" * 300, "%25%25%25%25%25%25", "______"):
        answer = await gate.ask("GET", f"/api/v1/jobs/{ident}/events")
        assert (answer.status, answer.error["code"]) == (404, "not_found"), ident
    assert "at least 6" in (await gate.ask("GET", "/api/v1/why/abc")).error["message"]
