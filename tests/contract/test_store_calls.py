"""The contract of a storage: the audit, one row for each request at the model door."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.core.ids import uuid7
from stead.core.nouns import Call, Cap, Usage
from stead.core.storage import Store
from tests.contract.storages import House, chat, claimed, finish, inbound


def call(cost: int = 0, **more: Any) -> Call:
    more = {
        "usage": Usage(10, 4, 5, cost, 3, 2), "reserved_micro": 0, "state": "settled",
        "status": 200, "outcome": "ok", "caller": "owner", "share": "chat", "api":
        "chat/completions", "asked": "main", "lane": "main", "total_ms": 20.0, **more,
    }  # fmt: skip
    known = {"id": uuid7(), "at": 0, "model": "m", "backend": "b", "job_id": None}
    return Call(**{**known, "first_ms": 1.5, "reason": "the first that can", **more})


def under_way(reserved: int = 0, **more: Any) -> Call:
    return call(reserved_micro=reserved, state="reserved", status=0, outcome="", usage=Usage(),
                **more)  # fmt: skip


async def listed(store: Store, **filters: Any) -> list[dict[str, Any]]:
    return list((await store.view_calls(**filters))["calls"])


async def spent(store: Store) -> dict[str, tuple[int, int]]:
    return await store.view_spent()


async def test_all_that_is_known_of_a_call_is_in_its_row(house: House) -> None:
    """Who asked for what, where it went and why, what it used and cost, how long it took and how
    it ended: nothing is lost on the way to the disk."""
    one = call(
        70, key_id="k1", caller="notes", instance="b-2", stream=True, estimated=True,
        waited_ms=0.25, tried=("b-1: it answered 503", "b-3: not reached"), bytes_in=120,
        bytes_out=900, began=time.monotonic() - 60.0, outcome="left", status=499,
        error="the client went",
    )  # fmt: skip
    before = int(time.time() * 1000)
    await house.store.record_calls([], [one])
    (row,) = await listed(house.reopen())
    age = before - row.pop("at")
    assert 59_000 < age < 61_000, "its time is when it came, not when it was written"
    assert row == {
        "id": one.id, "caller": "notes", "key_id": "k1", "job_id": None, "share": "chat",
        "api": "chat/completions", "asked": "main", "lane": "main", "model": "m", "backend": "b",
        "instance": "b-2", "stream": True, "reason": "the first that can",
        "tried": ["b-1: it answered 503", "b-3: not reached"], "shadow_of": None,
        "state": "settled", "status": 499, "outcome": "left", "error": "the client went",
        "prompt_tokens": 10,
        "cached_tokens": 4, "cache_write_tokens": 3, "completion_tokens": 5,
        "reasoning_tokens": 2, "estimated": True, "cost_micro": 70, "reserved_micro": 0,
        "waited_ms": 0.25, "first_ms": 1.5, "total_ms": 20.0, "bytes_in": 120, "bytes_out": 900,
    }  # fmt: skip


async def test_many_rows_at_once(store: Store) -> None:
    """Any number of calls is written in one go, each once, in the order of their coming."""
    many = [call(n) for n in range(150)]
    await store.record_calls(many[:3], many[3:])
    assert [one["cost_micro"] for one in await listed(store, limit=500)] == list(range(150))[::-1]
    await store.record_calls([], [])
    assert (await store.view_counts())["today"]["calls"] == 150


async def test_the_end_replaces_the_beginning(store: Store) -> None:
    """A call under way is a row already; its end tells the rest, and is told once."""
    one = under_way(500, key_id="k")
    await store.record_calls([one], [])
    (row,) = await listed(store)
    assert (row["state"], row["outcome"], row["status"]) == ("reserved", "", 0)
    assert await spent(store) == {
        "chat": (500, 500), "key:k": (500, 500), "lane:main": (500, 500)
    }  # fmt: skip
    over = replace(one, state="settled", outcome="ok", status=200, usage=Usage(1, 0, 2, 40))
    over = replace(over, model="other", backend="c", reason="m did not answer")
    await store.record_calls([], [over])
    for late in (replace(over, usage=Usage(1, 0, 2, 999)), one, over):
        await store.record_calls([late], [late])
    (row,) = await listed(store)
    assert (row["state"], row["cost_micro"], row["reserved_micro"]) == ("settled", 40, 500)
    assert (row["model"], row["backend"], row["reason"]) == ("other", "c", "m did not answer")
    assert (await spent(store))["chat"] == (40, 40)


async def test_beginning_and_end_in_one_batch(store: Store) -> None:
    """Where both come together it is one row, counted at what it cost."""
    one = under_way(500)
    await store.record_calls(
        [one, one], [replace(one, state="settled", outcome="ok", usage=Usage(1, 0, 1, 30))] * 2
    )
    (row,) = await listed(store)
    assert (row["state"], row["cost_micro"]) == ("settled", 30)
    assert (await spent(store))["chat"] == (30, 30)


async def test_what_was_reserved_is_settled_by_a_batch(store: Store) -> None:
    """A reservation that was made by itself ends with the others."""
    one = under_way(600)
    assert await store.reserve(one, [Cap("", 1000)]) is None
    await store.record_calls(
        [], [call(5), replace(one, state="settled", outcome="ok", usage=Usage(1, 0, 1, 100))]
    )
    assert (await spent(store))["chat"] == (105, 105)
    assert await store.close_open_calls() == 0


async def test_a_call_may_change_after_it_was_handed_over(store: Store) -> None:
    """What is written is the call as it was when it was handed over."""
    one = under_way()
    writing = asyncio.ensure_future(store.record_calls([one], []))
    await asyncio.sleep(0)
    one.model, one.state, one.outcome = "changed", "settled", "ok"
    await writing
    (row,) = await listed(store)
    assert (row["model"], row["state"]) == ("m", "reserved")


async def test_an_odd_row_holds_up_no_other(store: Store) -> None:
    """Text that is no text, and numbers that no column holds, cost no other call its row, nor
    their own: what strangers send must not end the book-keeping."""
    odd = call(model="a\udcffb", usage=Usage(10**30, 0, 5, 7))
    await store.record_calls([], [call(1), odd, call(2), call(3, reason="x" * 10**6)])
    found = await listed(store)
    assert [one["cost_micro"] for one in found] == [3, 2, 1, 7]
    assert found[3]["model"] == "a?b" and found[3]["prompt_tokens"] >= 2**53
    assert len(found[0]["reason"]) <= 10_000
    assert (await store.view_counts())["today"]["calls"] == 4


async def test_a_crash_closes_what_was_open(house: House) -> None:
    """Calls under way at a crash are rows that say why they ended, at what was set aside."""
    await house.store.record_calls([under_way(70), under_way()], [call(1)])
    store = house.reopen()
    assert await store.close_open_calls() == 2
    rows = await listed(store, outcome="cut_off")
    assert [(one["state"], one["cost_micro"]) for one in rows] == [("unknown", 0), ("unknown", 70)]
    assert all("cut off by a stop" in one["reason"] for one in rows)
    assert (await spent(store))["chat"] == (71, 71)


async def test_caps(store: Store) -> None:
    """Each cap is a limit of its own: on all, a share, a key or a lane, for a day or a month;
    the first that would be passed is told, and nothing is written then."""
    mine = {"key_id": "k", "lane": "main"}
    assert await store.reserve(under_way(300, **mine), [Cap("key:k", 500), Cap("", 1000)]) is None
    for cap in (
        Cap("key:k", 500), Cap("lane:main", 500), Cap("chat", 500), Cap("", 500, month=True),
        Cap("key:k", 500, month=True),
    ):  # fmt: skip
        refused = await store.reserve(under_way(201, **mine), [Cap("", 10_000), cap])
        assert refused == cap
    other = {"key_id": "k2", "lane": "cron", "share": "background"}
    caps = [Cap("key:k2", 500), Cap("lane:cron", 500), Cap("background", 500)]
    assert await store.reserve(under_way(500, **other), caps) is None
    assert (await spent(store))["key:k"] == (300, 300)
    assert len(await listed(store)) == 2


async def test_calls_are_filtered(store: Store) -> None:
    """Each filter finds what it names, and nothing else; they hold together."""
    await store.accept(inbound(), chat(), "")
    job = await claimed(store)
    long_ago = time.monotonic() - 7200
    by_name = {
        "key": call(caller="notes", key_id="k1"),
        "lane": call(lane="cron"),
        "model": call(model="big"),
        "backend": call(backend="cloud"),
        "api": call(api="embeddings"),
        "slow": call(total_ms=9000.0),
        "dear": call(2000),
        "limited": call(status=429, outcome="over_budget"),
        "left": call(status=499, outcome="left"),
        "job": call(caller="job", job_id=job.id),
        "old": call(began=long_ago, id=_id_before(7_200_000)),
    }
    await store.record_calls([], list(by_name.values()))
    names = {one.id: name for name, one in by_name.items()}
    now = int(time.time() * 1000)

    async def found(**filters: Any) -> set[str]:
        return {names[one["id"]] for one in await listed(store, **filters)}

    for name, value in (("lane", "cron"), ("model", "big"), ("backend", "cloud")):
        assert await found(**{name: value}) == {name}
    assert await found(api="embeddings") == {"api"}
    assert await found(key="notes") == await found(key="k1") == {"key"}
    assert await found(slow_ms=8000.0) == {"slow"}
    assert await found(cost_over=1999) == {"dear"} and await found(cost_over=2000) == set()
    assert await found(status="429") == {"limited"} and await found(status="4xx") == {
        "limited", "left",
    }  # fmt: skip
    assert await found(outcome="error") == {"limited"}
    assert await found(outcome="left") == {"left"}
    assert await found(job=job.id[-8:]) == {"job"}
    assert await found(until=now - 3_600_000) == {"old"}
    assert await found(since=now - 3_600_000) == {*by_name} - {"old"}
    assert await found(ended_after=now - 3_600_000) == {*by_name} - {"old"}
    assert await found(lane="main", model="big", status="200") == {"model"}
    assert await found(lane="cron", model="big") == set()
    assert await found(model="' OR 1=1 --") == set()


def _id_before(ms: int) -> str:
    text = f"{int(time.time() * 1000) - ms:012x}"
    return f"{text[:8]}-{text[8:]}{uuid7()[13:]}"


async def test_wrong_filters_are_told(store: Store) -> None:
    """A filter that makes no sense is refused in words, and is no query of somebody else."""
    for filters in ({"status": "abc"}, {"colour": "red"}):
        with pytest.raises(BadRequest):
            await store.view_calls(**filters)
    with pytest.raises(BadRequest, match="month"):
        await store.view_call_sums(by="moon")
    with pytest.raises(BadRequest):
        await store.view_call_sums(by="model", colour="red")
    with pytest.raises(NotFound):
        await store.view_calls(job="abcdef012345")


async def test_pages(store: Store) -> None:
    """Pages go from the newest back, and say whether there is more."""
    await store.record_calls([], [call(n) for n in range(5)])
    page = await store.view_calls(limit=2)
    seen = [one["cost_micro"] for one in page["calls"]]
    while page["more"]:
        page = await store.view_calls(limit=2, before=page["calls"][-1]["id"])
        seen += [one["cost_micro"] for one in page["calls"]]
    assert seen == [4, 3, 2, 1, 0]


async def test_one_call_by_a_piece_of_its_id(store: Store) -> None:
    """A call is found by its id, its beginning or its end, with its shadows."""
    one, other = call(1), call(2)
    shadow = call(3, shadow_of=one.id)
    await store.record_calls([], [one, other, shadow])
    for ident in (one.id, one.id[-8:], one.id[-12:]):
        assert (await store.view_call(ident))["cost_micro"] == 1
    found = await store.view_call(one.id)
    assert [s["id"] for s in found["shadows"]] == [shadow.id]
    assert found["shadows"][0]["shadow_of"] == one.id
    for ident in ("abc", "zzzzzzzz", "%%%%%%%%", "00000000"):
        with pytest.raises(NotFound):
            await store.view_call(ident)
    with pytest.raises(BadRequest, match="several"):
        await store.view_call(one.id[:8])


async def test_sums(store: Store) -> None:
    """Sums by model, lane, key, backend and day; pruning rows changes none of them."""
    await store.record_calls(
        [],
        [
            call(100, model="a"), call(50, model="a", lane="cron", caller="notes"),
            call(7, model="b", outcome="backend_failed", status=502, estimated=True),
        ],
    )  # fmt: skip

    async def sums(**filters: Any) -> list[tuple[Any, ...]]:
        view = await store.view_call_sums(**filters)
        return [
            (one[view["by"]], one["calls"], one["errors"], one["cost_micro"])
            for one in view["sums"]
        ]

    async def look() -> list[Any]:
        day = (await sums(by="day"))[0][0]
        assert day == time.strftime("%Y-%m-%d", time.gmtime())
        return [
            await sums(by="model"), await sums(by="lane"), await sums(by="key"),
            await sums(by="backend", model="a"), await sums(by="month", key="notes"),
        ]  # fmt: skip

    live = await look()
    assert live[0] == [("a", 2, 0, 150), ("b", 1, 1, 7)]
    assert live[1] == [("main", 2, 1, 107), ("cron", 1, 0, 50)]
    assert live[2] == [("owner", 2, 1, 107), ("notes", 1, 0, 50)]
    assert live[3] == [("b", 2, 0, 150)]
    assert live[4] == [(time.strftime("%Y-%m", time.gmtime()), 1, 0, 50)]
    (whole,) = (await store.view_call_sums(by="share"))["sums"]
    assert (whole["estimated"], whole["cache_write_tokens"], whole["reasoning_tokens"]) == (1, 9, 6)
    await asyncio.sleep(0.005)
    while (await store.prune_calls(0, 1)).after:
        pass
    assert await listed(store) == []
    assert await look() == live
    assert await sums(by="model", since=int(time.time() * 1000) + 2 * 86_400_000) == []
    assert await sums(by="model", until=1) == []


async def test_sums_by_conversation(house: House) -> None:
    """What a conversation cost, whichever of its jobs asked; what is no job's, or has no job any
    more, counts under an empty name."""
    jobs = []
    for number, session in enumerate(("kitchen", "kitchen", "garden")):
        await house.store.accept(inbound(str(number), session=session), chat(session), "")
        job = await claimed(house.store)
        await finish(house.store, job)
        jobs.append(job)
    calls = [call(10 + n, job_id=job.id) for n, job in enumerate(jobs)]
    await house.store.record_calls([], [*calls, call(5), call(1, job_id=uuid7())])

    async def sums() -> dict[str, int]:
        found = await house.store.view_call_sums(by="session")
        return {one["session"]: one["cost_micro"] for one in found["sums"]}

    assert await sums() == {"kitchen": 21, "garden": 12, "": 6}
    await asyncio.sleep(0.005)
    while (await house.store.prune_calls(0, 100)).after:
        pass
    assert await sums() == {"": 39}


async def test_today_by_backend(store: Store) -> None:
    """What each backend was asked today, and how often that went wrong."""
    await store.record_calls(
        [], [call(5), call(outcome="timeout", status=504), call(backend="c", outcome="left")]
    )
    found = {one.pop("backend"): one for one in (await store.view_counts())["backends"]}
    assert found == {
        "b": {"calls": 2, "errors": 1, "tokens": 30, "cost_micro": 5},
        "c": {"calls": 1, "errors": 0, "tokens": 15, "cost_micro": 0},
    }


async def test_the_story_of_a_job_has_its_calls(store: Store) -> None:
    """``why`` links the calls of a job with all that is known of them."""
    await store.accept(inbound(), chat(), "")
    job = await claimed(store)
    await store.record_calls([], [call(20, job_id=job.id, tried=("b: busy",)), call(30)])
    (row,) = (await store.view_why(job.id))["calls"]
    assert (row["cost_micro"], row["tried"], row["outcome"]) == (20, ["b: busy"], "ok")
