"""What pages show of what changes: the seam between rooms and the stream to their pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.datastructures import QueryParams

from stead.pages.inside import Api


@dataclass(slots=True)
class Bundle:
    """Changes that are told together."""

    place: str
    changes: list[dict[str, Any]]
    html: dict[Any, str] = field(default_factory=dict)
    """What was rendered of them, so that it is once for all pages."""

    def of(self, topic: str) -> list[dict[str, Any]]:
        return [change for change in self.changes if change["topic"] == topic]

    def once(self, key: Any, render: Callable[[], str]) -> str:
        if key not in self.html:
            self.html[key] = render()
        return self.html[key]


class Shown(Protocol):
    """What a page shows: made for one page with its query."""

    states: bool
    """Whether it is of nodes or of the status."""

    async def changed(self, bundle: Bundle) -> str:
        """HTML of what of these changes it shows; empty: nothing."""
        ...

    async def anew(self) -> str:
        """HTML of all that it shows: some changes are not known any more."""
        ...


Make = Callable[[Api, QueryParams], Shown]
