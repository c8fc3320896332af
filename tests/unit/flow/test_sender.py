"""The sender: replies reach their channel in order, and what is not known is settled by rule."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from stead.core.errors import (
    ChannelAway,
    DeliveryFailed,
    DeliveryInDoubt,
    DeliveryRefused,
    NotFound,
    WrongKey,
)
from stead.core.storage import Delivery
from stead.flow import sender as sender_room
from stead.flow.sender import Manner, Sender, backoff_s
from stead.store.sqlite import SqliteStore


class Letterbox:
    """A channel that keeps what it gets; told by text, what it does with a reply."""

    def __init__(self, name: str = "post", *, dedupes: bool = False) -> None:
        self.name = name
        self.dedupes = dedupes
        self.does: dict[str, Exception] = {}
        """By text, or for all with the empty text."""
        self.knows: bool | None = None
        self.hang: set[str] = set()
        self.letters: list[str] = []
        self.tried: Counter[str] = Counter()
        self.came = asyncio.Event()
        self.go_on = asyncio.Event()

    async def send(self, delivery: Delivery) -> None:
        self.tried[delivery.text] += 1
        self.came.set()
        if delivery.text in self.hang:
            await self.go_on.wait()
        for text in (delivery.text, ""):
            if text in self.does:
                raise self.does[text]
        self.letters.append(delivery.text)

    async def seen(self, delivery: Delivery) -> bool | None:
        return self.knows

    async def aclose(self) -> None:
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in milliseconds."""
    monkeypatch.setattr(sender_room, "_FIRST_S", 0.01)
    monkeypatch.setattr(sender_room, "_STEP_BACK_S", 0.005)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty database."""
    opened = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield opened
    opened.close()


async def post(store: SqliteStore, *texts: str, session: str = "main", on: str = "post") -> None:
    for text in texts:
        await store.notice(on, session, f"{session}/{text}", text)


async def states(store: SqliteStore) -> dict[str, tuple[str, str]]:
    rows = await store.read(
        lambda c: c.execute(
            "SELECT m.text, o.state, o.note FROM outbox o JOIN message m ON m.id = o.message_id"
        ).fetchall()
    )
    return {str(row[0]): (str(row[1]), str(row[2])) for row in rows}


@contextlib.asynccontextmanager
async def at_work(store: SqliteStore, *boxes: Letterbox, **manner: object) -> AsyncIterator[Sender]:
    """A sender that runs."""
    manners = {box.name: Manner(**manner) for box in boxes}  # type: ignore[arg-type]
    sender = Sender(store, boxes, manners, look_s=0.02)
    running = asyncio.create_task(sender.run())
    try:
        yield sender
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(holds: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while True:
            found = holds()
            if isinstance(found, bool) and found:
                return
            if not isinstance(found, bool) and await found:
                return
            await asyncio.sleep(0.005)


def is_(store: SqliteStore, text: str, state: str) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return (await states(store))[text][0] == state

    return holds


async def test_sent_in_order_and_marked(store: SqliteStore) -> None:
    """What is due on a channel is sent in order, each once, and other channels' rows are left."""
    box = Letterbox()
    await post(store, *(f"letter {n}" for n in range(30)))
    await post(store, "not mine", on="other")
    sender = Sender(store, [box])
    assert await sender.send_due("post") == 30
    assert await sender.send_due("post") == 0
    assert box.letters == [f"letter {n}" for n in range(30)]
    found = await states(store)
    assert found.pop("not mine")[0] == "pending"
    assert {state for state, _ in found.values()} == {"sent"}


async def test_a_failure_waits_and_a_permanent_one_is_shown(store: SqliteStore) -> None:
    """What a channel cannot take now it gets later; what it refuses it is not asked again, and
    the next of that conversation goes on (one poisoned row blocks no channel)."""
    box = Letterbox()
    box.does = {
        "busy": DeliveryFailed(channel="post", why="it is full"),
        "bad": DeliveryRefused(channel="post", why="too long"),
        "key": WrongKey(),
    }
    await post(store, "busy", "after busy", session="a")
    await post(store, "bad", "after bad", "key", "after key", session="b")
    async with at_work(store, box):
        await until(lambda: box.letters == ["after bad", "after key"])
        await until(lambda: box.tried["busy"] > 2)
        found = await states(store)
        assert found["bad"][0] == found["key"][0] == "failed" and "too long" in found["bad"][1]
        assert found["busy"][0] in ("pending", "sending") and "it is full" in found["busy"][1]
        assert (box.tried["bad"], box.tried["after busy"]) == (1, 0)
        del box.does["busy"]
        await until(lambda: box.letters[2:] == ["busy", "after busy"])


async def test_what_fails_for_ever_is_set_aside(store: SqliteStore) -> None:
    """A reply that a channel answers with errors is given up after its tries; the next goes on."""
    box = Letterbox()
    box.does["poison"] = DeliveryFailed(channel="post", why="500")
    await post(store, "poison", "next")
    async with at_work(store, box, tries=4):
        await until(lambda: box.letters == ["next"])
    state, note = (await states(store))["poison"]
    assert state == "failed" and "4 tries" in note and "500" in note
    assert box.tried["poison"] == 4


async def test_a_reply_that_makes_its_channel_seem_away(store: SqliteStore) -> None:
    """Answered "busy" for ever while others pass, a reply holds up its own conversation only,
    and is given up in the end."""
    box = Letterbox()
    away = ChannelAway(channel="post", why="503")
    away.answered = True
    box.does["poison"] = away
    await post(store, "poison", "after", session="a")
    for n in range(10):
        await post(store, f"b{n}", session=f"b{n}")
    async with at_work(store, box, tries=4):
        await until(lambda: len(box.letters) >= 10)
        await until(lambda: "after" in box.letters)
    assert (await states(store))["poison"][0] == "failed"


async def test_away_and_back(store: SqliteStore) -> None:
    """A dead channel is tried with one reply at a time, uses up no tries, shows in words, and
    when it is back its backlog is worked off in order."""
    box = Letterbox()
    box.does[""] = ChannelAway(channel="post", why="nothing listens")
    for n in range(20):
        await post(store, f"a{n}", session="a")
        await post(store, f"b{n}", session="b")
    async with at_work(store, box, tries=2) as sender:
        await until(lambda: sum(box.tried.values()) > 6)
        (channel,) = sender.channels()
        assert channel["state"] == "away" and "nothing listens" in channel["why"]
        assert channel["since"] > 1_600_000_000_000 and box.letters == []
        box.does.clear()
        await until(lambda: len(box.letters) == 40)
        await until(lambda: sender.channels()[0]["state"] == "ok")
    for session in ("a", "b"):
        mine = [text for text in box.letters if text.startswith(session)]
        assert mine == [f"{session}{n}" for n in range(20)]


async def test_left_alone_as_long_as_it_asks(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A channel that asks to be left alone for a while is, with all of its replies."""
    box = Letterbox()
    away = ChannelAway(channel="post", why="429")
    away.wait_s = 3600.0
    box.does["one"] = away
    await post(store, "one", session="a")
    async with at_work(store, box) as sender:
        await until(lambda: sender.channels()[0]["state"] == "away")
        await post(store, "two", session="b")
        sender.nudge()
        await asyncio.sleep(0.1)
        assert box.letters == []
        assert 3500 < sender.channels()[0]["retry_in_s"] <= 3600 * 1.1
        await sender.pause("post", paused=False)  # the owner knows better
        await until(lambda: box.letters == ["two"])


async def test_paused(store: SqliteStore) -> None:
    """A paused channel sends nothing, over a restart too; resumed, it goes on in order."""
    box = Letterbox()
    async with at_work(store, box) as sender:
        await sender.pause("post")
        await post(store, "one", "two")
        sender.nudge()
        await asyncio.sleep(0.05)
        with pytest.raises(NotFound):
            await sender.pause("mail")
    async with at_work(store, box) as sender:
        await asyncio.sleep(0.05)
        assert box.letters == [] and sender.channels()[0]["state"] == "paused"
        await sender.pause("post", paused=False)
        await until(lambda: box.letters == ["one", "two"])


async def cut_off(store: SqliteStore, box: Letterbox) -> None:
    """A stop in the middle of sending."""
    box.hang.add("hello")
    async with at_work(store, box):
        await box.came.wait()
    assert (await states(store))["hello"][0] == "sending"
    box.hang.clear()


@pytest.mark.parametrize("dedupes", [True, False])
@pytest.mark.parametrize("rule", ["send again", "leave", "ask"])
@pytest.mark.parametrize("knows", [True, False, None])
async def test_cut_off_while_sending(
    store: SqliteStore, dedupes: bool, rule: str, knows: bool | None
) -> None:
    """A doubt is settled by asking the channel, else by the owner's rule; its conversation goes
    on in any case, behind it where it is sent again."""
    await post(store, "hello", "after")
    box = Letterbox(dedupes=dedupes)
    await cut_off(store, box)
    box.knows = knows
    async with at_work(store, box, ambiguous=rule):
        await until(lambda: "after" in box.letters)
        await until(is_(store, "after", "sent"))
    again = knows is False or (knows is None and rule == "send again")
    assert box.letters == (["hello"] if again else []) + ["after"]
    state, note = (await states(store))["hello"]
    if knows:
        assert (state, "read back" in note) == ("sent", True)
    elif again:
        # Where doubles are dropped over there, nobody need be told of a doubt.
        assert (state, "before" in note) == ("sent", not dedupes and knows is None)
    else:
        assert state == {"leave": "left", "ask": "ambiguous"}[rule]
        assert "cut off" in note


async def test_a_new_rule_settles_old_doubts(store: SqliteStore) -> None:
    """What the owner was to be asked about is settled when he gives the channel another rule."""
    await post(store, "hello")
    box = Letterbox()
    await cut_off(store, box)
    async with at_work(store, box, ambiguous="ask"):
        await until(is_(store, "hello", "ambiguous"))
    async with at_work(store, box, ambiguous="ask"):
        await asyncio.sleep(0.03)
    assert (await states(store))["hello"][0] == "ambiguous"
    assert (await store.view_outbox())["deliveries"][0]["doubts"] == 1
    async with at_work(store, box, ambiguous="send again"):
        await until(is_(store, "hello", "sent"))


async def test_doubts_come_to_an_end(store: SqliteStore) -> None:
    """On a channel that cannot drop doubles a reply is sent again at most twice that may have
    arrived each time; then the owner is asked, and the next goes on."""
    box = Letterbox()
    box.does["slow"] = DeliveryInDoubt(channel="post", why="no answer")
    await post(store, "slow", "next")
    async with at_work(store, box):
        await until(lambda: box.letters == ["next"])
    assert (await states(store))["slow"][0] == "ambiguous" and box.tried["slow"] == 3


async def test_doubts_of_one_that_drops_doubles(store: SqliteStore) -> None:
    """Where doubles are dropped a reply in doubt is tried until it is known to be there: a
    channel that is dead for long makes no reply ambiguous."""
    box = Letterbox(dedupes=True)
    box.does[""] = DeliveryInDoubt(channel="post", why="no answer")
    await post(store, "one", "two")
    async with at_work(store, box, tries=3) as sender:
        await until(lambda: box.tried["one"] > 5)
        assert sender.channels()[0]["state"] == "away"
        box.does.clear()
        await until(lambda: box.letters == ["one", "two"])
        await until(is_(store, "two", "sent"))
    assert set((await states(store)).values()) == {("sent", "")}


async def test_a_hanging_reply_holds_up_no_other_conversation(store: SqliteStore) -> None:
    """Nor does a hanging channel hold up another channel."""
    stuck, well = Letterbox("stuck"), Letterbox("well")
    stuck.hang = {"one"}
    await post(store, "one", "behind one", session="a", on="stuck")
    await post(store, "two", session="b", on="stuck")
    await post(store, "three", on="well")
    async with at_work(store, stuck, well):
        await until(lambda: well.letters == ["three"] and stuck.letters == ["two"])
        assert stuck.tried["behind one"] == 0


async def test_a_fault_of_a_channel_leaves_nothing_hanging(store: SqliteStore) -> None:
    """A channel that breaks as nobody foresaw: its reply is in doubt, and the next goes on."""
    box = Letterbox()
    box.does["hello"] = ZeroDivisionError("a fault of the channel")
    await post(store, "hello", "next")
    async with at_work(store, box, ambiguous="ask"):
        await until(lambda: box.letters == ["next"])
    state, note = (await states(store))["hello"]
    assert state == "ambiguous" and "a fault of the channel" in note


async def test_told_to_stop_it_sees_to_its_end_what_it_sends(store: SqliteStore) -> None:
    """A planned stop leaves no reply half sent, and begins no other."""
    box = Letterbox()
    box.hang.add("one")
    await post(store, "one", "two")
    sender = Sender(store, [box], look_s=0.02)
    running = asyncio.create_task(sender.run())
    await box.came.wait()
    sender.stop()
    await asyncio.sleep(0.05)
    assert not running.done()
    box.go_on.set()
    async with asyncio.timeout(60):
        await running
    found = await states(store)
    assert (found["one"][0], found["two"][0], box.letters) == ("sent", "pending", ["one"])


def test_backing_off() -> None:
    """Waits grow with each failure up to a bound, half of each left to chance."""
    waits = [backoff_s(n, longest_s=0.08) for n in range(1, 30)]
    assert all(0.005 <= wait <= 0.08 for wait in waits)
    assert waits[0] <= 0.01 and min(waits[4:]) >= 0.04
    assert len(set(waits)) > 20
