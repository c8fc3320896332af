"""The part of the SQLite storage that forgets."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import apsw

from stead.core.forgetting import Traces, Wanted
from stead.store.sqlite import engine, forget
from stead.store.sqlite.writer import Op

T = TypeVar("T")

_LOOKS, _LOOK_S = 40, 0.25
"""A reader in the way is waited for so often, so long (seconds)."""


class Forgetting(ABC):
    """``stead.core.forgetting.ForgetStore``, over the storage's own ways to write and read."""

    path: Path

    @abstractmethod
    async def write(self, op: Op[T]) -> T:
        """Run it in the thread that writes; returns when it is durable."""

    @abstractmethod
    async def write_alone(self, op: Op[T]) -> T:
        """Run it in that thread in no transaction, while nobody else writes."""

    @abstractmethod
    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """Run it on a connection that reads."""

    async def forget_find(self, wanted: Wanted) -> Traces:
        return await self.read(lambda c: forget.find(c, wanted))

    async def forget(
        self,
        jobs: Sequence[str],
        messages: Sequence[str] = (),
        lines: Sequence[int] = (),
        rows: Sequence[tuple[str, str]] = (),
    ) -> dict[str, int]:
        return await self.write(lambda c: forget.forget(c, jobs, messages, lines, rows))

    async def forget_clean(self, *, rewrite: bool = False) -> bool:
        if rewrite:
            await self.write_alone(_rewrite)
        for _ in range(_LOOKS):
            await asyncio.to_thread(engine.trim, self.path)
            if engine.log_size(self.path) == 0:
                return True
            await asyncio.sleep(_LOOK_S)
        return False


def _rewrite(c: apsw.Connection) -> None:
    c.execute("VACUUM").fetchall()
