"""Rows that cannot be what they say: written by hand, or by a program with a fault.

They must hold up nobody. Whoever meets one sets it aside; the reaper then ends its
job as dead, with what is wrong with it, and leaves the row as it was found.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import apsw
import msgspec

from stead.core.nouns import Job
from stead.core.states import JobState, Lane
from stead.core.storage import UNREADABLE, CrashRule, Ended
from stead.store.sqlite import holds, record
from stead.store.sqlite.sql import NOW, maybe, rows


def is_poison(fault: Exception) -> bool:
    """Whether a row is at fault, and not the disk, the database or this program."""
    if isinstance(fault, apsw.Error):
        return isinstance(fault, apsw.SQLError) and "JSON" in str(fault)
    return isinstance(fault, msgspec.DecodeError | ValueError | RecursionError)


def is_text(raw: bytes) -> bool:
    """Whether these bytes are UTF-8."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def set_aside(c: apsw.Connection, job_id: bytes, fault: Exception) -> None:
    """Take a queued job out of the way of the others, until the reaper ends it."""
    c.execute(
        f"UPDATE job SET hold = {holds.ASIDE}, error = ? WHERE id = CAST(? AS TEXT)",
        (f"{UNREADABLE} ({fault})", job_id),
    )


def aside(c: apsw.Connection, limit: int) -> list[bytes]:
    """The ids of jobs that were set aside, as bytes, since they may be what cannot be read."""
    found = rows(
        c,
        # One that is only too late is aside as well, and may have failed before.
        "SELECT CAST(id AS BLOB) FROM job WHERE state = 'queued' AND hold = 4"
        " AND substr(error, 1, length(?1)) = ?1 LIMIT ?2",
        (UNREADABLE, limit),
    )
    return [one[0] for one in found]


def end(c: apsw.Connection, job_id: bytes, rule: CrashRule) -> Ended | None:
    """End one of those; None if somebody has done so meanwhile."""
    still = "SELECT 1 FROM job WHERE id = CAST(? AS TEXT) AND state = 'queued' AND hold = 4"
    return bury(c, job_id, None, rule) if maybe(c, still, (job_id,)) else None


_COLUMNS = [one.name for one in fields(Job)]
_REMAINS = f"""
SELECT {", ".join(f"CAST({name} AS BLOB)" for name in _COLUMNS)}, {NOW}
FROM job WHERE id = CAST(? AS TEXT)
"""

_BURY = """
UPDATE job SET state = 'dead', hold = 0, error = ?, ended_at = ?, lease_until = 0,
    claim_req = NULL
WHERE id = CAST(? AS TEXT)
"""


def bury(c: apsw.Connection, job_id: bytes, fault: BaseException | None, rule: CrashRule) -> Ended:
    """End a job that cannot be read as dead; all else of its row stays as it was found.

    ``fault`` is why, None if that was noted when it was set aside.
    """
    found = maybe(c, _REMAINS, (job_id,))
    assert found is not None
    *values, now = found
    job = _remains(dict(zip(_COLUMNS, values, strict=True)))
    why = job.error if fault is None else f"{UNREADABLE} ({fault})"
    ruling = replace(rule(job, why), state=JobState.DEAD)
    job.state, job.error, job.ended_at = JobState.DEAD, ruling.error or why, now
    c.execute(_BURY, (job.error, now, job_id))
    message_id = None
    if job.message_id is not None and ruling.reply is not None:
        message_id = _reply(c, job, ruling.reply, ruling.role)
    if ruling.line:
        record.day_line(c, ruling.line)
    ready = holds.let_next(c, job.conc_key) if job.conc_key is not None else None
    return Ended(job, job.state, message_id=message_id, ready=ready)


def _reply(c: apsw.Connection, job: Job, text: str, role: str) -> str | None:
    """The owner is told, if the row still says whom to tell."""
    try:
        return record.reply(c, job, text, role)
    except LookupError:
        return None


def _remains(values: dict[str, Any]) -> Job:
    """What can be made out of a row, with something harmless in place of the rest."""
    texts = {name: _text(value) for name, value in values.items()}
    usual: dict[str, Any] = {"payload": {}, "state": JobState.QUEUED, "cancel_req": False}
    usual["lane"] = Lane.CHAT if texts["lane"] == Lane.CHAT else Lane.BACKGROUND
    numbers = {
        name: _number(texts[name]) for name, kind in Job.__annotations__.items() if kind == "int"
    }
    return Job(**{**texts, **numbers, **usual})


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.lstrip("-").isdigit() else 0
