"""The part of the SQLite storage that knows the files of messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw

from stead.core.attached import Attached
from stead.core.storage import View
from stead.store.sqlite import files
from stead.store.sqlite.writer import Op

T = TypeVar("T")


class Attaching(ABC):
    """``stead.core.attached.FileStore``, over the storage's own ways to write and read."""

    @abstractmethod
    async def write(self, op: Op[T]) -> T:
        """Run it in the thread that writes; returns when it is durable."""

    @abstractmethod
    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """Run it on a connection that reads."""

    async def add_file(self, file: Attached) -> Attached:
        return await self.write(lambda c: files.add(c, file))

    async def files(self, ids: Sequence[str]) -> list[Attached]:
        return await self.read(lambda c: files.get(c, ids))

    async def file_of_job(self, job_id: str, ident: str) -> Attached:
        return await self.read(lambda c: files.of_job(c, job_id, ident))

    async def view_file(self, ident: str) -> View:
        return await self.read(lambda c: files.view(c, ident))

    async def view_files(self, before: str, limit: int, person: str = "owner") -> View:
        return await self.read(lambda c: files.listed(c, before, limit, person))

    async def drop_file(self, ident: str) -> None:
        await self.write(lambda c: files.drop(c, ident))

    async def drop_unused(self, older_ms: int) -> int:
        return await self.write(lambda c: files.drop_unused(c, older_ms))

    async def kept_files(self) -> list[tuple[str, str]]:
        return await self.read(files.kept)
