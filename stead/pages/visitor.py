"""Who looks at the page, and what lets one in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.requests import Request
from starlette.routing import BaseRoute

#: The person whose house it is.
OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who has signed in."""

    person: str = OWNER
    """Their id; ``owner`` is the owner."""
    name: str = ""
    """As they are called."""
    device: str = ""
    """The id of the browser they signed in with; empty where a key was shown."""

    @property
    def owner(self) -> bool:
        return self.person == OWNER


class Gate(Protocol):
    """Lets people in."""

    #: Where one signs in: a path below the root.
    sign_in: str

    def routes(self) -> Sequence[BaseRoute]:
        """Pages that are there for who is not in yet."""
        ...

    async def visitor(self, request: Request) -> Visitor | None:
        """Who makes this request; None: nobody known."""
        ...


def visitor_of(request: Request) -> Visitor:
    """Who makes this request. Only for handlers behind the gate."""
    found: Visitor = request.scope["stead.visitor"]
    return found
