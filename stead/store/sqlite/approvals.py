"""The SQL of questions to the owner about calls, and of what he granted for ever."""

from __future__ import annotations

import json
from collections.abc import Sequence

import apsw

from stead.core.approvals import ANSWERED, EXPIRED, OPEN, VOID
from stead.core.errors import AlreadyAnswered, BadRequest, NotFound
from stead.core.ids import uuid7
from stead.core.permits import ALWAYS, JOB, NO, Answered, Approval, PermitRule
from stead.core.storage import View
from stead.store.sqlite.sql import NOW, Row, encoded, maybe, row, rows, shown

_FIELDS = (
    "id", "job_id", "seq", "kind", "tool", "preview", "args", "digest", "why", "is_foreign",
    "offers", "job_scope", "always_scope", "always", "asked_at", "expires_at", "state", "word",
    "said", "answered_by", "answered_at",
)  # fmt: skip
_COLUMNS = ", ".join(_FIELDS)
_ASK = f"""
INSERT INTO approval ({_COLUMNS})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {NOW}, {NOW} + ?, '{OPEN}', '', '', '', 0)
"""
_END = f"""
UPDATE approval SET state = ?2, word = ?3, said = ?4, answered_by = ?5, answered_at = {NOW}
WHERE id = ?1 AND state = 'open'
"""


def ask(c: apsw.Connection, ident: str, job_id: str, one: Approval, expires_ms: int) -> None:
    """Put a question; an earlier one of the same job is void by it."""
    void(c, job_id)
    c.execute(
        _ASK,
        (
            ident, job_id, one.seq, one.kind, one.tool, one.preview, one.args, one.digest, one.why,
            int(one.foreign), encoded(one.offers), one.job_scope, one.always_scope, one.always,
            expires_ms,
        ),
    )  # fmt: skip


def open_of(c: apsw.Connection, job_id: str) -> str:
    """The id of a job's open question; empty: there is none."""
    found = maybe(c, "SELECT id FROM approval WHERE job_id = ? AND state = 'open'", (job_id,))
    return str(found[0]) if found else ""


def void(c: apsw.Connection, job_id: str) -> None:
    """Nobody waits for the answer any more."""
    c.execute(
        f"UPDATE approval SET state = '{VOID}', answered_at = {NOW}"
        " WHERE job_id = ? AND state = 'open'",
        (job_id,),
    )


def answer(c: apsw.Connection, question: View, word: str, text: str, by: str) -> Answered:
    """Write the owner's word down; what the job is told. Raises ``AlreadyAnswered`` and
    ``BadRequest``."""
    if question["state"] != OPEN:
        raise AlreadyAnswered(ident=question["id"][-8:], what=_became(question))
    offers = question["offers"]
    if question["kind"] == "question":
        if word != "answer" or not text.strip():
            raise BadRequest("This is a question of the agent's own: answer it in words.")
        if offers and text not in offers:
            raise BadRequest(f"Answer with one of: {', '.join(offers)}.", param="text")
    elif word not in offers:
        reason = ""
        if question["foreign"] and word in (JOB, ALWAYS):
            reason = " This run has read text that others wrote, so less can be allowed at once."
        raise BadRequest(f"Answer with one of: {', '.join(offers)}.{reason}", param="answer")
    c.execute(_END, (question["id"], ANSWERED, word, text, by))
    if word == ALWAYS:
        c.execute(
            "INSERT INTO permit_grant (id, at, tool, scope, always, preview, job_id, granted_by)"
            f" VALUES (?, {NOW}, ?, ?, ?, ?, ?, ?)",
            (
                uuid7(), question["tool"], question["always_scope"], question["always"],
                question["preview"], question["job_id"], by,
            ),
        )  # fmt: skip
    scope = question["job_scope"] if word == JOB else ""
    return Answered(question["seq"], question["digest"], word, text, scope)


def late(c: apsw.Connection) -> list[str]:
    """The open questions whose time is over."""
    found = rows(
        c,
        f"SELECT id FROM approval WHERE state = 'open' AND expires_at <= {NOW}"
        " ORDER BY expires_at LIMIT 200",
    )
    return [one[0] for one in found]


def expire(c: apsw.Connection, ident: str) -> View | None:
    """End one of those; None if it is not open any more."""
    c.execute(_END, (ident, EXPIRED, "", "", ""))
    return one(c, ident) if c.changes() else None


def next_expiry_ms(c: apsw.Connection) -> int | None:
    found = maybe(c, f"SELECT min(expires_at) - {NOW} FROM approval WHERE state = 'open'")
    return None if found is None or found[0] is None else max(0, found[0])


# --- looks -----------------------------------------------------------------------


def listed(
    c: apsw.Connection, state: str, limit: int, before: str = "", jobs: Sequence[str] | None = None
) -> View:
    if state not in ("", OPEN, ANSWERED, EXPIRED, VOID):
        raise BadRequest(
            f"There is no state {state!r}; there are {OPEN}, {ANSWERED}, {EXPIRED}, {VOID}.",
            param="state",
        )
    where = [f"state = '{state}'"] if state else []
    args: list[str] = []
    if before:
        where.append("id < ?")
        args.append(before)
    if jobs is not None:
        where.append(f"job_id IN ({', '.join('?' * len(jobs))})")
        args += jobs
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    found = shown(
        c,
        f"SELECT {_COLUMNS} FROM approval {condition} ORDER BY id DESC LIMIT {limit + 1}",
        tuple(args),
    )
    (still,) = row(c, "SELECT count(*) FROM approval WHERE state = 'open'")
    return {
        "approvals": [_view(one) for one in found[:limit]], "more": len(found) > limit,
        "open": still,
    }  # fmt: skip


def of_job(c: apsw.Connection, job_id: str) -> list[View]:
    found = shown(c, f"SELECT {_COLUMNS} FROM approval WHERE job_id = ? ORDER BY id", (job_id,))
    return [_view(one) for one in found]


def one(c: apsw.Connection, ident: str) -> View:
    """By its id or its job's, or a piece of one; an open one goes before those that are over."""
    found = shown(c, f"SELECT {_COLUMNS} FROM approval WHERE id = ?", (ident,))
    if not found:
        where, args = _like(ident, "id", "job_id")
        found = shown(c, f"SELECT {_COLUMNS} FROM approval WHERE {where} ORDER BY id DESC", args)
        found = [one for one in found if one[16] == OPEN] or found[:1]
    if not found:
        raise NotFound(what=f"question {ident!r}")
    if len(found) > 1:
        names = ", ".join(one[0] for one in found[:5])
        raise BadRequest(f"{ident!r} could mean several questions: {names}. Give more of the id.")
    return _view(found[0])


def _like(ident: str, *columns: str) -> tuple[str, tuple[str, ...]]:
    if len(ident) < 6:
        raise NotFound(what=f"question {ident!r} (at least 6 characters of an id are needed)")
    text = ident.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    parts = [f"{name} LIKE ?{n} ESCAPE '\\'" for name in columns for n in (1, 2)]
    return " OR ".join(parts), (f"{text}%", f"%{text}")


def _view(found: Row) -> View:
    view = dict(zip(_FIELDS, found, strict=True))
    view["foreign"] = bool(view.pop("is_foreign"))
    view["offers"] = json.loads(view["offers"])
    return view


def _became(question: View) -> str:
    if question["state"] == ANSWERED:
        word = question["said"] if question["kind"] == "question" else question["word"]
        return f"you said {word!r} ({question['answered_by']})" if word != NO else "you said no"
    if question["state"] == EXPIRED:
        return "it was not answered in time"
    return "its job was ended, or asks something else now"


# --- what was granted for ever --------------------------------------------------------

_GRANT = ("id", "at", "tool", "scope", "always", "preview", "job_id", "granted_by", "revoked_at")


def grants(c: apsw.Connection) -> list[PermitRule]:
    found = rows(c, "SELECT id, tool, scope FROM permit_grant WHERE revoked_at = 0 ORDER BY id")
    return [
        PermitRule(f"grant {ident[-8:]}", "allow", tools=(tool,), scope=scope)
        for ident, tool, scope in found
    ]


def granted(c: apsw.Connection, revoked: bool, limit: int = 500, before: str = "") -> View:
    where = [] if revoked else ["revoked_at = 0"]
    if before:
        where.append("id < ?")
    condition = f"WHERE {' AND '.join(where)}" if where else ""
    found = shown(
        c,
        f"SELECT {', '.join(_GRANT)} FROM permit_grant {condition} ORDER BY id DESC"
        f" LIMIT {limit + 1}",
        (before,) if before else (),
    )
    told = [dict(zip(_GRANT, one, strict=True)) for one in found[:limit]]
    return {"grants": told, "more": len(found) > limit}


def grant(c: apsw.Connection, ident: str) -> View:
    found = shown(c, f"SELECT {', '.join(_GRANT)} FROM permit_grant WHERE id = ?", (ident,))
    if not found:
        raise NotFound(what=f"grant {ident!r}")
    return dict(zip(_GRANT, found[0], strict=True))


def revoke(c: apsw.Connection, ident: str) -> View:
    """Take a grant back. Jobs that were given out before still have it."""
    where, args = _like(ident, "id")
    found = rows(c, f"SELECT id FROM permit_grant WHERE revoked_at = 0 AND ({where})", args)
    if not found:
        raise NotFound(what=f"grant {ident!r} that holds")
    if len(found) > 1:
        raise BadRequest(f"{ident!r} could mean several grants; give more of the id.")
    c.execute(f"UPDATE permit_grant SET revoked_at = max({NOW}, at, 1) WHERE id = ?", found[0])
    return grant(c, found[0][0])
