"""Checking what is said of databases, machines and the browser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from stead.config.hands_settings import BrowserSection, DatabaseSection, PeripheralSection

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:]*:[0-9a-f:.]*")
_REACHED = re.compile(
    r"\*|(?:(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?|\[[0-9a-f:.]+\])(?::[1-9][0-9]{0,4})?"
)
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?")


def check_hands(
    databases: Sequence[DatabaseSection], peripherals: Sequence[PeripheralSection]
) -> Iterator[tuple[str, str]]:
    """Names twice, and what could be no host or user (or would be an option of ssh)."""
    yield from _names("database", [one.name for one in databases])
    yield from _names("peripheral", [one.name for one in peripherals])
    for index, one in enumerate(databases):
        if one.secret and not _NAME.fullmatch(one.secret):
            at = f"database[{index}].secret"
            yield at, f"{one.secret!r} is no name of a secret; its value is not put here"
    for index, machine in enumerate(peripherals):
        if not _HOST.fullmatch(machine.host):
            yield f"peripheral[{index}].host", f"{machine.host!r} is no host name or address"
        if not _USER.fullmatch(machine.user):
            yield f"peripheral[{index}].user", f"{machine.user!r} is no name of a user"


def check_browser(browser: BrowserSection) -> Iterator[tuple[str, str]]:
    """Hosts that are none, and so would be reached by nobody."""
    for index, text in enumerate(browser.hosts):
        port = text.rpartition("]")[2].partition(":")[2]
        if not _REACHED.fullmatch(text) or int(port or 1) > 65535:
            words = "is no host; write a.org, *.a.org, a.org:8443, [::1]:80 or *"
            yield f"browser.hosts[{index}]", f"{text!r} {words}"


def _names(kind: str, names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for index, name in enumerate(names):
        if not _NAME.fullmatch(name):
            at = f"{kind}[{index}].name"
            yield at, f"{name!r} is not a name (small letters, digits, _ and -)"
        if name in names[:index]:
            yield f"{kind}[{index}].name", f"there are two named {name!r}"
