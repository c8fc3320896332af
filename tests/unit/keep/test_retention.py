"""Retention by its terms: by age, by size, once a day, and the record only when asked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import apsw
import pytest

from stead.core.nouns import Call, Usage
from stead.core.pruning import Batch
from stead.keep.retention import FACT, Retention, Terms, words
from stead.store.sqlite import SqliteStore
from tests.contract.storages import background, claimed, converse, finish, trouble

DAY = 86_400_000
TERMS = Terms(jobs_ms=30 * DAY, dead_ms=90 * DAY, calls_ms=400 * DAY, max_bytes=0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


async def done(store: SqliteStore, many: int, text: str = "") -> list[str]:
    """So many background jobs, done."""
    await asyncio.gather(*(store.enqueue(background(route=text)) for _ in range(many)))
    jobs = await asyncio.gather(*(claimed(store) for _ in range(many)))
    await asyncio.gather(*(finish(store, job) for job in jobs))
    return [job.id for job in jobs]


async def age(store: SqliteStore, days: float) -> None:
    """Make all that is in the database so much older, ids and all."""
    ms = int(days * DAY)

    def older(ident: str) -> str:
        """An id begins with the time of its making."""
        made = f"{int(ident.replace('-', '')[:12], 16) - ms:012x}"
        return f"{made[:8]}-{made[8:]}{ident[13:]}"

    def op(c: apsw.Connection) -> None:
        ids = [str(one[0]) for one in c.execute("SELECT id FROM job").fetchall()]
        renamed = [(older(ident), ident) for ident in ids]
        c.executemany("UPDATE job SET id = ? WHERE id = ?", renamed)
        for table in ("attempt", "step", "message", "outbox", "call"):
            c.executemany(f"UPDATE {table} SET job_id = ? WHERE job_id = ?", renamed)
        c.execute("UPDATE job SET created_at = created_at - ?1, ended_at = ended_at - ?1", (ms,))
        c.execute("UPDATE call SET at = at - ?", (ms,))
        c.execute("UPDATE message SET at = at - ?", (ms,))
        c.execute("UPDATE outbox SET next_at = next_at - ?", (ms,))

    await store.write(op)


async def left(store: SqliteStore) -> dict[str, int]:
    found: dict[str, int] = {}
    for job in (await store.view_jobs(limit=1000))["jobs"]:
        found[job["state"]] = found.get(job["state"], 0) + 1
    return found


async def test_by_age(store: SqliteStore, tmp_path: Path) -> None:
    """What is done goes after its time, what could not be done later; the newer stays."""
    retention = Retention(store, TERMS, tmp_path)
    await done(store, 120)
    await store.enqueue(background())
    await finish(store, await claimed(store), "failed", trouble=trouble("x", permanent=True))
    await age(store, 31)
    await done(store, 5)
    did = await retention.prune()
    assert did["jobs"] == 120 and await left(store) == {"done": 5, "dead": 1}
    await age(store, 60)
    assert (await retention.prune())["jobs"] == 6
    assert await left(store) == {}
    assert (await retention.prune())["jobs"] == 0


async def test_for_ever(store: SqliteStore, tmp_path: Path) -> None:
    """With 0 days nothing is pruned for its age."""
    await done(store, 3)
    await age(store, 5000)
    did = await Retention(store, Terms(0, 0, 0, 0), tmp_path).prune()
    assert did["jobs"] == did["calls"] == 0 and await left(store) == {"done": 3}


async def test_by_size(store: SqliteStore, tmp_path: Path) -> None:
    """A database that is too large loses its oldest finished jobs, as many as are needed, however
    young; never those of the last day. The file on disk becomes smaller."""
    old = await done(store, 150, "x" * 20_000)
    await age(store, 3)
    old = [job["id"] for job in (await store.view_jobs(limit=1000))["jobs"]][::-1]
    young = await done(store, 30, "x" * 20_000)
    terms = Terms(30 * DAY, 90 * DAY, 0, max_bytes=2_500_000)
    before = sum((await store.size()).values())
    did = await Retention(store, terms, tmp_path).prune()
    assert 0 < did["jobs"] < 150
    kept = {job["id"] for job in (await store.view_jobs(limit=1000))["jobs"]}
    assert set(young) <= kept and not set(old[: did["jobs"]]) & kept
    assert set(old[did["jobs"] :]) <= kept
    assert (await store.size())["used"] <= terms.max_bytes
    assert did["given_back"] > 0 and did["size"] < before
    assert (tmp_path / "state.db").stat().st_size <= did["size"]
    story = await store.view_why(old[0])
    assert "larger than 2.5 MB" in story["pruned"]["rule"]


async def test_calls_by_size(store: SqliteStore, tmp_path: Path) -> None:
    """Where calls are what there is too much of, the oldest become part of the sums of their days,
    as many as are needed, but none of the last day."""

    def call(n: int) -> Call:
        reason = "x" * 1500
        return Call(f"{n:03d}", 0, "m", "b", "o", None, "chat", Usage(1, 0, 1, 5), 0, "settled",
                    200, 0, 0, reason)  # fmt: skip

    await store.record_calls([], [call(n) for n in range(600)])
    await age(store, 3)
    await store.record_calls([], [call(n) for n in range(600, 700)])
    terms = Terms(30 * DAY, 90 * DAY, 0, max_bytes=2_500_000)
    did = await Retention(store, terms, tmp_path).prune()
    assert 0 < did["calls"] < 600
    assert (await store.size())["used"] <= terms.max_bytes
    left_over = (await store.view_calls(limit=1000))["calls"]
    assert len(left_over) == 700 - did["calls"] and left_over[0]["id"] == "699"
    assert sum(one["calls"] for one in (await store.view_call_sums())["sums"]) == 700


async def test_bodies_go_with_the_rest(store: SqliteStore, tmp_path: Path) -> None:
    """A run prunes bodies by their own terms; the owner's word takes those from before a time."""
    asked: list[int | None] = []

    async def bodies(before: int | None) -> int:
        asked.append(before)
        return 2

    retention = Retention(store, TERMS, tmp_path, bodies)
    assert (await retention.prune())["bodies"] == 2
    before = int((datetime.now() - timedelta(days=9)).timestamp() * 1000)
    assert (await retention.prune(before))["bodies"] == 4
    assert asked == [None, None, before]


async def test_messages_only_when_asked(store: SqliteStore, tmp_path: Path) -> None:
    """The record and the daily logs outlive every rule; asked to, it takes the words from before a
    day, the jobs made of them and the logs of the days before."""
    await converse(store, "the code is 1234", "noted")
    await age(store, 200)
    for day in ("2020-01-01", f"{datetime.now():%Y-%m-%d}"):
        (tmp_path / f"{day}.md").write_text("said")
    (tmp_path / "MEMORY.md").write_text("kept")
    for delivery in await store.take("cli"):
        await store.delivered(delivery.id)
    retention = Retention(store, TERMS, tmp_path)
    await retention.prune()
    messages = (await store.view_messages("main", 0, 10))["messages"]
    assert [one["text"] for one in messages] == ["the code is 1234", "noted"]
    assert (tmp_path / "2020-01-01.md").exists()
    before = int((datetime.now() - timedelta(days=100)).timestamp() * 1000)
    plan = await retention.plan(before)
    assert (plan["messages"], plan["days"]) == (2, 1)
    did = await retention.prune(before)
    assert (did["messages"], did["days"]) == (2, 1)
    data = (tmp_path / "state.db").read_bytes() + (tmp_path / "state.db-wal").read_bytes()
    assert b"1234" not in data
    assert not (tmp_path / "2020-01-01.md").exists() and (tmp_path / "MEMORY.md").exists()


async def test_calls_become_sums(store: SqliteStore, tmp_path: Path) -> None:
    """Old calls go, their sums by day stay."""
    for n in range(30):
        one = Call(
            f"{n:03d}",
            0,
            "m",
            "b",
            "o",
            None,
            "chat",
            Usage(1, 0, 1, 5),
            0,
            "settled",
            200,
            0,
            0,
            "",
        )
        await store.record_calls([], [one])
    await age(store, 500)
    assert (await Retention(store, TERMS, tmp_path).prune())["calls"] == 30
    (day,) = await store.view_call_days()
    assert (day["calls"], day["cost_micro"]) == (30, 150)


async def test_others_write_between_batches(store: SqliteStore, tmp_path: Path) -> None:
    """A run is many short writes: while it goes on jobs are claimed and finished, and no batch
    grows beyond its bounds."""
    await done(store, 400)
    await age(store, 40)
    sizes = []
    real = store.prune_jobs

    async def watched(rule: object, number: int, after: str, most: int) -> Batch:
        sizes.append(most)
        return await real(rule, number, after, most)  # type: ignore[arg-type]

    store.prune_jobs = watched  # type: ignore[method-assign, assignment]
    pruning = asyncio.create_task(Retention(store, TERMS, tmp_path).prune())
    served = 0
    while not pruning.done():
        await done(store, 1)
        served += 1
    assert (await pruning)["jobs"] == 400
    assert len(sizes) > 2 and max(sizes) <= 2000 and served > 2


async def test_what_is_told(store: SqliteStore, tmp_path: Path) -> None:
    """The last run is remembered over a restart, and told in words."""
    retention = Retention(store, TERMS, tmp_path)
    assert (await retention.state())["last"] is None
    did = await retention.prune()
    again = await Retention(store, TERMS, tmp_path).state()
    assert again["last"] == did and again["running"] is False
    told = words(again, time.time() * 1000)
    assert "0 jobs, 0 model calls; the database has" in told
    assert "just now" in words({**again, "running": True}, 0)


@pytest.mark.parametrize(("hours", "due"), [(None, True), (25, True), (1, False)])
async def test_when_it_is_due(
    store: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: float | None,
    due: bool,
) -> None:  # fmt: skip
    """It runs soon after a start when the last run was too long ago, or never; else later."""
    if hours is not None:
        at = int(time.time() * 1000 - hours * 3_600_000)
        await store.set_fact(FACT, json.dumps({"at": at}))
    retention = Retention(store, TERMS, tmp_path)
    monkeypatch.setattr("stead.keep.retention._SOON_S", 0.01)
    ran = asyncio.Event()

    async def prune(before: int | None = None) -> dict[str, object]:
        ran.set()
        await asyncio.sleep(3600)
        return {}

    monkeypatch.setattr(retention, "prune", prune)
    running = asyncio.create_task(retention.run())
    try:
        async with asyncio.timeout(10 if due else 0.5):
            await ran.wait()
    except TimeoutError:
        pass
    running.cancel()
    assert ran.is_set() is due
