"""The contract of a storage: the keys of programs."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.core.scope import KeyScope
from stead.core.storage import Store
from tests.contract.storages import House

_SCOPE = KeyScope(
    lanes=("light",), models=("stead",), endpoints=("chat/completions",), requests_per_min=9,
    tokens_per_min=1000, at_once=2, max_body_kb=64, day_micro=500_000, month_micro=0,
    expires_at=2_000_000_000_000, local_only=True, keep_bodies=False, chat=True,
)  # fmt: skip


async def test_a_key_is_kept_with_all_of_its_scope(house: House) -> None:
    """What a key is for is the same after the storage was closed and opened again."""
    made = await house.store.add_key("desk", "hash-1", _SCOPE)
    assert (made.name, made.key_hash, made.scope, made.revoked_at) == ("desk", "hash-1", _SCOPE, 0)
    assert made.created_at > 1_600_000_000_000
    store = house.reopen()
    assert await store.keys() == [made]


async def test_a_scope_can_be_changed(store: Store) -> None:
    """The key stays the same one, with another scope; there has to be one."""
    made = await store.add_key("desk", "h", KeyScope())
    changed = await store.set_key("desk", _SCOPE)
    assert (changed.id, changed.key_hash, changed.scope) == (made.id, "h", _SCOPE)
    assert await store.keys() == [changed]
    with pytest.raises(NotFound, match="'attic'"):
        await store.set_key("attic", _SCOPE)


async def test_a_name_is_one_key(store: Store) -> None:
    """A name that is in use is refused in words, also when many ask at once."""
    asked = (store.add_key("desk", f"h{n}", KeyScope()) for n in range(5))
    results = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in results if isinstance(one, BadRequest)]
    assert len(refused) == 4 and "desk" in refused[0].message
    assert len(await store.keys()) == 1


async def test_a_key_that_was_taken_back_stays_known(store: Store) -> None:
    """Its name can be given again, to another key; what is taken back is so once."""
    first = await store.add_key("desk", "h1", KeyScope())
    gone = await store.revoke_key("desk")
    assert (gone.id, gone.revoked_at >= first.created_at) == (first.id, True)
    for again in (store.revoke_key("desk"), store.set_key("desk", _SCOPE)):
        with pytest.raises(NotFound):
            await again
    second = await store.add_key("desk", "h2", _SCOPE)
    assert second.id != first.id
    assert await store.keys() == [second, gone]
