"""The recorder's SQL: messages in and out, lines for the daily log."""

from __future__ import annotations

from dataclasses import replace

import apsw
import msgspec

from stead.core.errors import BadRequest, KeyReused, NotFound
from stead.core.ids import uuid7
from stead.core.nouns import Inbound, Job, NewJob, Post, Turn
from stead.core.people import OTHERS, OWNER, person_of
from stead.core.recall import OFF_THE_RECORD, is_off_the_record
from stead.core.storage import Accepted
from stead.store.sqlite import files, outbox
from stead.store.sqlite.sql import NOW as _NOW
from stead.store.sqlite.sql import Row, maybe, row, rows, shown

#: A client's own retry of the same request within this time is the same message.
_RETRY_MS = 600_000

#: The owner spoke, in a conversation that stays.
_SPOKE = (
    f"m.role = 'owner' AND m.session NOT LIKE '{OFF_THE_RECORD}%'"
    f" AND m.session NOT LIKE '{OTHERS}%'"
)

#: History starts at a multiple of half this many turns, so that its beginning seldom moves.
HISTORY_TURNS = 200

#: An earlier message that is longer is told with its middle left out.
TURN_CHARS = 100_000


def known(c: apsw.Connection, inbound: Inbound, job: NewJob) -> Accepted | None:
    """The message this one repeats, if any: by its identity, or as a client's marked retry.

    Raises ``KeyReused`` when a client gave the same identity to another request.
    """
    said = (
        "SELECT m.id, m.job_id, j.route, m.body_hash, m.text, m.session, j.payload"
        " FROM message m LEFT JOIN job j ON j.id = m.job_id"
    )
    found = maybe(
        c,
        f"{said} WHERE m.channel = ? AND m.external_id = ?",
        (inbound.channel, inbound.external_id),
    )
    if found is None and inbound.is_retry and inbound.body_hash:
        found = maybe(
            c,
            # "<> ''" in the words of the index of bodies, else SQLite cannot use it.
            f"{said} WHERE m.body_hash = ? AND m.body_hash <> '' AND m.channel = ?"
            f" AND m.at > {_NOW} - {_RETRY_MS} ORDER BY m.at DESC LIMIT 1",
            (inbound.body_hash, inbound.channel),
        )
    if found is None:
        return None
    message_id, job_id, route, body_hash, *asked = found
    if person_of(asked[1]) != person_of(inbound.session):
        raise KeyReused(
            key=inbound.external_id.removeprefix("idem:"), what="who asks", param="Idempotency-Key"
        )
    if inbound.body_hash and body_hash and inbound.body_hash != body_hash:
        what = _differs(inbound, job, *asked)
        if what:
            raise KeyReused(
                key=inbound.external_id.removeprefix("idem:"), what=what, param="Idempotency-Key"
            )
    return Accepted(message_id, job_id or "", True, route or "")


def _differs(inbound: Inbound, job: NewJob, text: str, session: str, payload: str | None) -> str:
    """What a request asks otherwise than the one before. Nothing, if only its wording as JSON, its
    way of being answered, or what stead does not read differs: then it is the same request."""
    if inbound.text != text:
        return "the message"
    if inbound.session != session:
        return "metadata.session"
    if payload is None:  # its job was pruned
        return ""
    before, now = msgspec.json.decode(payload), job.payload
    if before.get("instructions") != now.get("instructions"):
        return "the system text"
    held, given = ([one.get("sha256") for one in made.get("files") or ()] for made in (before, now))
    if held != given:
        return "the files"
    asked, wanted = before.get("overrides") or {}, now.get("overrides") or {}
    other = [name for name in sorted({*asked, *wanted}) if asked.get(name) != wanted.get(name)]
    return ", ".join(other)


def next_turn(c: apsw.Connection, session: str) -> int:
    return int(
        c.execute(
            f"INSERT INTO session (id, turns, last_at) VALUES (?, 1, {_NOW})"
            f" ON CONFLICT (id) DO UPDATE SET turns = turns + 1, last_at = {_NOW}, ended_at = 0,"
            " hidden_at = 0 RETURNING turns",
            (session,),
        ).get
    )


def insert(
    c: apsw.Connection,
    *,
    message_id: str,
    channel: str,
    external_id: str,
    session: str,
    turn: int,
    role: str,
    text: str,
    job_id: str | None,
    body_hash: str = "",
    read: str = "",
    back_to: int = 0,
) -> None:
    c.execute(
        "INSERT INTO message (id, channel, external_id, session, turn, role, text, at, job_id,"
        f" body_hash, read, back_to) VALUES (?, ?, ?, ?, ?, ?, ?, {_NOW}, ?, ?, ?, ?)",
        (
            message_id, channel, external_id, session, turn, role, text, job_id, body_hash, read,
            back_to,
        ),
    )  # fmt: skip


def turn_of(c: apsw.Connection, inbound: Inbound) -> int:
    """The turn of the message that this one takes the place of. Raises ``NotFound``, and
    ``BadRequest`` for what is no message of the owner's in this conversation."""
    found = maybe(c, "SELECT session, role, turn FROM message WHERE id = ?", (inbound.replaces,))
    if found is None or found[0] != inbound.session:
        raise NotFound(what=f"message {inbound.replaces[:80]!r} in this conversation")
    _, role, turn = found
    if role != "owner" or not turn:
        raise BadRequest(
            "Only what you said yourself can be said anew: replaces must be the id of a message of"
            " yours.",
            param="replaces",
        )
    return int(turn)


def owner_message(
    c: apsw.Connection, inbound: Inbound, job: NewJob, job_id: str
) -> tuple[NewJob, int, str]:
    """Record the owner's message; return the job completed with it, its turn and its id."""
    back_to = turn_of(c, inbound) if inbound.replaces else 0
    turn = next_turn(c, inbound.session)
    message_id = uuid7()
    insert(
        c, message_id=message_id, channel=inbound.channel, external_id=inbound.external_id,
        session=inbound.session, turn=turn, role="owner", text=inbound.text, job_id=job_id,
        body_hash=inbound.body_hash, read="foreign" if inbound.foreign else "", back_to=back_to,
    )  # fmt: skip
    files.attach(c, message_id, inbound.files)
    return replace(job, message_id=message_id, session=inbound.session), turn, message_id


def reply(c: apsw.Connection, job: Job, text: str, role: str, read: str = "") -> str:
    """Record the answer to a job's message and put it in the outbox (invariant 5)."""
    channel, turn = row(c, "SELECT channel, turn FROM message WHERE id = ?", (job.message_id,))
    message_id = uuid7()
    insert(
        c, message_id=message_id, channel=channel, external_id=f"out:{message_id}",
        session=job.session or "main", turn=turn, role=role, text=text, job_id=job.id, read=read,
    )  # fmt: skip
    outbox.add(c, message_id, channel, job.session or "main", job.id)
    return message_id


def notice(
    c: apsw.Connection, channel: str, session: str, external_id: str, text: str
) -> str | None:
    if c.execute(
        "SELECT 1 FROM message WHERE channel = ? AND external_id = ?", (channel, external_id)
    ).fetchone():
        return None
    message_id = uuid7()
    insert(
        c, message_id=message_id, channel=channel, external_id=external_id, session=session,
        turn=0, role="notice", text=text, job_id=None,
    )  # fmt: skip
    outbox.add(c, message_id, channel, session, None)
    day_line(c, f"notice: {text}")
    return message_id


def post(c: apsw.Connection, job_id: str, seq: int, one: Post) -> None:
    """Send what a step of a job says: where the job came from, or by a channel, into the
    conversation that was the last one there. Once for each place of a job."""
    ident = f"job:{job_id}:step:{seq}"
    if maybe(c, "SELECT 1 FROM message WHERE external_id = ?", (ident,)):
        return
    place = maybe(
        c,
        "SELECT m.channel, m.session FROM message m WHERE m.role = 'owner' AND "
        + ("m.job_id = ?" if one.to == "owner" else f"m.channel = ? AND {_SPOKE}")
        + " ORDER BY m.seq DESC LIMIT 1",
        (job_id if one.to == "owner" else one.to,),
    )
    if one.to == "owner" and place is None:
        place = maybe(
            c, f"SELECT channel, session FROM message m WHERE {_SPOKE} ORDER BY seq DESC LIMIT 1"
        )
    channel, session = place or (("cli" if one.to == "owner" else one.to), "main")
    message_id = uuid7()
    insert(
        c, message_id=message_id, channel=channel, external_id=ident, session=session, turn=0,
        role="assistant", text=one.text, job_id=None,
    )  # fmt: skip
    outbox.add(c, message_id, channel, session, None)


def tell(
    c: apsw.Connection, external_id: str, text: str, first: tuple[str, str] | None = None
) -> str | None:
    """A notice in the conversation the owner used last, or in ``first`` (channel, session); None
    if there is neither, or it was said there before."""
    last = maybe(
        c,
        f"SELECT channel, session FROM message m WHERE {_SPOKE} ORDER BY seq DESC LIMIT 1",
    )
    place = last or first
    return notice(c, place[0], place[1], external_id, text) if place else None


def instead(c: apsw.Connection, session: str, upto: int) -> list[tuple[int, int]]:
    """The turns that are not on the way to turn ``upto``: from the first of each gap to the turn
    that came in its place (which is none of them), the latest first.

    A turn follows the one before it; one that takes the place of another follows what that one
    followed. So who goes back behind a new turn finds the old ones again.
    """
    places: dict[int, int] = dict(
        rows(
            c,
            "SELECT turn, back_to FROM message WHERE session = ? AND turn <= ? AND back_to > 0"
            " ORDER BY turn DESC",
            (session, upto),
        )
    )
    gone: list[tuple[int, int]] = []
    for turn in places:
        if not gone or turn < gone[-1][0]:
            first = turn
            while first in places:
                first = places[first]
            gone.append((first, turn))
    return gone


def history(c: apsw.Connection, job: Job) -> list[Turn]:
    """Earlier turns of the job's conversation, in order, the same at every attempt.

    Bounded by what was recorded when the job was first claimed (``history_upto``)
    and begun at a turn that moves only every hundred turns, so that a runtime's
    prompt cache keeps the beginning. Turns that a later one took the place of are left out.
    """
    if job.session is None or job.message_id is None:
        return []
    turn = c.execute("SELECT turn FROM message WHERE id = ?", (job.message_id,)).get
    if turn is None:  # somebody took the message out; the job has its text
        return []
    half = HISTORY_TURNS // 2
    first = max(0, (turn - half) // half * half)
    gone = instead(c, job.session, turn)
    said = shown(
        c,
        "SELECT id, turn, role, text, read FROM message"
        " WHERE session = ? AND turn >= ? AND turn < ?"
        " AND turn > 0 AND pruned_at = 0"
        " AND seq <= ? AND role IN ('owner', 'assistant') ORDER BY turn, seq",
        (job.session, first, turn, job.history_upto),
    )
    held = files.of_messages(c, [one[0] for one in said])
    turns: list[Turn] = []
    for ident, at, role, text, read in said:
        if any(first <= at < last for first, last in gone):
            continue
        speaker = "user" if role == "owner" else "assistant"
        with_it = tuple(held.get(ident, ()))
        text = _shorter(text)
        if turns and turns[-1].role == speaker:  # an unanswered message: keep the alternation
            last = turns[-1]
            text = f"{last.text}\n\n{text}"
            turns[-1] = Turn(speaker, text, last.read or read, (*last.files, *with_it))
        else:
            turns.append(Turn(speaker, text, read, with_it))
    if turns and turns[-1].role == "user":
        turns.append(Turn("assistant", "(no answer)"))
    return turns


def _shorter(text: str) -> str:
    """An earlier text as a job is told it: nobody reads a book again at each turn."""
    if len(text) <= TURN_CHARS:
        return text
    half = TURN_CHARS // 2
    return f"{text[:half]}\n[... {len(text)} characters in all ...]\n{text[-half:]}"


# --- the daily log -----------------------------------------------------------


def day_line(c: apsw.Connection, text: str) -> None:
    c.execute(f"INSERT INTO dayline (at, text) VALUES ({_NOW}, ?)", (text,))


def is_apart(c: apsw.Connection, job_id: str) -> bool:
    """Whether what a job does, step by step, is not for the owner's log: it is off the record, or
    somebody else's."""
    found = maybe(c, "SELECT session FROM job WHERE id = ?", (job_id,))
    return found is not None and (is_off_the_record(found[0]) or person_of(found[0]) != OWNER)


def day_lines(c: apsw.Connection, limit: int) -> list[Row]:
    return shown(c, "SELECT id, at, text FROM dayline ORDER BY id LIMIT ?", (limit,))
