"""The writer: one commit for all who wait, and each operation stands or falls alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from stead.core.errors import NotFound, StoreUnusable
from stead.store.sqlite import engine
from stead.store.sqlite.writer import Op, Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "test.db"
    connection = engine.connect(path)
    connection.execute("CREATE TABLE t (x INTEGER PRIMARY KEY, y TEXT NOT NULL)")
    connection.close()
    return path


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    writer = Writer(engine.connect(path), str(path))
    yield writer
    writer.close()


def insert(x: int, y: str | None = "") -> Op[int]:
    def op(c: apsw.Connection) -> int:
        c.execute("INSERT INTO t VALUES (?, ?)", (x, y))
        return x

    return op


def written(path: Path) -> list[int]:
    """What another connection sees."""
    connection = engine.connect(path, readonly=True)
    try:
        return [int(row[0]) for row in connection.execute("SELECT x FROM t ORDER BY x")]
    finally:
        connection.close()


class Gate:
    """Holds the writer in an operation, so that others gather behind it into one batch."""

    def __init__(self, writer: Writer) -> None:
        self.entered = threading.Event()
        self.leave = threading.Event()
        self._writer = writer

    def __call__(self, _: apsw.Connection) -> None:
        self.entered.set()
        assert self.leave.wait(10)

    async def shut(self) -> asyncio.Task[None]:
        task = asyncio.create_task(self._writer.run(self))
        await asyncio.to_thread(self.entered.wait, 10)
        return task


async def together(writer: Writer, ops: list[Op[int]]) -> list[int | BaseException]:
    """Run operations that are surely in one batch."""
    gate = Gate(writer)
    first = await gate.shut()
    waiting = [asyncio.create_task(writer.run(op)) for op in ops]
    await asyncio.sleep(0)
    gate.leave.set()
    await first
    return await asyncio.gather(*waiting, return_exceptions=True)


def count_commits(writer: Writer) -> Callable[[], int]:
    """How many transactions the writer has begun since."""
    seen: list[str] = []
    writer._connection.trace_v2(
        apsw.SQLITE_TRACE_STMT, lambda event: seen.append(str(event["sql"]))
    )
    return lambda: seen.count("BEGIN IMMEDIATE")


async def test_many_callers_share_one_commit(writer: Writer, path: Path) -> None:
    """What waits at the same moment is written in one transaction, in the order asked."""
    transactions = count_commits(writer)
    results = await together(writer, [insert(n) for n in range(100)])
    assert results == list(range(100))
    assert transactions() == 2  # the gate's, and one for all the rest
    assert written(path) == list(range(100))


async def test_one_that_fails_fails_alone(writer: Writer, path: Path) -> None:
    """A refused operation of a batch leaves no trace, and its neighbours are written."""

    def half(c: apsw.Connection) -> int:
        insert(50)(c)
        raise NotFound(what="job 50")

    results = await together(writer, [insert(1), half, insert(2), insert(1), insert(3)])
    assert results[0] == 1 and results[2] == 2 and results[4] == 3
    assert isinstance(results[1], NotFound) and "job 50" in results[1].message
    assert isinstance(results[3], StoreUnusable)  # the same key twice: a fault of ours, in words
    assert written(path) == [1, 2, 3]


async def test_a_single_failure_is_undone(writer: Writer, path: Path) -> None:
    """An operation that is alone in its batch and fails leaves nothing either."""

    def half(c: apsw.Connection) -> int:
        insert(1)(c)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await writer.run(half)
    assert await writer.run(insert(2)) == 2
    assert written(path) == [2]


async def test_what_is_alike_is_done_together(writer: Writer, path: Path) -> None:
    """A bulk operation gets all of its kind that wait in one go, in their order; each asker gets
    its own answer, and one that is refused is refused alone."""
    rounds: list[list[int]] = []

    def insert_all(c: apsw.Connection, asked: list[int]) -> list[int | Exception]:
        rounds.append(asked)
        good = [x for x in asked if x % 10]
        c.executemany("INSERT INTO t VALUES (?, '')", [(x,) for x in good])
        return [x if x % 10 else NotFound(what=f"job {x}") for x in asked]

    gate = Gate(writer)
    first = await gate.shut()
    waiting = [asyncio.create_task(writer.run_bulk(insert_all, x)) for x in range(8, 13)]
    await asyncio.sleep(0)
    gate.leave.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [one for one in results if not isinstance(one, BaseException)] == [8, 9, 11, 12]
    assert isinstance(results[2], NotFound)
    assert rounds == [[8, 9, 10, 11, 12]]
    assert written(path) == [8, 9, 11, 12]


async def test_a_bulk_operation_that_fails_is_done_one_by_one(writer: Writer, path: Path) -> None:
    """When one asker breaks the whole, the others are served all the same."""

    def insert_all(c: apsw.Connection, asked: list[int]) -> list[int]:
        c.executemany("INSERT INTO t VALUES (?, '')", [(x,) for x in asked])
        return asked

    await writer.run(insert(3))
    gate = Gate(writer)
    first = await gate.shut()
    waiting = [asyncio.create_task(writer.run_bulk(insert_all, x)) for x in range(1, 6)]
    await asyncio.sleep(0)
    gate.leave.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(results[2], StoreUnusable)
    assert written(path) == [1, 2, 3, 4, 5]


async def test_what_comes_last_sees_all_the_rest(writer: Writer) -> None:
    """An operation that asks for it runs behind all others of its batch."""

    def count(c: apsw.Connection, asked: list[str]) -> list[int]:
        return [int(c.execute("SELECT count(*) FROM t").get)] * len(asked)

    gate = Gate(writer)
    first = await gate.shut()
    counted = asyncio.create_task(writer.run_bulk(count, "x", last=True))
    await asyncio.sleep(0)
    others = [asyncio.create_task(writer.run(insert(x))) for x in range(5)]
    await asyncio.sleep(0)
    gate.leave.set()
    await asyncio.gather(first, *others)
    assert await counted == 5


async def test_it_is_durable_when_it_returns(writer: Writer, path: Path) -> None:
    """What was answered is in the file for every other connection to see."""
    for n in range(20):
        await writer.run(insert(n))
        assert written(path)[-1] == n


async def test_a_caller_that_was_cancelled(writer: Writer, path: Path) -> None:
    """A caller that gives up does not stop the writer; what it asked for is written all the
    same, as it may be too late to take it back."""
    gate = Gate(writer)
    first = await gate.shut()
    gone = asyncio.create_task(writer.run(insert(1)))
    stays = asyncio.create_task(writer.run(insert(2)))
    await asyncio.sleep(0)
    gone.cancel()
    gate.leave.set()
    await first
    assert await stays == 2
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert written(path) == [1, 2]


def test_callers_without_an_event_loop(writer: Writer, path: Path) -> None:
    """Threads wait for their own operation, get its result, and its error."""
    results: list[object] = []

    def work(n: int) -> None:
        try:
            results.append(writer.run_sync(insert(n // 2)))
        except StoreUnusable as error:
            results.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sum(isinstance(one, int) for one in results) == 10
    assert written(path) == list(range(10))


async def test_threads_and_coroutines_in_one_batch(writer: Writer, path: Path) -> None:
    """Both kinds of callers may share a commit, and each is answered where it waits."""
    gate = Gate(writer)
    first = await gate.shut()
    thread = asyncio.create_task(asyncio.to_thread(writer.run_sync, insert(1)))
    task = asyncio.create_task(writer.run(insert(2)))
    await asyncio.sleep(0.01)
    gate.leave.set()
    await first
    assert (await thread, await task) == (1, 2)


async def test_a_close_in_the_midst_of_work(path: Path) -> None:
    """What was asked before the close is written and answered; what comes after is refused in
    words; closing twice is the same as once."""
    writer = Writer(engine.connect(path), str(path))
    gate = Gate(writer)
    first = await gate.shut()
    waiting = [asyncio.create_task(writer.run(insert(n))) for n in range(10)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(asyncio.to_thread(writer.close))
    for _ in range(1000):
        if writer._closed:
            break
        await asyncio.sleep(0.001)
    with pytest.raises(StoreUnusable, match="shutting down"):
        await writer.run(insert(99))
    with pytest.raises(StoreUnusable, match="shutting down"):
        writer.run_sync(insert(99))
    gate.leave.set()
    await closing
    await first
    assert await asyncio.gather(*waiting) == list(range(10))
    writer.close()
    assert written(path) == list(range(10))


def test_nobody_is_left_waiting_at_a_close(path: Path) -> None:
    """Each caller that races with the close is either written or refused."""
    writer = Writer(engine.connect(path), str(path))
    answers: list[object] = []
    start = threading.Barrier(9)

    def work(base: int) -> None:
        start.wait(10)
        for n in range(50):
            try:
                answers.append(writer.run_sync(insert(base + n), timeout=10))
            except StoreUnusable as error:
                answers.append(error)

    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    start.wait(10)
    writer.close()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 400
    assert sorted(one for one in answers if isinstance(one, int)) == written(path)


def test_an_event_loop_that_has_ended(writer: Writer, path: Path) -> None:
    """An answer that finds its event loop gone harms nobody: the write stands, others go on."""
    entered, leave = threading.Event(), threading.Event()

    def slow(c: apsw.Connection) -> int:
        entered.set()
        assert leave.wait(10)
        return insert(1)(c)

    async def leave_early() -> None:
        task = asyncio.create_task(writer.run(slow))
        await asyncio.to_thread(entered.wait, 10)
        task.cancel()

    asyncio.run(leave_early())
    leave.set()
    assert writer.run_sync(insert(2)) == 2
    assert written(path) == [1, 2]


async def test_another_program_holds_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file locked by another program fails the write in words, and the next one works."""
    monkeypatch.setattr(engine, "_BUSY_MS", 20)
    writer = Writer(engine.connect(path), str(path))
    other = engine.connect(path)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnusable, match="another program holds it locked"):
            await writer.run(insert(1))
        other.execute("ROLLBACK")
        assert await writer.run(insert(2)) == 2
        assert written(path) == [2]
    finally:
        other.close()
        writer.close()


@pytest.mark.parametrize("then", ["removed", "replaced"])
async def test_a_file_that_is_there_no_more(writer: Writer, path: Path, then: str) -> None:
    """Nothing is acknowledged that went into a file that nobody will find again; and it is told."""
    await writer.run(insert(1))
    kept = path.with_name("kept.db")
    os.rename(path, kept)
    if then == "replaced":
        shutil.copyfile(kept, path)
    with pytest.raises(StoreUnusable, match="removed or replaced"):
        await writer.run(insert(2))
    assert "removed or replaced" in writer.trouble
    os.rename(kept, path)
    await writer.run(insert(3))
    assert written(path) == [1, 3]
    assert writer.trouble == ""


async def test_trouble_is_told_until_it_is_over(writer: Writer, path: Path) -> None:
    """A failing disk is told; an operation's own mistake is not one."""
    with pytest.raises(StoreUnusable):
        await writer.run(insert(1, None))
    assert writer.trouble == ""

    def full(c: apsw.Connection) -> None:
        raise apsw.FullError

    with pytest.raises(StoreUnusable, match="disk is full"):
        await writer.run(full)
    assert "disk is full" in writer.trouble
    await writer.run(insert(2))
    assert writer.trouble == ""
