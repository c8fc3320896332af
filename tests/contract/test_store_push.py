"""The contract of a storage: browsers that want to be told."""

from __future__ import annotations

import pytest

from stead.core.errors import NotFound
from stead.core.people import OWNER
from stead.core.scope import KeyScope
from stead.core.storage import Store
from tests.contract.storages import House, chat, inbound


async def test_a_subscription_is_kept_and_taken_back(house: House) -> None:
    """What was given is there after the storage was opened again; only its person takes it back."""
    store = house.store
    made = await store.subscribe(OWNER, "dev", "https://push/1", "key", "auth")
    await store.subscription_told(made.id, gone=False)
    store = house.reopen()
    (kept,) = await store.subscriptions()
    assert (kept.id, kept.person, kept.device, kept.endpoint, kept.p256dh, kept.auth) == (
        made.id, OWNER, "dev", "https://push/1", "key", "auth"
    )  # fmt: skip
    assert kept.told_at > 0 == made.told_at
    with pytest.raises(NotFound):
        await store.unsubscribe("somebody", made.id)
    await store.unsubscribe(OWNER, made.id)
    with pytest.raises(NotFound):
        await store.unsubscribe(OWNER, made.id)
    assert await store.subscriptions() == []


async def test_an_endpoint_is_one_browser(store: Store) -> None:
    """A browser in which somebody else signs in is told that person's things, and no others."""
    anna = await store.add_person("anna", "Anna", KeyScope())
    await store.subscribe(OWNER, "", "https://push/1", "key", "auth")
    made = await store.subscribe(anna.id, "", "https://push/1", "key2", "auth2")
    assert await store.subscriptions() == [made]
    await store.remove_person("anna")
    assert await store.subscriptions() == []


async def test_what_is_gone_is_forgotten(store: Store) -> None:
    """What its service does not know any more goes; one that is gone already is no error."""
    made = await store.subscribe(OWNER, "", "https://push/1", "key", "auth")
    await store.subscription_told(made.id, gone=True)
    await store.subscription_told(made.id, gone=False)
    await store.subscription_told(made.id, gone=True)
    assert await store.subscriptions() == []


async def test_words_are_what_stead_said(store: Store) -> None:
    """The owner's own words are none; what stead said comes in order, after a place, cut short."""
    assert await store.last_word() == 0
    await store.accept(inbound("hello"), chat(), "a line")
    begin = await store.last_word()
    assert begin > 0
    assert await store.words_after(0, 10) == []
    for text in ("one", "two " * 1000):
        await store.notice("cli", "main", text[:3], text)
    words = await store.words_after(begin, 10)
    assert [word.text[:3] for word in words] == ["one", "two"]
    assert len(words[1].text) < 1000
    assert [word.role for word in words] == ["notice", "notice"]
    assert not any(word.question for word in words)
    assert await store.words_after(begin, 1) == words[:1]
    assert await store.words_after(words[0].seq, 10) == words[1:]
