"""Words of others, made so that a reader sees all that is in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

#: What moves, hides or turns round what is read: controls, marks of direction (UAX 9), blanks
#: without width, tags. Joiners stay: scripts and emoji need them.
_ODD = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def seen(text: object) -> str:
    """The text with what nobody could see in it named: ``[U+202E]``."""
    return _ODD.sub(lambda found: f"[U+{ord(found[0]):04X}]", str(text))


def day(ms: int | None) -> str:
    """The day of a moment, with the time where it is not midnight; empty for none."""
    if not ms:
        return ""
    try:
        then = datetime.fromtimestamp(ms / 1000)
    except (ValueError, OverflowError, OSError):
        return "out of the calendar"
    midnight = (then.hour, then.minute, then.second) == (0, 0, 0)
    return then.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M")


def diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    """The lines of a unified diff, each with what it is: ``file``, ``place``, ``new``, ``gone``,
    or nothing. What comes before the first place is about the file."""
    place = False
    for line in diff.split("\n"):
        if line.startswith(("diff --git ", "--- ", "+++ ")) and (
            not place or line.startswith("diff --git ")
        ):
            place = False
            if not line.startswith("diff"):
                yield "file", line
        elif line.startswith("@@"):
            place = True
            yield "place", line
        elif not place:
            if line.startswith(("new file", "deleted file")):
                yield "file", line
        elif line.startswith("+"):
            yield "new", line
        elif line.startswith("-"):
            yield "gone", line
        elif line:
            yield "", line


def marked(text: str, words: str, most: int = 700) -> list[tuple[str, bool]]:
    """A text in pieces, and whether each is one of the words that were asked for."""
    short = text if len(text) <= most else f"{text[:most]}…"
    wanted = sorted({word for word in re.findall(r"\w+", words) if len(word) > 1}, key=len)[-20:]
    if not wanted:
        return [(short, False)]
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, reversed(wanted)))})", re.I)
    return [(piece, bool(number % 2)) for number, piece in enumerate(pattern.split(short)) if piece]


FILTERS = {"seen": seen, "day": day, "diff_lines": diff_lines, "marked": marked}
