"""What the owner has given a name in the settings: databases and machines that tools may use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Database:
    """A PostgreSQL database. How to connect is a secret, read when it is needed."""

    name: str
    dsn: Callable[[], str]
    """``postgresql://user:password@host:port/database?sslmode=...``. Raises ``SteadError``."""
    ca_file: Path | None = None
    foreign: bool = True
    """What is in it may be text that others wrote."""


@dataclass(frozen=True, slots=True)
class Peripheral:
    """A machine that is reached by ssh."""

    name: str
    host: str
    user: str
    key: Path
    known_hosts: Path
    port: int = 22
    foreign: bool = True
