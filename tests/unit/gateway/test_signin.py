"""Signing in: codes as they are typed, guesses slowed down, browsers sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead.core.errors import NotFound, SteadError
from stead.core.people import OWNER
from stead.core.scope import KeyScope
from stead.core.signin import NewDevice, hashed, in_groups, new_code, typed
from stead.gateway.signin import Comer, SignIns, TooManyTries, WrongCode
from stead.gateway.tries import Tries
from stead.store.sqlite import SqliteStore

DAY_MS = 86_400_000
HERE = Comer("Firefox on Linux", "127.0.0.1")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    yield made
    made.close()


@pytest.fixture
def ins(store: SqliteStore) -> SignIns:
    return SignIns(store, b"secret", 60 * DAY_MS)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ABCDE-FGH12", "ABCDEFGH12"),
        ("  abcde fgh12 ", "ABCDEFGH12"),
        ("oil-LO", "01110"),
        ("ABC\u2011DE\u200b", "ABCDE"),
        ("", ""),
        ("-- --", ""),
        ("dr\u00f6p table", ""),
        ("1=1", ""),
        ("\ud800", ""),
        ("aB-_" * 10 + "aBc", "aB-_" * 10 + "aBc"),
    ],
)  # fmt: skip
def test_codes_as_they_are_typed(text: str, meant: str) -> None:
    """Spaces, dashes, small letters and the letters that look like digits do no harm."""
    assert typed(text) == meant


def test_codes_can_be_read_aloud() -> None:
    """None has a letter that is taken for another, and each comes back as it was made."""
    made = {new_code(10) for _ in range(500)}
    assert len(made) == 500
    assert not set("ILOU") & set("".join(made))
    assert all(typed(in_groups(code)) == code and len(in_groups(code)) == 11 for code in made)


def test_guesses_are_slowed_down() -> None:
    """Five are free; then each costs twice the wait, up to five minutes; an hour later it is
    forgiven. Neighbours within an IPv6 network are one; other places are not slowed."""
    now = [0.0]
    tries = Tries(lambda: now[0])
    waits = []
    for n in range(14):
        tries.was_wrong(f"2001:db8::{n:x}")
        waits.append(tries.wait_s("2001:db8::ffff"))
        now[0] += waits[-1]
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert tries.wait_s("2001:db8:0:1::1") == tries.wait_s("192.0.2.1") == 0
    now[0] += 3601
    tries.was_wrong("2001:db8::1")
    assert tries.wait_s("2001:db8::1") == 0
    for _ in range(5):
        tries.was_wrong("192.0.2.1")
    assert tries.wait_s("::ffff:192.0.2.1") == 1
    tries.was_right("192.0.2.1")
    assert tries.wait_s("192.0.2.1") == 0


def test_guesses_from_everywhere_are_slowed_down() -> None:
    """A hundred a minute are too many, from however many places; the next minute begins anew, and
    what is remembered of places has an end."""
    now = [0.0]
    tries = Tries(lambda: now[0])
    for n in range(5000):
        tries.was_wrong(f"10.0.{n // 256}.{n % 256}")
    assert 0 < tries.wait_s("192.0.2.1") <= 60
    assert len(tries._places) <= 1000
    now[0] += 61
    tries.was_wrong("192.0.2.2")
    assert tries.wait_s("192.0.2.1") == 0


async def test_a_code_signs_in_once(ins: SignIns) -> None:
    """By what is typed or by the secret of the link; the browser is known by what it was given, and
    nothing of that can be read in the store."""
    made = await ins.new_code("owner", 600)
    token, device = await ins.enter_by_code(made.code.lower(), HERE)
    assert (device.person, device.how) == (OWNER, "code")
    assert await ins.device(token) == device
    assert await ins.device(token + "x") is None
    for again in (made.code, made.secret):
        with pytest.raises(WrongCode):
            await ins.enter_by_code(again, HERE)
    files = [path.read_bytes() for path in Path(ins.store.path).parent.glob("state.db*")]  # type: ignore[attr-defined]
    for secret in (token, made.secret, made.code, made.code.replace("-", "")):
        assert not any(secret.encode() in data for data in files)
    with pytest.raises(NotFound):
        await ins.new_code("nobody", 600)


async def test_who_guesses_waits_and_who_knows_does_not(ins: SignIns) -> None:
    """Once guesses are slowed down short codes are not even looked at; the link, and recovery
    codes, which nobody can guess, let in all the same."""
    made = await ins.new_code("owner", 600)
    codes = await ins.new_recovery("owner")
    wrong: list[type[SteadError]] = []
    for _ in range(6):
        with pytest.raises(SteadError) as refused:
            await ins.enter_by_code("AAAAA-AAAAA", HERE)
        wrong.append(type(refused.value))
    assert wrong == [WrongCode] * 5 + [TooManyTries]
    with pytest.raises(TooManyTries) as waiting:
        await ins.enter_by_code(made.code, HERE)
    assert waiting.value.headers()["retry-after"]
    assert (await ins.enter_by_code(codes[3], HERE))[1].how == "recovery"
    assert (await ins.enter_by_code(made.secret, HERE))[1].how == "code"


async def test_sent_away_at_once(ins: SignIns) -> None:
    """A browser that was let in a moment ago, and is remembered, is not let in after it was sent
    away; who waits for that is told."""
    gone: list[str] = []
    ins.when_revoked.append(gone.extend)
    tokens, devices = [], []
    for _ in range(3):
        made = await ins.new_code("owner", 600)
        token, device = await ins.enter_by_code(made.secret, HERE)
        assert await ins.device(token) is not None
        tokens.append(token)
        devices.append(device.id)
    await ins.revoke(devices[0])
    assert await ins.device(tokens[0]) is None
    with pytest.raises(NotFound):
        await ins.revoke(devices[0])
    with pytest.raises(NotFound):
        await ins.revoke(devices[1], "somebody else")
    assert await ins.revoke_all(OWNER, but=devices[1]) == 1
    assert [await ins.device(token) is not None for token in tokens] == [False, True, False]
    assert gone == [devices[0], devices[2]]


async def test_a_look_that_is_late_does_not_let_in(ins: SignIns, store: SqliteStore) -> None:
    """Somebody is sent away while he is being looked up: what was read before does not count."""
    made = await ins.new_code("owner", 600)
    token, device = await ins.enter_by_code(made.secret, HERE)
    looked, go_on = asyncio.Event(), asyncio.Event()
    look = store.device_by_token

    async def slow(token_hash: str) -> object:
        found = await look(token_hash)
        looked.set()
        await go_on.wait()
        return found

    store.device_by_token = slow  # type: ignore[assignment,method-assign]
    asking = asyncio.create_task(ins.device(token))
    await looked.wait()
    await ins.revoke(device.id)
    go_on.set()
    assert await asking is None


async def test_the_same_browser_is_the_same_device(ins: SignIns) -> None:
    """Who signs in again gets another secret; the one before is worth nothing, at once. Of somebody
    else who signs in on it the first is told as gone."""
    anna = await ins.store.add_person("anna", "Anna", KeyScope())
    gone: list[str] = []
    ins.when_revoked.append(gone.extend)
    first, device = await ins.enter_by_code((await ins.new_code("owner", 60)).code, HERE)
    assert await ins.device(first) is not None
    comer = Comer(HERE.name, HERE.address, device.id)
    second, again = await ins.enter_by_code((await ins.new_code("owner", 60)).code, comer)
    assert again.id == device.id and not gone
    assert await ins.device(first) is None and await ins.device(second) is not None
    third, other = await ins.enter_by_code((await ins.new_code("anna", 60)).code, comer)
    assert other.person == anna.id and other.called == "Anna"
    assert await ins.device(second) is None and await ins.device(third) is not None
    assert gone == [device.id]


async def test_who_was_removed_is_out(ins: SignIns) -> None:
    """At once, where it is known that the person was removed."""
    anna = await ins.store.add_person("anna", "Anna", KeyScope())
    gone: list[str] = []
    ins.when_revoked.append(gone.extend)
    token, device = await ins.enter_by_code((await ins.new_code("anna", 60)).code, HERE)
    assert await ins.device(token) is not None
    await ins.store.remove_person(anna.id)
    ins.person_gone(anna.id)
    assert await ins.device(token) is None
    assert gone == [device.id]


async def test_long_unused_is_signed_out(store: SqliteStore) -> None:
    """After the days in stead.toml; a clock that was wrong meanwhile has written nothing."""
    ins = SignIns(store, b"secret", 1)
    token, device = await SignIns(store, b"secret", DAY_MS).enter_by_code(
        (await ins.new_code("owner", 60)).code, HERE
    )
    while await ins.device(token) is not None:  # within its millisecond
        await asyncio.sleep(0.01)
        ins = SignIns(store, b"secret", 1)
    assert await SignIns(store, b"secret", DAY_MS).device(token) is not None
    assert await ins.find(device.id) is None


async def test_a_full_disk_keeps_nobody_out(ins: SignIns, store: SqliteStore) -> None:
    """That it was seen cannot be written: it is let in all the same."""
    token = "t" * 43
    await store.add_code(OWNER, ("c",), for_ms=60_000)
    assert await store.enter_by_code("c", NewDevice(hashed(token), "x")) is not None
    await store.write(
        lambda c: c.execute("UPDATE device SET seen_at = seen_at - 3600000").fetchall()
    )

    async def full(ident: str) -> None:
        raise SteadError("The disk is full.")

    store.saw_device = full  # type: ignore[method-assign]
    assert await ins.device(token) is not None


def test_each_house_has_its_own_handles(store: SqliteStore) -> None:
    """A passkey of one stead on localhost does not take the place of another's."""
    one, other = SignIns(store, b"one", 1), SignIns(store, b"two", 1)
    assert one.handle(OWNER) == one.handle(OWNER) != other.handle(OWNER)
    assert one.handle("anna") != one.handle(OWNER)
    assert len(one.handle(OWNER)) <= 64
