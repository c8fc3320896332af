"""The SQL of what jobs were shown of memory, and of conversations off the record.

What was said off the record lies in the rows of its job like anything else while it is under way,
so that it is as little lost. Then its words are taken out of every row that may hold them, and
deleted space is overwritten. What SQLite moved within its file may have left a copy behind, so
whoever erases looks for the very words in the file (:func:`left_in`).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import apsw
import msgspec

from stead.core.recall import Recall, is_off_the_record
from stead.store.sqlite import forget
from stead.store.sqlite.sql import NOW, Row, encoded, maybe, rows

_decode = msgspec.json.Decoder(Recall).decode

#: Of each text so many characters are looked for in the file, at some places of it.
_SNIPPET = 24


def keep(c: apsw.Connection, job_id: str, recall: Recall) -> Recall:
    c.execute(
        f"INSERT INTO recall (job_id, at, body) SELECT ?1, {NOW}, ?2"
        " WHERE EXISTS (SELECT 1 FROM job WHERE id = ?1) ON CONFLICT (job_id) DO NOTHING",
        (job_id, encoded(recall)),
    )
    if c.changes():
        return recall
    return get(c, job_id) or recall


def get(c: apsw.Connection, job_id: str) -> Recall | None:
    """What is kept; what cannot be read counts as nothing recalled."""
    found = maybe(c, "SELECT body FROM recall WHERE job_id = ?", (job_id,))
    if found is None:
        return None
    try:
        return _decode(found[0])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Recall(why="what was recalled cannot be read any more")


def last(c: apsw.Connection) -> list[Row]:
    """Each path that was shown, and when last."""
    source = "i.value ->> '$.source'"
    return rows(
        c,
        f"SELECT substr({source}, 1, instr({source}, '#') - 1) AS path, max(r.at)"
        " FROM recall r, json_each(r.body, '$.items') i"
        f" WHERE instr({source}, '#') > 1 GROUP BY path",
    )


# --- off the record ----------------------------------------------------------------


def note(c: apsw.Connection, session: str | None) -> bool:
    """Something is said in a conversation; whether it is one off the record."""
    if not is_off_the_record(session):
        return False
    c.execute(
        f"INSERT INTO off_record (session, said_at) VALUES (?, {NOW})"
        " ON CONFLICT (session) DO UPDATE SET said_at = excluded.said_at, ended = 0",
        (session,),
    )
    return True


def end(c: apsw.Connection, session: str) -> bool:
    c.execute("UPDATE off_record SET ended = 1 WHERE session = ?", (session,))
    return c.changes() > 0


def jobs_off(c: apsw.Connection) -> list[str]:
    found = rows(
        c,
        "SELECT DISTINCT m.job_id FROM off_record o JOIN message m ON m.session = o.session"
        " WHERE m.job_id IS NOT NULL",
    )
    return [one[0] for one in found]


def any_left(c: apsw.Connection) -> bool:
    return maybe(c, "SELECT 1 FROM off_record LIMIT 1") is not None


_OVER = f"""
SELECT o.session FROM off_record o WHERE (o.ended OR o.said_at < {NOW} - ?)
AND NOT EXISTS (SELECT 1 FROM job j WHERE j.session = o.session
                AND j.conc_key = 'session:' || o.session
                AND j.state IN ('queued', 'running'))
AND NOT EXISTS (SELECT 1 FROM message m JOIN job j ON j.id = m.job_id
                WHERE m.session = o.session AND j.state IN ('queued', 'running', 'waiting'))
AND NOT EXISTS (SELECT 1 FROM message m JOIN outbox b ON b.message_id = m.id
                WHERE m.session = o.session
                AND b.state IN ('pending', 'sending', 'ambiguous', 'failed'))
"""


def erase(c: apsw.Connection, idle_ms: int) -> tuple[int, list[str], int]:
    """Take out the words of what is over: how many conversations, snippets of what they said, and
    how many are left."""
    over = [one[0] for one in rows(c, _OVER, (idle_ms,))]
    said: list[str] = []
    for session in over:
        known = rows(c, "SELECT id, job_id, text FROM message WHERE session = ?", (session,))
        jobs = sorted({job_id for _, job_id, _ in known if job_id})
        said += [text for _, _, text in known]
        said += [
            one[0]
            for one in rows(
                c,
                "SELECT output FROM step WHERE job_id IN (SELECT value FROM json_each(?))",
                (encoded(jobs),),
            )
        ]
        forget.forget(c, jobs, [message_id for message_id, _, _ in known], ())
        c.execute("DELETE FROM off_record WHERE session = ?", (session,))
        c.execute("UPDATE session SET name = '', hidden_at = last_at WHERE id = ?", (session,))
    (left,) = rows(c, "SELECT count(*) FROM off_record")[0]
    return len(over), [snippet for text in said for snippet in snippets(text)], left


def snippets(text: str) -> Iterator[str]:
    """Some pieces of a text, by which it would be found again. What is shorter than that is no
    words of anybody's."""
    for at in {0, max(0, len(text) // 2 - _SNIPPET), max(0, len(text) - _SNIPPET)}:
        piece = text[at : at + _SNIPPET]
        if len(piece) >= _SNIPPET // 2:
            yield piece


def left_in(path: Path, said: Sequence[str]) -> bool:
    """Whether a file holds any of these. Bytes that are gone from the tables may still lie in it
    where SQLite moved them."""
    forms = {form for text in said for form in (text.encode(), msgspec.json.encode(text)[1:-1])}
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return any(data.find(form) >= 0 for form in forms)
    except (OSError, ValueError):  # it is not there, or empty
        return False
