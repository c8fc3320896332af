"""The outbox's SQL: replies on their way, each conversation in its order.

Of the open rows (``pending``, ``sending``) of one conversation on one channel, one is free
(``blocked = 0``): the oldest, unless the owner put one back by hand. When it leaves, however
it does, the next is freed in the same transaction. So taking what is due is one look-up,
however long a backlog is, and a row that waits holds up its own conversation only.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw

from stead.core.errors import BadRequest, NotFound, NotSettled
from stead.core.storage import Delivery, View
from stead.store.sqlite.sql import NOW as _NOW
from stead.store.sqlite.sql import Row, maybe, row, rows, shown

#: Word for word what the indexes cover, else SQLite cannot use them.
_OPEN = (
    "(o.state = 'pending' OR o.state = 'sending' OR o.state = 'ambiguous' OR o.state = 'failed')"
)
_UNDER_WAY = "state IN ('pending', 'sending')"

#: What `recover` gives out at once; the rest comes at the next call.
_RECOVERED = 1000


def add(
    c: apsw.Connection, message_id: str, channel: str, session: str, job_id: str | None
) -> None:
    """A reply on its way. It is due whatever the clock says, which may be set back after this."""
    c.execute(
        "INSERT INTO outbox (message_id, channel, session, job_id, state, next_at, blocked)"
        f" VALUES (?1, ?2, ?3, ?4, 'pending', 0, {_IS_BEHIND})",
        (message_id, channel, session, job_id),
    )


_IS_BEHIND = f"EXISTS (SELECT 1 FROM outbox WHERE channel = ?2 AND session = ?3 AND {_UNDER_WAY})"

_DELIVERY = """
SELECT o.id, o.message_id, o.channel, o.session, o.job_id, m.text, m.role, o.tries, o.doubts,
       m.at, coalesce((SELECT a.external_id FROM message a WHERE a.job_id = o.job_id
                       AND a.role = 'owner' LIMIT 1), '')
FROM outbox o JOIN message m ON m.id = o.message_id
"""


def take(c: apsw.Connection, channel: str, limit: int) -> list[Delivery]:
    due = shown(
        c,
        f"{_DELIVERY} WHERE o.channel = ? AND o.state = 'pending' AND {_OPEN} AND o.blocked = 0"
        f" AND o.next_at <= {_NOW} ORDER BY o.id LIMIT ?",
        (channel, limit),
    )
    for found in due:
        c.execute(
            "UPDATE outbox SET state = 'sending', tries = tries + 1 WHERE id = ?", (found[0],)
        )
    return [_delivery(found, 1) for found in due]


def _delivery(found: Row, tried: int = 0) -> Delivery:
    id, message_id, channel, session, job_id, text, role, tries, *rest = found
    return Delivery(id, message_id, channel, session, job_id, text, role, tries + tried, *rest)


def next_due_ms(c: apsw.Connection, channel: str) -> int | None:
    """Milliseconds until a free row of this channel is due; 0 is now, None is none."""
    (due,) = row(
        c,
        f"SELECT max(0, min(o.next_at) - {_NOW}) FROM outbox o"
        f" WHERE o.channel = ? AND o.state = 'pending' AND {_OPEN} AND o.blocked = 0",
        (channel,),
    )
    return None if due is None else int(due)


@dataclass(frozen=True, slots=True)
class Later:
    """What changes in a row's counts, and when it is due again."""

    delay_ms: int = 0
    doubts: int = 0
    uncounted: int = 0


NOW, DOUBTED = Later(), Later(doubts=1)


def mark(c: apsw.Connection, delivery_id: int, state: str, note: str, later: Later = NOW) -> None:
    """What became of a row that was taken, or whose doubt was settled by rule."""
    found = maybe(
        c,
        "SELECT channel, session FROM outbox"
        " WHERE id = ? AND state IN ('sending', 'ambiguous') AND state <> ?",
        (delivery_id, state),
    )
    if found is not None:
        _set(c, delivery_id, found, state, note, later)


def _set(
    c: apsw.Connection, delivery_id: int, place: Row, state: str, note: str, later: Later = NOW
) -> None:
    channel, session = place
    c.execute(
        f"UPDATE outbox SET state = ?4, note = ?5, next_at = {_NOW} + ?6, doubts = doubts + ?7,"
        f" tries = tries - ?8,"
        f" delivered_at = CASE ?4 WHEN 'sent' THEN {_NOW} ELSE delivered_at END,"
        " blocked = CASE ?4 WHEN 'pending' THEN EXISTS (SELECT 1 FROM outbox WHERE channel = ?2"
        f" AND session = ?3 AND id <> ?1 AND blocked = 0 AND {_UNDER_WAY}) ELSE 0 END"
        " WHERE id = ?1",
        (
            delivery_id, channel, session, state, note, later.delay_ms, later.doubts,
            later.uncounted,
        ),
    )  # fmt: skip
    if state != "pending":
        _free_next(c, channel, session)


def _free_next(c: apsw.Connection, channel: str, session: str) -> None:
    """The next of a conversation may go, unless one of it is free already."""
    c.execute(
        "UPDATE outbox SET blocked = 0 WHERE blocked = 1 AND id = (SELECT id FROM outbox"
        f" WHERE channel = ? AND session = ? AND {_UNDER_WAY} ORDER BY blocked, id LIMIT 1)",
        (channel, session),
    )


def unsettled(c: apsw.Connection, channel: str) -> list[Delivery]:
    """After a start: what was being sent when the last process ended, and what is in doubt."""
    return [
        _delivery(found)
        for state in ("sending", "ambiguous")
        for found in rows(
            c,
            f"{_DELIVERY} WHERE o.channel = ? AND o.state = '{state}' AND {_OPEN}"
            " ORDER BY o.id LIMIT ?",
            (channel, _RECOVERED),
        )
    ]


def fetched(c: apsw.Connection, job_id: str) -> None:
    _read(c, "job_id", job_id, "read by the asker")


def fetched_messages(c: apsw.Connection, message_ids: list[str]) -> None:
    for message_id in message_ids:
        _read(c, "message_id", message_id, "read in the conversation")


def _read(c: apsw.Connection, column: str, ident: str, note: str) -> None:
    left = rows(
        c,
        f"UPDATE outbox SET state = 'sent', delivered_at = {_NOW}, note = ?, blocked = 0"
        f" WHERE {column} = ? AND state = 'pending' RETURNING channel, session",
        (note, ident),
    )
    for channel, session in left:
        _free_next(c, channel, session)


# --- by the owner's hand ---------------------------------------------------------

#: What the owner may do with a row in which state: the word, and the state it becomes.
_BY_HAND = {
    "sent": ({"ambiguous", "failed", "pending", "left"}, "sent"),
    "again": ({"ambiguous", "failed", "left", "dropped"}, "pending"),
    "drop": ({"ambiguous", "failed", "pending", "left"}, "dropped"),
}


def settle(c: apsw.Connection, ident: str, how: str) -> View:
    """Raises ``NotFound``, ``BadRequest``, or ``NotSettled`` where that cannot be done to it."""
    delivery_id = find(c, ident)
    state, channel, session = row(
        c, "SELECT state, channel, session FROM outbox WHERE id = ?", (delivery_id,)
    )
    allowed, becomes = _BY_HAND[how]
    if state not in allowed:
        raise NotSettled(ident=delivery_id, state=state, how=how)
    _set(c, delivery_id, (channel, session), becomes, f"settled by the owner: {how}")
    if how == "again":  # the counts that put it aside begin anew
        c.execute("UPDATE outbox SET tries = 0, doubts = 0 WHERE id = ?", (delivery_id,))
    return show(c, str(delivery_id))


# --- looks -------------------------------------------------------------------------

_FIELDS = (
    "id", "message_id", "channel", "session", "job_id", "state", "tries", "doubts", "next_at",
    "delivered_at", "note", "role", "at", "blocked", "text",
)  # fmt: skip

_SELECT = """
SELECT o.id, o.message_id, o.channel, o.session, o.job_id, o.state, o.tries, o.doubts, o.next_at,
       o.delivered_at, o.note, m.role, m.at, o.blocked, {text}
FROM outbox o JOIN message m ON m.id = o.message_id
"""

STATES = ("pending", "sending", "ambiguous", "failed", "left", "dropped", "sent")


def view(
    c: apsw.Connection,
    *,
    state: str = "",
    channel: str = "",
    before: int = 0,
    limit: int = 50,
) -> View:
    """The newest first. Without a state: what is open (not sent, left or dropped)."""
    if state and state not in STATES:
        raise BadRequest(f"There is no such state {state!r}; there are {', '.join(STATES)}.")
    where = [f"o.state = '{state}'" if state else _OPEN]
    # The open ones are few: they are found by their index and sorted, not looked for by number.
    order = "o.id"
    if state in STATES[:4]:
        where.append(_OPEN)
    if not state or state in STATES[:4]:
        order = "+o.id"
    args: list[str | int] = []
    if channel:
        where.append("o.channel = ?")
        args.append(channel)
    if before:
        where.append("o.id < ?")
        args.append(before)
    found = _views(
        c,
        f"{_SELECT.format(text='substr(m.text, 1, 200)')} WHERE {' AND '.join(where)}"
        f" ORDER BY {order} DESC LIMIT ?",
        (*args, limit + 1),
    )
    return {"deliveries": found[:limit], "more": len(found) > limit}


def show(c: apsw.Connection, ident: str) -> View:
    """One row with its whole text. Raises ``NotFound``."""
    found = _views(c, f"{_SELECT.format(text='m.text')} WHERE o.id = ?", (find(c, ident),))
    return found[0]


def _views(c: apsw.Connection, sql: str, args: tuple[str | int, ...]) -> list[View]:
    found = [dict(zip(_FIELDS, entry, strict=True)) for entry in shown(c, sql, args)]
    for entry in found:
        entry["blocked"] = bool(entry["blocked"])
    return found


def of_job(c: apsw.Connection, job_id: str) -> list[View]:
    """The replies of one job, oldest first, without their text."""
    fields = (
        "id", "message_id", "channel", "state", "tries", "doubts", "next_at", "delivered_at",
        "note",
    )  # fmt: skip
    found = c.execute(
        "SELECT id, message_id, channel, state, tries, doubts, next_at, delivered_at, note"
        " FROM outbox WHERE job_id = ? ORDER BY id",
        (job_id,),
    )
    return [dict(zip(fields, entry, strict=True)) for entry in found]


def find(c: apsw.Connection, ident: str) -> int:
    """The row that a number, or an id (or the end of one) of a message or its job means.

    The end of an id may well be all digits: what is no row's number, as it would be written, is
    looked for as an id.
    """
    found: list[Row] = []
    if ident.isascii() and ident.isdigit() and len(ident) < 12 and not ident.startswith("0"):
        found = rows(c, "SELECT id FROM outbox WHERE id = ?", (int(ident),))
    if not found and len(ident) >= 6:
        text = ident.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        found = rows(
            c,
            "SELECT id FROM outbox WHERE message_id LIKE ?1 ESCAPE '\\' OR job_id LIKE ?1"
            " ESCAPE '\\' ORDER BY id DESC LIMIT 5",
            (f"%{text}",),
        )
    if not found:
        raise NotFound(what=f"reply {ident!r} in the outbox")
    if len(found) > 1:
        names = ", ".join(str(entry[0]) for entry in found)
        raise BadRequest(f"{ident!r} could mean several replies: {names}. Give the number of one.")
    return int(found[0][0])


def counts(c: apsw.Connection) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """How many are open in each state: in all, and of each channel."""
    total: dict[str, int] = {}
    channels: dict[str, dict[str, int]] = {}
    for channel, state, count in rows(
        c,
        f"SELECT o.channel, o.state, count(*) FROM outbox o WHERE {_OPEN}"
        " GROUP BY o.channel, o.state",
    ):
        total[state] = total.get(state, 0) + count
        channels.setdefault(channel, {})[state] = count
    return total, channels
