"""The contract of a storage: who may look at the page."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.core.people import OWNER
from stead.core.scope import KeyScope
from stead.core.signin import NewDevice
from stead.core.storage import Store
from tests.contract.storages import House

_HOUR = 3_600_000


def browser(token: str = "t1", instead: str = "") -> NewDevice:
    return NewDevice(f"hash of {token}", "Firefox on Linux", instead)


async def test_a_code_lets_in_once(house: House) -> None:
    """Either spelling, but not the other after it; the browser is known by what it shows, also
    after the storage was opened again."""
    store = house.store
    assert not await store.ever_entered()
    ends_at = await store.add_code(OWNER, ("short", "long"), for_ms=_HOUR)
    device = await store.enter_by_code("long", browser())
    assert device is not None
    assert (device.person, device.how, device.name) == (OWNER, "code", "Firefox on Linux")
    assert 0 < ends_at - device.made_at <= _HOUR
    assert device.made_at == device.proved_at == device.seen_at
    assert await store.enter_by_code("short", browser("t2")) is None
    assert await store.enter_by_code("long", browser("t2")) is None
    store = house.reopen()
    assert await store.device_by_token("hash of t1") == device
    assert await store.device_by_token("hash of t2") is None
    assert await store.devices() == [device]
    assert await store.ever_entered()


async def test_many_at_once_use_a_code_once(store: Store) -> None:
    """However many come with the same code at the same moment, one is let in."""
    await store.add_code(OWNER, ("short",), for_ms=_HOUR)
    came = await asyncio.gather(
        *(store.enter_by_code("short", browser(f"t{n}")) for n in range(20))
    )
    assert sum(device is not None for device in came) == 1
    assert len(await store.devices()) == 1


async def test_a_code_ends(store: Store) -> None:
    """After its time it is none; one without a time stays."""
    await store.add_code(OWNER, ("brief",), for_ms=1)
    await store.add_code(OWNER, ("kept",), recovery=True)
    while await store.enter_by_code("brief", browser("early")) is not None:
        await store.add_code(OWNER, ("brief",), for_ms=1)  # within its millisecond
        await asyncio.sleep(0.01)
    assert await store.recovery_left(OWNER) == 1
    device = await store.enter_by_code("kept", browser())
    assert device is not None and device.how == "recovery"
    assert await store.recovery_left(OWNER) == 0


async def test_a_new_sheet_voids_the_old(store: Store) -> None:
    """Recovery codes of one person are renewed together, and nobody else's."""
    anna = await store.add_person("anna", "Anna", KeyScope())
    await store.renew_recovery(OWNER, ["a", "b"])
    await store.renew_recovery(anna.id, ["c"])
    await store.renew_recovery(OWNER, ["d"])
    assert await store.enter_by_code("a", browser()) is None
    assert (await store.recovery_left(OWNER), await store.recovery_left(anna.id)) == (1, 1)
    device = await store.enter_by_code("c", browser())
    assert device is not None and (device.person, device.called) == (anna.id, "Anna")
    with pytest.raises(NotFound):
        await store.renew_recovery("nobody", ["e"])
    with pytest.raises(NotFound):
        await store.add_code("nobody", ["e"], for_ms=1000)


async def test_a_browser_stays_the_same(store: Store) -> None:
    """Who signs in again on it as the same person keeps its id, and what it showed before is worth
    nothing; as somebody else it becomes another, and the first is signed out."""
    anna = await store.add_person("anna", "Anna", KeyScope())
    for code in ("1", "2"):
        await store.add_code(OWNER, (code,), for_ms=_HOUR)
    await store.add_code(anna.id, ("3",), for_ms=_HOUR)
    first = await store.enter_by_code("1", browser("t1"))
    assert first is not None
    again = await store.enter_by_code("2", browser("t2", first.id))
    assert again is not None
    assert (again.id, again.made_at) == (first.id, first.made_at)
    assert again.proved_at >= first.proved_at
    assert await store.device_by_token("hash of t1") is None
    other = await store.enter_by_code("3", browser("t3", first.id))
    assert other is not None and other.id != first.id
    assert await store.device_by_token("hash of t2") is None
    assert await store.devices() == [other]


async def test_devices_are_sent_away(store: Store) -> None:
    """One, all of a person but one, those long unused; each is told of once, and pages of the list
    go on where the one before ended."""
    anna = await store.add_person("anna", "Anna", KeyScope())
    idents = []
    for n, who in enumerate((OWNER, OWNER, OWNER, anna.id)):
        await store.add_code(who, (f"c{n}",), for_ms=_HOUR)
        device = await store.enter_by_code(f"c{n}", browser(f"t{n}"))
        assert device is not None
        idents.append(device.id)
    assert [one.id for one in await store.devices(limit=3)] == idents[:0:-1]
    assert [one.id for one in await store.devices(before=idents[1])] == idents[:1]
    assert [one.id for one in await store.devices(anna.id)] == idents[3:]
    assert await store.revoke_devices(ident=idents[0]) == idents[:1]
    assert await store.revoke_devices(ident=idents[0]) == []
    assert await store.device_by_token("hash of t0") is None
    assert await store.revoke_devices(person=OWNER, but=idents[1]) == idents[2:3]
    assert await store.revoke_devices(idle_ms=_HOUR) == []
    assert await store.revoke_devices() == []
    await store.saw_device(idents[1])
    assert [one.id for one in await store.devices()] == [idents[3], idents[1]]


async def test_who_was_removed_stays_out(store: Store) -> None:
    """Neither browser nor code nor passkey of a removed person lets in, nor is any shown."""
    anna = await store.add_person("anna", "Anna", KeyScope())
    key = await store.add_passkey(anna.id, "cred", "localhost", b"key", 0, "Phone")
    for code in ("1", "2"):
        await store.add_code(anna.id, (code,), for_ms=_HOUR)
    assert await store.enter_by_code("1", browser()) is not None
    await store.remove_person(anna.id)
    assert await store.device_by_token("hash of t1") is None
    assert await store.devices() == [] == await store.passkeys()
    assert await store.enter_by_code("2", browser("t2")) is None
    assert await store.enter_by_passkey(key.id, 0, browser("t2")) is None
    with pytest.raises(NotFound):
        await store.add_passkey(anna.id, "other", "localhost", b"key", 0, "Phone")


async def test_a_passkey_is_kept(house: House) -> None:
    """All of it, byte for byte, over a restart; known once; gone when it is removed."""
    made = await house.store.add_passkey(OWNER, "cred", "home.example", bytes(range(256)), 7, "Né")
    with pytest.raises(BadRequest, match="already"):
        await house.store.add_passkey(OWNER, "cred", "home.example", b"", 0, "")
    store = house.reopen()
    assert await store.passkeys() == [made] == await store.passkeys(OWNER)
    assert await store.passkey_by_credential("cred") == made
    assert await store.passkey_by_credential("none") is None
    assert await store.passkeys("nobody") == []
    assert await store.remove_passkey(made.id) == made
    assert await store.passkey_by_credential("cred") is None
    with pytest.raises(NotFound):
        await store.remove_passkey(made.id)


async def test_a_copied_passkey_is_noticed(store: Store) -> None:
    """The counter of an authenticator must go on; one that keeps none stays at 0."""
    counts = await store.add_passkey(OWNER, "a", "localhost", b"k", 5, "Stick")
    none = await store.add_passkey(OWNER, "b", "localhost", b"k", 0, "Phone")
    for stale in (0, 4, 5):
        assert await store.enter_by_passkey(counts.id, stale, browser()) is None
    device = await store.enter_by_passkey(counts.id, 6, browser("t1"))
    assert device is not None and device.how == "passkey"
    assert await store.enter_by_passkey(counts.id, 6, browser("t2")) is None
    for n in (3, 4):
        assert await store.enter_by_passkey(none.id, 0, browser(f"t{n}")) is not None
    assert await store.enter_by_passkey(none.id, 1, browser("t5")) is not None
    assert await store.enter_by_passkey(none.id, 0, browser("t6")) is None
    used = await store.passkey_by_credential("b")
    assert used is not None and used.used_at > 0 and used.count == 1
    assert await store.enter_by_passkey("nothing", 1, browser("t7")) is None
