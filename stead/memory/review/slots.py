"""When the review is due: a slot a day, by the local clock, and every slot leaves a record.

A slot is a date. It is due once the local clock of that date shows the time of the settings or
more, and it is over when it has a record; so an hour that comes twice runs nothing twice, an hour
that is left out skips nothing, and a clock that jumps is no matter.
"""

from __future__ import annotations

import json
import re
import time as clocks
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from stead.core.files import write_atomic

FOLDER = "keep/review"
"""What the review keeps of itself, in the home."""

RAN, LATE, SKIPPED, MISSED, RUNNING = "ran", "late", "skipped", "missed", "running"
OVER = (RAN, LATE, SKIPPED, MISSED)
#: A slot that begins so much after its time was late.
_LATE_S = 1800
_AT = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def parsed(at: str) -> time | None:
    """``03:30``; None for anything else (empty: no review by itself)."""
    found = _AT.fullmatch(at.strip())
    return time(int(found[1]), int(found[2])) if found else None


def due(at: time, now: datetime) -> date:
    """The newest slot whose time has come. ``now`` is local and naive, as a clock on the wall."""
    return now.date() if now.time() >= at else now.date() - timedelta(days=1)


def late(slot: date, at: time, now: datetime) -> bool:
    return (now - datetime.combine(slot, at)).total_seconds() > _LATE_S


def missed(newest: date, records: Mapping[str, Any], most: int) -> list[str]:
    """The slots before ``newest`` that nobody was there for, since the last one with a record."""
    known = [name for name in records if name < newest.isoformat()]
    if not known:
        return []
    try:
        last = date.fromisoformat(max(known))
    except ValueError:
        return []
    gap = min((newest - last).days - 1, most)
    return [(newest - timedelta(days=back)).isoformat() for back in range(gap, 0, -1)]


# --- what can be said without the rest of the review (the gateway loads that when it is due) ---


def record(home: Path, slot: str) -> dict[str, Any]:
    """What is known of a slot; empty: nothing."""
    try:
        found = json.loads((home / FOLDER / "nights" / f"{slot}.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def first(home: Path, slot: str) -> bool:
    """In a home that has no slot yet: this one is passed over, as nobody missed it."""
    folder = home / FOLDER / "nights"
    if folder.is_dir():
        return False
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    said = {"state": SKIPPED, "why": "stead was new then", "ended": int(clocks.time() * 1000)}
    write_atomic(folder / f"{slot}.json", json.dumps(said).encode())
    return True


def words(home: Path) -> list[str]:
    """What `status` says: the last slot, and what waits."""
    folder = home / FOLDER
    told = []
    slots = sorted((path.stem for path in (folder / "nights").glob("*.json")), reverse=True)
    records = ((slot, record(home, slot)) for slot in slots)
    last = next((one for one in records if one[1] and not one[1].get("dry_run")), None)
    if last is not None:
        told.append(_words(last[0][:10], last[1]))
    if count := sum(1 for _ in (folder / "proposals").glob("[0-9a-f]*.json")):
        waits = "1 proposal waits" if count == 1 else f"{count} proposals wait"
        told.append(f"{waits} for your word: stead memory review list")
    return told


def _words(day: str, record: Mapping[str, Any]) -> str:
    state, counts = record.get("state"), record.get("counts") or {}
    why = f" ({record['why']})" if record.get("why") else ""
    if state == RUNNING:
        return f"memory is being reviewed{why}"
    if state in (SKIPPED, MISSED):
        return f"the review of {day} was {state}{why}"
    tokens = counts.get("prompt_tokens", 0) + counts.get("answer_tokens", 0)
    return (
        f"memory was reviewed on {day}: {counts.get('taken', 0)} taken, {counts.get('waiting', 0)}"
        f" proposed, {tokens} tokens{why}"
    )
