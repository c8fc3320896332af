"""Questions about calls, the owner's words, and what he allows for ever, on each storage."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from stead.core.errors import AlreadyAnswered, BadRequest, NotFound, WaitsForApproval, WrongState
from stead.core.nouns import Job
from stead.core.permits import Approval, PermitRule
from stead.core.pruning import PruneRule
from stead.core.states import JobState
from stead.core.storage import Ruling, Store
from stead.core.wire import Finish
from tests.contract.storages import (
    House,
    background,
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    inbound,
    report,
    rule,
    until,
)

CALL = Approval(
    seq=2, tool="mail", preview="write to bob", args='{"to":"bob"}', digest="d1", why="the rule x",
    job_scope="places", always_scope="exact", always="mail with just these arguments",
)  # fmt: skip
HOUR = 3_600_000


def asks(expires_ms: int = HOUR) -> Any:
    def judge(job: Job, said: Finish) -> Ruling:
        return replace(rule(job, said), expires_ms=expires_ms)

    return judge


async def asked(
    store: Store, call: Approval = CALL, *, expires_ms: int = HOUR, job: Job | None = None
) -> Job:
    """A job that waits for the owner's word on a call."""
    if job is None:
        await store.accept(inbound(), chat(), "")
        job = await claimed(store)
    said = report(job, "waiting", waiting_for="May this be done?", approval=call)
    ended = await store.finish("n1", said, asks(expires_ms))
    assert ended.state is JobState.WAITING
    return ended.job


async def opens(store: Store) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await store.view_approvals())["approvals"]
    return found


async def test_a_question_is_there_when_its_job_waits(house: House) -> None:
    """It is written with the end of the attempt, told to the owner, and survives a restart."""
    job = await asked(house.store)
    store = house.reopen()
    (one,) = await opens(store)
    assert (one["job_id"], one["seq"], one["state"], one["offers"]) == (
        job.id, 2, "open", ["once", "job", "always", "no"],
    )  # fmt: skip
    assert one["expires_at"] - one["asked_at"] == HOUR
    assert (await store.view_approval(job.id[-8:])) == one == await store.view_approval(one["id"])
    assert (await store.view_why(job.id))["approvals"] == [one]
    assert [delivery.job_id for delivery in await store.take("cli")] == [job.id]
    assert await claim(store) is None, "it holds no worker"


async def test_a_repeated_report_asks_once(store: Store) -> None:
    """A report whose answer was lost makes no second question."""
    await store.accept(inbound(), chat(), "")
    job = await claimed(store)
    said = report(job, "waiting", waiting_for="?", approval=CALL)
    for _ in range(2):
        await store.finish("n1", said, asks())
    assert len(await opens(store)) == 1


@pytest.mark.parametrize("word", ["once", "job", "no"])
async def test_an_answer_goes_back_with_the_job(house: House, word: str) -> None:
    """The next attempt has it, bound to its digest; the record has who said what and when."""
    job = await asked(house.store)
    done = await house.store.decide(job.id, word, text="so", by="owner")
    assert (done.job.state, done.job.waiting_for) == (JobState.QUEUED, "")
    store = house.reopen()
    assert await opens(store) == []
    again = await claimed(store)
    assert again.id == job.id
    assert again.payload["answered"] == [
        {
            "seq": 2, "digest": "d1", "word": word, "text": "so",
            "scope": "places" if word == "job" else "",
        }
    ]  # fmt: skip
    one = await store.view_approval(done.approval["id"])
    assert (one["state"], one["word"], one["said"], one["answered_by"]) == (
        "answered", word, "so", "owner",
    )  # fmt: skip
    assert one["answered_at"] >= one["asked_at"]
    assert (await store.grants()) == []


async def test_answers_of_one_job_add_up(store: Store) -> None:
    """A job that asks again keeps what was said before."""
    job = await asked(store)
    await store.decide(job.id, "once")
    await asked(store, replace(CALL, seq=4, digest="d2"), job=await claimed(store))
    await store.decide(job.id, "no")
    said = (await claimed(store)).payload["answered"]
    assert [(one["seq"], one["word"]) for one in said] == [(2, "once"), (4, "no")]


async def test_answered_twice_is_told(store: Store) -> None:
    """The second word changes nothing, however it comes; of many at once one counts."""
    job = await asked(store)
    (one,) = await opens(store)
    done = await asyncio.gather(
        *(store.decide(one["id"], word) for word in ("once", "no", "job", "always")),
        return_exceptions=True,
    )
    refused = [each for each in done if isinstance(each, AlreadyAnswered)]
    assert len(refused) == 3 and "you said" in refused[0].message
    assert len((await claimed(store)).payload["answered"]) == 1
    with pytest.raises(AlreadyAnswered):
        await store.decide(job.id, "no")


async def test_what_is_not_offered_is_not_taken(store: Store) -> None:
    """With foreign text behind it a call is not allowed for ever."""
    job = await asked(store, replace(CALL, foreign=True, offers=("once", "no")))
    for word in ("job", "always", "answer", "perhaps"):
        with pytest.raises(BadRequest, match="once, no"):
            await store.decide(job.id, word)
    assert len(await opens(store)) == 1
    for ident in ("nobody-there", "abc", "%%%%%%"):
        with pytest.raises(NotFound):
            await store.decide(ident, "once")


async def test_a_question_of_the_agents_own(store: Store) -> None:
    """It is answered in words, out of its choices where it has some."""
    ask = replace(CALL, kind="question", offers=("red", "blue"), preview="Which?")
    job = await asked(store, ask)
    for word, text in (("once", ""), ("answer", ""), ("answer", "green")):
        with pytest.raises(BadRequest):
            await store.decide(job.id, word, text=text)
    await store.decide(job.id, "answer", text="blue")
    (said,) = (await claimed(store)).payload["answered"]
    assert (said["word"], said["text"]) == ("answer", "blue")


async def test_always(house: House) -> None:
    """It makes a grant, which is a rule until it is taken back, and outlives its job."""
    store = house.store
    job = await asked(store)
    await store.decide(job.id, "always")
    store = house.reopen()
    (held,) = await store.grants()
    assert (held.say, held.tools, held.scope) == ("allow", ("mail",), "exact")
    assert isinstance(held, PermitRule)
    (shown,) = (await store.view_grants())["grants"]
    assert (shown["always"], shown["job_id"]) == ("mail with just these arguments", job.id)
    back = await store.revoke_grant(shown["id"][-8:])
    assert back["revoked_at"] > 0
    assert (await store.grants(), (await store.view_grants())["grants"]) == ([], [])
    assert len((await store.view_grants(revoked=True))["grants"]) == 1
    with pytest.raises(NotFound):
        await store.revoke_grant(shown["id"])


async def test_out_of_time(store: Store) -> None:
    """A question that nobody answered lets its job go on with that, once; then it is too late."""
    assert await store.next_expiry_ms() is None
    job = await asked(store, expires_ms=40)
    due = await store.next_expiry_ms()
    assert due is not None and due <= 40
    (one,) = await opens(store)
    await until(store, one["expires_at"])
    (ended,) = await store.expire_approvals()
    assert (ended.job.id, ended.job.state) == (job.id, JobState.QUEUED)
    assert ended.approval["state"] == "expired"
    assert await store.expire_approvals() == []
    assert (await store.next_expiry_ms()) is None
    with pytest.raises(AlreadyAnswered, match="not answered in time"):
        await store.decide(one["id"], "once")
    (said,) = (await claimed(store)).payload["answered"]
    assert (said["word"], said["digest"]) == ("expired", "d1")


async def test_cancelled_while_it_waits(store: Store) -> None:
    """Its question is void; an answer that comes after that changes nothing."""
    job = await asked(store)
    assert (await store.cancel(job.id, crash_rule)).state is JobState.CANCELLED
    assert await opens(store) == []
    with pytest.raises(AlreadyAnswered, match="its job was ended"):
        await store.decide(job.id, "once")
    assert (await store.job(job.id)).state is JobState.CANCELLED
    assert await store.next_expiry_ms() is None


async def test_past_its_deadline_while_it_waits(store: Store) -> None:
    """A job that ends so leaves no open question behind."""
    job_id, _ = await store.enqueue(background())
    soon = (await store.job(job_id)).created_at + 60
    await store.cancel(job_id, crash_rule)
    await store.enqueue(background(deadline_at=soon))
    job = await asked(store, job=await claimed(store))
    await until(store, soon)
    (ended,) = await store.reap(crash_rule)
    assert (ended.job.id, ended.state) == (job.id, JobState.DEAD)
    assert await opens(store) == []


async def test_the_other_kind_of_answer_is_refused(store: Store) -> None:
    """A job that waits for a word on a call is not answered by `repeat`, and one that waits for
    another reason has no such question."""
    job = await asked(store)
    with pytest.raises(WaitsForApproval, match="stead approve"):
        await store.answer(job.id, "repeat")
    await store.decide(job.id, "once")
    with pytest.raises(WrongState):
        await store.answer(job.id, "repeat")
    await finish(store, await claimed(store), "waiting", waiting_for="Did it happen?")
    with pytest.raises(AlreadyAnswered):
        await store.decide(job.id, "once")
    assert (await store.answer(job.id, "repeat")).state is JobState.QUEUED


async def test_the_next_of_the_conversation_goes_on(store: Store) -> None:
    """While one job of a conversation waits the next is done; the answer then stands in line."""
    job = await asked(store)
    await store.accept(inbound(), chat(), "")
    second = await claimed(store)
    await store.decide(job.id, "once")
    assert await claim(store) is None, "one at a time"
    await finish(store, second)
    assert (await claimed(store)).id == job.id


async def test_what_is_over_is_listed_when_asked_for(store: Store) -> None:
    """The newest first, with whether there are more."""
    jobs = []
    for n in range(3):
        await store.accept(inbound(session=str(n)), chat(str(n)), "")
        jobs.append(await asked(store, job=await claimed(store)))
    await store.decide(jobs[0].id, "no")
    listed = await store.view_approvals(limit=1)
    assert [one["job_id"] for one in listed["approvals"]] == [jobs[2].id] and listed["more"]
    every = await store.view_approvals(state="")
    assert [one["job_id"] for one in every["approvals"]] == [job.id for job in reversed(jobs)]
    assert len((await store.view_approvals(state="answered"))["approvals"]) == 1
    with pytest.raises(BadRequest):
        await store.view_approvals(state="odd")


async def test_pruned_with_its_job(store: Store) -> None:
    """What is over goes with the detail of its job; what was granted stays."""
    job = await asked(store)
    await store.decide(job.id, "always")
    await finish(store, await claimed(store), "done", "ok")
    ended = (await store.job(job.id)).ended_at
    await until(store, ended + 1)
    number = await store.prune_begin("all")
    gone = await store.prune_jobs(PruneRule((JobState.DONE,), 0, "all"), number, "", 10)
    assert gone.many == 1
    assert (await store.view_approvals(state=""))["approvals"] == []
    assert len(await store.grants()) == 1


async def test_questions_page_by_page_and_of_some_jobs(store: Store) -> None:
    """Each once, whatever their number; and how many wait in all is said with each page."""
    jobs = []
    for n in range(5):
        await store.accept(inbound(session=str(n)), chat(str(n)), "")
        jobs.append(await asked(store, job=await claimed(store)))
    await store.decide(jobs[4].id, "no")
    seen, before = [], ""
    for _ in range(4):
        page = await store.view_approvals(state="", limit=2, before=before)
        seen += [one["job_id"] for one in page["approvals"]]
        assert page["open"] == 4
        if not page["more"]:
            break
        before = page["approvals"][-1]["id"]
    assert seen == [job.id for job in reversed(jobs)]
    of = await store.view_approvals(state="", jobs=[jobs[0].id, jobs[4].id, "nothing"])
    assert [one["job_id"] for one in of["approvals"]] == [jobs[4].id, jobs[0].id]
    assert (await store.view_approvals(jobs=[]))["approvals"] == []


async def test_grants_page_by_page_and_one(store: Store) -> None:
    """Each once, the newest first; one by its id, also when it was taken back."""
    for n in range(3):
        await store.accept(inbound(session=str(n)), chat(str(n)), "")
        await store.decide((await asked(store, job=await claimed(store))).id, "always")
    first = await store.view_grants(limit=2)
    rest = await store.view_grants(limit=2, before=first["grants"][-1]["id"])
    assert (first["more"], rest["more"]) == (True, False)
    every = [one["id"] for one in first["grants"] + rest["grants"]]
    assert len(every) == 3 and every == sorted(every, reverse=True)
    await store.revoke_grant(every[0])
    assert (await store.view_grant(every[0]))["revoked_at"] > 0
    with pytest.raises(NotFound):
        await store.view_grant("nothing")
