"""What the owner wants forgotten, and who does it: light enough for a gateway at its start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Wish:
    """What the owner wants forgotten."""

    kind: str
    """``message``, ``person``, ``topic``, ``span`` or ``text``."""
    words: str = ""
    """Of ``message`` an id, of the others the name, the words or the exact text."""
    since: int = 0
    until: int = 0
    """The span, in ms."""
    session: str = ""
    """Of a span: only this conversation."""
    backups: bool = False
    """Old copies of the database that hold it are to go, too."""


class Forgetting(Protocol):
    """Forgets in one home."""

    async def plan(self, wish: Wish) -> dict[str, Any]:
        """What would go. Changes nothing. Raises ``BadRequest``, ``NotFound``."""
        ...

    async def run(self, wish: Wish) -> dict[str, Any]:
        """Forget; the receipt. Raises ``WrongState`` when a job of it is not over."""
        ...

    async def resume(self) -> dict[str, Any] | None:
        """End what was cut off, if anything was; its receipt."""
        ...
