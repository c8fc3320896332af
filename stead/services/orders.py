"""What a service's process is told, and what it tells: one JSON line each, over pipes.

Its orders come as the first line of its stdin, which stays open: its end means that the gateway
is gone. Its words go out on its stdout.
"""

from __future__ import annotations

import msgspec


class Orders(msgspec.Struct, frozen=True):
    """What a service is to be."""

    service: str
    means: str
    engine: str
    """``module:function``."""
    model: str
    key: str
    """Asked for with every request."""
    home: str
    threads: int
    memory_mb: int
    request_s: float
    max_body: int
    whisper: str = ""
    voice: str = ""


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a service says of itself."""

    now: str
    """``loading``; ``ready`` at ``port``; ``busy`` with so many requests; ``failed`` or
    ``ending``, for the reason in ``words``."""
    words: str = ""
    port: int = 0
    busy: int = 0
    mb: int = 0
    """Memory in use."""
