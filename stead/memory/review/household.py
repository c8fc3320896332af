"""What memory needs beside what a day brings: cards that say the same, cards that nobody used.

Found by words and dates, without a model, and always only proposed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta

from stead.memory.review import lines
from stead.memory.review.changes import Desktop
from stead.memory.review.nouns import Op, Operation, Shelf, Terms, Used
from stead.memory.review.said import flat, telling

_MOST = 5
"""Proposals of each kind in one night."""
_SHARED = 0.8
"""So much of the smaller card stands in the other one too."""


def wishes(
    shelf: Shelf, terms: Terms, used: Used | None, now: float | None = None
) -> Iterator[tuple[Operation, str]]:
    """(proposal, why), a few of each kind."""
    today = datetime.fromtimestamp(time.time() if now is None else now).date()
    desktop = Desktop(shelf)
    cards = [(path, topic, desktop.read(path) or "") for path, topic in desktop.cards()]
    gone: set[str] = set()
    for one, why in _twins(cards, today.isoformat()):
        gone.add(one.other)
        yield one, why
    if terms.decay_days and used is not None:
        yield from _unused(
            [card for card in cards if card[0] not in gone], used, terms.decay_days, today
        )


def _twins(cards: list[tuple[str, str, str]], today: str) -> Iterator[tuple[Operation, str]]:
    made = 0
    topics: dict[frozenset[str], tuple[str, str, str]] = {}
    holders: dict[str, list[int]] = {}
    said: list[set[str]] = []
    for at, (path, topic, text) in enumerate(cards):
        mine = {flat(one.text).casefold() for one in lines.open_statements(text)}
        said.append(mine)
        twin, why = topics.get(telling(topic)), "both have the same topic"
        if twin is None and len(mine) > 1:
            near: dict[int, int] = {}
            for statement in mine:
                for other in holders.get(statement, ()):
                    near[other] = near.get(other, 0) + 1
            for other, shared in near.items():
                if shared > 1 and shared >= _SHARED * min(len(mine), len(said[other])):
                    twin, why = cards[other], f"{shared} statements stand in both"
                    break
        if twin is not None and made < _MOST:
            made += 1
            # The path names what goes: two cards of one topic cannot be told apart by it.
            yield (
                Operation(
                    Op.MERGE, today, topic=twin[1], other=path, source=twin[0], speaker="review"
                ),
                why,
            )
            continue
        topics.setdefault(telling(topic), cards[at])
        for statement in mine:
            holders.setdefault(statement, []).append(at)


def _unused(
    cards: list[tuple[str, str, str]], used: Used, days: int, today: date
) -> Iterator[tuple[Operation, str]]:
    recalled = used()
    before = (today - timedelta(days=days)).isoformat()
    idle = []
    for path, topic, text in cards:
        changed = (lines.field(text, "updated") or lines.field(text, "created"))[:10]
        ms = recalled.get(path, 0)
        last = max(changed, date.fromtimestamp(ms / 1000).isoformat() if ms else "")
        if changed and last < before:
            idle.append((last, path, topic))
    for last, path, topic in sorted(idle)[:_MOST]:
        yield Operation(
            Op.ARCHIVE, today.isoformat(), topic=topic, other=path, source=path, speaker="review",
            text=f"neither changed nor recalled since {last}",
        ), f"nobody used it for {days} days"  # fmt: skip
