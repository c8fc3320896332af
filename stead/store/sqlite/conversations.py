"""The part of the SQLite storage that shows conversations and finds words in them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from typing import TypeVar

import apsw

from stead.core.storage import View
from stead.store.sqlite import sessions
from stead.store.sqlite.writer import Op

T = TypeVar("T")

#: Messages that are looked at in one look of a search, between which others look.
_AT_ONCE = 4000
#: After so long a search gives what it has; its asker may go on.
_SEARCH_S = 1.5


class Conversations(ABC):
    """``stead.core.sessions.SessionStore``, over the storage's own ways to write and read."""

    @abstractmethod
    async def write(self, op: Op[T]) -> T:
        """Run it in the thread that writes; returns when it is durable."""

    @abstractmethod
    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """Run it on a connection that reads."""

    async def view_sessions(
        self, *, person: str = "owner", before: str = "", like: str = "", hidden: bool = False,
        limit: int = 50,
    ) -> View:  # fmt: skip
        return await self.read(
            lambda c: sessions.listed(
                c, person=person, before=before, like=like, hidden=hidden, limit=limit
            )
        )

    async def view_session(self, session: str, *, most_jobs: int = 50) -> View:
        return await self.read(lambda c: sessions.one(c, session, most_jobs))

    async def name_session(self, session: str, name: str) -> None:
        await self.write(lambda c: sessions.change(c, session, "name", name))

    async def end_session(self, session: str) -> None:
        await self.write(lambda c: sessions.change(c, session, "ended_at"))

    async def hide_session(self, session: str) -> None:
        await self.write(lambda c: sessions.change(c, session, "hidden_at"))

    async def last_message(self) -> int:
        return await self.read(sessions.last)

    async def view_news(self, after: int, watched: Collection[str], limit: int) -> View:
        return await self.read(lambda c: sessions.news(c, after, watched, limit))

    async def view_older(self, session: str, before: int, limit: int, most: int = -1) -> View:
        return await self.read(lambda c: sessions.older(c, session, before, limit, most))

    async def view_message(self, ident: str, *, at: int = 0, most: int = -1) -> View:
        return await self.read(lambda c: sessions.message(c, ident, at, most))

    async def view_search(
        self, words: str, *, person: str = "owner", session: str = "", before: int = 0,
        limit: int = 20,
    ) -> View:  # fmt: skip
        terms = sessions.terms(words)
        end = before or await self.last_message() + 1
        until = time.monotonic() + _SEARCH_S
        hits: list[View] = []
        while end > 1:
            span = range(max(1, end - _AT_ONCE), end)
            wanted = limit - len(hits)
            found = await self.read(_look(terms, person, session, span, wanted))
            hits += found
            end = found[-1]["seq"] if len(found) == wanted else span.start
            if len(hits) >= limit or time.monotonic() > until:
                break
        return {"hits": hits, "next": end if end > 1 else 0}

    async def jobs_instead(self, session: str, message_id: str) -> list[str]:
        return await self.read(lambda c: sessions.instead(c, session, message_id))


def _look(
    terms: list[str], person: str, session: str, span: range, limit: int
) -> Callable[[apsw.Connection], list[View]]:
    return lambda c: sessions.search(c, terms, person, session, span, limit)
