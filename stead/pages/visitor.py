"""Who looks at the page, and what lets one in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

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

    def routes(self, render: Any) -> Sequence[BaseRoute]:
        """Pages that are there for who is not in yet; ``render`` is the site's ``Renderer``."""
        ...

    def check(self, request: Request) -> None:
        """Raises a ``SteadError`` for what must not be answered, whoever asks: a foreign address,
        or another page that would have something done."""
        ...

    async def visitor(self, request: Request) -> Visitor | None:
        """Who makes this request; None: nobody known."""
        ...

    async def serve(
        self, visitor: Visitor, app: ASGIApp, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let ``app`` answer a visitor, for as long as that one is let in."""
        ...


def visitor_of(request: Request) -> Visitor:
    """Who makes this request. Only for handlers behind the gate."""
    found: Visitor = request.scope["stead.visitor"]
    return found
