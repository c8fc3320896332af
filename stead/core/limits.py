"""How many jobs of a kind may run at a time, and how many may start in a while.

A job counts against the limits of its keys: ``kind:<kind>``, ``channel:<channel>`` if it came by a
message, and whatever else its ``limits`` name. What a key is limited to is said in stead.toml
(``[[queue.limit]]``), by the job, or by both; the narrower holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stead.core.errors import BadRequest

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_KEY = r"[A-Za-z0-9][A-Za-z0-9_.:@/\-]*"
_SPEC = re.compile(rf"({_KEY})(?:=([1-9]\d{{0,8}})(?:/([1-9]\d{{0,8}})([smhd]))?)?")


@dataclass(frozen=True, slots=True)
class Limit:
    """What holds for all jobs of a key together; 0 is no limit."""

    key: str
    at_once: int = 0
    """How many may run at a time."""
    starts: int = 0
    """How many may start in any ``period_ms``; a try again is a start."""
    period_ms: int = 0


def is_key(text: str) -> bool:
    """Whether this can be the key of a limit."""
    return re.fullmatch(_KEY, text) is not None


def parse(text: str) -> list[Limit]:
    """The limits that a job names, comma-joined: ``key``, ``key=2`` (at a time) or ``key=10/60s``
    (starts in a while, in ``s``, ``m``, ``h`` or ``d``).

    Raises ``BadRequest``.
    """
    found = []
    for one in text.split(",") if text else ():
        match = _SPEC.fullmatch(one)
        if match is None:
            raise BadRequest(
                f"{one!r} is not a limit; write a name, name=2 (at a time) or name=10/60s"
                " (starts in that time; s, m, h or d).",
                param="limits",
            )
        key, many, period, unit = match.groups()
        if period:
            found.append(Limit(key, starts=int(many), period_ms=int(period) * _UNITS_MS[unit]))
        else:
            found.append(Limit(key, at_once=int(many or 0)))
    return found
