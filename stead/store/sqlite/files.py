"""The SQL of files that hang on messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from stead.core.attached import Attached
from stead.core.errors import FileInUse, NotFound
from stead.core.storage import View
from stead.store.sqlite.sql import NOW, encoded, maybe, row, rows, shown

_FIELDS = ("id", "name", "type", "kind", "size", "sha256", "at", "person")
_SHOWN = _FIELDS[:-1]
_COLUMNS = ", ".join(f"f.{name}" for name in _FIELDS)
_SELECT = f"SELECT {_COLUMNS} FROM file f"
_THESE = "(SELECT value FROM json_each(?))"


def add(c: apsw.Connection, file: Attached) -> Attached:
    c.execute(
        "INSERT INTO file (id, sha256, size, name, type, kind, at, person)"
        f" VALUES (?, ?, ?, ?, ?, ?, {NOW}, ?) ON CONFLICT (id) DO NOTHING",
        (file.id, file.sha256, file.size, file.name, file.type, file.kind, file.person),
    )
    return get(c, [file.id])[0]


def get(c: apsw.Connection, ids: Sequence[str]) -> list[Attached]:
    """Raises ``NotFound``."""
    found = {
        one[0]: Attached(*one) for one in shown(c, f"{_SELECT} WHERE f.id IN {_THESE}", _ids(ids))
    }
    for ident in ids:
        if ident not in found:
            raise NotFound(what=f"file {ident!r}; it may have been removed, so hand it in again")
    return [found[ident] for ident in ids]


def _ids(ids: Iterable[str]) -> tuple[str]:
    return (encoded(list(ids)),)


def attach(c: apsw.Connection, message_id: str, files: Sequence[Attached]) -> None:
    """Hang files on a message. Raises ``NotFound``."""
    if not files:
        return
    get(c, [file.id for file in files])
    for place, file in enumerate(files):
        c.execute(
            "INSERT INTO attachment (message_id, place, file_id) VALUES (?, ?, ?)",
            (message_id, place, file.id),
        )


def of_messages(c: apsw.Connection, ids: Sequence[str]) -> dict[str, list[Attached]]:
    """The files of each of these messages that has any."""
    found: dict[str, list[Attached]] = {}
    for message_id, *fields in shown(
        c,
        f"SELECT a.message_id, {_COLUMNS}"
        f" FROM attachment a JOIN file f ON f.id = a.file_id WHERE a.message_id IN {_THESE}"
        " ORDER BY a.message_id, a.place",
        _ids(ids),
    ):
        found.setdefault(message_id, []).append(Attached(*fields))
    return found


def views_of(c: apsw.Connection, messages: list[View]) -> None:
    """Give each of these messages its ``files``, as people are shown them."""
    found = of_messages(c, [message["id"] for message in messages])
    for message in messages:
        message["files"] = [_view(file) for file in found.get(message["id"], ())]


def _view(file: Attached) -> View:
    return {name: getattr(file, name) for name in _SHOWN}


def of_job(c: apsw.Connection, job_id: str, ident: str) -> Attached:
    """Raises ``NotFound``."""
    found = maybe(
        c,
        f"{_SELECT} WHERE f.id = ?1 AND EXISTS (SELECT 1 FROM attachment a"
        " JOIN message m ON m.id = a.message_id JOIN job j ON j.session = m.session"
        " WHERE a.file_id = f.id AND j.id = ?2)",
        (ident, job_id),
    )
    if found is None:
        raise NotFound(what=f"file {ident!r} in the conversation of this job")
    return Attached(*found)


def view(c: apsw.Connection, ident: str) -> View:
    """Raises ``NotFound``."""
    (file,) = get(c, [ident])
    found = rows(
        c, "SELECT DISTINCT message_id FROM attachment WHERE file_id = ? ORDER BY 1", (ident,)
    )
    return {**_view(file), "messages": [one[0] for one in found]}


def listed(c: apsw.Connection, before: str, limit: int, person: str) -> View:
    found = shown(
        c,
        f"{_SELECT} WHERE f.person = ?3 AND (?1 = '' OR f.id < ?1) ORDER BY f.id DESC LIMIT ?2",
        (before, limit + 1, person),
    )
    count, size = row(
        c, "SELECT count(*), coalesce(sum(size), 0) FROM file WHERE person = ?", (person,)
    )
    files = [_view(Attached(*one)) for one in found]
    return {"files": files[:limit], "more": len(files) > limit, "count": count, "bytes": size}


def drop(c: apsw.Connection, ident: str) -> None:
    """Raises ``NotFound``, ``FileInUse``."""
    get(c, [ident])
    if maybe(c, "SELECT 1 FROM attachment WHERE file_id = ?", (ident,)):
        raise FileInUse(ident=ident)
    c.execute("DELETE FROM file WHERE id = ?", (ident,))


def drop_unused(c: apsw.Connection, older_ms: int) -> int:
    c.execute(
        f"DELETE FROM file WHERE at <= {NOW} - ? AND NOT EXISTS"
        " (SELECT 1 FROM attachment a WHERE a.file_id = file.id)",
        (older_ms,),
    )
    return c.changes()


def take_off(c: apsw.Connection, messages: str) -> int:
    """Take all files off the messages of a JSON list of ids; those that hang on no other are known
    no more. How many."""
    held = rows(
        c, f"SELECT DISTINCT file_id FROM attachment WHERE message_id IN {_THESE}", (messages,)
    )
    c.execute(f"DELETE FROM attachment WHERE message_id IN {_THESE}", (messages,))
    c.execute(
        f"DELETE FROM file WHERE id IN {_THESE} AND NOT EXISTS"
        " (SELECT 1 FROM attachment a WHERE a.file_id = file.id)",
        _ids(one[0] for one in held),
    )
    return c.changes()


def kept(c: apsw.Connection) -> list[tuple[str, str]]:
    return [(ident, sha) for ident, sha in rows(c, "SELECT id, sha256 FROM file")]
