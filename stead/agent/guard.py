"""Notices a model that asks for the same thing again and again."""

from __future__ import annotations

import json

from stead.agent.tools.more_tools import NAME as MORE_TOOLS
from stead.core.ports import ToolCall

_STALE = (
    "\n[You have had this very result before. Do something else, or answer with what you have.]"
)
_MOST = 3


class Guard:
    """Knows calls by what they mean, however they are written.

    The same call twice in a row is not made: its result is before the model. One that comes back
    after others is made, since things may have changed; when it gives what it gave before, it is
    told so, and after the third such round in a row (A, B, A, B, A), with nothing new in between,
    the model must answer.
    """

    def __init__(self) -> None:
        self._last: tuple[str, str] = ("", "")
        self._text = ""
        self._times = 0
        self._needless = 0
        self._seen: dict[tuple[str, str], str] = {}
        self._stale = 0

    @property
    def tired(self) -> bool:
        """It goes round in circles: answer without tools now."""
        return max(self._times, self._needless, self._stale) >= _MOST

    def needless(self, group: str) -> str:
        """Words for a model that asks for tools it has; by turns for several is a loop as well."""
        self._needless += 1
        return f"You already have the tools of {group!r}: call one of them, or answer."

    def known(self, call: ToolCall) -> str:
        """Words for the model when this call's result is already before it."""
        if _key(call) != self._last:
            return ""
        return f"You already have this result:\n{self._text}"

    def note(self, call: ToolCall, text: str, told: str, *, fresh: bool = False) -> str:
        """Take note of what a call gave (``told``: as the model is handed it); what the model is
        to be told beside it. ``fresh``: it may give something else at once, and if it does the
        model was right to look again."""
        if call.name != MORE_TOOLS:
            self._needless = 0
        key = _key(call)
        if fresh and key == self._last and text != self._seen.get(key):
            self._last = ("", "")
        if key == self._last:
            self._times += 1
            return ""
        before = self._seen.get(key)
        self._last, self._text, self._times = key, told, 1
        self._seen[key] = text
        if before is None:
            self._stale = 0
        elif before == text:
            self._stale += 1
            return _STALE
        return ""


def _key(call: ToolCall) -> tuple[str, str]:
    try:
        args = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return call.name, " ".join(call.arguments.split())
    return call.name, json.dumps(args, sort_keys=True)
