"""How a node says that it is there, and what there is to know of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from stead.core.errors import SteadError, WrongKey
from stead.core.wire import Hello, HelloReply
from stead.node.presence import Presence

log = logging.getLogger("stead.node")


class Door(Protocol):
    async def hello(self, body: Hello) -> HelloReply: ...


class Greeting:
    """Said at the start, and again when more has come to be known."""

    def __init__(
        self, link: Door, presence: Presence, boot: str, labels: Sequence[str], version: str
    ) -> None:
        self._link = link
        self._presence = presence
        self._boot = boot
        self._labels = list(labels)
        self._version = version
        self._facts: dict[str, Any] = {}
        self._said = False

    async def say(self) -> None:
        """Until the gateway has heard it. Raises ``WrongKey``."""
        attempt = 0
        while True:
            told = self._facts
            try:
                reply = await self._link.hello(Hello(self._boot, self._labels, self._version, told))
            except WrongKey:
                raise
            except SteadError as error:
                self._presence.away(error)
                await self._presence.pause(attempt)
                attempt += 1
                continue
            self._presence.back()
            if not self._said:
                log.info("the gateway knows this node as %s", reply.name)
            self._said = True
            if told is self._facts:
                return

    async def tell(self, facts: dict[str, Any]) -> None:
        """More to be known of this node; said at once, or with the first greeting."""
        self._facts = facts
        if self._said:
            await self.say()
