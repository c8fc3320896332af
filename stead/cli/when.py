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


def on_day(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    """A callback for options: as :func:`as_moment`, also ``2026``, ``2026-03``, days to come
    (``tomorrow``, ``in 2w``) and days before 1970. 0 for none."""
    if value is None:
        return 0
    found = day(value.strip().lower())
    if not found:
        said = f"{value!r} is no date; say 2026-11-21, 2026-03, 2024, yesterday, 3d or in 2w."
        raise click.BadParameter(said, ctx, param)
    return found


def day(text: str) -> int:
    """Milliseconds since 1970; 0 for what is no date."""
    midnight = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if match := re.fullmatch(r"in (\d+)\s*(d|w)", text):
            then = midnight + timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
        elif text == "tomorrow":
            then = midnight + timedelta(days=1)
        elif match := re.fullmatch(r"(\d{4})(?:-(\d{1,2}))?", text):
            then = datetime(int(match[1]), int(match[2] or 1), 1)
        elif found := moment(text):
            return found
        else:
            then = datetime.fromisoformat(text)
        return int(then.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        return 0


def day_of(at: int) -> str:
    """The local date of a moment, with the time where it is not midnight."""
    try:
        then = datetime.fromtimestamp(at / 1000)
    except (ValueError, OverflowError, OSError):
        return "?"
    whole = (then.hour, then.minute, then.second) == (0, 0, 0)
    return then.strftime("%Y-%m-%d" if whole else "%Y-%m-%d %H:%M")
