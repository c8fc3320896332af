"""Whose turn it is at the local model: background work leaves room for the owner's chat.

A model server works on a few answers at a time and lets the others wait in their order. With
ten background jobs asking, a chat would wait behind all of them. So background calls go one at
a time, in the order in which they came; a chat never waits here.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turns:
    """Turns of background calls at one model. Not for more than one event loop."""

    def __init__(self) -> None:
        self._taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def ask(self) -> asyncio.Future[None]:
        """A turn: had when the future is done. Whoever asks must :meth:`end` it, also when he
        did not wait for it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._next()
        return turn

    def end(self, turn: asyncio.Future[None]) -> None:
        """The turn is over, or not wanted any more."""
        if turn in self._waiting:
            self._waiting.remove(turn)
            return
        self._taken = False
        self._next()

    def _next(self) -> None:
        if self._waiting and not self._taken:
            self._taken = True
            turn = self._waiting.popleft()
            if not turn.done():  # else its asker was cancelled, and will end it in a moment
                turn.set_result(None)
