"""The peer of the queue: the least that could be called claim and finish, in the same database.

The same writer thread, group commit and sync; but two statements on a table of three
columns, with no leases, lanes, attempts, idempotent requests or reports.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import apsw

from stead.store.sqlite import engine
from stead.store.sqlite.writer import Writer

_CLAIM = (
    "UPDATE least SET state = 1, epoch = epoch + 1 WHERE id ="
    " (SELECT id FROM least WHERE state = 0 ORDER BY id LIMIT 1) RETURNING id, epoch"
)
_FINISH = "UPDATE least SET state = 2 WHERE id = ? AND epoch = ? AND state = 1"


class Least:
    """A queue of three columns."""

    def __init__(self, path: Path) -> None:
        connection = engine.connect(path)
        connection.execute("CREATE TABLE least (id INTEGER PRIMARY KEY, state INT, epoch INT)")
        connection.execute("CREATE INDEX ready ON least (id) WHERE state = 0")
        self._writer = Writer(connection, str(path))
        self._done = 0

    def close(self) -> None:
        self._writer.close()

    async def fill(self, many: int) -> None:
        """Queue so many jobs."""

        def op(c: apsw.Connection) -> None:
            rows = ((0, 0) for _ in range(many))
            c.executemany("INSERT INTO least (state, epoch) VALUES (?, ?)", rows)

        await self._writer.run(op)

    async def work(self, callers: int, seconds: float) -> float:
        """Jobs claimed and finished per second."""
        self._done, begun = 0, time.perf_counter()
        await asyncio.gather(*(self._caller(begun + seconds) for _ in range(callers)))
        return self._done / (time.perf_counter() - begun)

    async def _caller(self, until: float) -> None:
        while time.perf_counter() < until:
            row = await self._writer.run(lambda c: c.execute(_CLAIM).fetchone())
            if row is None:
                raise RuntimeError("the least queue ran empty")
            await self._writer.run(lambda c, row=row: c.execute(_FINISH, row).get)  # type: ignore[misc]
            self._done += 1
