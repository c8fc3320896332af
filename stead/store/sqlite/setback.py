"""When time has passed that nobody saw, or has gone back: leases and short waits are put right."""

from __future__ import annotations

import apsw

from stead.store.sqlite.sql import NOW

_LEASES = f"""
UPDATE job SET lease_until = {NOW} + ?,
    started_at = CASE WHEN started_at > {NOW} THEN {NOW}
        ELSE started_at + max(0, {NOW} - lease_until) END
WHERE state = 'running'
"""

# Jobs that are tried again after a while. One that was asked for at a time keeps that time.
_JOBS = f"""
UPDATE job SET rank = rank - run_at + max({NOW}, run_at + ?1), run_at = max({NOW}, run_at + ?1)
WHERE state = 'queued' AND hold IN (2, 3) AND tries + crashes > 0 AND run_at > {NOW}
"""

_OUTBOX = f"""
UPDATE outbox SET next_at = max({NOW}, next_at + ?1) WHERE state = 'pending' AND next_at > {NOW}
"""


def leases_anew(c: apsw.Connection, lease_ms: int, moved_ms: int) -> int:
    """Start every lease anew; how many there are. ``moved_ms`` below 0: the clock was set back by
    so much, so what waits for a while (a try, a delivery) waits for what was left of it."""
    # The time since a lease ran out is nobody's: it does not count as work on its job.
    c.execute(_LEASES, (lease_ms,))
    changed = c.changes()
    if moved_ms < 0:
        c.execute(_JOBS, (moved_ms,))
        c.execute(_OUTBOX, (moved_ms,))
    return changed
