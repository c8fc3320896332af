"""What is found after a run: the record as the API shows it, the database, logs and files.

Read with Python's own sqlite3 once everything is stopped, with statements of its
own, so that it shows what is on the disk and not what stead believes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stead.chaos import lines, model
from stead.chaos.clients import Noted
from stead.chaos.door import Door
from stead.chaos.driver import Carried
from stead.chaos.house import House
from stead.chaos.kinds import GATEWAY
from stead.chaos.receiver import Received

Row = dict[str, Any]


@dataclass(slots=True)
class Evidence:
    """Everything that the judge looks at."""

    noted: dict[str, Noted] = field(default_factory=dict)
    carried: list[Carried] = field(default_factory=list)
    answers: list[tuple[str, str, str]] = field(default_factory=list)
    shown: list[Row] = field(default_factory=list)
    """The record as the API shows it."""
    messages: list[Row] = field(default_factory=list)
    jobs: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    outbox: list[Row] = field(default_factory=list)
    calls: list[Row] = field(default_factory=list)
    day_lines_left: int = 0
    nodes: list[Row] = field(default_factory=list)
    integrity: str = ""
    asked: list[Row] = field(default_factory=list)
    """What the model logged."""
    effects: list[Row] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    """What was pushed to the receiver."""
    clock: float = 0.0
    """Wall time less monotonic time of this machine, in seconds."""
    daily: list[str] = field(default_factory=list)
    """The lines of the daily logs."""
    spools_left: int = 0
    refused: int = 0
    """Reports that the gateway refused for good."""
    fell: dict[str, list[int]] = field(default_factory=dict)
    stubborn: list[str] = field(default_factory=list)
    stuck: str = ""
    """Why the run was given up, if it was."""


_TABLES = {
    "messages": "SELECT seq, id, channel, external_id, session, role, text, job_id FROM message"
    " ORDER BY seq",
    "jobs": "SELECT id, state, error, message_id, session, epoch, tries, crashes, route FROM job",
    "steps": "SELECT job_id, seq, epoch, name, state, rule, note FROM step"
    " ORDER BY job_id, seq, epoch",
    "attempts": "SELECT job_id, epoch, node_id, outcome, error FROM attempt ORDER BY job_id, epoch",
    "outbox": "SELECT message_id, channel, job_id, state, tries, note FROM outbox",
    "nodes": "SELECT id, name FROM node",
    "calls": "SELECT id, job_id, state, status, reserved_micro, cost_micro FROM call",
}


def shown(door: Door, sessions: list[str]) -> list[Row]:
    """The record of these sessions, page by page, through the API; marks it as read."""
    found: list[Row] = []
    for session in sessions:
        after = 0
        while True:
            status, page = door.call(
                "GET", f"/api/v1/messages?session={session}&after={after}&limit=500&read=1",
                timeout=30.0,
            )  # fmt: skip
            if status != 200 or not page["messages"]:
                break
            found += page["messages"]
            after = page["messages"][-1]["seq"]
    return found


def gather(house: House, into: Evidence) -> None:
    """Read everything that lies on the disk; the house is stopped."""
    home = house.homes[GATEWAY]
    connection = sqlite3.connect(f"file:{home / 'state.db'}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        for name, sql in _TABLES.items():
            setattr(into, name, [dict(row) for row in connection.execute(sql)])
        (into.day_lines_left,) = connection.execute("SELECT count(*) FROM dayline").fetchone()
        checked = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        into.integrity = "; ".join(checked[:5])
    except sqlite3.DatabaseError as error:
        into.integrity = f"{type(error).__name__}: {error}"
    finally:
        connection.close()
    into.asked = lines.read(house.folder / model.LOG)
    into.effects = lines.read(house.effects)
    for path in sorted((home / "memory").glob("????-??-??.md")):
        into.daily += path.read_text("utf-8", "replace").splitlines()
    for name, place in house.homes.items():
        if name == GATEWAY:
            continue
        into.spools_left += _count(place / "spool" / "reports.jsonl")
        into.refused += _count(place / "spool" / "refused.jsonl")
    into.fell = {name: part.fell for name, part in house.parts.items() if part.fell}


def _count(path: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(1 for line in path.read_bytes().split(b"\n") if line.strip())
    return 0
