"""What a job says beside its answer, on each storage: once, with the step that said it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stead.core.errors import StaleEpoch
from stead.core.nouns import Job, Post
from stead.core.states import StepState
from stead.core.storage import Ruling, Store
from stead.core.wire import Finish
from tests.contract.storages import (
    background,
    chat,
    claimed,
    converse,
    finish,
    inbound,
    report,
    rule,
    step,
)

DONE = StepState.DONE


async def said(store: Store, session: str = "main") -> list[tuple[str, str, str]]:
    found = await store.view_messages(session, 0, 100)
    return [(one["channel"], one["role"], one["text"]) for one in found["messages"]]


async def test_it_goes_out_with_the_step(store: Store) -> None:
    """Where the job came from, in its conversation, before the answer; it is no turn of it."""
    await store.accept(inbound("go", channel="phone", session="s"), chat("s"), "")
    job = await claimed(store)
    await store.journal(job.id, 1, "n1", [step(1, DONE)], [""], [Post("owner", "half done")])
    assert (await said(store, "s"))[1:] == [("phone", "assistant", "half done")]
    (delivery,) = await store.take("phone")
    assert (delivery.session, delivery.text) == ("s", "half done")
    await finish(store, job, "done", "all done")
    await store.accept(inbound("next", channel="phone", session="s"), chat("s"), "")
    turns = await store.history(await claimed(store))
    assert [turn.text for turn in turns] == ["go", "all done"]


async def test_once_for_each_place_of_a_job(store: Store) -> None:
    """The step that comes again, in the same attempt or in a later one, sends nothing again."""
    await store.accept(inbound(), chat(), "")
    job = await claimed(store)
    for _ in range(2):
        await store.journal(job.id, 1, "n1", [step(1, DONE)], [""], [Post("owner", "one")])
    await finish(store, job, "failed")
    again = await claimed(store)
    await store.journal(job.id, again.epoch, "n1", [step(1, DONE)], [""], [Post("owner", "one")])
    await store.journal(job.id, again.epoch, "n1", [step(3, DONE)], [""], [Post("owner", "two")])
    assert [text for _, role, text in await said(store) if role == "assistant"] == ["one", "two"]
    with pytest.raises(StaleEpoch):
        await store.journal(job.id, 1, "n1", [step(4, DONE)], [""], [Post("owner", "late")])
    assert "late" not in str(await said(store))


async def test_by_a_channel(store: Store) -> None:
    """Into the conversation that was last used there; a channel that nobody wrote by has main."""
    await store.accept(inbound("hi", channel="shop", session="orders"), chat("orders"), "")
    await finish(store, await claimed(store), "done", "hello")
    await store.enqueue(background())
    job = await claimed(store)
    posts = [Post("shop", "to the shop"), Post("mail", "to nobody yet"), None]
    steps = [step(1, DONE), step(2, DONE), step(3, DONE)]
    await store.journal(job.id, 1, "n1", steps, ["", "", ""], posts)
    assert (await said(store, "orders"))[-1] == ("shop", "assistant", "to the shop")
    (mail,) = await store.take("mail")
    assert (mail.session, mail.text) == ("main", "to nobody yet")


async def test_of_a_job_that_nobody_asked_for(store: Store) -> None:
    """To the owner goes to where he spoke last."""
    await converse(store, "hello", "hi", session="evening")
    await store.enqueue(background())
    job = await claimed(store)
    await store.journal(job.id, 1, "n1", [step(1, DONE)], [""], [Post("owner", "by the way")])
    assert (await said(store, "evening"))[-1] == ("cli", "assistant", "by the way")


async def test_what_an_answer_was_made_of_stays_with_it(store: Store) -> None:
    """The conversation knows of each turn whether foreign text or private data went into it."""
    await store.accept(inbound("read it", session="s"), chat("s"), "")
    job = await claimed(store)

    def judge(of: Job, said: Finish) -> Ruling:
        return replace(rule(of, said), read=said.read)

    await store.finish("n1", report(job, "done", "it says", read="foreign private"), judge)
    await store.accept(inbound("from a shop", session="s", foreign=True), chat("s"), "")
    await finish(store, await claimed(store), "done", "well")
    await store.accept(inbound("and now?", session="s"), chat("s"), "")
    turns = await store.history(await claimed(store))
    assert [turn.read for turn in turns] == ["", "foreign private", "foreign", ""]
