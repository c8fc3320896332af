"""The contract of a storage: what a job was shown of memory, and what was said off the record."""

from __future__ import annotations

from pathlib import Path

from stead.core.ids import uuid7
from stead.core.pruning import PruneRule
from stead.core.recall import OFF_THE_RECORD, Recall, Recalled
from stead.core.states import JobState, StepState
from stead.core.storage import Store
from tests.contract.storages import (
    House,
    chat,
    claimed,
    finish,
    inbound,
    journal,
    step,
    trouble,
)

FOUND = Recall(
    (Recalled("the boiler is a Vaillant", "memory/cards/boiler.md#L3@12345678", score=0.7,
              signals={"words": 0.7}),),
    took_ms=3.5,
)  # fmt: skip


async def test_the_first_that_was_kept_stays(store: Store) -> None:
    """Whoever comes later is told what the job was shown first; the story of the job tells it."""
    accepted = await store.accept(inbound(), chat(), "")
    assert await store.recalled(accepted.job_id) is None
    assert await store.keep_recall(accepted.job_id, FOUND) == FOUND
    assert await store.keep_recall(accepted.job_id, Recall(why="too late")) == FOUND
    assert await store.recalled(accepted.job_id) == FOUND
    story = await store.view_why(accepted.job_id)
    assert story["recall"]["items"][0]["signals"] == {"words": 0.7}


async def test_when_a_source_was_last_shown(store: Store) -> None:
    """By its path, so that what nobody ever needs can be seen."""
    assert await store.last_recalled() == {}
    for text in ("one", "two"):
        accepted = await store.accept(inbound(text), chat(), "")
        await store.keep_recall(accepted.job_id, FOUND)
    await store.keep_recall((await store.accept(inbound(), chat(), "")).job_id, Recall(why="no"))
    last = await store.last_recalled()
    assert list(last) == ["memory/cards/boiler.md"] and last["memory/cards/boiler.md"] > 0


async def test_it_is_kept_over_a_restart_and_goes_with_its_job(house: House) -> None:
    """It lives as long as its job's detail; of a job that is not there nothing is kept."""
    store = house.store
    accepted = await store.accept(inbound(), chat(), "")
    await store.keep_recall(accepted.job_id, FOUND)
    assert await store.keep_recall(uuid7(), FOUND) == FOUND
    store = house.reopen()
    assert await store.recalled(accepted.job_id) == FOUND
    await finish(store, await claimed(store), "done", "yes")
    rule = PruneRule((JobState.DONE,), -60_000, "all")
    await store.prune_jobs(rule, await store.prune_begin("all"), "", 10)
    assert await store.recalled(accepted.job_id) is None


def where(folder: Path, needle: bytes) -> list[Path]:
    """The files that hold these bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if needle in path.read_bytes()]


async def _secret_talk(store: Store, session: str, words: str) -> str:
    """A conversation off the record with all that can happen in it; the id of its job."""
    said = inbound(f"my {words}", session=session)
    accepted = await store.accept(said, chat(session), f"a line with {words}")
    await store.keep_recall(accepted.job_id, Recall((Recalled(words, "memory/x.md#L1@1"),)))
    job = await claimed(store)
    await store.journal(
        job.id, 1, "n1", [step(1, StepState.DONE, input=words, output=f'"{words}"')], [words]
    )
    await finish(store, job, "failed", trouble=trouble(f"broke at {words}"))
    job = await claimed(store)
    await journal(store, job, step(2, StepState.DONE, output=f'"{words} again"'))
    await finish(store, job, "done", f"so {words} it is")
    return job.id


async def test_off_the_record_nothing_is_written_into_the_log(store: Store) -> None:
    """No line of it ever waits to be written to a file; of another conversation all do."""
    await _secret_talk(store, f"{OFF_THE_RECORD}1", "heron at the weir")
    assert await store.day_lines() == []
    await store.accept(inbound("hi"), chat(), "a line")
    assert [text for _, _, text in await store.day_lines()] == ["a line"]


async def test_off_the_record_it_is_kept_until_all_is_delivered(
    house: House, tmp_path: Path
) -> None:
    """Words stay while a reply is under way or the conversation goes on, and over a restart; then
    they are in no row and in no byte of the storage, and what it cost is still known."""
    store, words = house.store, "the heron stands at the weir of Oberndorf since Tuesday"
    session = f"{OFF_THE_RECORD}{uuid7()}"
    job_id = await _secret_talk(store, session, words)
    await store.accept(inbound("something else that stays for good"), chat(), "x")
    assert await store.erase_off_the_record(60_000) == (0, 1)
    assert await store.off_the_record_jobs() == [job_id]
    assert await store.end_off_the_record(session)
    assert await store.erase_off_the_record(60_000) == (0, 1), "its reply is not delivered"
    store = house.reopen()
    assert len(await store.history(await store.job(job_id))) == 0
    for delivery in await store.take("cli"):
        assert words in delivery.text
        await store.delivered(delivery.id)
    assert await store.erase_off_the_record(60_000) == (1, 0)
    assert await store.erase_off_the_record(60_000) == (0, 0)
    assert await store.off_the_record_jobs() == []
    assert not await store.end_off_the_record(session)
    found = await store.view_messages(session, 0, 10)
    assert {one["text"] for one in found["messages"]} == {""}
    story = await store.view_why(job_id)
    assert story["job"]["state"] == "done" and words not in str(story)
    assert where(tmp_path, b"heron") == []
    assert where(tmp_path, b"stays for good")


async def test_many_long_ones_beside_others_leave_no_byte(house: House, tmp_path: Path) -> None:
    """Texts over many pages, between others that stay, in rows that were moved about."""
    store = house.store
    for n in range(30):
        off = n % 3 == 0
        words = f"{'heron' if off else 'stork'} {n} " + f"said number {n} " * (40 * n)
        session = f"{OFF_THE_RECORD}{n}" if off else f"s{n}"
        await _secret_talk(store, session, words)
        if off:
            await store.end_off_the_record(session)
    while deliveries := await store.take("cli", 100):
        for delivery in deliveries:
            await store.delivered(delivery.id)
    assert await store.erase_off_the_record(60_000) == (10, 0)
    assert where(tmp_path, b"heron") == []
    job = await store.view_messages("s29", 0, 10)
    assert "stork 29" in job["messages"][0]["text"]


async def test_what_nobody_goes_on_with_is_erased_too(store: Store) -> None:
    """The owner's terminal may have been closed without a word."""
    session = f"{OFF_THE_RECORD}{uuid7()}"
    await _secret_talk(store, session, "heron at the weir")
    for delivery in await store.take("cli"):
        await store.delivered(delivery.id)
    assert await store.erase_off_the_record(60_000) == (0, 1)
    assert await store.erase_off_the_record(-1) == (1, 0)


async def test_notices_do_not_go_into_it(store: Store) -> None:
    """What stead tells the owner is said in a conversation that stays."""
    await store.accept(inbound("hi", session="s"), chat("s"), "")
    await store.accept(inbound("hi", session=f"{OFF_THE_RECORD}1"), chat(f"{OFF_THE_RECORD}1"), "")
    assert await store.tell("n1", "a word") is not None
    assert "a word" in str(await store.view_messages("s", 0, 10))
