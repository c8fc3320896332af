"""Discarded attempts: what a node reported of a job that had been taken from it meanwhile.

Evidence for people, never merged: no other statement reads it but the looks at it. Bounded, since
it is the work of a node that nobody waited for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apsw
import msgspec

from stead.core.states import StepState
from stead.core.storage import View
from stead.core.wire import Events, Finish
from stead.store.sqlite import suspects
from stead.store.sqlite.sql import NOW, maybe, row, rows

MOST_PARTS = 200
"""Steps kept of one attempt, its end not counted."""
MOST_CHARS = 256 * 1024
"""Kept of one attempt; what comes after that is cut."""
_ONE_MOST = 64 * 1024


def keep(c: apsw.Connection, node_id: str, report: Events | Finish) -> bool:
    """Keep what a report says; True if it is the first of its attempt.

    Only of the node from which this attempt was taken; the same report twice is one.
    """
    known = maybe(
        c,
        "SELECT discarded_at FROM attempt"
        " WHERE job_id = ? AND epoch = ? AND node_id = ? AND outcome IN ('crashed', 'cut off')",
        (report.job_id, report.epoch, node_id),
    )
    if known is None:
        return False
    suspects.came_back(c, report.job_id, report.epoch, node_id)
    key = (report.job_id, report.epoch)
    if maybe(c, "SELECT 1 FROM job WHERE id = ? AND forgotten_at > 0", (report.job_id,)):
        return False  # its words are not wanted any more
    for part, body, text in _parts(report):
        count, chars = row(
            c,
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM discarded"
            " WHERE job_id = ? AND epoch = ?",
            key,
        )
        if count >= MOST_PARTS and part != "end":
            continue
        left = _ONE_MOST if part == "end" else MOST_CHARS - _ONE_MOST - chars
        room = max(0, min(_ONE_MOST, left))
        body["text"] = text[:room]
        body["left_out"] = len(text) - len(body["text"])
        c.execute(
            f"INSERT INTO discarded (job_id, epoch, part, at, body) VALUES (?, ?, ?, {NOW}, ?)"
            " ON CONFLICT (job_id, epoch, part) DO NOTHING",
            (*key, part, msgspec.json.encode(body).decode()),
        )
    if known[0]:
        return False
    c.execute(f"UPDATE attempt SET discarded_at = {NOW} WHERE job_id = ? AND epoch = ?", key)
    return True


def _parts(report: Events | Finish) -> Iterator[tuple[str, dict[str, Any], str]]:
    """What is worth keeping: outcomes of steps, and the end. A refused intent was not acted on."""
    if isinstance(report, Finish):
        body: dict[str, Any] = {
            "what": "end", "outcome": report.outcome, "usage": report.usage,
            "error": report.trouble.message[:2000] if report.trouble else "",
            "worked_ms": report.worked_ms,
        }  # fmt: skip
        yield "end", body, report.text or report.waiting_for
        return
    for event in report.events:
        step = event.step
        if step is not None and step.state in (StepState.DONE, StepState.FAILED):
            body = {
                "what": "step", "seq": step.seq, "name": step.name[:200], "state": step.state,
                "input": step.input[:200], "usage": step.usage, "effects": step.effects,
            }  # fmt: skip
            yield f"step {step.seq:06d}", body, step.output


def of_job(c: apsw.Connection, job_id: str, most: int = 0) -> dict[int, list[View]]:
    """The parts of each discarded attempt, by epoch: steps in their order, then the end.

    ``most``: characters of each text that are shown; 0: all that was kept.
    """
    found: dict[int, list[View]] = {}
    for epoch, at, body in rows(
        c,
        "SELECT epoch, at, body FROM discarded WHERE job_id = ? ORDER BY epoch, part = 'end', part",
        (job_id,),
    ):
        part: View = msgspec.json.decode(body)
        if most and len(part["text"]) > most:
            part["left_out"] += len(part["text"]) - most
            part["text"] = part["text"][:most]
        found.setdefault(epoch, []).append({**part, "at": at})
    return found
