"""What a program's key is for: where it may go, how fast, for how much, until when."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

#: Names that mean others than programs wherever a caller is named.
RESERVED = frozenset({"owner", "job", "jobs"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")

#: No limit of its own on money.
NO_LIMIT = -1


def is_key_name(text: str) -> bool:
    """Whether a program's key can be called so."""
    return _NAME.fullmatch(text) is not None and text not in RESERVED


@dataclass(frozen=True, slots=True)
class KeyScope:
    """The limits of one key. Empty, and 0, mean: none of its own."""

    lanes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    """With lanes: what it may name or be routed to; both empty: whatever there is, but the agent
    (``stead``), which has to be named."""
    endpoints: tuple[str, ...] = ()
    """Paths below ``/v1/``, such as ``chat/completions``; ``metrics``: it may read ``/metrics``."""
    requests_per_min: int = 0
    tokens_per_min: int = 0
    at_once: int = 0
    max_body_kb: int = 0
    day_micro: int = NO_LIMIT
    month_micro: int = NO_LIMIT
    """Micro-dollars in a UTC day or month; 0: only what is free."""
    expires_at: int = 0
    """Milliseconds since 1970."""
    local_only: bool = False
    """What it asks never leaves the house."""
    keep_bodies: bool = True
    """Whether its texts may be kept for the audit, where the rules of the audit keep any."""
    chat: bool = False
    """It is a way of the owner's own to talk: it may use the chat reserve, and does not wait
    behind background work."""

    @property
    def names(self) -> frozenset[str] | None:
        """Lanes and models it may use; None: any."""
        return frozenset((*self.lanes, *self.models)) or None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A program's key as the store knows it. The key itself is nowhere."""

    id: str
    name: str
    key_hash: str
    """SHA-256 of the key, in hexadecimal digits."""
    scope: KeyScope
    created_at: int
    revoked_at: int = 0
    """0: it holds."""


class KeyStore(Protocol):
    """The keys of programs. A name belongs to one key that holds; those taken back stay known."""

    async def add_key(self, name: str, key_hash: str, scope: KeyScope) -> KeyRow:
        """Raises ``BadRequest`` if a key of that name holds."""
        ...

    async def keys(self) -> list[KeyRow]:
        """All of them, by name, those taken back after the one that holds."""
        ...

    async def set_key(self, name: str, scope: KeyScope) -> KeyRow:
        """Give the key that holds another scope. Raises ``NotFound``."""
        ...

    async def revoke_key(self, name: str) -> KeyRow:
        """Take it back. Raises ``NotFound``."""
        ...
