"""The sender: takes replies from the outbox and hands them to their channel (invariant 5).

A row is marked ``sending`` before its channel is called, so a crash in between
is seen at the next start: it is sent again where the channel drops doubles, and
marked ``ambiguous`` for the owner to see where it does not. Channels that are
read by their clients (terminal, API) need no sender: reading marks their rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from stead.core.errors import SteadError
from stead.core.ports import Channel
from stead.core.storage import Delivery, OutboxStore

log = logging.getLogger(__name__)

_LOOK_S = 5.0
_FIRST_MS = 1_000
_MOST_MS = 600_000


class Sender:
    """One loop a channel, so that a channel that hangs or fails holds up no other."""

    def __init__(
        self, store: OutboxStore, channels: Sequence[Channel], *, look_s: float = _LOOK_S
    ) -> None:
        self._store = store
        self._channels = channels
        self._look_s = look_s
        self._wanted = {channel.name: asyncio.Event() for channel in channels}

    def nudge(self) -> None:
        """There may be something to send."""
        for wanted in self._wanted.values():
            wanted.set()

    async def run(self) -> None:
        """Send for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="sender")  # with no channel: just wait
            for channel in self._channels:
                group.create_task(self._serve(channel), name=f"sender of {channel.name}")

    async def _serve(self, channel: Channel) -> None:
        recovered = False
        while True:
            try:
                if not recovered:
                    await self._store.recover_outbox(channel.name, dedupes=channel.dedupes)
                    recovered = True
                await self.send_due(channel)
            except Exception:  # the edge of a channel: its rows wait, the other channels go on
                recovered = False  # nobody knows what became of a row that is still `sending`
                log.exception("the outbox of %s could not be worked on", channel.name)
            wanted = self._wanted[channel.name]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_s):
                    await wanted.wait()
            wanted.clear()

    async def send_due(self, channel: Channel) -> int:
        """Send what is due on one channel, in order; returns how many were delivered."""
        sent = 0
        while taken := await self._store.take(channel.name, limit=1):
            sent += await self._send(channel, taken[0])
        return sent

    async def _send(self, channel: Channel, delivery: Delivery) -> int:
        try:
            await channel.send(delivery)
        except SteadError as error:
            if error.failure.permanent:
                await self._store.undeliverable(delivery.id, error.message)
                log.error("a reply cannot be delivered by %s: %s", channel.name, error.message)
            else:
                wait = min(_MOST_MS, _FIRST_MS * 2 ** min(delivery.tries, 20))
                await self._store.undelivered(delivery.id, delay_ms=wait, note=error.message)
            return 0
        await self._store.delivered(delivery.id)
        return 1
