"""A time of day, as rules name it: ``22:00-06:30``, on some days of the week."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
_DAY_MIN = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """A time of day (local), on some days: those on which it begins. It may go over midnight."""

    start_min: int = 0
    end_min: int = _DAY_MIN
    days: frozenset[int] = frozenset(range(7))

    @classmethod
    def parse(cls, hours: str, days: Iterable[str] = ()) -> Hours:
        """``22:00-06:30`` and ``mon`` to ``sun`` (none: all). Raises ``ValueError``."""
        found = _HOURS.fullmatch(hours) if hours else None
        if hours and found is None:
            raise ValueError(f"{hours!r} is no time of day such as 22:00-06:30")
        named = [day.strip().lower()[:3] for day in days]
        if odd := [day for day in named if day not in _DAYS]:
            raise ValueError(f"{odd[0]!r} is no day; there are {', '.join(_DAYS)}")
        numbers = frozenset(_DAYS.index(day) for day in named) or frozenset(range(7))
        if found is None:
            return cls(days=numbers)
        start, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
        return cls(start, end if end > start else end + _DAY_MIN, numbers)

    def left_min(self, now: time.struct_time) -> int:
        """Minutes until it is over; 0: it is not that time now."""
        minute = now.tm_hour * 60 + now.tm_min
        for back in (0, 1):  # it may have begun yesterday
            at = minute + back * _DAY_MIN
            if (now.tm_wday - back) % 7 in self.days and self.start_min <= at < self.end_min:
                return self.end_min - at
        return 0
