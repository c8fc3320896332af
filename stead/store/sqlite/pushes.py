"""SQL of web push: subscriptions of browsers, and what there is to tell them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

import apsw

from stead.core.errors import NotFound
from stead.core.ids import uuid7
from stead.core.push import Subscription, Word
from stead.store.sqlite.sql import NOW, row, rows, shown
from stead.store.sqlite.writer import Op

T = TypeVar("T")

_COLUMNS = "id, person, device, endpoint, p256dh, auth, created_at, told_at"
#: So much of a text is looked at.
_CHARS = 400


class Pushes(ABC):
    """``stead.core.push.PushStore``, over the storage's own ways to write and read."""

    @abstractmethod
    async def write(self, op: Op[T]) -> T:
        """Run it in the thread that writes; returns when it is durable."""

    @abstractmethod
    async def read(self, look: Callable[[apsw.Connection], T]) -> T:
        """Run it on a connection that reads."""

    async def subscribe(
        self, person: str, device: str, endpoint: str, p256dh: str, auth: str
    ) -> Subscription:
        def put(c: apsw.Connection) -> Subscription:
            c.execute("DELETE FROM push_subscription WHERE endpoint = ?", (endpoint,))
            insert = (
                f"INSERT INTO push_subscription ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, {NOW}, 0)"
            )
            given = uuid7(), person, device, endpoint, p256dh, auth
            return Subscription(*row(c, f"{insert} RETURNING {_COLUMNS}", given))

        return await self.write(put)

    async def subscriptions(self) -> list[Subscription]:
        there = "person IN (SELECT id FROM person WHERE removed_at = 0)"
        select = f"SELECT {_COLUMNS} FROM push_subscription WHERE {there} ORDER BY id"
        return await self.read(lambda c: [Subscription(*one) for one in rows(c, select)])

    async def unsubscribe(self, person: str, ident: str) -> None:
        def drop(c: apsw.Connection) -> None:
            delete = "DELETE FROM push_subscription WHERE id = ? AND person = ? RETURNING 1"
            if not rows(c, delete, (ident, person)):
                raise NotFound(what=f"subscription {ident[:80]!r}")

        await self.write(drop)

    async def subscription_told(self, ident: str, *, gone: bool) -> None:
        told = f"UPDATE push_subscription SET told_at = {NOW} WHERE id = ?"
        drop = "DELETE FROM push_subscription WHERE id = ?"
        await self.write(lambda c: rows(c, drop if gone else told, (ident,)) and None)

    async def last_word(self) -> int:
        select = "SELECT coalesce(max(seq), 0) FROM message"
        return await self.read(lambda c: int(str(row(c, select)[0])))

    async def words_after(self, seq: int, most: int) -> list[Word]:
        select = (
            f"SELECT m.seq, m.session, m.role, m.channel, substr(m.text, 1, {_CHARS}), m.at,"
            " EXISTS (SELECT 1 FROM approval a WHERE a.job_id = m.job_id AND a.state = 'open')"
            "  AND m.role = 'notice'"
            " FROM message m LEFT JOIN job j ON j.id = m.job_id"
            " WHERE m.seq > ? AND m.role <> 'owner' AND m.pruned_at = 0"
            " AND coalesce(j.state, '') <> 'cancelled' ORDER BY m.seq LIMIT ?"
        )

        def look(c: apsw.Connection) -> list[Word]:
            return [Word(*one) for one in shown(c, select, (seq, most))]

        return await self.read(look)
