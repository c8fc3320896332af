"""A storage on the bench: its clock stands where a test puts it, and it can be cut off.

Nothing of the product knows of this. What differs from one storage to another is here: how its
clock is taken hold of, and what is left of it when its process is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import apsw

from stead.core.storage import Store
from tests.contract.storages import STORAGES, Opener

T = TypeVar("T")

#: Where every clock here begins: noon of a day long past, so that nothing is due by the real one.
NOON = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)


class Clock:
    """The database's clock in milliseconds; it moves only when it is told to."""

    def __init__(self) -> None:
        self.now = NOON

    def hook(self, connection: apsw.Connection) -> None:
        """Put this clock in the place of SQLite's own, on one connection."""
        connection.create_scalar_function("unixepoch", self._unixepoch, -1)
        connection.create_scalar_function("strftime", self._strftime, -1)

    def _unixepoch(self, *args: Any) -> float | int:
        if args == ("subsec",):
            return (self.now + 0.5) / 1000  # half a millisecond: none is lost to rounding
        if args == ("now", "start of day"):
            return self.now // 86_400_000 * 86_400
        raise ValueError(f"this clock does not know unixepoch{args!r}; teach it")

    def _strftime(self, *args: Any) -> str:
        if args == ("%Y-%m-%d", "now"):
            return datetime.fromtimestamp(self.now / 1000, UTC).strftime("%Y-%m-%d")
        if args[0] == "%Y-%m-%d" and args[2:] == ("unixepoch",):
            return datetime.fromtimestamp(args[1], UTC).strftime("%Y-%m-%d")
        raise ValueError(f"this clock does not know strftime{args!r}; teach it")


class Lab:
    """One SQLite storage in a folder of its own, and what can befall it."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener
        # In memory where there is such a place: the events are many, and no power is cut here.
        shm = Path("/dev/shm")
        self.home = Path(tempfile.mkdtemp(prefix="stead-", dir=shm if shm.is_dir() else None))
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        apsw.connection_hooks.append(self.clock.hook)
        self._lives = 0
        self._folder = self.home / "life-0"
        self._folder.mkdir()
        self.store: Store = opener(self._folder)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def settle(self) -> None:
        """Let what was set off in the loop come to its end, without any waiting."""
        self.loop.run_until_complete(asyncio.sleep(0))

    def kill(self) -> Store:
        """Open what a SIGKILL leaves: the files as they are, closed by nobody."""
        self._lives += 1
        left = self.home / f"life-{self._lives}"
        left.mkdir()
        for name in ("state.db", "state.db-wal"):
            if (self._folder / name).exists():
                shutil.copy(self._folder / name, left / name)
        self.store.close()
        self._folder = left
        self.store = self._opener(left)
        return self.store

    def restart(self) -> Store:
        """Close it properly and open it again."""
        self.store.close()
        self.store = self._opener(self._folder)
        return self.store

    def close(self) -> None:
        with contextlib.ExitStack() as end:
            end.callback(shutil.rmtree, self.home)
            end.callback(self.loop.close)
            end.callback(apsw.connection_hooks.remove, self.clock.hook)
            end.callback(self.store.close)


#: How each storage is put on the bench.
LABS: dict[str, Callable[[], Lab]] = {"sqlite": lambda: Lab(STORAGES["sqlite"])}


@contextlib.contextmanager
def lab(name: str) -> Iterator[Lab]:
    found = LABS[name]()
    try:
        yield found
    finally:
        found.close()
