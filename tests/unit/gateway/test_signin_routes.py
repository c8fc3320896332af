"""The API of who is signed in: the owner sees all of it, everybody else what is theirs."""

from __future__ import annotations

from typing import Any

import pytest

from stead.core.signin import NewDevice, hashed
from tests.unit.gateway.parts import Gate


async def enter(gate: Gate, person: str, token: str) -> str:
    """A browser that is signed in; its id."""
    store = gate.store
    await store.add_code(person, (token,), for_ms=60_000)
    device = await store.enter_by_code(token, NewDevice(hashed(token), "Firefox on Linux"))
    assert device is not None
    return device.id


async def anna(gate: Gate) -> str:
    answer = await gate.ask("POST", "/api/v1/people", {"called": "Anna"})
    return str(answer.data["id"])


async def test_a_code_for_somebody(gate: Gate) -> None:
    """It comes with a link whose secret stands behind the #; for whom and how long is asked for."""
    who = await anna(gate)
    answer = await gate.ask("POST", "/api/v1/logins", {"person": "anna", "for_s": 3600})
    assert answer.status == 201 and answer.data["person"] == who
    assert answer.data["url"].startswith(answer.data["page"] + "#code=")
    assert answer.data["page"].startswith("http://localhost:")
    assert (await gate.ask("POST", "/api/v1/logins", {})).data["person"] == "owner"
    for body, param in (({"for_s": 0}, "for_s"), ({"for_s": 1e9}, "for_s"), ({"x": 1}, None)):
        answer = await gate.ask("POST", "/api/v1/logins", body)
        assert answer.status == 400
        assert param is None or answer.error["param"] == param
    assert (await gate.ask("POST", "/api/v1/logins", {"person": "bert"})).status == 404


async def test_the_first_code_is_for_a_house_without_owner(gate: Gate) -> None:
    """`stead up` prints one as long as nobody has ever signed in."""
    assert "code" in (await gate.ask("POST", "/api/v1/logins", {"first": True})).data
    device = await enter(gate, "owner", "t1")
    assert (await gate.ask("POST", "/api/v1/logins", {"first": True})).data == {"claimed": True}
    await gate.ask("DELETE", f"/api/v1/devices/{device}")
    assert (await gate.ask("POST", "/api/v1/logins", {"first": True})).data == {"claimed": True}


async def test_ten_thousand_devices_come_in_pages(gate: Gate) -> None:
    """Page by page, each of them once."""
    for n in range(7):
        await enter(gate, "owner", f"t{n}")
    seen: list[str] = []
    before, more = "", True
    while more:
        answer = await gate.ask("GET", f"/api/v1/devices?limit=3&before={before}")
        seen += [one["id"] for one in answer.data["devices"]]
        before, more = answer.data["next"], answer.data["more"]
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)
    assert "token" not in str(answer.data)
    for limit in ("0", "501", "x"):
        assert (await gate.ask("GET", f"/api/v1/devices?limit={limit}")).status == 400


async def test_each_sees_and_ends_what_is_theirs(gate: Gate) -> None:
    """Somebody besides the owner cannot see, end or learn of another's; the owner can all of it."""
    who = await anna(gate)
    mine, hers = await enter(gate, "owner", "t1"), await enter(gate, who, "t2")
    key = await gate.store.add_passkey("owner", "cred", "localhost", b"k", 0, "Phone")
    as_anna: dict[str, Any] = {"x_stead_person": who}

    async def ids(**head: Any) -> list[str]:
        answer = await gate.ask("GET", "/api/v1/devices", **head)
        return [one["id"] for one in (*answer.data["devices"], *answer.data["passkeys"])]

    assert await ids() == [hers, mine, key.id]
    assert await ids(**as_anna) == [hers]
    for method, path, status in (
        ("GET", f"/api/v1/devices/{mine}", 404),
        ("DELETE", f"/api/v1/devices/{mine}", 404),
        ("DELETE", f"/api/v1/passkeys/{key.id}", 404),
        ("GET", "/api/v1/devices?person=owner", 403),
        ("DELETE", "/api/v1/devices?person=owner", 403),
        ("POST", "/api/v1/logins", 403),
        ("GET", f"/api/v1/devices/{hers}", 200),
    ):
        assert (await gate.ask(method, path, **as_anna)).status == status, (method, path)
    answer = await gate.ask("POST", "/api/v1/recovery-codes", {"person": "owner"}, **as_anna)
    assert answer.status == 403
    answer = await gate.ask("POST", "/api/v1/recovery-codes", {}, **as_anna)
    assert answer.data["person"] == who and len(set(answer.data["codes"])) == 10
    assert await gate.store.recovery_left("owner") == 0
    assert (await gate.ask("DELETE", "/api/v1/devices", **as_anna)).data["revoked"] == 1
    assert await ids() == [mine, key.id]
    assert (await gate.ask("DELETE", f"/api/v1/passkeys/{key.id}")).status == 200
    assert (await gate.ask("DELETE", "/api/v1/devices")).status == 400
    assert (await gate.ask("DELETE", "/api/v1/devices?person=owner")).data["revoked"] == 1
    assert await ids() == []


@pytest.mark.parametrize("ident", ["x", "~", "0" * 2000, "%00", "%C3%A4"])
async def test_devices_that_are_none(gate: Gate, ident: str) -> None:
    """Said in words."""
    for method in ("GET", "DELETE"):
        assert (await gate.ask(method, f"/api/v1/devices/{ident}")).status == 404
    assert (await gate.ask("DELETE", f"/api/v1/passkeys/{ident}")).status == 404
