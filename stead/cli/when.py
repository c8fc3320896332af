"""Moments as people say them on the command line."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

import click

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_MOST_S = 100 * 366 * 86_400


def as_moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """A callback for options: ``2h`` (ago), ``3d``, ``14:00`` (today, or yesterday if that is
    still to come), ``yesterday``, ``2026-11-21``, ``2026-11-21 14:00``, in local time."""
    if value is None:
        return None
    found = moment(value.strip())
    if found is None:
        said = f"{value!r} is no time; say 2h, 3d, 14:00, yesterday or 2026-11-21."
        raise click.BadParameter(said, ctx, param)
    return found


def moment(text: str) -> int | None:
    """Milliseconds since 1970, None for what is no moment."""
    if match := _SPAN.fullmatch(text.lower()):
        ago = float(match[1]) * _SECONDS[match[2]]
        return int((time.time() - ago) * 1000) if ago <= _MOST_S else None
    now = datetime.now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if text.lower() in ("today", "yesterday"):
        days = int(text.lower() == "yesterday")
        return _ms(midnight - timedelta(days=days))
    if match := re.fullmatch(r"(\d{1,2}):(\d\d)(?::(\d\d))?", text):
        hour, minute, second = int(match[1]), int(match[2]), int(match[3] or 0)
        if hour > 23 or minute > 59 or second > 59:
            return None
        at = midnight.replace(hour=hour, minute=minute, second=second)
        return _ms(at if at <= now else at - timedelta(days=1))
    try:
        return _ms(datetime.fromisoformat(text))
    except (ValueError, OverflowError, OSError):
        return None


def _ms(at: datetime) -> int | None:
    try:
        return max(0, int(at.timestamp() * 1000))
    except (ValueError, OverflowError, OSError):
        return None
