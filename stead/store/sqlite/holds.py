"""Which queued jobs are ready, and why the others are not.

====  ========  ==============================================================
hold  name      a queued job that
====  ========  ==============================================================
-1    APART     may be claimed, but apart from others like it: see ``suspects``
0     READY     may be claimed
1     IN_LINE   stands behind others of its ``conc_key``
2     LATER     is wanted later; it joins the line of its key when it is due
3     PAUSED    is to be tried again later, and keeps its turn meanwhile
4     ASIDE     cannot be given out (too late, unreadable); the reaper ends it
====  ========  ==============================================================

Claims look into an index that begins with this, so they cost the same however many
others there are. A place of a key is taken by all that are queued or running but
those that are IN_LINE or LATER.
"""

from __future__ import annotations

import apsw

from stead.core.placement import Ready
from stead.store.sqlite.sql import NOW, maybe, row, rows

APART, READY, IN_LINE, LATER, PAUSED, ASIDE = range(-1, 5)

_TAKEN = (
    "SELECT count(*) FROM job WHERE conc_key = {key} AND hold IN (-1, 0, 3, 4)"
    " AND state IN ('queued', 'running')"
)
_QUEUE = "SELECT id FROM job WHERE conc_key = {key} AND hold = 1 AND state IN ('queued', 'running')"


#: SQL for the hold of a job that may be claimed.
CLAIMABLE = f"CASE WHEN crashes > 0 THEN {APART} ELSE {READY} END"


def on_arrival(run_at: str, key: str, limit: str, ready: str = CLAIMABLE) -> str:
    """SQL for the hold of a job that is queued now, from SQL for some of its columns."""
    return (
        f"CASE WHEN {run_at} > {NOW} THEN {LATER} WHEN {key} IS NULL THEN {ready}"
        f" WHEN EXISTS ({_QUEUE.format(key=key)}) THEN {IN_LINE}"
        f" WHEN ({_TAKEN.format(key=key)}) >= max(1, {limit}) THEN {IN_LINE} ELSE {ready} END"
    )


_NEXT = f"""
SELECT id, needs, lane, prefer, avoid,
    max(1, conc_limit) > ({_TAKEN.format(key="?1")})
FROM job WHERE id = ({_QUEUE.format(key="?1")} ORDER BY id LIMIT 1)
"""


def let_next(c: apsw.Connection, key: str) -> Ready | None:
    """Let those next in the line of a key be ready for whom there are places; returns the first."""
    first = None
    while True:
        found = maybe(c, _NEXT, (key,))
        if found is None or not found[5]:
            return first
        c.execute(f"UPDATE job SET hold = {CLAIMABLE} WHERE id = ?", (found[0],))
        first = first or Ready(*found[1:5])


# Named, because SQLite would rather look into job_ready and sort all that are for later.
_DUE = f"""
SELECT id, hold, conc_key FROM job INDEXED BY job_later
WHERE state = 'queued' AND hold IN (2, 3) AND run_at <= {NOW} ORDER BY run_at, id LIMIT ?
"""

#: Whether anything is due that has not been made ready yet.
ANY_DUE = f"""
SELECT EXISTS (SELECT 1 FROM job INDEXED BY job_later
               WHERE state = 'queued' AND hold IN (2, 3) AND run_at <= {NOW})
"""


def promote(c: apsw.Connection, most: int) -> int:
    """Make ready what has become due, the longest due first; how many were looked at."""
    due = rows(c, _DUE, (most,))
    for job_id, hold, key in due:
        if key is not None and hold == LATER:
            c.execute(f"UPDATE job SET hold = {IN_LINE} WHERE id = ?", (job_id,))
            let_next(c, key)
        else:
            c.execute(f"UPDATE job SET hold = {CLAIMABLE} WHERE id = ?", (job_id,))
    return len(due)


def next_due_ms(c: apsw.Connection) -> int | None:
    """Milliseconds until the next is due (0: now), None if none is ready or will be by itself."""
    ready = maybe(c, "SELECT 1 FROM job WHERE state = 'queued' AND hold IN (-1, 0) LIMIT 1")
    if ready is not None:
        return 0
    (due,) = row(
        c,
        f"SELECT max(0, min(run_at) - {NOW}) FROM job INDEXED BY job_later"
        " WHERE state = 'queued' AND hold IN (2, 3)",
    )
    return None if due is None else int(due)
