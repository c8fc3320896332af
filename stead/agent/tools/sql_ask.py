"""What is said to the process that asks a database, and what it answers."""

from __future__ import annotations

import msgspec

Value = str | int | float | bool | None


class Ask(msgspec.Struct):
    """What is to be asked."""

    query: str
    """Empty: which tables there are."""
    params: list[Value] = []
    write: bool = False
    rows: int = 100
    room: int = 5000
    """Characters of the answer."""
    seconds: float = 30.0
    file: str = ""
    """An SQLite file; else PostgreSQL."""
    dsn: str = ""
    proxy: int = 0
    """Port of the proxy on this loopback; 0: the server is a socket in a folder."""


class Answer(msgspec.Struct):
    text: str
    ok: bool = True
