"""The SQL of conversations: their list, what is new in them, what is under way, words in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator

import apsw

from stead.core.errors import BadRequest, NotFound
from stead.core.people import OTHERS, OWNER
from stead.core.recall import OFF_THE_RECORD
from stead.core.states import JobState
from stead.core.storage import View
from stead.store.sqlite import approvals, messages
from stead.store.sqlite.sql import NOW, Row, encoded, maybe, row, rows, shown

_TITLE = 80
_FIELDS = "id, name, turns, last_at, ended_at"
#: Words of a search, and how many of them count.
_WORD = re.compile(r'"([^"]+)"|(\S+)')
_WORDS, _WORD_LENGTH = 8, 200
#: Characters of a hit before and behind the first word.
_BEFORE, _BEHIND = 60, 160


def _of(person: str, column: str) -> tuple[str, tuple[str, ...]]:
    """Whose conversations: a condition on their id. See ``stead.core.people``."""
    off = len(OFF_THE_RECORD)
    bare = (
        f"CASE substr({column}, 1, {off}) WHEN '{OFF_THE_RECORD}'"
        f" THEN substr({column}, {off + 1}) ELSE {column} END"
    )
    if person == OWNER:
        return f"substr({bare}, 1, {len(OTHERS)}) <> '{OTHERS}'", ()
    begins = f"{OTHERS}{person}:"
    return f"substr({bare}, 1, {len(begins)}) = ?", (begins,)


# --- the list ----------------------------------------------------------------------


def listed(
    c: apsw.Connection, *, person: str, before: str, like: str, hidden: bool, limit: int
) -> View:
    whose, args = _of(person, "id")
    where: list[str] = [whose]
    given: list[object] = list(args)
    if not hidden:
        where.append("hidden_at = 0")
    if before:
        at, _, ident = before.partition(":")
        if not at.isdigit() or not ident:
            raise BadRequest("before must be the next of a page before.", param="before")
        where.append("(last_at, id) < (?, ?)")
        given += [int(at), ident]
    for word in terms(like) if like.strip() else ():
        one, patterns = _holds(f"({_TITLE_SQL} || ' ' || id)", word)
        where.append(one)
        given += patterns
    found = shown(
        c,
        f"SELECT {_FIELDS} FROM session s WHERE {' AND '.join(where)}"
        " ORDER BY last_at DESC, id DESC LIMIT ?",
        (*given, limit + 1),
    )
    waiting: dict[str, int] = dict(
        rows(
            c,
            "SELECT session, count(*) FROM job WHERE state = 'waiting'"
            " AND state IN ('waiting', 'dead') GROUP BY session",
        )
    )
    views = [_view(c, one, waiting.get(one[0], 0)) for one in found[:limit]]
    last = views[-1] if len(found) > limit else None
    following = f"{last['last_at']}:{last['id']}" if last else ""
    return {"sessions": views, "more": last is not None, "next": following}


_TITLE_SQL = """
CASE WHEN s.name <> '' THEN s.name ELSE coalesce((SELECT substr(m.text, 1, 200) FROM message m
WHERE m.session = s.id AND m.role = 'owner' AND m.pruned_at = 0 ORDER BY m.turn, m.seq LIMIT 1), '')
END
"""


def _view(c: apsw.Connection, found: Row, waiting: int) -> View:
    ident, name, turns, last_at, ended_at = found
    under_way = maybe(
        c,
        "SELECT 1 FROM job WHERE conc_key = ? AND state IN ('queued', 'running') LIMIT 1",
        (f"session:{ident}",),
    )
    return {
        "id": ident,
        "title": name or _begins(c, ident),
        "name": name,
        "state": "running" if under_way else "ended" if ended_at else "idle",
        "waiting": waiting,
        "turns": turns,
        "last_at": last_at,
        "ended_at": ended_at,
    }


def _begins(c: apsw.Connection, session: str) -> str:
    """How a conversation begins: one line."""
    found = shown(
        c,
        "SELECT substr(text, 1, 200) FROM message WHERE session = ? AND role = 'owner'"
        " AND pruned_at = 0 ORDER BY turn, seq LIMIT 1",
        (session,),
    )
    words = " ".join(str(found[0][0]).split()) if found else ""
    return words if len(words) <= _TITLE else words[: _TITLE - 1].rstrip() + "…"


# --- one of them ---------------------------------------------------------------------


def one(c: apsw.Connection, session: str, most_jobs: int = 50) -> View:
    found = shown(c, f"SELECT {_FIELDS} FROM session WHERE id = ?", (session,))
    if not found:
        raise NotFound(what=f"conversation {session[:80]!r}")
    jobs = _jobs(c, session, most_jobs)
    waiting = sum(job["state"] == JobState.WAITING for job in jobs)
    return {**_view(c, found[0], waiting), "jobs": jobs}


def _jobs(c: apsw.Connection, session: str, most: int) -> list[View]:
    """Those that are not over, in the order in which they go on."""
    fields = ("id", "state", "epoch", "message_id", "waiting_for", "cancel_req")
    columns = ", ".join(fields)
    found = shown(
        c,
        f"SELECT {columns} FROM (SELECT {columns} FROM job WHERE conc_key = ?1"
        " AND state IN ('queued', 'running')"
        f" UNION ALL SELECT {columns} FROM job WHERE state = 'waiting'"
        " AND state IN ('waiting', 'dead') AND session = ?2) ORDER BY id LIMIT ?3",
        (f"session:{session}", session, most),
    )
    jobs = [dict(zip(fields, one, strict=True)) for one in found]
    for job in jobs:
        job["cancel_req"] = bool(job["cancel_req"])
        asked = approvals.open_of(c, job["id"]) if job["state"] == JobState.WAITING else ""
        job["approval"] = approvals.one(c, asked) if asked else None
    return jobs


def change(c: apsw.Connection, session: str, what: str, value: object = None) -> None:
    """Set one column; without a value the time."""
    to = NOW if value is None else "?2"
    args = (session,) if value is None else (session, value)
    c.execute(f"UPDATE session SET {what} = {to} WHERE id = ?1", args)
    if not c.changes():
        raise NotFound(what=f"conversation {session[:80]!r}")


def instead(c: apsw.Connection, session: str, message_id: str) -> list[str]:
    found = rows(
        c,
        "SELECT j.id FROM job j JOIN message m ON m.id = j.message_id"
        " JOIN message i ON i.id = ?2 AND i.back_to > 0"
        " WHERE m.turn >= i.back_to AND m.turn < i.turn AND j.id IN (SELECT id FROM job"
        " WHERE conc_key = 'session:' || ?1 AND state IN ('queued', 'running')"
        " UNION ALL SELECT id FROM job WHERE state = 'waiting'"
        " AND state IN ('waiting', 'dead') AND session = ?1) ORDER BY j.id",
        (session, message_id),
    )
    return [ident for (ident,) in found]


# --- what was said -----------------------------------------------------------------------


def last(c: apsw.Connection) -> int:
    return int(row(c, "SELECT coalesce(max(seq), 0) FROM message")[0])


def news(c: apsw.Connection, after: int, sessions: Collection[str], limit: int) -> View:
    named = encoded(sorted(sessions))
    found = messages.some(
        c,
        "WHERE seq > ? AND session IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?",
        (after, named, limit + 1),
    )
    more = len(found) > limit
    there = rows(c, "SELECT id FROM session WHERE id IN (SELECT value FROM json_each(?))", (named,))
    return {
        "messages": found[:limit],
        "more": more,
        "upto": found[limit - 1]["seq"] if more else max(after, last(c)),
        "sessions": {ident: one(c, ident) for (ident,) in there},
    }


def older(c: apsw.Connection, session: str, before: int, limit: int, most: int = -1) -> View:
    # The index of conversations alone gives the places; the texts of the others are not read.
    found = messages.some(
        c,
        "WHERE seq IN (SELECT seq FROM message WHERE session = ?1 AND (?2 = 0 OR seq < ?2)"
        " ORDER BY seq DESC LIMIT ?3) ORDER BY seq DESC",
        (session, before, limit + 1),
        most,
    )
    return {"messages": found[:limit][::-1], "more": len(found) > limit}


def message(c: apsw.Connection, ident: str, at: int, most: int) -> View:
    found = messages.some(c, "WHERE id = ?", (ident,), 0)
    if not found:
        raise NotFound(what=f"message {ident[:80]!r}")
    piece = shown(
        c,
        "SELECT substr(text, ?2 + 1, ?3) FROM message WHERE id = ?1",
        (ident, at, most if most >= 0 else 2**31 - 1),
    )
    return {**found[0], "text": piece[0][0], "from": at}


# --- search ----------------------------------------------------------------------------------


def terms(words: str) -> list[str]:
    """What is to be found: words, and what stands in double quotes as it is."""
    found = [quoted or plain for quoted, plain in _WORD.findall(words)]
    found = [word[:_WORD_LENGTH] for word in found if word.strip('" ')][:_WORDS]
    if not found:
        raise BadRequest("There are no words to look for.", param="q")
    return found


def _holds(column: str, word: str) -> tuple[str, list[str]]:
    """SQLite knows large and small letters of ASCII alone, so others are looked for in the ways
    in which they are usually written."""
    ways: dict[str, None] = {}
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, word)
        for way in (text, text.lower(), text.upper(), text.title(), text.capitalize()):
            ways[way.lower() if way.isascii() else way] = None
    like = [f"%{_escaped(way)}%" for way in ways]
    return "(" + " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for _ in like) + ")", like


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def search(
    c: apsw.Connection, words: list[str], person: str, session: str, span: range, limit: int
) -> list[View]:
    """Hits among the messages with these ``seq``, the newest first."""
    whose, args = _of(person, "m.session")
    where = [f"m.seq >= ? AND m.seq < ? AND {whose} AND m.session NOT LIKE '{OFF_THE_RECORD}%'"]
    given: list[object] = [span.start, span.stop, *args]
    if session:
        where.append("m.session = ?")
        given.append(session)
    for word in words:
        one, patterns = _holds("m.text", word)
        where.append(one)
        given += patterns
    found = shown(
        c,
        "SELECT m.seq, m.id, m.session, coalesce(s.name, ''), m.role, m.at, m.text FROM message m"
        f" LEFT JOIN session s ON s.id = m.session WHERE {' AND '.join(where)}"
        " ORDER BY m.seq DESC LIMIT ?",
        (*given, limit),
    )
    hits = []
    for seq, ident, where_, name, role, at, text in found:
        snippet, marks = _snippet(text, words)
        hits.append(
            {
                "seq": seq, "id": ident, "session": where_, "title": name or _begins(c, where_),
                "role": role, "at": at, "snippet": snippet, "marks": marks,
            }
        )  # fmt: skip
    return hits


def _snippet(text: str, words: list[str]) -> tuple[str, list[list[int]]]:
    looks = [
        re.compile("|".join(re.escape(form) for form in _forms(word)), re.IGNORECASE)
        for word in words
    ]
    firsts = [found.start() for look in looks if (found := look.search(text))]
    first = min(firsts, default=0)
    begin, end = max(0, first - _BEFORE), first + _BEHIND
    piece = text[begin:end]
    marks = sorted([*found.span()] for look in looks for found in look.finditer(piece))
    return piece, list(_apart(marks))


def _forms(word: str) -> set[str]:
    return {unicodedata.normalize(form, word) for form in ("NFC", "NFD")}


def _apart(marks: list[list[int]]) -> Iterator[list[int]]:
    """Without those that begin within another."""
    end = -1
    for one in marks:
        if one[0] >= end and one[1] > one[0]:
            end = one[1]
            yield one
