"""The contract of a storage: replies on their way (invariant 5)."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import BadRequest, NotFound, NotSettled
from stead.core.storage import Delivery, Store
from tests.contract.storages import House, chat, claimed, converse, finish, inbound


async def delivery(store: Store, job_id: str) -> list[tuple[str, int, str]]:
    rows = (await store.view_why(job_id))["delivery"]
    return [(row["state"], row["tries"], row["note"]) for row in rows]


async def post(store: Store, text: str, session: str = "main", channel: str = "post") -> None:
    """A reply on its way."""
    assert await store.notice(channel, session, f"{session}/{text}", text) is not None


async def texts(store: Store, limit: int = 20) -> list[str]:
    return [one.text for one in await store.take("post", limit)]


async def one(store: Store) -> Delivery:
    (taken,) = await store.take("post", 1)
    return taken


async def test_a_reply_is_taken_once(store: Store) -> None:
    """What one sender has taken, no other gets; each channel has its own; it carries what it
    answers."""
    await store.accept(inbound("one", external_id="their-7"), chat(), "")
    job = await claimed(store)
    await finish(store, job, "done", "first")
    await store.notice("mail", "main", "n1", "for mail")
    took = await asyncio.gather(*(store.take("cli") for _ in range(5)))
    (sent,) = [one for batch in took for one in batch]
    assert (sent.job_id, sent.text, sent.role, sent.session, sent.in_reply_to, sent.tries) == (
        job.id, "first", "assistant", "main", "their-7", 1,
    )  # fmt: skip
    assert sent.at > 1_600_000_000_000
    assert [one.text for one in await store.take("mail")] == ["for mail"]


async def test_no_reply_overtakes_another_of_its_conversation(store: Store) -> None:
    """Of each conversation only the first is given out; the next when that has left, however."""
    for session in ("a", "b", "c"):
        for n in range(4):
            await post(store, f"{session}{n}", session)
    assert await texts(store, limit=2) == ["a0", "b0"]
    assert await texts(store) == ["c0"]
    assert await texts(store) == []
    rows = {row["text"]: row for row in (await store.view_outbox(channel="post"))["deliveries"]}
    await store.delivered(rows["a0"]["id"])
    await store.undeliverable(rows["b0"]["id"], "refused")
    await store.ambiguous(rows["c0"]["id"], "timed out")
    assert await texts(store) == ["a1", "b1", "c1"]
    await store.undelivered(rows["a1"]["id"], delay_ms=60_000, note="later")
    await store.left(rows["b1"]["id"], "left")
    await store.settle_delivery(str(rows["c2"]["id"]), "drop")  # one that waited its turn
    await store.delivered(rows["c1"]["id"])
    assert await texts(store) == ["b2", "c3"]
    assert rows["a1"]["blocked"] and not rows["a0"]["blocked"]


async def test_other_channels_do_not_block(store: Store) -> None:
    """The same conversation on two channels has an order on each."""
    await post(store, "one", channel="other")
    await post(store, "two")
    assert await texts(store) == ["two"]


async def test_a_conversation_of_many_comes_out_in_order(house: House) -> None:
    """A long backlog is worked off one by one in its order, over a restart too."""
    for n in range(60):
        await post(house.store, f"{n}")
    got = []
    for n in range(60):
        if n == 30:
            house.reopen()
        taken = await one(house.store)
        got.append(int(taken.text))
        await house.store.delivered(taken.id)
    assert got == list(range(60))
    assert await house.store.next_delivery_ms("post") is None


async def test_delivered(house: House) -> None:
    """A delivered reply is never taken again, and its story says how it went."""
    job = await converse(house.store, "one", "first")
    (sent,) = await house.store.take("cli")
    await house.store.delivered(sent.id, "message 17")
    store = house.reopen()
    assert await store.take("cli") == []
    assert await store.unsettled("cli") == []
    assert await delivery(store, job.id) == [("sent", 1, "message 17")]
    await store.ambiguous(sent.id, "a mark that comes too late")
    assert await delivery(store, job.id) == [("sent", 1, "message 17")]


async def test_undelivered_is_tried_again_after_its_delay(store: Store) -> None:
    """A delivery that failed comes back when its time has come, not before; a channel that was
    away uses up none of its tries."""
    await post(store, "one")
    first = await one(store)
    await store.undelivered(first.id, delay_ms=60_000, note="no network")
    assert await texts(store) == []
    due = await store.next_delivery_ms("post")
    assert due is not None and 50_000 < due <= 60_000
    assert await store.next_delivery_ms("mail") is None
    await store.settle_delivery(str(first.id), "drop")
    await post(store, "two")
    assert await store.next_delivery_ms("post") == 0
    tries = []
    for counts in (False, True, False):
        taken = await one(store)
        tries.append(taken.tries)
        await store.undelivered(taken.id, delay_ms=0, note="away", counts=counts)
    assert tries == [1, 1, 2]
    again = await one(store)
    await store.undelivered(again.id, delay_ms=0, note="no answer", doubt=True)
    assert (await one(store)).doubts == 1


async def test_what_was_being_sent_at_a_crash(house: House) -> None:
    """After a crash the sender is told what it was sending, and what is in doubt; nothing of
    that is taken by anybody before it is settled."""
    for text, session in (("first", "a"), ("second", "a"), ("other", "b"), ("doubt", "c")):
        await post(house.store, text, session)
    taken = await house.store.take("post")
    assert [one.text for one in taken] == ["first", "other", "doubt"]
    await house.store.ambiguous(taken[2].id, "timed out")
    store = house.reopen()
    assert await store.unsettled("mail") == []
    assert [(one.text, one.tries) for one in await store.unsettled("post")] == [
        ("first", 1), ("other", 1), ("doubt", 1),
    ]  # fmt: skip
    assert await texts(store) == []
    await store.undelivered(taken[0].id, delay_ms=0, note="again")
    await store.delivered(taken[1].id, "read back")
    await store.undelivered(taken[2].id, delay_ms=0, note="again", doubt=True)
    assert await texts(store) == ["first", "doubt"]
    assert (await store.view_counts())["channels"] == {"post": {"pending": 1, "sending": 2}}


@pytest.mark.parametrize(
    ("state", "how", "becomes"),
    [
        ("ambiguous", "sent", "sent"),
        ("ambiguous", "again", "pending"),
        ("ambiguous", "drop", "dropped"),
        ("failed", "again", "pending"),
        ("failed", "drop", "dropped"),
        ("left", "again", "pending"),
        ("pending", "sent", "sent"),
        ("pending", "drop", "dropped"),
        ("dropped", "again", "pending"),
        ("sent", "again", ""),
        ("sent", "drop", ""),
        ("sending", "again", ""),
        ("sending", "drop", ""),
        ("pending", "again", ""),
        ("dropped", "sent", ""),
    ],
)
async def test_settled_by_hand(store: Store, state: str, how: str, becomes: str) -> None:
    """What the owner may say of a reply in each state; the rest is refused and changes nothing."""
    await post(store, "one")
    if state != "pending":
        taken = await one(store)
        marks = {"ambiguous": store.ambiguous, "failed": store.undeliverable, "left": store.left}
        if state in marks:
            await marks[state](taken.id, "why")
        elif state == "sent":
            await store.delivered(taken.id)
        elif state == "dropped":
            await store.ambiguous(taken.id, "why")
            await store.settle_delivery(str(taken.id), "drop")
    (row,) = (await store.view_outbox(state=state))["deliveries"]
    if not becomes:
        with pytest.raises(NotSettled, match=state):
            await store.settle_delivery(str(row["id"]), how)
        assert (await store.view_delivery(str(row["id"])))["state"] == state
        return
    settled = await store.settle_delivery(str(row["id"]), how)
    assert settled["state"] == becomes and "owner" in settled["note"]
    assert await texts(store) == (["one"] if becomes == "pending" else [])


async def test_sent_again_by_hand_waits_its_turn(store: Store) -> None:
    """A reply put back by hand goes behind the one under way, not beside it, and its counts
    begin anew."""
    for text in ("one", "two", "three"):
        await post(store, text)
    first = await one(store)
    await store.ambiguous(first.id, "timed out")
    second = await one(store)
    settled = await store.settle_delivery(str(first.id), "again")
    assert (settled["tries"], settled["doubts"], settled["blocked"]) == (0, 0, True)
    assert await texts(store) == []
    await store.delivered(second.id)
    assert await texts(store) == ["one"]
    assert await texts(store) == []
    await store.delivered(first.id)
    assert await texts(store) == ["three"]


async def test_looks(store: Store) -> None:
    """The open ones, the newest first, by state and channel, page by page; one by number or id."""
    for n in range(5):
        await post(store, f"text {n}" + "x" * 300, session=f"s{n}")
    await post(store, "elsewhere", channel="mail")
    taken = await store.take("post", 3)
    await store.delivered(taken[0].id)
    await store.undeliverable(taken[1].id, "refused")
    page = await store.view_outbox()
    assert [row["state"] for row in page["deliveries"]] == [
        "pending", "pending", "pending", "sending", "failed",
    ]  # fmt: skip
    assert not page["more"] and len(page["deliveries"][1]["text"]) == 200
    first = await store.view_outbox(channel="post", limit=2)
    assert first["more"]
    rest = await store.view_outbox(channel="post", before=first["deliveries"][-1]["id"])
    assert [row["state"] for row in rest["deliveries"]] == ["sending", "failed"]
    (sent,) = (await store.view_outbox(state="sent"))["deliveries"]
    for ident in (str(sent["id"]), sent["message_id"], sent["message_id"][-8:]):
        whole = await store.view_delivery(ident)
        assert whole["id"] == sent["id"] and whole["text"] == "text 0" + "x" * 300
    for unknown in ("999", "abc", "zzzzzzzz", "%%%%%%", "9" * 40, ""):
        with pytest.raises(NotFound):
            await store.view_delivery(unknown)
    with pytest.raises(BadRequest, match="no such state"):
        await store.view_outbox(state="lost")


async def test_the_end_of_an_id_may_be_all_digits(store: Store) -> None:
    """A short id that looks like a number, leading zeros and all, means the id that ends so where
    no row has that number."""
    wanted: dict[str, str] = {}  # one that starts with a zero, and one that does not
    for n in range(1000):
        await post(store, f"text {n}", session=f"s{n}")
        (newest,) = (await store.view_outbox(limit=1))["deliveries"]
        tail = newest["message_id"][-6:]
        if tail.isdigit():
            wanted.setdefault("zero" if tail.startswith("0") else "other", tail)
        if len(wanted) == 2:
            break
    for tail in wanted.values():
        assert (await store.view_delivery(tail))["message_id"].endswith(tail)
    assert wanted


async def test_a_reply_that_was_read_needs_no_sending(store: Store) -> None:
    """When the asker has read the answer where it asked, its outbox row is done."""
    job = await converse(store, "one", "first")
    await converse(store, "two", "second")
    await store.fetched(job.id)
    assert [one.text for one in await store.take("cli")] == ["second"]
    assert (await delivery(store, job.id))[0][0] == "sent"


async def test_messages_that_were_read_need_no_sending(store: Store) -> None:
    """What the owner has seen in the conversation is delivered, and nothing else is."""
    for n in range(3):
        await converse(store, f"m{n}", f"a{n}")
    shown = (await store.view_messages("main", 0, 4))["messages"]
    await store.fetched_messages([one["id"] for one in shown])
    await store.fetched_messages([])
    assert [one.text for one in await store.take("cli")] == ["a2"]


async def test_a_fresh_reply_is_due_whatever_the_clock_says(store: Store) -> None:
    """A reply that was written while the clock was ahead does not wait until it is that late."""
    await post(store, "one")
    page = await store.view_outbox(state="pending", channel="post", before=0, limit=5)
    assert [entry["next_at"] for entry in page["deliveries"]] == [0]
    assert await texts(store) == ["one"]
