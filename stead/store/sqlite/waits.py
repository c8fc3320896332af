"""Looks at what jobs ask of a node, and at those that wait for one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import apsw

from stead.core.placement import GATEWAY
from stead.core.states import Lane
from stead.core.storage import View
from stead.store.sqlite import holds
from stead.store.sqlite.sql import encoded, row, rows

_SHOWN = 200
_COUNTED = 10_000

_READY = f"state = 'queued' AND hold IN ({holds.APART}, {holds.READY}) AND lane = ?1"


def demands(c: apsw.Connection) -> list[tuple[str, str, str]]:
    """What the jobs that are ready ask for: one look into the index for each kind of demand."""
    there_is = " OR ".join(
        f"EXISTS (SELECT 1 FROM job WHERE state = 'queued' AND hold = {hold} AND lane = '{lane}'"
        " AND job.demand = demand.id)"
        for hold in (holds.APART, holds.READY)
        for lane in Lane
    )
    found = rows(
        c,
        "SELECT DISTINCT needs, prefer, avoid FROM demand"
        f" WHERE demand.needs <> ? AND ({there_is})",
        (GATEWAY,),
    )
    return [(one[0], one[1], one[2]) for one in found]


def open_demands(c: apsw.Connection) -> list[tuple[tuple[str, str, str], int]]:
    """What all jobs ask for that are not over, with their number."""
    count: dict[int, int] = {}
    for state in ("queued", "running", "waiting"):
        stuck = " AND state IN ('waiting', 'dead')" * (state == "waiting")
        for demand, number in rows(
            c, f"SELECT demand, count(*) FROM job WHERE state = '{state}'{stuck} GROUP BY demand"
        ):
            count[demand] = count.get(demand, 0) + number
    known = {
        one[0]: (one[1], one[2], one[3])
        for one in rows(c, "SELECT id, needs, prefer, avoid FROM demand")
    }
    asked: dict[tuple[str, str, str], int] = {}
    for one, number in count.items():
        demand = known.get(one)  # none of a row that cannot be read
        if demand is not None and demand[0] != GATEWAY:
            asked[demand] = asked.get(demand, 0) + number
    return list(asked.items())


def of_demands(c: apsw.Connection, wanted: Collection[tuple[str, str, str]]) -> View:
    """The ready jobs with one of these demands, those that wait longest first."""
    asked = {tuple(one) for one in wanted}
    known = rows(c, "SELECT id, needs, prefer, avoid FROM demand")
    ids = encoded([one[0] for one in known if one[1:] in asked])
    count = 0
    found: list[tuple[Any, ...]] = []
    for lane in Lane:
        count += row(
            c,
            f"SELECT count(*) FROM (SELECT 1 FROM job WHERE {_READY}"
            " AND demand IN (SELECT value FROM json_each(?2)) LIMIT ?3)",
            (lane, ids, _COUNTED),
        )[0]
        found += rows(
            c,
            f"SELECT created_at, id, message_id, conc_key FROM job WHERE {_READY}"
            " AND demand IN (SELECT value FROM json_each(?2)) ORDER BY rank, id LIMIT ?3",
            (lane, ids, _SHOWN),
        )
    found.sort(key=lambda one: one[:2])
    # Those that wait behind one of these in its conversation, or for another key, wait with it.
    keys = encoded([one[3] for one in found if one[3] is not None])
    count += row(
        c,
        "SELECT count(*) FROM (SELECT 1 FROM job WHERE state IN ('queued', 'running')"
        f" AND conc_key IN (SELECT value FROM json_each(?)) AND hold = {holds.IN_LINE} LIMIT ?)",
        (keys, _COUNTED),
    )[0]
    channel, session = "", ""
    first = next((one[2] for one in found if one[2] is not None), None)
    if first is not None:
        channel, session = row(c, "SELECT channel, session FROM message WHERE id = ?", (first,))
    return {
        "count": count,
        "since": found[0][0] if found else 0,
        "channel": channel,
        "session": session,
        "jobs": [one[1] for one in found[:_SHOWN]],
    }
