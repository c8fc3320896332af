"""The SQL of forgetting: words are blanked in every table, identities stay.

``BLANK`` names every column that may hold words of a job; ``KEPT`` says of each other column of
text why it stays. The contract holds both against the schema, so that a new column must be put into
one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw

from stead.core.errors import BadRequest, NotFound, NotSettled, WrongState
from stead.core.forgetting import Said, Traces, Wanted
from stead.store.sqlite import files, outbox
from stead.store.sqlite.sql import NOW, encoded, rows, shown

#: By table: the column with the job's id, and the columns that hold words, with what replaces them.
BLANK: dict[str, tuple[str, dict[str, str]]] = {
    "message": ("job_id", {"text": "", "body_hash": ""}),
    "job": ("id", {"payload": "{}", "error": "", "waiting_for": "", "route": ""}),
    "attempt": ("job_id", {"error": "", "under_way": ""}),
    "given": ("job_id", {"why": ""}),
    "step": ("job_id", {"input": "", "output": "", "note": "", "parts": "", "input_hash": ""}),
    "replay": ("job_id", {"note": ""}),
    "approval": (
        "job_id",
        {
            "preview": "", "args": "", "digest": "", "why": "", "job_scope": "",
            "always_scope": "", "always": "", "said": "",
        },
    ),
    "permit_grant": ("job_id", {"preview": ""}),
    "outbox": ("job_id", {"note": ""}),
    "call": ("job_id", {"error": "", "tried": ""}),
    "recall": ("job_id", {"body": "{}"}),
}  # fmt: skip

#: Where words of a job's stand, in values of JSON too: a match there means the whole job.
_SAID = {
    "message": ("text",), "job": ("payload",), "step": ("input", "output"),
    "approval": ("preview", "args", "said"), "discarded": ("body",),
}  # fmt: skip

#: Where stead's own words stand, or copies of what was said elsewhere: a match blanks these alone.
_BESIDE = {
    "job": ("error", "waiting_for", "route"), "attempt": ("error", "under_way"),
    "given": ("why",), "step": ("note",), "replay": ("note",), "outbox": ("note",),
    "call": ("error", "tried"), "permit_grant": ("preview",), "recall": ("body",),
}  # fmt: skip

#: Rows that are words and nothing else.
GONE = ("discarded",)

#: Columns of text that stay: ids, states and names that are no words of the owner's.
KEPT: dict[str, frozenset[str]] = {
    "message": frozenset({"id", "channel", "external_id", "session", "role", "job_id", "read"}),
    "session": frozenset({"id", "name"}),
    # Of messages that are not forgotten: with those that are, the rows go (files.take_off).
    "file": frozenset({"id", "sha256", "name", "type", "kind", "person"}),
    "attachment": frozenset({"message_id", "file_id"}),
    "demand": frozenset({"needs", "prefer", "avoid", "limits"}),
    "start": frozenset({"key"}),
    "job": frozenset({
        "id", "lane", "kind", "needs", "prefer", "avoid", "state", "node_id", "boot", "claim_req",
        "conc_key", "idem_key", "message_id", "session",
    }),
    # `reply` is the state that the report was answered with.
    "attempt": frozenset({"job_id", "node_id", "outcome", "report_id", "reply"}),
    "given": frozenset({"job_id"}),
    "discarded": frozenset({"job_id", "part", "body"}),
    "step": frozenset({"job_id", "name", "state", "rule", "effects"}),
    "replay": frozenset({"job_id"}),
    "recall": frozenset({"job_id"}),
    "off_record": frozenset({"session"}),
    "approval": frozenset({
        "id", "job_id", "kind", "tool", "offers", "state", "word", "answered_by",
    }),
    # What the owner has allowed for ever holds until he takes it back.
    "permit_grant": frozenset({"id", "tool", "scope", "always", "job_id", "granted_by"}),
    "outbox": frozenset({"message_id", "channel", "session", "job_id", "state"}),
    "call": frozenset({
        "id", "caller", "key_id", "job_id", "share", "api", "asked", "lane", "model", "backend",
        "instance", "reason", "shadow_of", "state", "outcome",
    }),
    "spent": frozenset({"day", "scope"}),
    "node": frozenset({"id", "name", "key_hash", "boot", "labels", "version", "facts"}),
    "key": frozenset({"id", "name", "key_hash", "scope"}),
    "person": frozenset({"id", "name", "called", "scope", "tools"}),
    "device": frozenset({"id", "person", "token_hash", "name", "how"}),
    "passkey": frozenset({"id", "credential", "person", "rp", "public_key", "name"}),
    "sign_in_code": frozenset({"hash", "ident", "person"}),
    "push_subscription": frozenset({"id", "person", "device", "endpoint", "p256dh", "auth"}),
    "dayline": frozenset({"text"}),  # see _lines
    "fact": frozenset({"name", "value"}),
    "pruning": frozenset({"rule"}),
    "pruned": frozenset({"job_id", "state", "idem_key"}),
    "call_day": frozenset({"day", "caller", "lane", "share", "model", "backend"}),
}  # fmt: skip

#: What a line on its way into the daily log becomes.
LINE = "forgotten"

_OVER = ("done", "cancelled", "dead")
_THESE = "(SELECT value FROM json_each(?))"


# --- what is meant ---------------------------------------------------------------


def find(c: apsw.Connection, wanted: Wanted) -> Traces:
    """See ``ForgetStore.forget_find``."""
    jobs: set[str] = set()
    messages: set[str] = set()
    traces = Traces()
    for ident in wanted.idents:
        _named(c, ident, jobs, messages)
    if wanted.since or wanted.until:
        _between(c, wanted, jobs, messages)
    if wanted.matches is not None:
        _matching(c, wanted.matches, jobs, messages)
        traces.elsewhere = _beyond(c, wanted.matches)
        traces.rows = _besides(c, wanted.matches, jobs)
    _whole(c, jobs, messages, traces)
    if wanted.matches is not None:
        ours = set(_lines(c, list(traces.jobs)))
        traces.lines = [
            ident
            for ident, text in shown(c, "SELECT id, text FROM dayline ORDER BY id")
            if ident not in ours and wanted.matches(text)
        ]
    return traces


def _named(c: apsw.Connection, ident: str, jobs: set[str], messages: set[str]) -> None:
    """The message or job that an id, or the end of one, means."""
    escaped = ident.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found = [(ident, ident)] if len(ident) < 6 else []
    if not found:
        like = f"%{escaped}"
        found = rows(
            c,
            "SELECT id, job_id FROM message WHERE id LIKE ?1 ESCAPE '\\' OR job_id LIKE ?1"
            " ESCAPE '\\' UNION SELECT NULL, id FROM job WHERE id LIKE ?1 ESCAPE '\\' LIMIT 100",
            (like,),
        )
    whole = {job or message for message, job in found}
    if len(ident) < 6 or not found:
        raise NotFound(what=f"message or job {ident!r}")
    if len(whole) > 1:
        names = ", ".join(sorted(str(one)[-12:] for one in whole)[:5])
        raise BadRequest(f"{ident!r} could mean several: ...{names}. Give more of the id.")
    for message, job in found:
        if job:
            jobs.add(job)
        elif message:
            messages.add(message)


def _between(c: apsw.Connection, wanted: Wanted, jobs: set[str], messages: set[str]) -> None:
    said = rows(
        c,
        "SELECT id, job_id FROM message WHERE at >= ?1 AND (?2 = 0 OR at < ?2)"
        " AND (?3 = '' OR session = ?3)",
        (wanted.since, wanted.until, wanted.session),
    )
    if not wanted.session:  # and what came by no message
        jobs |= {
            one[0]
            for one in rows(
                c,
                "SELECT id FROM job WHERE message_id IS NULL AND created_at >= ?1"
                " AND (?2 = 0 OR created_at < ?2)",
                (wanted.since, wanted.until),
            )
        }
    for message, job in said:
        if job:
            jobs.add(job)
        else:
            messages.add(message)


def _matching(
    c: apsw.Connection, matches: Callable[[str], bool], jobs: set[str], messages: set[str]
) -> None:
    for table, columns in _SAID.items():
        key = BLANK[table][0] if table in BLANK else "job_id"
        more = ", id" if table == "message" else ""
        for job_id, *rest in _each(c, f"SELECT {key}, {', '.join(columns)}{more} FROM {table}"):
            texts = rest[: len(columns)]
            if job_id in jobs or not any(text and matches(_values(text)) for text in texts):
                continue
            if job_id:
                jobs.add(job_id)
            elif table == "message":
                messages.add(rest[-1])

    for name, message, job_id in _each(
        c,
        "SELECT f.name, m.id, m.job_id FROM file f JOIN attachment a ON a.file_id = f.id"
        " JOIN message m ON m.id = a.message_id",
    ):
        if matches(name):
            (jobs if job_id else messages).add(job_id or message)


def _besides(
    c: apsw.Connection, matches: Callable[[str], bool], jobs: set[str]
) -> list[tuple[str, str]]:
    """(table, job id) of rows that say it of jobs which are not meant."""
    found: dict[tuple[str, str], None] = {}
    for table, columns in _BESIDE.items():
        select = f"SELECT {BLANK[table][0]}, {', '.join(columns)} FROM {table}"
        for job_id, *texts in _each(c, select):
            said = any(text and matches(_values(text)) for text in texts)
            if said and job_id and job_id not in jobs:
                found[table, job_id] = None
    return list(found)


def _values(text: str) -> str:
    """What a text says: of JSON the values alone, since names of fields are nobody's words."""
    if text[:1] not in "{[":
        return text
    found: list[str] = []
    try:
        left = [json.loads(text)]
    except (ValueError, RecursionError):
        return text
    if isinstance(left[0], dict):  # of a payload: how it is to be done, in stead's own words
        for name in ("role", "overrides"):
            left[0].pop(name, None)
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left += reversed(value.values())
        elif isinstance(value, list):
            left += reversed(value)
        elif isinstance(value, str):
            found.append(value)
        elif value is not None:
            found.append(str(value))
    return "\n".join(found)


def _beyond(c: apsw.Connection, matches: Callable[[str], bool]) -> list[str]:
    """Where the words stand in what is no job's."""
    found = []
    for table, column, name in (
        ("permit_grant", "always", "id"), ("fact", "value", "name"), ("session", "id", "id"),
        ("session", "name", "id"),
        ("message", "external_id", "id"), ("key", "name", "id"), ("node", "name", "id"),
    ):  # fmt: skip
        found += [
            f"{table}.{column} of {ident}"
            for text, ident in _each(c, f"SELECT {column}, {name} FROM {table}")
            if text and matches(text)
        ]
    return found


def _each(c: apsw.Connection, sql: str) -> Iterable[tuple[Any, ...]]:
    """Row after row, also where a text is no UTF-8."""
    try:
        found = c.execute(sql)
        yield from found
    except UnicodeDecodeError:
        yield from shown(c, sql)


def _whole(c: apsw.Connection, jobs: set[str], messages: set[str], traces: Traces) -> None:
    """Jobs with all their messages, and what their model calls were."""
    posted = [
        (ident, external.split(":")[1])
        for ident, external in rows(
            c, "SELECT id, external_id FROM message WHERE external_id LIKE 'job:%:%'"
        )
    ]
    messages |= {ident for ident, job_id in posted if job_id in jobs}
    named = encoded(sorted(jobs))
    traces.jobs = dict.fromkeys(sorted(jobs), "")
    traces.jobs.update(rows(c, f"SELECT id, state FROM job WHERE id IN {_THESE}", (named,)))
    traces.messages = [
        Said(*found)
        for found in shown(
            c,
            "SELECT id, at, channel, session, role, coalesce(job_id, ''), text FROM message"
            f" WHERE id IN {_THESE} OR job_id IN {_THESE} ORDER BY seq",
            (encoded(sorted(messages)), named),
        )
    ]
    traces.calls = [
        one[0] for one in rows(c, f"SELECT id FROM call WHERE job_id IN {_THESE}", (named,))
    ]
    for (payload,) in shown(c, f"SELECT payload FROM job WHERE id IN {_THESE}", (named,)):
        traces.texts += _strings(payload)


def _strings(payload: str) -> list[str]:
    """The texts in a job's payload."""
    try:
        data = json.loads(payload)
    except (ValueError, RecursionError):
        return [payload]
    texts = [data.get("text"), data.get("instructions")] if isinstance(data, dict) else []
    return [text for text in texts if isinstance(text, str) and text]


def _lines(c: apsw.Connection, jobs: Sequence[str]) -> list[int]:
    """Lines on their way into the daily log that tell of these jobs, by the end of their ids."""
    ends = {job_id[-8:] for job_id in jobs}
    return (
        [
            ident
            for ident, text in shown(c, "SELECT id, text FROM dayline ORDER BY id")
            if any(f"job {end}" in text for end in ends)
        ]
        if ends
        else []
    )


# --- blanking --------------------------------------------------------------------


def forget(
    c: apsw.Connection,
    jobs: Sequence[str],
    messages: Sequence[str],
    lines: Sequence[int],
    beside: Sequence[tuple[str, str]] = (),
) -> dict[str, int]:
    """See ``ForgetStore.forget``."""
    named = encoded(list(jobs))
    for job_id, state in rows(c, f"SELECT id, state FROM job WHERE id IN {_THESE}", (named,)):
        if state not in _OVER:
            raise WrongState(job_id=job_id, state=state)
    posted = [
        ident
        for ident, external in rows(
            c, "SELECT id, external_id FROM message WHERE external_id LIKE 'job:%:%'"
        )
        if external.split(":")[1] in set(jobs)
    ]
    alone = encoded([*messages, *posted])
    _deliver_no_more(c, named, alone)
    c.pragma("secure_delete", True)  # else the words would still lie in the file's free space
    try:
        done = _blank(c, named, alone)
        for table, job_id in beside:
            key, columns = BLANK[table]
            setting = ", ".join(f"{name} = '{columns[name]}'" for name in _BESIDE[table])
            changed = " OR ".join(f"{name} <> '{columns[name]}'" for name in _BESIDE[table])
            c.execute(f"UPDATE {table} SET {setting} WHERE {key} = ? AND ({changed})", (job_id,))
            done[table] = done.get(table, 0) + c.changes()
        held = rows(c, f"SELECT id FROM message WHERE job_id IN {_THESE}", (named,))
        theirs = encoded([*(one[0] for one in held), *messages, *posted])
        done["file"] = files.take_off(c, theirs)
        here = sorted({*lines, *_lines(c, jobs)})
        c.execute(f"UPDATE dayline SET text = ? WHERE id IN {_THESE}", (LINE, encoded(here)))
        done["dayline"] = len(here)
    finally:
        c.pragma("secure_delete", "FAST")
    return {table: many for table, many in done.items() if many}


def _blank(c: apsw.Connection, named: str, alone: str) -> dict[str, int]:
    done = {}
    for table, (key, columns) in BLANK.items():
        setting = ", ".join(f"{name} = '{empty}'" for name, empty in columns.items())
        changed = " OR ".join(f"{name} <> '{empty}'" for name, empty in columns.items())
        where = f"{key} IN {_THESE}"
        args: tuple[str, ...] = (named,)
        if table == "message":
            setting += f", pruned_at = {NOW}"
            where, args = f"({where} OR id IN {_THESE})", (named, alone)
        if table == "outbox":
            where, args = f"({where} OR message_id IN {_THESE})", (named, alone)
        c.execute(f"UPDATE {table} SET {setting} WHERE {where} AND ({changed})", args)
        done[table] = c.changes()
    for table in GONE:
        c.execute(f"DELETE FROM {table} WHERE job_id IN {_THESE}", (named,))
        done[table] = c.changes()
    c.execute(
        f"UPDATE job SET forgotten_at = {NOW} WHERE id IN {_THESE} AND forgotten_at = 0", (named,)
    )
    return done


def _deliver_no_more(c: apsw.Connection, named: str, alone: str) -> None:
    """What is still to be delivered is dropped. Raises ``NotSettled`` while it is being sent."""
    still = rows(
        c,
        f"SELECT id, state FROM outbox WHERE (job_id IN {_THESE} OR message_id IN {_THESE})"
        " AND state NOT IN ('sent', 'left', 'dropped')",
        (named, alone),
    )
    for ident, state in still:
        if state == "sending":
            raise NotSettled(ident=ident, state=state, how="drop")
    for ident, _ in still:
        outbox.settle(c, str(ident), "drop")
