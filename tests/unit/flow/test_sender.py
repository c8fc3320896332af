"""The sender: replies reach their channel, and what is not known is said so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead.core.errors import BackendFailed, WrongKey
from stead.core.storage import Delivery
from stead.flow.sender import Sender
from stead.store.sqlite import SqliteStore


class Letterbox:
    """A channel that appends to a file; it can be told to fail or to hang."""

    def __init__(self, path: Path, name: str, *, dedupes: bool = False) -> None:
        self.path = path
        self.name = name
        self.dedupes = dedupes
        self.fail: Exception | None = None
        self.hang = asyncio.Event()
        self.hang.set()
        self.came = asyncio.Event()
        self.wrote = asyncio.Event()

    async def send(self, delivery: Delivery) -> None:
        self.came.set()
        await self.hang.wait()
        if self.fail is not None:
            raise self.fail
        with self.path.open("a") as file:
            file.write(delivery.text + "\n")
        self.wrote.set()

    def letters(self) -> list[str]:
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """An empty database."""
    opened = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield opened
    opened.close()


async def state(store: SqliteStore) -> list[tuple[str, str]]:
    rows = await store.read(
        lambda c: c.execute("SELECT state, note FROM outbox ORDER BY id").fetchall()
    )
    return [(str(row[0]), str(row[1])) for row in rows]


async def left(before: str, store: SqliteStore) -> None:
    """Wait until the first row is in another state."""
    for _ in range(500):
        if (await state(store))[0][0] != before:
            return
        await asyncio.sleep(0.01)


async def test_sent_in_order_and_marked(store: SqliteStore, tmp_path: Path) -> None:
    """What is due on a channel is sent in order, each once, and other channels' rows are left."""
    box = Letterbox(tmp_path / "box", "post")
    for number in range(3):
        await store.notice("post", "main", f"n{number}", f"letter {number}")
    await store.notice("other", "main", "n", "not mine")
    sender = Sender(store, [box])
    assert await sender.send_due(box) == 3
    assert await sender.send_due(box) == 0
    assert box.letters() == ["letter 0", "letter 1", "letter 2"]
    assert [found[0] for found in await state(store)] == ["sent"] * 3 + ["pending"]


async def test_a_failure_waits_and_a_permanent_one_is_shown(
    store: SqliteStore, tmp_path: Path
) -> None:
    """A channel that is down gets the reply later; one that refuses it is not asked again."""
    box = Letterbox(tmp_path / "box", "post")
    sender = Sender(store, [box])
    await store.notice("post", "main", "a", "later")
    box.fail = BackendFailed(backend="post", why="it is down")
    assert await sender.send_due(box) == 0
    assert (await state(store))[0][0] == "pending"
    assert "it is down" in (await state(store))[0][1]
    await store.notice("post", "main", "b", "never")
    box.fail = WrongKey()
    assert await sender.send_due(box) == 0
    assert (await state(store))[1][0] == "failed"


@pytest.mark.parametrize("dedupes", [True, False])
async def test_cut_off_while_sending(store: SqliteStore, tmp_path: Path, dedupes: bool) -> None:
    """A stop in mid-sending: sent again where the channel drops doubles, else marked ambiguous."""
    box = Letterbox(tmp_path / "box", "post", dedupes=dedupes)
    await store.notice("post", "main", "a", "hello")
    box.hang.clear()
    cut = asyncio.create_task(Sender(store, [box]).run())
    await box.came.wait()
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    assert (await state(store))[0][0] == "sending"

    box.hang.set()
    box.came.clear()
    again = asyncio.create_task(Sender(store, [box], look_s=0.01).run())
    async with asyncio.timeout(5):
        await (box.wrote.wait() if dedupes else left("sending", store))
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert box.letters() == (["hello"] if dedupes else [])
    assert (await state(store))[0][0] in (("sent", "sending") if dedupes else ("ambiguous",))


async def test_a_hanging_channel_holds_up_no_other(store: SqliteStore, tmp_path: Path) -> None:
    """Each channel is served by itself."""
    stuck, well = Letterbox(tmp_path / "s", "stuck"), Letterbox(tmp_path / "w", "well")
    stuck.hang.clear()
    await store.notice("stuck", "main", "a", "one")
    await store.notice("well", "main", "a", "two")
    sender = Sender(store, [stuck, well], look_s=0.01)
    running = asyncio.create_task(sender.run())
    async with asyncio.timeout(5):
        await well.wrote.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert stuck.letters() == []


async def test_a_fault_of_a_channel_leaves_nothing_hanging(
    store: SqliteStore, tmp_path: Path
) -> None:
    """A channel that breaks as nobody foresaw: its reply is not left as being sent for ever."""
    box = Letterbox(tmp_path / "box", "post")
    box.fail = ZeroDivisionError("a fault of the channel")
    await store.notice("post", "main", "a", "hello")
    running = asyncio.create_task(Sender(store, [box], look_s=0.01).run())
    async with asyncio.timeout(5):
        await box.came.wait()
        await left("pending", store)
        await left("sending", store)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (await state(store))[0][0] == "ambiguous"
