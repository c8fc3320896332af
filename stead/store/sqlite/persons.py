"""The part of the SQLite storage that keeps people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import apsw

from stead.core.people import Person
from stead.core.scope import KeyScope
from stead.store.sqlite import people
from stead.store.sqlite.writer import Op

T = TypeVar("T")


class Persons(ABC):
    """``stead.core.people.PersonStore``, over the storage's own ways to write and read."""

    @abstractmethod
    async def write(self, op: Op[T]) -> T:
        """Run it in the thread that writes; returns when it is durable."""

    @abstractmethod
    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """Run it on a connection that reads."""

    async def add_person(
        self, name: str, called: str, scope: KeyScope, tools: tuple[str, ...] = ()
    ) -> Person:
        return await self.write(lambda c: people.add(c, name, called, scope, tools))

    async def people(self) -> list[Person]:
        return await self.read(people.every)

    async def person(self, ident: str) -> Person:
        return await self.read(lambda c: people.one(c, ident))

    async def set_person(
        self, ident: str, *, name: str | None = None, called: str | None = None,
        scope: KeyScope | None = None, tools: tuple[str, ...] | None = None,
    ) -> Person:  # fmt: skip
        return await self.write(lambda c: people.change(c, ident, name, called, scope, tools))

    async def remove_person(self, ident: str) -> Person:
        return await self.write(lambda c: people.remove(c, ident))
