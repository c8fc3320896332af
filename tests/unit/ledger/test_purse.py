"""The purse: money is set aside before it is spent, and what was used is booked, always."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stead.core.errors import OverBudget, StoreUnusable
from stead.core.nouns import Usage
from stead.core.ports import Caller
from stead.ledger.purse import Budget, StorePurse
from stead.store.sqlite import SqliteStore

OWNER = Caller("owner")
NIGHT = Caller("job", "j1", lane="background")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


@pytest.fixture
def purse(store: SqliteStore) -> StorePurse:
    return StorePurse(store, Budget(daily_micro=1000, chat_reserve_micro=300))


async def reserve(purse: StorePurse, micro: int, caller: Caller = OWNER) -> str:
    return await purse.reserve(
        caller, model="big", backend="cloud", most_micro=micro, reason="asked for"
    )


async def settle(purse: StorePurse, call: str, cost: int, status: int = 200) -> None:
    await purse.settle(call, Usage(10, 0, 5, cost), status=status, first_ms=1.0, total_ms=2.0)


async def today(store: SqliteStore) -> dict[str, Any]:
    counts = await store.view_counts()
    return {**counts["today"], "spent": counts["spent"]}


async def test_what_was_used_is_booked(store: SqliteStore, purse: StorePurse) -> None:
    """A call holds its most until it is settled, then what it used."""
    call = await reserve(purse, 600)
    assert (await today(store))["spent"] == {"chat": 600}
    await settle(purse, call, 120)
    await purse.aclose()
    assert await today(store) == {
        "calls": 1, "tokens": 15, "cost_micro": 120, "spent": {"chat": 120},
    }  # fmt: skip


async def test_settled_twice_is_settled_once(store: SqliteStore, purse: StorePurse) -> None:
    """A second settling changes nothing, also when both are under way together."""
    call = await reserve(purse, 600)
    await settle(purse, call, 120)
    await settle(purse, call, 900)
    await purse.aclose()
    assert (await today(store))["cost_micro"] == 120


async def test_the_day_has_an_end(purse: StorePurse) -> None:
    """What may cost more than is left is refused before it is spent, with both figures."""
    await reserve(purse, 600)
    with pytest.raises(OverBudget, match=r"up to \$0\.0005, and the day's \$0\.00") as refused:
        await reserve(purse, 500)
    assert "chat" in refused.value.message and "[budget]" in refused.value.message
    await reserve(purse, 400)


async def test_background_leaves_the_reserve_to_the_owner(purse: StorePurse) -> None:
    """Background work never eats what is kept for the owner's chat; the owner may use all."""
    await reserve(purse, 700, NIGHT)
    with pytest.raises(OverBudget, match="background"):
        await reserve(purse, 1, NIGHT)
    await reserve(purse, 300)


async def test_a_reserve_larger_than_the_day(store: SqliteStore) -> None:
    """Then background work has nothing, and nothing breaks."""
    purse = StorePurse(store, Budget(daily_micro=100, chat_reserve_micro=900))
    with pytest.raises(OverBudget):
        await reserve(purse, 1, NIGHT)
    await reserve(purse, 100)


async def test_a_free_call_is_never_refused(store: SqliteStore, purse: StorePurse) -> None:
    """An empty purse does not silence a local model; its calls are rows all the same."""
    await reserve(purse, 1000)
    for caller in (OWNER, NIGHT):
        await settle(purse, await reserve(purse, 0, caller), 0)
    await purse.aclose()
    assert (await today(store))["calls"] == 3
    assert (await today(store))["spent"] == {"chat": 1000}


async def test_a_call_names_its_job(store: SqliteStore, purse: StorePurse) -> None:
    """Model, backend, job, lane and the reason for the choice are in the row."""
    call = await reserve(purse, 5, NIGHT)
    (row,) = await store.read(
        lambda c: c.execute(
            "SELECT id, model, backend, caller, job_id, share, state, reserved_micro, reason"
            " FROM call"
        ).fetchall()
    )
    assert row == (call, "big", "cloud", "job", "j1", "background", "reserved", 5, "asked for")


async def test_a_race_for_the_last_money(store: SqliteStore, purse: StorePurse) -> None:
    """Calls that ask at the same moment never set aside more than the day has."""
    results = await asyncio.gather(
        *(reserve(purse, 100) for _ in range(40)), return_exceptions=True
    )
    assert sum(isinstance(one, str) for one in results) == 10
    assert (await today(store))["spent"] == {"chat": 1000}


async def test_what_a_crash_cut_off(store: SqliteStore, purse: StorePurse) -> None:
    """A paid call that was never settled counts in full, a free one counts as one at nothing."""
    await reserve(purse, 200)
    await reserve(purse, 0)
    await purse.aclose()
    assert await store.close_open_calls() == 2
    assert (await today(store))["cost_micro"] == 200


async def test_a_booking_that_fails_is_logged(
    store: SqliteStore, purse: StorePurse, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer of a call stands even when its row cannot be written; that is said aloud."""
    call = await reserve(purse, 200)

    async def fail(*_: Any, **__: Any) -> None:
        raise OSError("the disk is away")

    store.book = fail  # type: ignore[method-assign]
    await settle(purse, call, 10)
    await purse.aclose()
    assert "could not be booked" in caplog.text


async def test_close_waits_for_the_bookings(store: SqliteStore, purse: StorePurse) -> None:
    """At a stop no booking is left behind, even one that is begun while waiting."""
    calls = [await reserve(purse, 10) for _ in range(20)]
    for call in calls:
        await settle(purse, call, 1)
    await purse.aclose()
    assert (await today(store))["spent"] == {"chat": 20}


async def test_a_caller_that_leaves_while_money_is_set_aside_gets_it_back(
    store: SqliteStore, purse: StorePurse
) -> None:
    """Whatever the moment at which a caller leaves, nothing stays set aside for a call that is
    never made."""
    for pauses in range(8):
        asking = asyncio.create_task(reserve(purse, 100))
        for _ in range(pauses):
            await asyncio.sleep(0)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await settle(purse, await asking, 0)  # it was quicker
    await purse.aclose()
    assert sum((await today(store))["spent"].values()) == 0
    assert await store.close_open_calls() == 0


async def test_a_full_disk_leaves_no_call_unbooked(
    store: SqliteStore, purse: StorePurse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a call has used is booked once the store can write again."""
    book, failures = store.book, iter([True, True])

    async def failing(*args: Any, **more: Any) -> None:
        if next(failures, False):
            raise StoreUnusable(path="state.db", why="the disk is full")
        await book(*args, **more)

    monkeypatch.setattr(store, "book", failing)
    monkeypatch.setattr("stead.ledger.purse._AGAIN_S", 0.01)
    call = await reserve(purse, 600)
    await settle(purse, call, 120)
    for _ in range(2000):
        if (await today(store))["spent"] == {"chat": 120}:
            break
        await asyncio.sleep(0.01)
    assert (await today(store))["spent"] == {"chat": 120}
