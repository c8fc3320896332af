"""What stands in fields for passwords is kept out of what is told of a page.

A browser that fills in what it knows, or a page that comes with it, would else give a password to
the model and to every record. What was hidden once stays so, when the page shows it elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import Any

from stead.agent.browser.lines import SECRET, head_of

_FIELDS = (
    "input[type=password], input[autocomplete~=current-password],"
    " input[autocomplete~=new-password], input[autocomplete~=one-time-code],"
    " input[autocomplete~=cc-number], input[autocomplete~=cc-csc]"
)
_VALUES = "found => found.map(e => e.value)"
_IS_ONE = f"e => e.matches({json.dumps(_FIELDS)})"
_ROLES = ("textbox", "searchbox", "combobox", "spinbutton")
_HIDDEN = "(hidden)"
_SHORT = 4
"""Characters below which a value is hidden in its own field only: it stands everywhere."""
_LOOK_S = 8.0
_MOST = 500


class Hidden:
    """Of one browser."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}

    def add(self, value: str) -> None:
        """To be hidden wherever it stands."""
        for form in (value, " ".join(value.split()), json.dumps(value, ensure_ascii=False)[1:-1]):
            if len(form) >= _SHORT:
                self._known[form] = None
        while len(self._known) > _MOST:
            del self._known[next(iter(self._known))]

    def plain(self, text: str) -> str:
        """A text without what is known."""
        for value in sorted(self._known, key=len, reverse=True):
            text = text.replace(value, _HIDDEN)
        return text

    async def is_one(self, element: Any) -> bool:
        """Whether it is such a field; what cannot be asked is taken for one."""
        try:
            return bool(await element.evaluate(_IS_ONE, timeout=1000 * _LOOK_S))
        except Exception:  # noqa: BLE001 - Playwright's, of many kinds
            return True

    async def out_of(self, page: Any, snapshot: str) -> str:
        """A snapshot that was just taken, without what stands in such fields."""
        begun = [frame for frame in page.frames if frame.url]
        values = await asyncio.gather(*map(self._values, begun))
        if any(found is None or found for found in values):
            for value in (one for found in values for one in found or ()):
                self.add(value)
            snapshot = _blank(snapshot, await self._refs(page, snapshot))
        return self.plain(snapshot)

    async def _values(self, frame: Any) -> list[str] | None:
        """None: the frame does not tell."""
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_LOOK_S):
                return [str(one) for one in await frame.locator(_FIELDS).evaluate_all(_VALUES)]
        return None

    async def _refs(self, page: Any, snapshot: str) -> set[str]:
        found = [head_of(line) for line in snapshot.split("\n")]
        refs = [one.ref for one in found if one is not None and one.role in _ROLES and one.ref]
        told = await asyncio.gather(
            *(self.is_one(page.locator(f"aria-ref={ref}")) for ref in refs)
        )  # fmt: skip
        return {ref for ref, is_one in zip(refs, told, strict=True) if is_one}


def _blank(snapshot: str, refs: set[str]) -> str:
    """Mark those fields, and take out what is in them."""
    made: list[str] = []
    inside = -1
    for line in snapshot.split("\n"):
        indent = len(line) - len(line.lstrip())
        if indent <= inside:
            inside = -1
        head = head_of(line)
        if head is not None and head.ref in refs:
            inside = indent
            marked = line[: head.end].replace(f"[ref={head.ref}]", f"{SECRET} [ref={head.ref}]")
            rest = line[head.end :].strip()
            filled = rest not in ("", ":", "':", "'")
            made.append(f"{marked}{rest[:2].rstrip(' ')} {_HIDDEN}" if filled else marked + rest)
        elif inside >= 0 and re.match(r"\s*- text:", line):
            made.append(f"{' ' * indent}- text: {_HIDDEN}")
        else:
            made.append(line)
    return "\n".join(made)
