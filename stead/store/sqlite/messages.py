"""Messages as they are shown: with what took their place, and how many tools an answer used."""

from __future__ import annotations

import apsw

from stead.core.storage import View
from stead.store.sqlite import files, record
from stead.store.sqlite.sql import Row, encoded, maybe, rows, shown

_FIELDS = (
    "seq", "id", "channel", "external_id", "session", "role", "text", "at", "job_id", "pruned_at",
    "turn", "back_to",
)  # fmt: skip
_COLUMNS = ", ".join(_FIELDS)


def some(c: apsw.Connection, where: str, args: tuple[object, ...], most: int = -1) -> list[View]:
    """Messages by a condition (with its order). ``most``: texts are cut to so many characters,
    and each has its ``length``."""
    columns = _COLUMNS
    fields: tuple[str, ...] = _FIELDS
    if most >= 0:
        columns = columns.replace(" text,", f" substr(text, 1, {most:d}),") + ", length(text)"
        fields = (*_FIELDS, "length")
    found = shown(c, f"SELECT {columns} FROM message {where}", args)
    return _complete(c, [dict(zip(fields, one, strict=True)) for one in found])


def _complete(c: apsw.Connection, found: list[View]) -> list[View]:
    """``back_to`` becomes ``replaces``; and ``replaced_by`` (ids, or empty), ``tools``, files."""
    files.views_of(c, found)
    gone: dict[str, list[tuple[int, int]]] = {}
    for session in {one["session"] for one in found}:
        gone[session] = record.instead(c, session, 2**62)
    used = _tools(c, [one["job_id"] for one in found if one["role"] == "assistant"])
    for one in found:
        back_to, turn, session = one.pop("back_to"), one["turn"], one["session"]
        one["replaces"] = _owners(c, session, back_to) if back_to else ""
        later = [last for first, last in gone[session] if first <= turn < last and turn]
        one["replaced_by"] = _owners(c, session, later[0]) if later else ""
        one["tools"] = used.get(one["job_id"], 0) if one["role"] == "assistant" else 0
    return found


def _owners(c: apsw.Connection, session: str, turn: int) -> str:
    """The id of the message that a turn began with."""
    found = maybe(
        c,
        "SELECT id FROM message WHERE session = ? AND turn = ? AND role = 'owner'"
        " ORDER BY seq LIMIT 1",
        (session, turn),
    )
    return str(found[0]) if found else ""


def _tools(c: apsw.Connection, jobs: list[str | None]) -> dict[str, int]:
    wanted = [job for job in jobs if job]
    if not wanted:
        return {}
    found: list[Row] = rows(
        c,
        "SELECT job_id, count(DISTINCT seq) FROM step WHERE job_id IN"
        " (SELECT value FROM json_each(?)) AND name GLOB 'tool:*' GROUP BY job_id",
        (encoded(wanted),),
    )
    return dict(found)
