"""An end is judged by the row of its job, also where it was not read once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import pytest

from stead.core.errors import Unreadable
from stead.core.nouns import NewJob
from stead.core.states import JobState, Lane
from stead.store.sqlite import SqliteStore, running
from tests.contract.storages import (
    background,
    claim,
    claimed,
    crash_rule,
    finish,
    report,
    rule,
    state_of,
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


def by_hand(store: SqliteStore, change: str, job_id: str) -> None:
    """As the owner with another program."""
    connection = apsw.Connection(str(store.path))
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.set_busy_timeout(5000)
    connection.execute(f"UPDATE job SET {change} WHERE id = ?", (job_id,))
    assert connection.changes() == 1
    connection.close()


async def test_what_another_program_wrote_counts(store: SqliteStore) -> None:
    """Also of what nobody changes while a job runs."""
    await store.enqueue(background(max_tries=5))
    job = await claimed(store)
    by_hand(store, "kind = 'other', tries = 4", job.id)
    ended = await finish(store, job, "failed")
    assert (ended.job.kind, ended.job.tries, ended.state) == ("other", 5, JobState.DEAD)


async def test_a_row_that_was_spoilt_meanwhile(store: SqliteStore) -> None:
    """The reporter is told so; other reports of the same batch are taken."""
    await asyncio.gather(*(store.enqueue(background()) for _ in range(3)))
    all_ = [await claimed(store) for _ in range(3)]
    by_hand(store, "payload = '{'", all_[1].id)
    ends = await asyncio.gather(
        *(store.finish("n1", report(job, "done"), rule) for job in all_), return_exceptions=True
    )
    assert isinstance(ends[1], Unreadable)
    assert [await state_of(store, job.id) for job in (all_[0], all_[2])] == ["done", "done"]


async def test_a_job_that_changed_while_it_ran(store: SqliteStore) -> None:
    """The owner's wish to stop it is seen by the rule, and so is a new beginning of its time."""
    for _ in range(2):
        await store.enqueue(background(max_tries=9))
    stopped, moved = await claimed(store), await claimed(store)
    await store.cancel(stopped.id, crash_rule)
    by_another = store.write(
        lambda c: c.execute("UPDATE job SET started_at = 7 WHERE id = ?", (moved.id,)).get
    )
    await by_another
    ends = await asyncio.gather(*(finish(store, job, "failed") for job in (stopped, moved)))
    assert [one.state for one in ends] == [JobState.CANCELLED, JobState.QUEUED]
    assert ends[1].job.started_at == 7


async def test_many_and_large_ones(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many run, and however large they are: each end is its own job's."""
    monkeypatch.setattr(running, "_MOST", 10)
    texts = [str(n) * (20_000 if n % 5 == 0 else 1) for n in range(1, 41)]
    jobs = [NewJob("noop", {"text": text}, lane=Lane.BACKGROUND) for text in texts]
    ids = [(await store.enqueue(job))[0] for job in jobs]
    granted = await asyncio.gather(*(claim(store) for _ in ids))
    given = [one.job for one in granted if one is not None]
    for job in given:
        job.payload["text"] = "whoever was given it may do with it what he likes"
    ends = await asyncio.gather(*(finish(store, job, "done") for job in reversed(given)))
    assert {one.job.id: one.job.payload["text"] for one in ends} == dict(
        zip(ids, texts, strict=True)
    )
    assert await store.leases() == []
