"""The contract of a storage: the people who may talk with this stead."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import BadRequest, NotFound
from stead.core.people import OWNER
from stead.core.scope import KeyScope
from stead.core.storage import Store
from tests.contract.storages import House

_SCOPE = KeyScope(
    lanes=("light",), models=("small",), requests_per_min=9, tokens_per_min=1000, at_once=2,
    day_micro=500_000, month_micro=0, expires_at=2_000_000_000_000, local_only=True,
    keep_bodies=False, chat=True,
)  # fmt: skip


async def test_the_owner_is_there_from_the_beginning(house: House) -> None:
    """He is a person like others, with an id that is known, and without limits; he cannot be
    removed or limited, only addressed otherwise."""
    (owner,) = await house.store.people()
    assert (owner.id, owner.name, owner.is_owner, owner.scope) == (OWNER, OWNER, True, KeyScope())
    for wrong in (
        house.store.remove_person(OWNER),
        house.store.set_person(OWNER, name="anna"),
        house.store.set_person(OWNER, scope=_SCOPE),
        house.store.set_person(OWNER, tools=("clock",)),
        house.store.add_person(OWNER, "Me", KeyScope()),
    ):
        with pytest.raises(BadRequest):
            await wrong
    changed = await house.store.set_person(OWNER, called="Jo")
    assert (changed.id, changed.called) == (OWNER, "Jo")
    assert await house.reopen().people() == [changed]


async def test_a_person_is_kept_with_all_terms(house: House) -> None:
    """Name, how addressed, limits and tools are the same after the storage was opened again; the
    person is found by id and by name."""
    made = await house.store.add_person("anna", "Anna Bé", _SCOPE, ("clock", "web_*"))
    assert (made.name, made.called, made.scope, made.tools, made.removed_at, made.is_owner) == (
        "anna", "Anna Bé", _SCOPE, ("clock", "web_*"), 0, False
    )  # fmt: skip
    assert made.created_at > 1_600_000_000_000
    store = house.reopen()
    assert [one.name for one in await store.people()] == [OWNER, "anna"]
    assert await store.person(made.id) == await store.person("anna") == made
    with pytest.raises(NotFound, match="'bert'"):
        await store.person("bert")


async def test_a_person_can_be_changed(store: Store) -> None:
    """Only what is given changes, and the id never; a name that another has is refused."""
    made = await store.add_person("anna", "Anna", KeyScope())
    await store.add_person("bert", "Bert", KeyScope())
    renamed = await store.set_person("anna", name="annika")
    assert (renamed.id, renamed.name, renamed.called) == (made.id, "annika", "Anna")
    changed = await store.set_person(made.id, scope=_SCOPE, tools=("*",))
    assert (changed.name, changed.scope, changed.tools) == ("annika", _SCOPE, ("*",))
    again = await store.set_person("annika", called="A.", name="annika")
    assert (again.called, again.scope) == ("A.", _SCOPE)
    with pytest.raises(BadRequest, match="'bert'"):
        await store.set_person("annika", name="bert")
    with pytest.raises(NotFound):
        await store.set_person("anna", called="x")
    assert [one.name for one in await store.people()] == [OWNER, "annika", "bert"]


async def test_a_name_is_one_person(store: Store) -> None:
    """A name that is in use is refused in words, also when many ask at once."""
    asked = (store.add_person("anna", f"Anna {n}", KeyScope()) for n in range(5))
    results = await asyncio.gather(*asked, return_exceptions=True)
    refused = [one for one in results if isinstance(one, BadRequest)]
    assert len(refused) == 4 and "anna" in refused[0].message
    assert len(await store.people()) == 2


async def test_who_was_removed_stays_known(store: Store) -> None:
    """The name can be given again, to another person with another id; nothing else can be done
    with who was removed."""
    first = await store.add_person("anna", "Anna", KeyScope())
    gone = await store.remove_person("anna")
    assert (gone.id, gone.removed_at >= first.created_at) == (first.id, True)
    for again in (
        store.remove_person("anna"), store.remove_person(first.id),
        store.set_person(first.id, called="x"), store.person(first.id), store.person("anna"),
    ):  # fmt: skip
        with pytest.raises(NotFound):
            await again
    second = await store.add_person("anna", "Anna", KeyScope())
    assert second.id != first.id
    assert [one.id for one in await store.people()] == [OWNER, second.id, first.id]
