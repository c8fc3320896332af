"""Values in stead.toml that are nobody's to see on a page: keys in headers, passwords in addresses.

Keys belong into ``secrets/``; but ``backend[].headers`` may hold one, and an address may, too.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

HIDDEN = "(hidden)"

_IN_URL = re.compile(r"(?<=://)[^/\s@'\"<>]{1,400}(?=@)")
_HEADER = re.compile(r"(\s*[^:\s]+\s*:\s*)(.*)", re.DOTALL)
#: Where in stead.toml headers are given.
_HEADERS = "headers"


def hidden_value(path: str, value: Any) -> Any:
    """The value at ``path`` with what is secret in it hidden."""
    if isinstance(value, list | tuple):
        return [hidden_value(path, one) for one in value]
    if not isinstance(value, str):
        return value
    if path.rpartition(".")[2] == _HEADERS:
        found = _HEADER.fullmatch(value)
        return f"{found[1]}{HIDDEN}" if found else HIDDEN
    return _IN_URL.sub(HIDDEN, value)


def hide(text: str, *more: str) -> str:
    """A stead.toml, or a difference of two, with what is secret in it hidden; line by line, so that
    a line without secrets is as it was. ``more``: texts of stead.toml that it was made from."""
    for said in sorted({*_said(text, *more)}, key=len, reverse=True):
        text = text.replace(said, hidden_value(_HEADERS, said))
    return _IN_URL.sub(HIDDEN, text)


def _said(*texts: str) -> Iterator[str]:
    """Headers as they are written in these texts."""
    for text in texts:
        try:
            raw = tomllib.loads(text.removeprefix("\ufeff"))
        except (ValueError, RecursionError):
            yield from _by_look(text)
        else:
            yield from _in(raw, text)
        yield from _by_look("\n".join(re.findall(r"(?m)^[-+ ]?\s*#.*", text)))


def _in(raw: object, text: str) -> Iterator[str]:
    if isinstance(raw, list):
        for one in raw:
            yield from _in(one, text)
    elif isinstance(raw, dict):
        for name, value in raw.items():
            if name != _HEADERS or not isinstance(value, list):
                yield from _in(value, text)
                continue
            for header in map(str, value):
                if header.strip() and header in text:
                    yield header
                else:  # written with escapes: whatever looks like a header in quotes
                    yield from _by_look(text)


def _by_look(text: str) -> Iterator[str]:
    """Of what is no TOML, or a comment: what looks like a header."""
    for found in re.finditer(r"""(["'])(\s*[A-Za-z0-9-]+:\s+(?:\\.|(?!\1).)+)\1""", text):
        yield found[2]
