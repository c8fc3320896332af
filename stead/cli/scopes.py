"""What a program's key and a person may: options that say it, and words that tell it."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import Any

import click

from stead.cli.common import usd, when

_SPAN = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """``30d``, ``2026-12-31`` or ``never`` as milliseconds since 1970; 0 is never."""
    if value is None:
        return None
    if value == "never":
        return 0
    if span := re.fullmatch(r"(\d{1,6})([mhdw])", value):
        return int((time.time() + int(span[1]) * _SPAN[span[2]]) * 1000)
    try:
        return int(datetime.fromisoformat(value).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise click.BadParameter("say 30d, 12h, 2026-12-31 or never") from None


def names(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Comma-separated names; ``any`` takes the limit away."""
    if value is None:
        return None
    return [] if value == "any" else [one for one in value.replace(",", " ").split() if one]


def dollars(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    if value == "any":
        return -1
    try:
        micro = round(float(value.lstrip("$")) * 1_000_000)
    except (ValueError, OverflowError):
        micro = -1
    if micro < 0:
        raise click.BadParameter("say dollars, such as 0.50, or any")
    return micro


def given(scope: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in scope.items() if value is not None}


def limits(scope: dict[str, Any]) -> list[str]:
    """What a scope limits, in words."""
    words = [
        f"{name} {', '.join(scope[name])}" for name in ("lanes", "models", "endpoints")
        if scope.get(name)
    ]  # fmt: skip
    for name, unit in (
        ("requests_per_min", "requests a minute"), ("tokens_per_min", "tokens a minute"),
        ("at_once", "calls at once"), ("max_body_kb", "kB a request"),
    ):  # fmt: skip
        if scope.get(name):
            words.append(f"{scope[name]} {unit}")
    for name, unit in (("day_micro", "day"), ("month_micro", "month")):
        if scope[name] >= 0:
            words.append(f"{usd(scope[name])} a {unit}")
    if scope["local_only"]:
        words.append("local models only")
    if not scope["keep_bodies"]:
        words.append("no texts kept")
    return words


def until(scope: dict[str, Any]) -> list[str]:
    """Until when it holds, in words."""
    return [f"until {when(scope['expires_at'])}"] if scope["expires_at"] else []
