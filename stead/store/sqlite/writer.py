"""One writer thread, many callers, one commit for all who wait.

SQLite has one writer at a time. Here it is one thread that takes every waiting
operation into one transaction and commits once (one fsync), so the cost of a
durable write is shared by all who asked at the same moment.

An operation is a function of the connection. It may be run twice (when another
operation of its batch fails), so it must not do anything but SQL. Of some kinds
many wait at a time; those are bulk operations, which do all of a batch at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any, TypeVar

import apsw

from stead.core.errors import SteadError, StoreUnusable

log = logging.getLogger(__name__)

A = TypeVar("A")
T = TypeVar("T")
Op = Callable[[apsw.Connection], T]

#: Answers many askers in their order; an exception in place of an answer is raised at its asker.
Bulk = Callable[[apsw.Connection, list[A]], Sequence[T | Exception]]

_MAX_BATCH = 512

CLOSING = "stead is shutting down"

_MOVED = (
    "it was removed or replaced while stead runs, so nothing more is taken that could be lost; "
    "put the right file there and start stead again"
)

#: Errors that are no fault of the operation.
_OUTSIDE = (
    apsw.FullError,
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    apsw.PermissionsError,
)

#: A failure is told for so long, in seconds, if nothing was written since.
_TROUBLE_S = 60.0


class _Waiting:
    """One operation (or what is asked of a bulk one) and who waits: a coroutine or a thread."""

    __slots__ = ("alone", "ask", "bulk", "error", "future", "last", "loop", "result")

    def __init__(
        self,
        ask: Any,
        loop: asyncio.AbstractEventLoop | None,
        future: asyncio.Future[Any] | Future[Any],
        bulk: Bulk[Any, Any] | None = None,
        last: bool = False,
    ) -> None:
        self.ask = ask
        self.bulk = bulk
        self.last = last
        self.alone = False
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


def _identity(path: str) -> tuple[int, int] | None:
    """Which file that is, whatever it is called; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_last(item: _Waiting) -> bool:
    return item.last


def _bulk_of(item: _Waiting) -> Bulk[Any, Any] | None:
    return item.bulk


def _deliver(batch: list[_Waiting]) -> None:
    for item in batch:
        if item.future.done():  # its caller was cancelled; the write stands all the same
            continue
        if item.error is not None:
            item.future.set_exception(item.error)
        else:
            item.future.set_result(item.result)


class Writer:
    """Runs operations in batches, each batch in one durable transaction.

    ``undone`` is called in the writing thread after anything that was written has been undone.
    """

    def __init__(
        self, connection: apsw.Connection, path: str, undone: Callable[[], None] = lambda: None
    ) -> None:
        self._connection = connection
        self._path = path
        self._undone = undone
        self._file = _identity(path)
        self._trouble = ("", 0.0)
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        # Nothing may come into the queue behind the word to end: nobody would answer it.
        self._gate = threading.Lock()
        self._closed = False
        self.commits = 0
        self.operations = 0
        """In these commits."""
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> str:
        """Why the last write failed, in words; empty when it did not, or that was long ago."""
        words, at = self._trouble
        return words if words and time.monotonic() - at < _TROUBLE_S else ""

    async def run(self, op: Op[T]) -> T:
        """Run ``op`` in the next batch; return its result once it is committed.

        Raises what ``op`` raised (its writes are undone, others' are not), or
        ``StoreUnusable`` when the disk is full, failing, or locked by another.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._ask(_Waiting(op, loop, future))
        return await future

    async def run_bulk(self, bulk: Bulk[A, T], ask: A, *, last: bool = False) -> T:
        """Have ``bulk`` answer this together with all like it that wait.

        ``last``: behind all other operations of the batch, whatever their order was.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._ask(_Waiting(ask, loop, future, bulk, last))
        return await future

    async def run_alone(self, op: Op[T]) -> T:
        """Run ``op`` in no transaction, between two batches: whoever else writes waits.

        It must raise nothing but errors of the database, which become ``StoreUnusable``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        waiting = _Waiting(op, loop, future)
        waiting.alone = True
        self._ask(waiting)
        return await future

    def run_sync(self, op: Op[T], timeout: float | None = 60.0) -> T:
        """The same for a thread that has no event loop."""
        future: Future[T] = Future()
        self._ask(_Waiting(op, None, future))
        return future.result(timeout)

    def close(self) -> None:
        """Finish what was asked, then end the thread and close the connection."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _ask(self, waiting: _Waiting) -> None:
        with self._gate:
            if self._closed:
                raise StoreUnusable(path=self._path, why=CLOSING)
            self._queue.put(waiting)

    def _run(self) -> None:
        take = self._queue.get
        take_now = self._queue.get_nowait
        last = False
        while not last:
            item = take()
            batch: list[_Waiting] = []
            alone: _Waiting | None = None
            while True:
                if item is None:
                    last = True
                    break
                if item.alone:
                    alone = item
                    break
                batch.append(item)
                if len(batch) >= _MAX_BATCH:
                    break
                try:
                    item = take_now()
                except queue.Empty:
                    break
            if batch:
                self._commit(batch)
                self._hand_back(batch)
            if alone is not None:
                self._by_itself(alone)
                self._hand_back([alone])

    def _by_itself(self, item: _Waiting) -> None:
        try:
            item.result = item.ask(self._connection)
        except apsw.Error as error:
            self._rollback()
            item.error = self._words(error)

    def _commit(self, batch: list[_Waiting]) -> None:
        if _identity(self._path) != self._file:  # SQLite would write on, into what nobody finds
            self._fail(batch, StoreUnusable(path=self._path, why=_MOVED))
            return
        try:
            if not self._together(batch):
                self._one_by_one(batch)
        except apsw.Error as error:
            self._rollback()
            if len(batch) > 1 and isinstance(error, apsw.FullError):
                for item in batch:  # what is small may still fit
                    self._commit([item])
                return
            self._fail(batch, self._words(error))
        else:
            self.commits += 1
            self.operations += len(batch)
            if self._trouble[0]:
                self._trouble = ("", 0.0)

    def _fail(self, batch: list[_Waiting], error: SteadError) -> None:
        log.error("a batch of %d writes was undone: %s", len(batch), error)
        self._trouble = (str(error), time.monotonic())
        for item in batch:
            item.error = error

    def _together(self, batch: list[_Waiting]) -> bool:
        """The common case: all operations succeed. False if one failed; nothing is written then."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for bulk, items in groupby(sorted(batch, key=_is_last), key=_bulk_of):
                self._do(bulk, list(items))
        except Exception as error:  # the edge of an operation: its caller gets it
            self._rollback()
            if len(batch) == 1:
                if isinstance(error, _OUTSIDE):
                    raise
                batch[0].error = self._words(error) if isinstance(error, apsw.Error) else error
                return True
            return False
        execute("COMMIT")
        return True

    def _one_by_one(self, batch: list[_Waiting]) -> None:
        """Each operation in its own savepoint, so that the failing ones fail alone."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for item in batch:
            item.error = None
            execute("SAVEPOINT one")
            try:
                self._do(item.bulk, [item])
            except Exception as error:
                if self._connection.in_transaction:
                    execute("ROLLBACK TO one")
                    self._undone()
                else:  # SQLite gave up the whole transaction (disk full, I/O error)
                    raise
                item.error = self._words(error) if isinstance(error, apsw.Error) else error
            execute("RELEASE one")
        execute("COMMIT")

    def _do(self, bulk: Bulk[Any, Any] | None, items: list[_Waiting]) -> None:
        if bulk is None:
            for item in items:
                item.result = item.ask(self._connection)
            return
        answers = bulk(self._connection, [item.ask for item in items])
        for item, answer in zip(items, answers, strict=True):
            if isinstance(answer, Exception):
                item.error = answer
            else:
                item.result = answer

    def _rollback(self) -> None:
        """Never fails: a rollback that cannot be made has been made by SQLite itself."""
        self._undone()
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as error:
                log.error("a rollback failed: %s", error)

    def _hand_back(self, batch: list[_Waiting]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop | None, list[_Waiting]] = {}
        for item in batch:
            by_loop.setdefault(item.loop, []).append(item)
        for loop, items in by_loop.items():
            if loop is None:
                _deliver(items)
            else:
                try:
                    loop.call_soon_threadsafe(_deliver, items)
                except RuntimeError:  # the loop was closed meanwhile; the writes stand
                    log.warning("%d results came after their event loop had ended", len(items))

    def _words(self, error: BaseException) -> SteadError:
        return StoreUnusable(path=self._path, why=why(error))


def why(error: BaseException) -> str:
    """A database error in words, with what to do."""
    if isinstance(error, apsw.FullError):
        return "the disk is full; nothing was lost, free some space and it goes on by itself"
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return "another program holds it locked; close that program (an open sqlite3 shell?)"
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return (
            "the file is damaged or is no database; move it away and put back a copy "
            "from backups/ (the newest one is the last in the list)"
        )
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return "it cannot be written; check that the home directory is yours and not read-only"
    if isinstance(error, apsw.IOError):
        return f"the disk reports an error ({error}); check the disk before anything else"
    return f"{type(error).__name__}: {error}"
