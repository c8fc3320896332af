"""Budgets that run out are told of once, in the owner's conversation and in `status`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead.core.ids import uuid7
from stead.core.nouns import Call, Inbound, NewJob, Usage
from stead.flow.spending import Spending
from stead.ledger.budgets import Budgets, Limit
from stead.store.sqlite import SqliteStore


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield store
    store.close()


class Watched:
    """A house with a budget of 1,000 a day, and of 500 for the lane cron."""

    def __init__(self, store: SqliteStore, *, stop: bool = True) -> None:
        self.store = store
        budgets = Budgets(
            daily_micro=1000, chat_reserve_micro=0,
            limits=[Limit(lane="cron", day_micro=500, stop=stop)],
        )  # fmt: skip
        self.told = 0
        self.spending = Spending(
            store, lambda spent: budgets.standings(spent, {}), warn_at=lambda: 0.8, told=self._tell
        )

    def _tell(self) -> None:
        self.told += 1

    async def spend(self, micro: int, lane: str = "cron") -> None:
        call = Call(
            id=uuid7(), at=0, model="big", backend="cloud", caller="owner", job_id=None,
            share="chat", usage=Usage(1, 0, 1, micro), reserved_micro=0, state="settled",
            status=200, first_ms=0.0, total_ms=0.0, reason="", lane=lane,
        )  # fmt: skip
        await self.store.record_calls([], [call])
        await self.spending.look()

    async def said(self) -> list[str]:
        page = await self.store.view_messages("main", 0, 50)
        return [one["text"] for one in page["messages"] if one["role"] == "notice"]


async def test_much_and_all_are_told_once_each(store: SqliteStore) -> None:
    """At 80% a word, at 100% another, however often it is looked; both are in `status`."""
    house = Watched(store)
    await house.spend(390)
    assert await house.said() == [] and not house.spending.remarks
    await house.spend(20)
    (word,) = await house.said()
    assert "of the lane cron today" in word and "82%" in word and "refused" in word
    assert "lane cron today" in house.spending.remarks[0] and not house.spending.troubles
    for _ in range(3):
        await house.spend(10)
    assert len(await house.said()) == 1
    await house.spend(100)
    assert len(await house.said()) == 2 and "used up" in (await house.said())[1]
    assert "used up" in house.spending.troubles[0] and not house.spending.remarks
    assert house.told == 2


async def test_a_restart_tells_nothing_twice(store: SqliteStore) -> None:
    """What was told before a restart is known after it; what is new is told."""
    await Watched(store).spend(450)
    again = Watched(store)
    await again.spend(1)
    assert len(await again.said()) == 1
    await again.spend(400)
    assert len(await again.said()) == 3  # the lane's is used up, and much of the day's is used


async def test_at_one_go(store: SqliteStore) -> None:
    """Who is told that all is used need not hear before that much is."""
    house = Watched(store)
    await house.spend(600)
    (word,) = await house.said()
    assert "used up" in word


async def test_a_budget_that_stops_nothing(store: SqliteStore) -> None:
    """Its owner is told just so, and nothing in `status` is amiss."""
    house = Watched(store, stop=False)
    await house.spend(600)
    assert "nothing is stopped" in (await house.said())[0]
    assert house.spending.remarks and not house.spending.troubles


async def test_it_is_told_where_the_owner_is(store: SqliteStore) -> None:
    """In the conversation that he used last."""
    message = Inbound("mail", "m1", "hello", session="family")
    await store.accept(message, NewJob("chat", {"text": "hello"}, session="family"), "")
    await Watched(store).spend(600)
    page = await store.view_messages("family", 0, 50)
    assert [one["channel"] for one in page["messages"]] == ["mail", "mail"]
