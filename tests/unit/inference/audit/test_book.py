"""The book: every request becomes a row, whatever happens, and nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import OverBudget, StoreUnusable
from stead.core.ids import uuid7
from stead.core.nouns import Call, Usage
from stead.gateway.meter import Meter
from stead.inference.audit import book as module
from stead.inference.audit.bodies import Bodies, Keep, Terms, read
from stead.inference.audit.book import StoreBook
from stead.inference.backends import Backend, BackendModel
from stead.inference.seam import Api, Asked, Ended, Plan, Record, Verdict, Way, Who
from stead.ledger.budgets import Budgets
from stead.store.sqlite import SqliteStore

CLOUD = Backend("cloud", "https://me:secret@models.example:8443/v1")
WAY = Way(BackendModel("big-1", alias="big"), CLOUD, Api.CHAT)


def limits(micro: int) -> Budgets:
    """All paid calls together may cost so much a day."""
    return Budgets(daily_micro=micro, chat_reserve_micro=0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


@pytest.fixture
async def book(store: SqliteStore) -> AsyncIterator[StoreBook]:
    book = StoreBook(store, limits(1000))
    yield book
    await book.aclose()


def record(**more: Any) -> Record:
    asked = Asked(Api.CHAT, b'{"model":"main"}', "application/json", "main", stream=True)
    known: dict[str, Any] = {
        "who": Who("notes", "k1"), "api": Api.CHAT, "asked": asked,
        "plan": Plan((WAY,), "main", "lane main: the first that is well"),
        "verdict": Verdict(reasons=("nothing secret was found",)),
    }  # fmt: skip
    return Record(uuid7(), int(time.time() * 1000), **{**known, **more})


def end(one: Record, cost: int = 0, **more: Any) -> Record:
    known: dict[str, Any] = {
        "usage": Usage(10, 4, 5, cost), "status": 200, "estimated": False, "first_ms": 3.0,
        "total_ms": 9.0, "outcome": "ok", "way": WAY, "bytes_out": 77, "waited_ms": 1.0,
    }  # fmt: skip
    one.ended = Ended(**{**known, **more})
    return one


async def rows(store: SqliteStore, book: StoreBook) -> list[dict[str, Any]]:
    await book.aclose()
    return list((await store.view_calls(limit=500))["calls"])


async def test_a_request_is_a_row(store: SqliteStore, book: StoreBook) -> None:
    """Who asked, for what, where it went, why, and how it ended stand in its row; of the
    backend's address no password."""
    one = end(record(), tried=["small at home: busy"], error="")
    book.end(one)
    (row,) = await rows(store, book)
    assert abs(row.pop("at") - one.at_ms) < 1000
    assert row == {
        "id": one.id, "caller": "notes", "key_id": "k1", "job_id": None, "share": "chat",
        "api": "chat/completions", "asked": "main", "lane": "main", "model": "big",
        "backend": "cloud", "instance": "models.example:8443", "stream": True,
        "reason": "lane main: the first that is well; nothing secret was found",
        "tried": ["small at home: busy"], "shadow_of": None, "state": "settled", "status": 200,
        "outcome": "ok", "error": "", "prompt_tokens": 10, "cached_tokens": 4,
        "cache_write_tokens": 0, "completion_tokens": 5, "reasoning_tokens": 0,
        "estimated": False, "cost_micro": 0, "reserved_micro": 0, "waited_ms": 1.0,
        "first_ms": 3.0, "total_ms": 9.0, "bytes_in": 16, "bytes_out": 77,
    }  # fmt: skip


async def test_what_was_refused_is_a_row(store: SqliteStore, book: StoreBook) -> None:
    """A request that came to no model leaves a row, also one that could not be read."""
    nothing: dict[str, Any] = {
        "usage": Usage(), "way": None, "first_ms": 0.0, "waited_ms": 0.0, "bytes_out": 0
    }  # fmt: skip
    book.end(end(record(plan=None), status=403, outcome="forbidden", error="no", **nothing))
    unread = record(plan=None, asked=None, verdict=None)
    book.end(end(unread, status=400, outcome="bad_request", **nothing))
    found = {row["outcome"]: row for row in await rows(store, book)}
    assert (found["forbidden"]["backend"], found["forbidden"]["asked"]) == ("", "main")
    assert found["forbidden"]["error"] == "no"
    assert (found["bad_request"]["api"], found["bad_request"]["bytes_in"]) == (Api.CHAT, 0)


async def test_rows_are_written_together(
    store: SqliteStore, book: StoreBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that end within a moment of each other are one write, and none is missing."""
    writes: list[int] = []
    real = store.record_calls

    async def counted(opened: Sequence[Call], ended: Sequence[Call]) -> None:
        writes.append(len(ended))
        await real(opened, ended)

    monkeypatch.setattr(store, "record_calls", counted)
    for _ in range(200):
        book.end(end(record()))
    assert len(await rows(store, book)) == 200
    assert sum(writes) == 200 and len(writes) < 20


async def test_what_takes_a_while_is_a_row_already(
    store: SqliteStore, book: StoreBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long answer that a crash would cut off has its row while it is under way."""
    monkeypatch.setattr(module, "_OPEN_S", 0.02)
    long = record()
    book.begin(long)
    assert book.under_way == 1
    for _ in range(500):
        found = (await store.view_calls())["calls"]
        if found:
            break
        await asyncio.sleep(0.01)
    assert [(row["id"], row["state"]) for row in found] == [(long.id, "reserved")]
    book.end(end(long))
    (row,) = await rows(store, book)
    assert (row["state"], row["outcome"]) == ("settled", "ok")
    assert book.under_way == 0


async def test_money_is_set_aside_and_settled(store: SqliteStore, book: StoreBook) -> None:
    """A paid call holds its most until it is over, then what it cost; what passes the limit is
    refused with the reasons at hand, and holds nothing."""
    one, other = record(), record()
    book.begin(one)
    await book.reserve(one, 700)
    assert (await store.view_spent())["key:k1"] == (700, 700)
    with pytest.raises(OverBudget, match=r"has \$0\.0003 of \$0\.0010 left, and this call of big"):
        await book.reserve(other, 301)
    book.end(end(other, status=429, outcome="over_budget", usage=Usage(), way=None))
    book.end(end(one, 120))
    assert [(row["cost_micro"], row["reserved_micro"]) for row in await rows(store, book)] == [
        (0, 0), (120, 700),
    ]  # fmt: skip
    assert (await store.view_spent())["chat"] == (120, 120)


async def test_who_leaves_while_money_is_set_aside_gets_it_back(
    store: SqliteStore, book: StoreBook
) -> None:
    """Whatever the moment at which a client leaves, nothing stays set aside."""
    for pauses in range(8):
        one = record()
        asking = asyncio.create_task(book.reserve(one, 100))
        for _ in range(pauses):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        book.end(end(one, outcome="left", status=499, usage=Usage()))
    assert len(await rows(store, book)) == 8
    assert (await store.view_spent()).get("chat", (0, 0)) == (0, 0)
    assert await store.close_open_calls() == 0


async def test_a_full_disk_costs_no_row(
    store: SqliteStore, book: StoreBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store cannot write, rows wait; once it can, all are there."""
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    real, failures = store.record_calls, iter([True, True, True])

    async def failing(opened: Sequence[Call], ended: Sequence[Call]) -> None:
        if next(failures, False):
            raise StoreUnusable(path="state.db", why="the disk is full")
        await real(opened, ended)

    monkeypatch.setattr(store, "record_calls", failing)
    for n in range(30):
        book.end(end(record(), n))
        await asyncio.sleep(0.002)
    for _ in range(500):
        if (await store.view_counts())["today"]["calls"] == 30:
            break
        await asyncio.sleep(0.01)
    assert len(await rows(store, book)) == 30
    assert book.lost == 0


async def test_free_rows_go_first_when_too_many_wait(
    store: SqliteStore, book: StoreBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away for long does not fill the memory; what cost money is kept."""
    monkeypatch.setattr(module, "_MOST_WAITING", 10)
    monkeypatch.setattr(module, "_AGAIN_S", 0.01)
    monkeypatch.setattr(module, "_FLUSH_S", 0.0)
    real, away = store.record_calls, [True]

    async def failing(opened: Sequence[Call], ended: Sequence[Call]) -> None:
        if away[0]:
            raise StoreUnusable(path="state.db", why="the disk is full")
        await real(opened, ended)

    monkeypatch.setattr(store, "record_calls", failing)
    for n in range(5):
        book.end(end(record(), 100 + n))
    for _ in range(30):
        book.end(end(record()))
    for _ in range(500):
        if book.lost:
            break
        await asyncio.sleep(0.01)
    away[0] = False
    found = await rows(store, book)
    assert len(found) == 10 and sum(row["cost_micro"] > 0 for row in found) == 5
    assert book.lost == 25


async def test_all_is_counted(store: SqliteStore) -> None:
    """What is written is counted for the metrics too."""
    meter = Meter()
    book = StoreBook(store, limits(0), meter)
    for _ in range(3):
        book.end(end(record()))
    await book.aclose()
    assert [one.calls for one in meter.series.values()] == [3]


async def test_bodies_are_kept_by_the_rule(store: SqliteStore, tmp_path: Path) -> None:
    """Where bodies are kept, so is what went to the client and what was asked; never when policy
    says no, and what policy blacked out stays so."""
    bodies = Bodies(tmp_path / "audit", Terms(keep=Keep.ALL))
    book = StoreBook(store, limits(0), None, bodies)
    assert book.keeps
    kept, not_kept = record(answer=[b"he", b"llo"]), record(answer=[b"secret"])
    not_kept.verdict = Verdict(keep_body=False)
    changed = record(answer=[b"x"], verdict=Verdict(body=b'{"model":"[gone]"}'))
    for one in (kept, not_kept, changed):
        book.end(end(one))
    await book.aclose()
    await bodies.aclose()
    found = read(bodies.folder, kept.id)
    assert found is not None
    assert (found.request_bytes, found.answer_bytes) == (b'{"model":"main"}', b"hello")
    assert read(bodies.folder, not_kept.id) is None
    found = read(bodies.folder, changed.id)
    assert found is not None and found.request_bytes == b'{"model":"[gone]"}'


async def test_the_call_of_a_job_is_written_at_once(store: SqliteStore, book: StoreBook) -> None:
    """The story of a job has each call that reached a model, also one that a crash cuts off a
    moment later."""
    one = record(who=Who("job", job_id="j1", lane="background"))
    book.begin(one)
    for _ in range(200):
        calls = (await store.view_calls(limit=10))["calls"]
        if calls:
            break
        await asyncio.sleep(0.005)
    assert [(row["job_id"], row["state"], row["backend"]) for row in calls] == [
        ("j1", "reserved", "cloud")
    ]
    book.end(end(one))
    (row,) = await rows(store, book)
    assert row["state"] == "settled"


async def test_what_is_over_frees_its_money_first(store: SqliteStore, book: StoreBook) -> None:
    """Money that a call did not use is there for the next one, without a moment between."""
    for left in (1000, 999, 998):
        one = record()
        await book.reserve(one, left)
        book.end(end(one, cost=1))
