"""What the owner's settings say to tools that reach the network. No secret is in it."""

from __future__ import annotations

from dataclasses import dataclass

from stead.sandbox.secrets import Credential


@dataclass(frozen=True, slots=True)
class Search:
    """Who answers ``web_search``."""

    kind: str = "off"
    """``off``, ``searxng``, ``brave`` or ``tavily``."""
    url: str = ""
    """Empty: the service's own."""
    credential: str = ""
    results: int = 8


@dataclass(frozen=True, slots=True)
class Web:
    """The credentials there are, by name only, and the search."""

    credentials: tuple[Credential, ...] = ()
    search: Search = Search()
