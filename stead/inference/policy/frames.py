"""What goes between :mod:`~stead.inference.policy.guard` and the process that looks at requests:
each message its length in four bytes, and MessagePack."""

from __future__ import annotations

from typing import TypeVar

import msgspec

T = TypeVar("T")


class SetupRule(msgspec.Struct, frozen=True, array_like=True):
    """What a rule looks for."""

    name: str
    finds: tuple[str, ...]
    words: tuple[str, ...]
    patterns: tuple[str, ...]
    redact: bool


class Setup(msgspec.Struct, frozen=True, array_like=True):
    """The first message to the process."""

    rules: list[SetupRule]


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A request, and the rules that it is looked at for."""

    body: bytes
    content_type: str
    rules: list[str]


class Told(msgspec.Struct, frozen=True, array_like=True):
    """What is in it."""

    found: dict[str, dict[str, int]] = {}
    body: bytes | None = None
    missing: str = ""
    """The kind whose detector is not installed."""
    failed: str = ""
    """Why it could not be looked at, in words."""


def packed(message: Setup | Ask | Told) -> bytes:
    """With its length before it."""
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "big") + data


def unpacked(data: bytes, type: type[T]) -> T:
    """Without its length. Raises ``msgspec.DecodeError``."""
    return msgspec.msgpack.decode(data, type=type)
