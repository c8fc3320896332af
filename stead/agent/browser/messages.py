"""What the session and the process in the sandbox say to each other: a line of JSON each."""

from __future__ import annotations

import msgspec

MOST_LINE = 16_000_000
"""Bytes of an answer."""
MOST_SNAPSHOT = 2_000_000
"""Characters."""


class Start(msgspec.Struct, frozen=True):
    """The first line: the browser that is wanted."""

    program: str
    profile: str
    """Its folder; empty: one that ends with it."""
    out: str
    """Folder for downloads and pictures."""
    proxy: str
    most_bytes: int
    """Of all downloads together."""


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing to do."""

    n: int
    do: str
    seconds: float = 15.0
    url: str = ""
    ref: str = ""
    text: str = ""
    path: str = ""
    fields: dict[str, str] = {}
    known: dict[str, tuple[str, str]] = {}
    """What the references stood for when it was asked for."""
    tab: int = 0
    accept: bool = False
    enter: bool = False


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it. It is said by what has read hostile pages, and is checked as such."""

    n: int
    failed: str = ""
    url: str = ""
    title: str = ""
    tab: int = 0
    tabs: list[tuple[int, str]] = []
    """Number and URL of each."""
    notes: list[str] = []
    """What happened beside: dialogs, new tabs, downloads."""
    snapshot: str | None = None
    file: str = ""
    """Name of what lies in ``out`` now."""
    name: str = ""
    """What the page calls it."""
