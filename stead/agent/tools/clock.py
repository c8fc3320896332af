"""The time."""

from __future__ import annotations

from datetime import datetime

from stead.agent.tools.base import Args, Context, Tool
from stead.core.states import Effects, OnUnknown


class ClockArgs(Args, frozen=True):
    pass


async def now(args: ClockArgs, context: Context) -> str:
    """Weekday, date, time and zone of this machine."""
    at = datetime.now().astimezone()
    offset = at.strftime("%z")
    zone = at.tzname() or "UTC"
    utc = "" if zone == "UTC" else f", UTC{offset[:3]}:{offset[3:]}"
    return f"{at:%A}, {at.day} {at:%B %Y} ({at:%Y-%m-%d}), {at:%H:%M:%S} ({zone}{utc})"


CLOCK = Tool(
    name="clock",
    about="The date, weekday, time and time zone of this machine, now.",
    short="date and time",
    args=ClockArgs,
    run=now,
    effects=Effects.NONE,
    on_unknown=OnUnknown.REPEAT,
    small=True,
)
