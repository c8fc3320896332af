"""Addresses and names of people, made comparable."""

from __future__ import annotations

import re

from stead.memory.graph.names import likeness, plain

SURE = 0.8
"""From here on two names may be one person's."""


def normal(kind: str, address: str) -> str:
    """What is equal when two addresses are the same: ``anna@example.org``, ``+491711234567``."""
    flat = address.strip()
    scheme, _, rest = flat.partition(":")
    if scheme.lower() in ("mailto", "tel") and rest:
        flat = rest
    if kind == "email":
        return re.sub(r"\s", "", flat).casefold()
    if kind == "tel":
        flat = flat.partition(";")[0]
        digits = re.sub(r"[^\d+*#]", "", flat)
        digits = "+" + digits[2:] if digits.startswith("00") else digits
        return digits if len(re.sub(r"\D", "", digits)) >= 5 else ""
    return flat.casefold().rstrip("/")


def tail(number: str) -> str:
    """The end of a telephone number: equal for ``+49 171 1234567`` and ``0171 1234567``."""
    digits = re.sub(r"\D", "", number)
    return digits[-8:] if len(digits) >= 8 else ""


def fits(one: str, other: str) -> bool:
    """Whether two names may be of one person: ``Anna Schmidt`` and ``A. Schmidt``."""
    first, second = plain(one), plain(other)
    if not first or not second:
        return False
    if max(likeness(first, second), likeness(second, first)) >= SURE:
        return True
    a, b = first.split(), second.split()
    if a[-1] != b[-1] or len(a) < 2 or len(b) < 2:
        return False
    initials = len(a[0]) == 1 or len(b[0]) == 1
    return initials and a[0][0] == b[0][0]
