"""What has changed, for whoever shows it: coalesced, and with places one can come back to."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection

#: Things whose last change is known. Who comes back from before them looks at all anew.
_MOST = 4000


class News:
    """The last change of each thing, in order. Of the event loop's thread alone.

    A place is a number that only grows: microseconds since 1970 of the change, or one more than
    the last. So a place given out by an earlier process is known for one, and as long as the
    clock is not set back it tells when that was. What a thing is now is asked of the store; so
    to be told of it twice harms nobody, and a thousand changes of it between two looks are one.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._place = self._begins = time.time_ns() // 1000
        self._changed: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._waiting: list[asyncio.Future[None]] = []
        self.when_touched: list[Callable[[], None]] = []
        """Called at each change."""
        self.closed = False
        """The process stops: who waits is let go, and finds the rest later."""

    @property
    def place(self) -> int:
        """Where we are: of all that comes from now on one is told :meth:`since` here."""
        return self._place

    def touch(self, topic: str, ident: str) -> None:
        """Something is not as it was. Called when the change can be read (after its commit)."""
        self._place = max(self._place + 1, time.time_ns() // 1000)
        key = (topic, ident)
        changed = self._changed
        changed[key] = self._place
        changed.move_to_end(key)
        if len(changed) > self._most:
            _, self._begins = changed.popitem(last=False)
        for call in self.when_touched:
            call()
        if self._waiting:
            self._wake()

    def knows(self, place: int) -> bool:
        """Whether all changes after a place are known. They are not where it is too long ago, or
        of another process."""
        return self._begins <= place <= self._place

    def since(
        self, place: int, topics: Collection[str], most: int
    ) -> tuple[int, list[tuple[str, str]]]:
        """What has changed after ``place``, oldest change first, at most so many; and the place
        one is at with them."""
        found = []
        for key, at in reversed(self._changed.items()):
            if at <= place:
                break
            if key[0] in topics:
                found.append((at, key))
        found.reverse()
        if len(found) <= most:
            return self._place, [key for _, key in found]
        return found[most - 1][0], [key for _, key in found[:most]]

    async def wait(self, place: int, most_s: float) -> bool:
        """Until there is something after ``place``; False after ``most_s`` seconds without."""
        if self._place > place or self.closed:
            return True
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            done, _ = await asyncio.wait((future,), timeout=most_s)
            return bool(done)
        finally:
            if future in self._waiting:
                self._waiting.remove(future)

    def close(self) -> None:
        """Let go whoever waits."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)
