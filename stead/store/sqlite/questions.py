"""The part of the SQLite storage that keeps questions to the owner, and his grants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

import apsw

from stead.core.approvals import Decided
from stead.core.permits import PermitRule
from stead.core.storage import View
from stead.store.sqlite import approvals, ends
from stead.store.sqlite.writer import Op

T = TypeVar("T")


class Questions(ABC):
    """``stead.core.approvals.ApprovalStore``, over the storage's own ways to write and read."""

    @abstractmethod
    async def write(self, op: Op[T]) -> T:
        """Run it in the thread that writes; returns when it is durable."""

    @abstractmethod
    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """Run it on a connection that reads."""

    async def decide(self, ident: str, word: str, *, text: str = "", by: str = "owner") -> Decided:
        return await self.write(lambda c: ends.decide(c, ident, word, text, by))

    async def expire_approvals(self) -> list[Decided]:
        def of(ident: str) -> Op[Decided | None]:
            return lambda c: ends.expire(c, ident)

        due = await self.read(approvals.late)
        ended = [await self.write(of(ident)) for ident in due]
        return [one for one in ended if one is not None]

    async def next_expiry_ms(self) -> int | None:
        return await self.read(approvals.next_expiry_ms)

    async def view_approvals(
        self, *, state: str = "open", limit: int = 50, before: str = "",
        jobs: Sequence[str] | None = None,
    ) -> View:  # fmt: skip
        return await self.read(lambda c: approvals.listed(c, state, limit, before, jobs))

    async def view_approval(self, ident: str) -> View:
        return await self.read(lambda c: approvals.one(c, ident))

    async def grants(self) -> list[PermitRule]:
        return await self.read(approvals.grants)

    async def view_grants(
        self, *, revoked: bool = False, limit: int = 500, before: str = ""
    ) -> View:
        return await self.read(lambda c: approvals.granted(c, revoked, limit, before))

    async def view_grant(self, ident: str) -> View:
        return await self.read(lambda c: approvals.grant(c, ident))

    async def revoke_grant(self, ident: str) -> View:
        return await self.write(lambda c: approvals.revoke(c, ident))
