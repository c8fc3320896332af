"""What the process of the proxy and the one that started it say to each other, a line each."""

from __future__ import annotations

import msgspec

from stead.sandbox.secrets import Credential

MOST_LINE = 16_000_000
"""Bytes of a line."""


class Terms(msgspec.Struct, frozen=True, tag="terms"):
    """What holds for all gates; the first line."""

    secrets: str
    """The folder with the values of credentials."""
    systemd: str = ""
    """The folder in which systemd hands over credentials."""
    environment: dict[str, str] = {}
    """For the commands that tell values."""
    credentials: tuple[Credential, ...] = ()
    private: tuple[str, ...] = ()
    ca_file: str = ""
    offline: bool = False
    connections: int = 64
    up_bytes: int = 1_000_000_000
    down_bytes: int = 4_000_000_000
    idle_s: float = 300.0


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Open a gate."""

    number: int
    tool: str
    job: str
    hosts: tuple[tuple[str, int, tuple[str, ...], bool], ...]
    """Name, port, names of credentials, whether it may be private."""


class Close(msgspec.Struct, frozen=True, tag="close"):
    """Shut one."""

    number: int


class Way(msgspec.Struct, frozen=True, tag="way"):
    """What came of an order: the path of a socket, or why not; neither for one that is shut."""

    number: int
    path: str = ""
    why: str = ""


class Logged(msgspec.Struct, frozen=True, tag="log"):
    """A connection has ended, or was refused."""

    line: dict[str, object]


Order = Terms | Open | Close
Told = Way | Logged
