"""Figures in words, for people: ages, sizes, money, states. Filters of every template."""

from __future__ import annotations

from datetime import UTC, datetime

#: A state anywhere in the house -> the look of its badge (``badge good`` and so on).
LOOKS = {
    "done": "good", "ok": "good", "ready": "good", "alive": "good", "approved": "good",
    "sent": "good", "active": "good", "up": "good",
    "running": "busy", "sending": "busy", "starting": "busy", "loading": "busy",
    "waiting": "warn", "asked": "warn", "pending": "warn", "draining": "warn", "degraded": "warn",
    "unknown": "warn", "late": "warn", "stale": "warn",
    "dead": "bad", "failed": "bad", "down": "bad", "denied": "bad", "error": "bad",
    "revoked": "bad", "lost": "bad",
    "cancelled": "off", "ended": "off", "idle": "off", "away": "off", "off": "off",
    "stopped": "off", "expired": "off",
}  # fmt: skip

_STEPS = ((60, "s"), (60, "min"), (24, "h"), (7, "d"))


def look(state: str) -> str:
    """The class of a state's badge; empty for one that says nothing about good or bad."""
    return LOOKS.get(str(state), "")


def span(ms: float) -> str:
    """A length of time, ``ms`` milliseconds: ``340 ms``, ``2.4 s``, ``3 min``, ``5 h``, ``2 d``."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    left = ms / 1000
    if left < 10:
        return f"{left:.1f} s".replace(".0 s", " s")
    for size, unit in _STEPS:
        if left < size:
            return f"{left:.0f} {unit}"
        left /= size
    return f"{left * 7:.0f} d"


def ago(ms: int, now_ms: int) -> str:
    """How long ago: ``now``, ``5 min ago``, ``in 2 h``; from a week on, the day."""
    apart = now_ms - ms
    if abs(apart) < 10_000:
        return "now"
    if abs(apart) >= 7 * 86_400_000:
        return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d")
    words = span(abs(apart) // 1000 * 1000)
    return f"{words} ago" if apart > 0 else f"in {words}"


def stamp(ms: int) -> str:
    """RFC 3339, in UTC: what ``<time datetime>`` takes."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def clock(ms: int) -> str:
    """Date and time of the machine's own zone: ``2026-11-22 02:40:18``."""
    return datetime.fromtimestamp(ms / 1000).strftime("%Y-%m-%d %H:%M:%S")


def size(count: float) -> str:
    """Bytes: ``812 B``, ``4.2 KB``, ``200 MB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def money(micro: float) -> str:
    """Millionths of a dollar: ``$0``, ``$0.0042``, ``$1.25``, ``$1,204.50``."""
    dollars = micro / 1_000_000
    if dollars == 0:
        return "$0"
    return f"${dollars:,.2f}" if abs(dollars) >= 0.995 else f"${dollars:.4f}"


def number(count: float) -> str:
    """``12,345``."""
    return f"{count:,.0f}"


def plural(count: int, thing: str, things: str = "") -> str:
    """``1 job``, ``3 jobs``, ``2 entries``."""
    return f"{number(count)} {thing if count == 1 else things or thing + 's'}"


FILTERS = {
    "look": look, "span": span, "stamp": stamp, "clock": clock, "size": size, "money": money,
    "number": number, "plural": plural,
}  # fmt: skip
