"""The contract of a storage: the looks at it that the API, the pages and the commands show."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.core.states import StepState
from stead.core.storage import Store
from tests.contract.storages import (
    background,
    chat,
    claim,
    claimed,
    converse,
    crash_rule,
    finish,
    inbound,
    journal,
    step,
)


async def ids(store: Store, **filters: object) -> list[str]:
    return [row["id"] for row in (await store.view_jobs(**filters))["jobs"]]


async def test_jobs_page_by_page(store: Store) -> None:
    """The newest come first, each once, and it is said whether there are more."""
    made = [(await store.enqueue(background()))[0] for _ in range(7)]
    seen: list[str] = []
    before, pages = "", []
    while True:
        page = await store.view_jobs(limit=3, before=before)
        pages.append((len(page["jobs"]), page["more"]))
        seen += [row["id"] for row in page["jobs"]]
        if not page["more"]:
            break
        before = seen[-1]
    assert seen == made[::-1]
    assert pages == [(3, True), (3, True), (1, False)]
    assert (await store.view_jobs(limit=7))["more"] is False


async def test_jobs_by_state_lane_and_session(store: Store) -> None:
    """Each filter keeps what it names, and together they narrow."""
    await converse(store, "one", None, session="a")
    done = await converse(store, "two", "second", session="a")
    back, _ = await store.enqueue(background())
    await store.accept(inbound("three", session="b"), chat("b"), "")
    running = await claimed(store, lanes=("chat",))
    await store.enqueue(chat("c"))
    waiting = await claimed(store, lanes=("chat",))
    await finish(store, waiting, "waiting", waiting_for="?")
    assert await ids(store, state="done") == [done.id]
    assert len(await ids(store, state="dead")) == 1
    assert await ids(store, state="queued") == [back]
    assert await ids(store, state="running") == [running.id]
    assert await ids(store, state="waiting") == [waiting.id]
    assert await ids(store, lane="background") == [back]
    assert await ids(store, session="b") == [running.id]
    assert await ids(store, session="a", state="done") == [done.id]
    assert await ids(store, session="b", state="done") == []


async def test_an_unknown_state_is_refused(store: Store) -> None:
    """A misspelt state is an error that names those that exist, not an empty list."""
    with pytest.raises(BadRequest, match="queued, running"):
        await store.view_jobs(state="borked")
    with pytest.raises(BadRequest):
        await store.view_jobs(state="done' OR '1'='1")


async def test_why_finds_a_job_by_any_of_its_ids(store: Store) -> None:
    """A job's story is found by its id, its message's id, its reply's, or a piece of any."""
    job = await converse(store, "one", "first")
    reply = (await store.view_why(job.id))["reply"]["id"]
    assert job.message_id is not None
    for whole in (job.id, job.message_id, reply):
        for ident in (whole, whole[-8:], whole[-12:], whole[:30], whole[:-1]):
            assert (await store.view_why(ident))["job"]["id"] == job.id, ident


async def test_why_of_what_is_not_there(store: Store) -> None:
    """An unknown id, or too short a piece, is said to be unknown; wildcards are letters here."""
    job = await converse(store, "one", "first")
    for ident in ("ffffffff", job.id[-5:], "", "%", "______", "%%%%%%%%", f"{job.id[:-1]}_"):
        with pytest.raises(NotFound):
            await store.view_why(ident)


async def test_why_of_a_piece_that_fits_several(store: Store) -> None:
    """A piece that could mean several jobs is refused with those it could mean."""
    await asyncio.gather(*(store.enqueue(background()) for _ in range(3)))
    made = await ids(store)
    with pytest.raises(BadRequest, match="several") as refused:
        await store.view_why(made[0][:6])
    assert all(one in refused.value.message for one in made)


async def test_the_whole_story(store: Store) -> None:
    """Attempts, steps of every attempt, and what was replayed, are all told."""
    accepted = await store.accept(inbound("do it"), chat(max_tries=3, route="node: mine"), "")
    first = await claimed(store)
    await journal(store, first, step(1, StepState.DONE, output='{"result": "x"}'), step(2))
    await finish(store, first, "failed")
    second = await claimed(store, "n2")
    replayed = step(1, StepState.REPLAYED, note="changed since: the model")
    await journal(store, second, replayed, step(2), step(2, StepState.DONE))
    await journal(store, second, replayed)
    story = await store.view_why(accepted.job_id)
    assert [(a["epoch"], a["node"], a["outcome"]) for a in story["attempts"]] == [
        (1, "n1", "failed"), (2, "n2", ""),
    ]  # fmt: skip
    told = [(s["seq"], s["epoch"], s["state"], s["replayed"]) for s in story["steps"]]
    assert told == [(1, 1, "done", True), (2, 1, "unknown", False), (2, 2, "done", False)]
    assert [(r["epoch"], r["note"]) for r in story["steps"][0]["replays"]] == [
        (2, "changed since: the model")
    ]
    assert [(a["ran"], a["replayed"]) for a in story["attempts"]] == [([1, 2], []), ([2], [1])]
    assert story["reply"] is None and story["delivery"] == []
    await finish(store, second, "done", "there")
    story = await store.view_why(accepted.job_id)
    assert [a["outcome"] for a in story["attempts"]] == ["failed", "done"]
    assert story["reply"]["text"] == "there"
    times = story["times"]
    assert times["received_at"] <= times["queued_at"] <= times["started_at"] <= times["ended_at"]


async def test_a_node_is_shown_by_its_name(store: Store) -> None:
    """People see the name of a node where there is one."""
    node_id = await store.add_node("attic", "h")
    await store.enqueue(background())
    job = await claimed(store, node_id)
    assert (await store.view_why(job.id))["attempts"][0]["node"] == "attic"
    assert (await store.view_jobs())["jobs"][0]["node"] == "attic"


async def test_waiting_for_the_owner_is_no_work(store: Store) -> None:
    """The working time of a job is that of its attempts, not the time between them."""
    await store.enqueue(background())
    job = await claimed(store)
    await finish(store, job, "waiting", waiting_for="?")
    await asyncio.sleep(0.6)
    assert (await store.view_why(job.id))["job"]["worked_ms"] < 500
    await store.answer(job.id, "done")
    await finish(store, await claimed(store), "done")
    assert (await store.view_why(job.id))["job"]["worked_ms"] < 500


async def test_counts(store: Store) -> None:
    """What ``status`` shows is what is there."""
    empty = await store.view_counts()
    assert empty["queue"] == {"queued": 0, "running": 0, "waiting": 0, "dead": 0, "oldest_ms": 0}
    assert empty["outbox"] == {} and empty["running_by_node"] == {}
    await converse(store, "one", None)
    for _ in range(4):
        await store.enqueue(background())
    await finish(store, await claimed(store), "waiting", waiting_for="?")
    await claimed(store)
    await claimed(store, "n2")
    counts = await store.view_counts()
    assert counts["queue"] | {"oldest_ms": 0} == {
        "queued": 1, "running": 2, "waiting": 1, "dead": 1, "oldest_ms": 0,
    }  # fmt: skip
    assert counts["queue"]["oldest_ms"] >= 0
    assert counts["outbox"] == {"pending": 1}
    assert counts["running_by_node"] == {"n1": 1, "n2": 1}


async def test_messages_after_a_place(store: Store) -> None:
    """A conversation is read on from where one was, oldest first; below 0, the newest of it."""
    for n in range(3):
        await converse(store, f"m{n}", f"a{n}")
    await converse(store, "elsewhere", "other", session="b")

    async def texts(after: int, limit: int) -> list[str]:
        view = await store.view_messages("main", after, limit)
        return [row["text"] for row in view["messages"]]

    assert await texts(0, 100) == ["m0", "a0", "m1", "a1", "m2", "a2"]
    first = (await store.view_messages("main", 0, 2))["messages"]
    assert await texts(first[-1]["seq"], 3) == ["m1", "a1", "m2"]
    assert await texts(-1, 2) == ["m2", "a2"]
    assert await texts(10**9, 5) == []


async def test_what_waits_for_a_node(store: Store) -> None:
    """Of what is asked for, the ready jobs that ask for it, with those behind them in their
    conversation; the oldest message says where to tell of it."""
    plain, gpu = ("", "", ""), ("gpu", "home", "far")
    assert await store.view_demands() == []
    assert (await store.view_waiting([plain, gpu]))["count"] == 0
    await store.accept(inbound("light", session="l"), chat("l", needs="@gateway"), "")
    await store.enqueue(background())
    first = await store.accept(inbound("heavy", channel="mail", session="s"), chat("s"), "")
    await store.accept(inbound("behind it", session="s"), chat("s"), "")
    await store.accept(inbound("draw"), chat("t", needs="gpu", prefer="home", avoid="far"), "")
    assert sorted(await store.view_demands()) == [plain, gpu]
    assert sorted(await store.view_open_demands()) == [(plain, 3), (gpu, 1)]
    waiting = await store.view_waiting([plain])
    assert (waiting["count"], len(waiting["jobs"])) == (3, 2)
    assert (waiting["channel"], waiting["session"]) == ("mail", "s")
    assert waiting["since"] > 1_600_000_000_000
    assert (await store.view_waiting([gpu]))["count"] == 1
    assert (await store.view_waiting([plain, gpu]))["count"] == 4
    assert (await store.view_waiting([("gpu", "", "")]))["count"] == 0
    while await claim(store) is not None:
        pass
    await store.cancel(first.job_id, crash_rule)  # it runs: only asked to stop
    assert await store.view_demands() == [gpu]
    assert (await store.view_waiting([plain]))["count"] == 0
    assert dict(await store.view_open_demands())[plain] == 3


async def test_a_job_whose_worker_vanished_waits_too(store: Store) -> None:
    """What is tried again after a crash is ready like any other."""
    await store.accept(inbound("do it"), chat(), "")
    await claimed(store, "n1")
    assert await store.view_demands() == []
    await store.release("n1", "another boot", crash_rule)
    assert await store.view_demands() == [("", "", "")]
    assert (await store.view_waiting([("", "", "")]))["count"] == 1


async def test_why_an_attempt_went_where_it_did(store: Store) -> None:
    """It is told with that attempt; said twice it is said once."""
    accepted = await store.accept(inbound("do it"), chat(prefer="home"), "")
    job = await claimed(store, "n2")
    await store.note_given(job.id, job.epoch, "given to far, because home was silent")
    await store.note_given(job.id, job.epoch, "other words")
    story = await store.view_why(accepted.job_id)
    assert story["attempts"][0]["given"] == "given to far, because home was silent"
    assert story["route"]["prefer"] == "home"


async def test_when_it_began_stays_what_it_was(store: Store) -> None:
    """A stop of the gateway, which is no work on a job, does not move the time it is said to
    have begun."""
    await store.enqueue(background())
    job = await claimed(store, lease_ms=-60_000)
    await store.extend_leases(30_000)
    story = await store.view_why(job.id)
    assert story["job"]["started_at"] == story["attempts"][0]["started_at"] == job.started_at


async def test_jobs_by_their_ids(store: Store) -> None:
    """Only those that are named and are there, the newest first; none named: none."""
    made = [(await store.enqueue(background()))[0] for _ in range(5)]
    assert await ids(store, ids=[made[1], made[3], "nothing"]) == [made[3], made[1]]
    assert await ids(store, ids=made, state="done") == []
    assert await ids(store, ids=[]) == []
