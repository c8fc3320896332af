"""Rows that make no sense hold up nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from stead.core.errors import StoreUnusable, Unreadable
from stead.core.nouns import Job
from stead.core.states import JobState, StepState
from stead.core.storage import UNREADABLE
from stead.queue.policy import Policy, after_crash
from stead.store.sqlite import SqliteStore
from tests.contract.storages import (
    background,
    chat,
    claim,
    claimed,
    crash_rule,
    finish,
    inbound,
    journal,
    state_of,
    step,
)

#: What hands and faulty programs may do to a row of ``job``.
DEEDS = {
    "no JSON": "payload = '{\"text\": '",
    "no object": "payload = '[1, 2]'",
    "half a character": "payload = CAST(x'7b2261223a22ff227d' AS TEXT)",
    "deep": "payload = replace(hex(zeroblob(2000)), '00', '[')",
    "kind": "kind = CAST(x'ff' AS TEXT)",
    "session": "session = CAST(x'fe' AS TEXT)",
    "epoch": "epoch = 9223372036854775807",
    "no epoch": "epoch = -3",
    "begin": "started_at = 9223372036854775807",
    "id": "id = CAST(x'2dff' AS TEXT)",
}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


async def spoil(store: SqliteStore, table: str, deed: str, where: str, value: str) -> None:
    """Do to a row what its own checks would forbid."""

    def look(c: apsw.Connection) -> None:
        c.execute(f"UPDATE {table} SET {deed} WHERE {where} = ?", (value,))
        assert c.changes() == 1

    connection = apsw.Connection(str(store.path))
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.set_busy_timeout(5000)
    look(connection)
    connection.close()


@pytest.mark.parametrize("deed", sorted(DEEDS))
async def test_a_spoilt_row_holds_up_nobody(store: SqliteStore, deed: str) -> None:
    """The next job is given out in the same claim; the spoilt one is dead with what is wrong."""
    bad, _ = await store.enqueue(background(prio=-1))
    good = [(await store.enqueue(background()))[0] for _ in range(4)]
    await spoil(store, "job", DEEDS[deed], "id", bad)
    assert (await claimed(store)).id == good[0]
    granted = await asyncio.gather(*(claim(store) for _ in range(5)))
    assert [one.job.id for one in granted if one is not None] == good[1:]
    (ended,) = await store.reap(crash_rule)
    assert ended.state is JobState.DEAD and ended.job.error
    assert await store.reap(crash_rule) == []
    counts = (await store.view_counts())["queue"]
    assert (counts["queued"], counts["dead"]) == (0, 1)


async def test_all_spoilt_at_once(store: SqliteStore) -> None:
    """Many spoilt rows among many good ones, claimed by many at once: all good ones are given."""
    ids = [(await store.enqueue(background()))[0] for _ in range(40)]
    for job_id, deed in zip(ids[1::4], sorted(DEEDS), strict=True):
        await spoil(store, "job", DEEDS[deed], "id", job_id)
    granted = await asyncio.gather(*(claim(store) for _ in range(40)))
    got = [one.job.id for one in granted if one is not None]
    assert got == [job_id for job_id in ids if job_id not in ids[1::4]]
    assert len(await store.reap(crash_rule)) == len(DEEDS)


async def test_a_spoilt_job_of_a_conversation(store: SqliteStore) -> None:
    """The owner is told what became of his message, and his conversation goes on."""
    bad = await store.accept(inbound(), chat("a"), "")
    good = await store.accept(inbound(), chat("a"), "")
    await spoil(store, "job", DEEDS["no object"], "id", bad.job_id)
    assert await claim(store) is None
    (ended,) = await store.reap(crash_rule)
    assert (ended.job.id, ended.state) == (bad.job_id, JobState.DEAD)
    assert ended.ready is not None and ended.job.error.startswith(UNREADABLE)
    assert (await claimed(store)).id == good.job_id
    assert (await store.view_why(bad.job_id))["job"]["error"] == ended.job.error
    for hand in (store.revive(bad.job_id), store.answer(bad.job_id, "x"), store.job(bad.job_id)):
        with pytest.raises(Unreadable, match=bad.job_id):
            await hand


async def test_a_spoilt_journal(store: SqliteStore) -> None:
    """A job whose steps cannot be read is not begun again: that might do things twice."""
    await store.enqueue(background())
    job = await claimed(store)
    await journal(store, job, step(1, StepState.DONE))
    await finish(store, job, "failed")
    await spoil(store, "step", "state = 'perhaps'", "job_id", job.id)
    assert await claim(store) is None
    (ended,) = await store.reap(crash_rule)
    assert ended.state is JobState.DEAD and "perhaps" in ended.job.error


async def test_a_job_spoilt_while_it_runs(store: SqliteStore) -> None:
    """Its worker's report stands alone in failing; when its lease is over it is dead."""
    for _ in range(2):
        await store.enqueue(background())
    bad = await claimed(store, lease_ms=-1000)
    good = await claimed(store)
    await spoil(store, "job", DEEDS["no object"], "id", bad.id)
    results = await asyncio.gather(finish(store, bad), finish(store, good), return_exceptions=True)
    assert isinstance(results[0], Unreadable) and await state_of(store, good.id) == "done"
    (ended,) = await store.reap(crash_rule)
    assert (ended.job.id, ended.state) == (bad.id, JobState.DEAD)
    with pytest.raises(Unreadable):
        await finish(store, bad)


async def test_a_spoilt_job_of_a_restarted_node(store: SqliteStore) -> None:
    """What cannot be read is not handed on when its node restarts."""
    await store.enqueue(background())
    bad = await claimed(store, boot="b1")
    await spoil(store, "job", DEEDS["kind"], "id", bad.id)
    (ended,) = await store.release("n1", "b2", crash_rule)
    assert ended.state is JobState.DEAD


async def test_the_queue_rules_it_dead() -> None:
    """The rule of the house agrees: what cannot be read is dead, with its reason."""
    nothing: Any = dict.fromkeys(Job.__annotations__, 0)
    verdict = after_crash(Policy(), Job(**nothing), f"{UNREADABLE} (why)")
    assert (verdict.state, verdict.why) == (JobState.DEAD, f"{UNREADABLE} (why)")


async def test_a_state_that_is_none_is_refused(store: SqliteStore) -> None:
    """A lane or state that does not exist cannot be written by hand: nothing would ever look
    for such a job."""
    job_id, _ = await store.enqueue(background())
    for deed in ("state = 'ready'", "lane = 'fast'"):

        def change(c: apsw.Connection, deed: str = deed) -> None:
            c.execute(f"UPDATE job SET {deed} WHERE id = ?", (job_id,))

        with pytest.raises(StoreUnusable, match="CHECK"):
            await store.write(change)


async def test_damaged_words_hold_up_nobody(store: SqliteStore) -> None:
    """Half a character in a message, a reply or a log line: the conversation goes on, its channel
    delivers, lists are shown and the day's log is written, with a sign where it was."""
    first = await store.accept(inbound(), chat("a"), "a line")
    await finish(store, await claimed(store), text="fine")
    second = await store.accept(inbound(), chat("a"), "another line")
    half = "text = CAST(x'68616c66ff' AS TEXT)"
    for role in ("owner", "assistant"):
        await spoil(store, "message", half, f"role = '{role}' AND job_id", first.job_id)
    await spoil(store, "dayline", half, "text", "a line")

    job = await claimed(store)
    assert job.id == second.job_id
    assert [turn.text for turn in await store.history(job)] == ["half\ufffd", "half\ufffd"]
    channel = (await store.view_why(first.job_id))["message"]["channel"]
    assert [one.text for one in await store.take(channel)] == ["half\ufffd"]
    assert (await store.day_lines())[0][2] == "half\ufffd"
    shown = (await store.view_jobs())["jobs"]
    assert {one["text"] for one in shown} >= {"half\ufffd"}
    await spoil(store, "job", DEEDS["kind"], "id", first.job_id)
    assert len((await store.view_jobs())["jobs"]) == 2


async def test_a_message_that_is_gone(store: SqliteStore) -> None:
    """Its job still has its words: it is worked on without what was said before."""
    gone = await store.accept(inbound(), chat("a"), "")
    await store.write(
        lambda c: c.execute("DELETE FROM message WHERE id = ?", (gone.message_id,)).get
    )
    assert await store.history(await claimed(store)) == []
