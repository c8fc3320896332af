"""What a running attempt has said: the node keeps it, because the gateway may restart."""

from __future__ import annotations

from collections.abc import Iterable

from stead.core.wire import Event

SAID_CHARS = 1_000_000
"""The longest text of an attempt that is kept to be said again."""
PIECE_CHARS = 64 * 1024


class Said:
    """The text of this attempt, for a gateway that has restarted and not got it."""

    def __init__(self) -> None:
        self.whole = True
        """Whether all of it is kept; beyond a bound it is not, and the end has it."""
        self.sent = 0
        """How far it was sent, in characters."""
        self._text: list[str] = []
        self._length = 0
        self._asked = -1

    def add(self, text: str) -> int:
        """Where it begins."""
        at = self._length
        self._length += len(text)
        if self._length > SAID_CHARS:
            self.whole = False
        elif self.whole:
            self._text.append(text)
        return at

    @property
    def text(self) -> str:
        """The text so far, or the beginning of a very long one."""
        self._text = ["".join(self._text)]
        return self._text[0]

    def went(self, events: Iterable[Event]) -> None:
        """These are sent."""
        for event in events:
            if event.at >= 0:
                self.sent = max(self.sent, event.at + len(event.text))

    def is_missing(self, have: int) -> bool:
        """Whether the gateway lacks what was sent, and can be given it. One that takes nothing
        of what it is given is not given it for ever."""
        if have >= self.sent:
            self._asked = -1
        elif self.whole and have >= 0 and have != self._asked:
            self._asked = have
            return True
        return False

    def again(self, at: int) -> list[Event]:
        """The text from ``at`` on, as events to be sent."""
        text = self.text
        self.sent = at
        starts = range(at, len(text), PIECE_CHARS)
        return [Event(0, "token", text[one : one + PIECE_CHARS], at=one) for one in starts]
