"""Times in files of memory: local times of a day, dates and moments, as ms since 1970 (UTC)."""

from __future__ import annotations

from datetime import date, datetime, time, tzinfo

_MOST = 253_402_300_799_000
"""The last moment of the year 9999."""
_SLACK_MS = 60_000
"""Lines may come so much out of order without meaning that an hour has come again."""


def of_day(day: date, zone: tzinfo | None = None) -> int:
    """A day without a time is its noon: whatever zone it is looked at from later, it is that day
    (with very few exceptions)."""
    return moment(datetime.combine(day, time(12)), zone)


def moment(then: datetime, zone: tzinfo | None = None) -> int:
    """Without a zone of its own it is local (``zone``, or that of this machine). 0 for what has no
    such number."""
    try:
        if then.tzinfo is None and zone is not None:
            then = then.replace(tzinfo=zone)
        ms = round(then.timestamp() * 1000)
    except (OverflowError, ValueError, OSError):
        return 0
    return ms if abs(ms) <= _MOST else 0


def parsed(words: str) -> int:
    """``2026-11-20``, ``2026-11-20T08:15:00+01:00``, ``2026-11-20 08:15``; 0 for anything else."""
    words = words.strip().strip("\"'")
    try:
        if len(words) == 10:
            return of_day(date.fromisoformat(words))
        return moment(datetime.fromisoformat(words))
    except ValueError:
        return 0


class Clock:
    """Turns the times of day of one file into moments.

    In the hour that comes twice when summer time ends, a time that would lie before the line above
    it is taken to be of the second. A clock that was set back by other means is believed.
    """

    def __init__(self, day: date, zone: tzinfo | None = None) -> None:
        self._day = day
        self._zone = zone
        self._last = 0
        self._minutes: dict[tuple[int, int], tuple[int, int]] = {}

    def at(self, hour: int, minute: int, second: int) -> int:
        """The moment; noon of the day where there is no such time of day."""
        if hour > 23 or minute > 59 or second > 60:
            return of_day(self._day, self._zone)
        first, later = self._minute(hour, minute)
        first, later = first + min(second, 59) * 1000, later + min(second, 59) * 1000
        # Two moments only where the hour comes twice; within a gap the "later" one is earlier.
        again = later > first and first < self._last - _SLACK_MS
        self._last = later if again else first
        return self._last

    def _minute(self, hour: int, minute: int) -> tuple[int, int]:
        """A minute of the day, and the same when it comes a second time."""
        both = self._minutes.get((hour, minute))
        if both is None:
            then = datetime.combine(self._day, time(hour, minute))
            both = moment(then, self._zone), moment(then.replace(fold=1), self._zone)
            self._minutes[hour, minute] = both
        return both


def day_of(ms: int) -> str:
    """The local date, as files carry it."""
    return datetime.fromtimestamp(ms / 1000).date().isoformat()
