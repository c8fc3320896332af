"""The contract of a storage: the ledger, nodes and facts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from stead.core.errors import BadRequest
from stead.core.ids import uuid7
from stead.core.nouns import Call, Cap, Usage
from stead.core.storage import Store
from tests.contract.storages import House, chat, claimed, finish, inbound

# --- the ledger ----------------------------------------------------------------


def call(micro: int = 0, lane: str = "chat", **more: Any) -> Call:
    more = {"job_id": None, "state": "reserved", "usage": Usage(), **more}
    return Call(
        id=uuid7(), at=0, model="m", backend="b", caller="owner", share=lane, reserved_micro=micro,
        status=0, first_ms=0.0, total_ms=0.0, reason="the first that can", **more,
    )  # fmt: skip


async def reserve(store: Store, one: Call, limit: int, lane_limit: int | None = None) -> bool:
    most = limit if lane_limit is None else lane_limit
    return await store.reserve(one, [Cap("", limit), Cap(one.share, most)]) is None


async def spent(store: Store) -> dict[str, int]:
    return dict((await store.view_counts())["spent"])


async def book(store: Store, one: Call, cost: int) -> None:
    usage = Usage(10, 4, 5, cost)
    over = replace(one, usage=usage, state="settled", status=200, first_ms=1.5, total_ms=20.0)
    await store.record_calls([], [over])


async def test_money_is_set_aside_within_the_day(store: Store) -> None:
    """A call is refused when what is spent and set aside leaves too little (invariant 7)."""
    assert await reserve(store, call(600), 1000)
    assert not await reserve(store, call(401), 1000)
    assert await reserve(store, call(400), 1000)
    assert not await reserve(store, call(1), 1000)
    assert await spent(store) == {"chat": 1000}


async def test_a_race_for_the_last_money(store: Store) -> None:
    """However many ask at once, no more is set aside than there is."""
    got = await asyncio.gather(*(reserve(store, call(100), 1000) for _ in range(50)))
    assert sum(got) == 10
    assert await spent(store) == {"chat": 1000}


async def test_background_never_eats_the_chat_reserve(store: Store) -> None:
    """Each lane has a limit of its own below that of the day."""
    assert await reserve(store, call(700, "background"), 1000, 700)
    assert not await reserve(store, call(1, "background"), 1000, 700)
    assert await reserve(store, call(300), 1000)


async def test_what_was_used_replaces_what_was_set_aside(house: House) -> None:
    """Booking frees what a call did not use; a second booking changes nothing."""
    one = call(600)
    await reserve(house.store, one, 1000)
    await book(house.store, one, 150)
    store = house.reopen()
    await book(store, one, 999)
    assert await spent(store) == {"chat": 150}
    assert (await store.view_counts())["today"] == {"calls": 1, "tokens": 15, "cost_micro": 150}
    assert await reserve(store, call(850), 1000)


async def test_a_call_may_cost_more_than_was_set_aside(store: Store) -> None:
    """The day's total is what was really used, even past the reservation."""
    one = call(100)
    await reserve(store, one, 1000)
    await book(store, one, 250)
    assert await spent(store) == {"chat": 250}


async def test_a_call_cut_off_counts_at_what_was_set_aside(house: House) -> None:
    """After a crash an open call is counted in full, never at too little, and is closed once."""
    open_one, done = call(600), call(100)
    for one in (open_one, done):
        await reserve(house.store, one, 1000)
    await book(house.store, done, 10)
    store = house.reopen()
    assert await store.close_open_calls() == 1
    assert await store.close_open_calls() == 0
    await book(store, open_one, 1)
    assert await spent(store) == {"chat": 610}
    assert (await store.view_counts())["today"]["cost_micro"] == 610


async def test_a_call_without_reservation(store: Store) -> None:
    """A call written at once counts at what it cost, and a free one at nothing."""
    paid = call(state="settled", usage=Usage(1, 0, 2, 30))
    free = replace(paid, id=uuid7(), usage=Usage(5, 0, 5, 0))
    await store.record_calls([], [paid, free])
    assert await spent(store) == {"chat": 30}
    assert (await store.view_counts())["today"] == {"calls": 2, "tokens": 13, "cost_micro": 30}


async def test_calls_are_part_of_the_story_of_their_job(store: Store) -> None:
    """``why`` shows each call of a job with its cost, and their sum."""
    await store.accept(inbound(), chat(), "")
    job = await claimed(store)
    for cost in (20, 30):
        one = call(50, job_id=job.id)
        await reserve(store, one, 1000)
        await book(store, one, cost)
    await finish(store, job, "done", "hello")
    story = await store.view_why(job.id)
    assert [row["cost_micro"] for row in story["calls"]] == [20, 30]
    assert all(
        (row["status"], row["first_ms"], row["state"]) == (200, 1.5, "settled")
        for row in story["calls"]
    )
    assert story["cost"] == {
        "calls": 2, "prompt_tokens": 20, "cached_tokens": 8, "completion_tokens": 10,
        "cost_micro": 50,
    }  # fmt: skip


async def test_money_for_a_call_that_has_a_row(house: House) -> None:
    """A call that was written as under way before its money is set aside: that counts at once, in
    the scopes that are known by then, is kept over a crash, and is replaced by what was used."""
    one = call(0, "background")
    await house.store.record_calls([one], [])
    wanted = replace(one, reserved_micro=600, lane="cron")
    assert await house.store.reserve(wanted, [Cap("", 1000)]) is None
    assert await house.store.view_spent() == {
        "background": (600, 600), "lane:cron": (600, 600),
    }  # fmt: skip
    assert await house.store.reserve(call(401), [Cap("", 1000)]) == Cap("", 1000)
    await house.store.record_calls([], [replace(wanted, state="settled", usage=Usage(1, 0, 1, 50))])
    assert await house.store.view_spent() == {"background": (50, 50), "lane:cron": (50, 50)}
    other = call(0)
    await house.store.record_calls([other], [])
    await house.store.reserve(replace(other, reserved_micro=300), [])
    store = house.reopen()
    assert await store.close_open_calls() == 1
    assert (await store.view_counts())["today"]["cost_micro"] == 350


# --- nodes and facts -------------------------------------------------------------


async def test_a_node_is_known_by_its_key(house: House) -> None:
    """A node is found by the hash of its key, with what it told of itself."""
    node_id = await house.store.add_node("attic", "hash-1")
    await house.store.saw_node(
        node_id, boot="b1", labels=["gpu", "nas"], version="1", facts={"cores": 2}
    )
    store = house.reopen()
    node = await store.node_by_key("hash-1")
    assert node is not None
    assert (node.id, node.name, node.boot, node.labels) == (node_id, "attic", "b1", ("gpu", "nas"))
    assert node.last_seen > 1_600_000_000_000 and not node.revoked
    assert node.facts == {"cores": 2}
    assert await store.node_by_key("hash-2") is None
    assert await store.nodes() == [node]


async def test_seeing_a_node_again_keeps_what_it_said(store: Store) -> None:
    """A sign of life changes nothing but the time."""
    node_id = await store.add_node("attic", "h")
    await store.saw_node(node_id, boot="b1", labels=["gpu"], facts={"cores": 2})
    await store.saw_node(node_id)
    (node,) = await store.nodes()
    assert (node.boot, node.labels, node.facts) == ("b1", ("gpu",), {"cores": 2})


async def test_a_name_is_one_node(store: Store) -> None:
    """A name that is in use is refused in words, also when two ask at once."""
    results = await asyncio.gather(
        *(store.add_node("attic", f"h{n}") for n in range(5)), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, BadRequest)]
    assert len(refused) == 4 and "attic" in refused[0].message
    assert len(await store.nodes()) == 1


async def test_a_revoked_key_opens_nothing(store: Store) -> None:
    """Revoking ends a key; the name can be given again and keeps its history."""
    node_id = await store.add_node("attic", "h1")
    assert await store.revoke_node("attic")
    assert not await store.revoke_node("attic")
    assert not await store.revoke_node("cellar")
    assert await store.node_by_key("h1") is None
    assert [node.revoked for node in await store.nodes()] == [True]
    assert await store.add_node("attic", "h2") == node_id
    assert await store.node_by_key("h1") is None
    again = await store.node_by_key("h2")
    assert again is not None and not again.revoked


async def test_facts(house: House) -> None:
    """A small fact is kept, changed, and forgotten."""
    await house.store.set_fact("a", "1")
    await house.store.set_fact("b", "2")
    await house.store.set_fact("a", "3")
    store = house.reopen()
    assert (await store.fact("a"), await store.fact("b"), await store.fact("c")) == ("3", "2", None)
    await store.set_fact("a", None)
    await store.set_fact("c", None)
    assert (await store.fact("a"), await store.fact("b")) == (None, "2")
