"""SQL of signing in: browsers, passkeys, and codes that are good for once."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from stead.core.errors import BadRequest, NotFound
from stead.core.ids import uuid7
from stead.core.signin import Device, How, NewDevice, Passkey
from stead.store.sqlite.sql import NOW, Row, maybe, row, rows

_PASSKEY = "id, credential, person, rp, public_key, count, name, made_at, used_at"
_LET_IN = """SELECT d.id, d.person, p.called, d.name, d.how, d.made_at, d.proved_at, d.seen_at
    FROM device d JOIN person p ON p.id = d.person AND p.removed_at = 0
    WHERE d.revoked_at = 0 AND """

# --- codes -------------------------------------------------------------------------------


def add_code(
    c: apsw.Connection, person: str, hashes: Sequence[str], recovery: bool, for_ms: int
) -> int:
    _there(c, person)
    # Those that are over go when others come. Of `made_at`: before that a clock put back is.
    c.execute(f"DELETE FROM sign_in_code WHERE ends_at > 0 AND ends_at <= {NOW}")
    ident = uuid7()
    ends_at = 0
    for one in hashes:
        (ends_at,) = row(
            c,
            f"""INSERT INTO sign_in_code (hash, ident, person, recovery, made_at, ends_at)
            VALUES (?1, ?2, ?3, ?4, {NOW}, CASE ?5 WHEN 0 THEN 0 ELSE {NOW} + ?5 END)
            RETURNING ends_at""",
            (one, ident, person, int(recovery), for_ms),
        )
    return int(ends_at)


def renew_recovery(c: apsw.Connection, person: str, hashes: Sequence[str]) -> None:
    _there(c, person)
    c.execute("DELETE FROM sign_in_code WHERE person = ? AND recovery = 1", (person,))
    for one in hashes:
        add_code(c, person, (one,), True, 0)


def recovery_left(c: apsw.Connection, person: str) -> int:
    count = "SELECT count(*) FROM sign_in_code WHERE person = ? AND recovery = 1"
    return int(row(c, count, (person,))[0])


def enter_by_code(c: apsw.Connection, code_hash: str, device: NewDevice) -> Device | None:
    found = maybe(
        c,
        # Not before it was made either: a clock that was put back does not make it live longer.
        f"""SELECT k.ident, k.person, k.recovery
        FROM sign_in_code k JOIN person p ON p.id = k.person AND p.removed_at = 0
        WHERE k.hash = ?
            AND (k.ends_at = 0 OR {NOW} < k.ends_at AND {NOW} >= k.made_at - 1000)""",
        (code_hash,),
    )
    if found is None:
        return None
    ident, person, recovery = found
    c.execute("DELETE FROM sign_in_code WHERE ident = ?", (ident,))
    return _enter(c, person, "recovery" if recovery else "code", device)


# --- passkeys ----------------------------------------------------------------------------


def enter_by_passkey(
    c: apsw.Connection, ident: str, count: int, device: NewDevice
) -> Device | None:
    # https://www.w3.org/TR/webauthn-3/#sctn-sign-counter; 0: the authenticator keeps none.
    found = maybe(
        c,
        f"""UPDATE passkey SET count = ?2, used_at = {NOW}
        WHERE id = ?1 AND (count < ?2 OR count = 0 AND ?2 = 0)
            AND EXISTS (SELECT 1 FROM person WHERE id = passkey.person AND removed_at = 0)
        RETURNING person""",
        (ident, count),
    )
    return None if found is None else _enter(c, found[0], "passkey", device)


def add_passkey(
    c: apsw.Connection, person: str, credential: str, rp: str, public_key: bytes, count: int,
    name: str,
) -> Passkey:  # fmt: skip
    _there(c, person)
    if maybe(c, "SELECT 1 FROM passkey WHERE credential = ?", (credential,)):
        raise BadRequest("This passkey is known here already.")
    insert = (
        f"INSERT INTO passkey ({_PASSKEY}) VALUES (?, ?, ?, ?, ?, ?, ?, {NOW}, 0)"
        f" RETURNING {_PASSKEY}"
    )
    return Passkey(*row(c, insert, (uuid7(), credential, person, rp, public_key, count, name)))


def passkeys(c: apsw.Connection, person: str) -> list[Passkey]:
    look = f"""SELECT {_PASSKEY} FROM passkey WHERE (?1 = '' OR person = ?1)
        AND person IN (SELECT id FROM person WHERE removed_at = 0) ORDER BY id"""
    return [Passkey(*one) for one in rows(c, look, (person,))]


def passkey_by_credential(c: apsw.Connection, credential: str) -> Passkey | None:
    found = maybe(c, f"SELECT {_PASSKEY} FROM passkey WHERE credential = ?", (credential,))
    return None if found is None else Passkey(*found)


def remove_passkey(c: apsw.Connection, ident: str) -> Passkey:
    found = maybe(c, f"DELETE FROM passkey WHERE id = ? RETURNING {_PASSKEY}", (ident,))
    if found is None:
        raise NotFound(what=f"passkey {ident[:80]!r}")
    return Passkey(*found)


# --- browsers ----------------------------------------------------------------------------


def by_token(c: apsw.Connection, token_hash: str) -> Device | None:
    return _maybe_device(maybe(c, f"{_LET_IN} d.token_hash = ?", (token_hash,)))


def saw(c: apsw.Connection, ident: str) -> None:
    # Back too: a time that is yet to come would keep it for ever.
    c.execute(f"UPDATE device SET seen_at = {NOW} WHERE id = ? AND revoked_at = 0", (ident,))


def devices(c: apsw.Connection, person: str, before: str, limit: int) -> list[Device]:
    look = f"""{_LET_IN} (?1 = '' OR d.person = ?1) AND (?2 = '' OR d.id < ?2)
        ORDER BY d.id DESC LIMIT ?3"""
    return [Device(*one) for one in rows(c, look, (person, before, limit))]


def revoke(c: apsw.Connection, ident: str, person: str, but: str, idle_ms: int) -> list[str]:
    args: tuple[str | int, ...]
    if ident:
        which, args = "id = ?", (ident,)
    elif person:
        which, args = "person = ? AND id <> ?", (person, but)
    elif idle_ms > 0:
        which, args = f"seen_at < {NOW} - ?", (idle_ms,)
    else:
        return []
    ended = rows(
        c,
        # Their hashes go: nothing that was stolen is of any use, not even to look it up.
        f"""UPDATE device SET revoked_at = max({NOW}, made_at, 1), token_hash = id
        WHERE revoked_at = 0 AND {which} RETURNING id""",
        args,
    )
    return [str(one[0]) for one in ended]


def ever_entered(c: apsw.Connection) -> bool:
    return maybe(c, "SELECT 1 FROM device LIMIT 1") is not None


def _enter(c: apsw.Connection, person: str, how: How, device: NewDevice) -> Device:
    again = maybe(
        c,
        f"""UPDATE device SET token_hash = ?, name = ?, how = ?, proved_at = {NOW}, seen_at = {NOW}
        WHERE id = ? AND person = ? AND revoked_at = 0 RETURNING id""",
        (device.token_hash, device.name, how, device.instead, person),
    )
    if again is None:
        if device.instead:  # it was somebody else's, who has left it now
            revoke(c, device.instead, "", "", 0)
        insert = f"""INSERT INTO device
            (id, person, token_hash, name, how, made_at, proved_at, seen_at)
            VALUES (?, ?, ?, ?, ?, {NOW}, {NOW}, {NOW})"""
        c.execute(insert, (uuid7(), person, device.token_hash, device.name, how))
    found = by_token(c, device.token_hash)
    assert found is not None
    return found


def _maybe_device(found: Row | None) -> Device | None:
    return None if found is None else Device(*found)


def _there(c: apsw.Connection, person: str) -> None:
    if maybe(c, "SELECT 1 FROM person WHERE id = ? AND removed_at = 0", (person,)) is None:
        raise NotFound(what=f"person {person[:80]!r}")
