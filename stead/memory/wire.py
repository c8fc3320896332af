"""What gateway and index process say to each other: frames of JSON over the pipes of the process.

A frame is its length (4 bytes, the highest first) and so many bytes.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from stead.memory.index import Report
from stead.memory.nouns import Entry, Found, Question

HEAD = struct.Struct(">I")
LONGEST = 256_000_000


class EmbedAt(msgspec.Struct, frozen=True):
    """Where embeddings are made: ``{url}/embeddings``, with a key, by a model."""

    url: str
    key: str
    model: str


class Orders(msgspec.Struct, frozen=True):
    """What the process is started for."""

    home: str
    look_s: float = 2.0
    """Files are looked at anew when they were not for so long."""
    threads: int = 1


class Ask(msgspec.Struct, frozen=True):
    """A request; number 0 wants no answer."""

    id: int
    op: str
    """``search``, ``entries``, ``refresh``, ``nudge``, ``reindex``, ``stats``, ``embed``."""
    question: Question | None = None
    within_s: float = 5.0
    fresh: bool = True
    """Whether files that have just changed are to be read before it is answered."""
    keys: tuple[str, ...] = ()
    embed: EmbedAt | None = None


class Told(msgspec.Struct, frozen=True):
    """An answer, or (number 0) a word of its own: ``ready``, ``want embed``, ``progress``."""

    id: int
    word: str = ""
    error: str = ""
    found: Found | None = None
    report: Report | None = None
    entries: tuple[Entry, ...] = ()
    stats: dict[str, Any] = {}
    done: int = 0
    total: int = 0


_encode = msgspec.json.Encoder().encode


def frame(message: Ask | Told | Orders) -> bytes:
    body = _encode(message)
    return HEAD.pack(len(body)) + body
