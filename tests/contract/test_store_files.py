"""The contract of a storage: files hang on messages, and go with them."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from stead.core.attached import Attached
from stead.core.errors import FileInUse, KeyReused, NotFound
from stead.core.ids import uuid7
from stead.core.nouns import Job
from stead.core.storage import Store
from tests.contract.storages import chat, claimed, finish, inbound


def made(name: str = "a.txt", data: bytes = b"abc") -> Attached:
    sha = hashlib.sha256(data).hexdigest()
    return Attached(uuid7(), name, "text/plain", "text", len(data), sha)


async def known(store: Store, name: str = "a.txt", data: bytes = b"abc") -> Attached:
    return await store.add_file(made(name, data))


async def said(store: Store, *files: Attached, session: str = "main", **more: Any) -> Job:
    """A message with files, answered."""
    message = inbound("look", session=session, files=files, **more)
    await store.accept(message, chat(session), "")
    job = await claimed(store)
    await finish(store, job, "done", "seen")
    return job


async def test_a_file_is_known_from_its_hand_in(store: Store) -> None:
    """A file is known by its id with all that was said of it, and again is the same as once."""
    file = await known(store, "größe.txt")
    assert file.at > 0
    assert await store.add_file(made().__class__(file.id, "x", "x", "other", 1, "x")) == file
    assert await store.files([file.id]) == [file]
    view = await store.view_file(file.id)
    assert (view["name"], view["size"], view["messages"]) == ("größe.txt", 3, [])
    with pytest.raises(NotFound):
        await store.files([file.id, uuid7()])


async def test_a_message_takes_its_files_or_nothing_at_all(store: Store) -> None:
    """A message and the files on it are one transaction: with one that is not known nothing is
    recorded and no job is queued."""
    file = await known(store)
    with pytest.raises(NotFound):
        await store.accept(inbound("look", files=(file, made())), chat(), "")
    assert (await store.view_messages("main", -1, 10))["messages"] == []
    assert (await store.view_jobs())["jobs"] == []
    await store.drop_file(file.id)


async def test_files_are_shown_with_their_messages_in_order(store: Store) -> None:
    """The record, the story of a job and the history of the next tell which files a message had,
    in the order they were given; other messages have none."""
    one, two = await known(store, "z.txt"), await known(store, "a.pdf", b"%PDF-")
    first = await said(store, one, two)
    await said(store)
    shown = (await store.view_messages("main", -1, 10))["messages"]
    names = [[file["name"] for file in message["files"]] for message in shown]
    assert names == [["z.txt", "a.pdf"], [], [], []]
    story = await store.view_why(first.id)
    assert [file["id"] for file in story["message"]["files"]] == [one.id, two.id]
    await store.accept(inbound("and now?"), chat(), "")
    turns = await store.history(await claimed(store))
    assert [turn.files for turn in turns] == [(one, two), (), (), ()]


async def test_files_of_messages_without_an_answer_are_told_together(store: Store) -> None:
    """Two messages of the owner in a row are one turn, with the files of both."""
    one, two = await known(store, "1.txt"), await known(store, "2.txt")
    for file in (one, two):
        await store.accept(inbound("see", files=(file,)), chat(), "")
        job = await claimed(store)
        await finish(store, job, "cancelled")
    await store.accept(inbound("well?"), chat(), "")
    turns = await store.history(await claimed(store))
    assert turns[0].files == (one, two)


async def test_one_file_may_hang_on_many_messages(store: Store) -> None:
    """A file stays as long as one message has it."""
    file = await known(store)
    first, second = await said(store, file), await said(store, file, session="other")
    await store.forget([first.id])
    assert await store.files([file.id]) == [file]
    assert len((await store.view_file(file.id))["messages"]) == 1
    await store.forget([second.id])
    with pytest.raises(NotFound):
        await store.files([file.id])
    assert await store.kept_files() == []


async def test_a_file_on_a_message_cannot_be_dropped_alone(store: Store) -> None:
    """What hangs on a message goes with it; what hangs on none is dropped, once."""
    held, free = await known(store), await known(store)
    await said(store, held)
    with pytest.raises(FileInUse):
        await store.drop_file(held.id)
    await store.drop_file(free.id)
    with pytest.raises(NotFound):
        await store.drop_file(free.id)
    assert [ident for ident, _ in await store.kept_files()] == [held.id]


async def test_what_nobody_sent_goes_after_its_time(store: Store) -> None:
    """A file that hangs on no message is dropped when it is old enough, not before; one on a
    message never is."""
    held, free = await known(store), await known(store)
    await said(store, held)
    assert await store.drop_unused(3_600_000) == 0
    assert await store.drop_unused(-1) == 1
    assert [ident for ident, _ in await store.kept_files()] == [held.id]
    with pytest.raises(NotFound):
        await store.files([free.id])


async def test_a_job_reaches_the_files_of_its_conversation_only(store: Store) -> None:
    """A worker may fetch what hangs on any message of its job's conversation, nothing else."""
    mine, other, none = await known(store), await known(store), await known(store)
    await said(store, mine)
    await said(store, other, session="other")
    await store.accept(inbound("again"), chat(), "")
    job = await claimed(store)
    assert await store.file_of_job(job.id, mine.id) == mine
    for file in (other, none):
        with pytest.raises(NotFound):
            await store.file_of_job(job.id, file.id)


async def test_a_message_that_comes_again_is_the_same_with_the_same_files(store: Store) -> None:
    """A request that comes again under its key, its files handed in anew, is the first one; with
    other content in them it is another request, and refused."""

    def job(file: Attached) -> Any:
        made = chat()
        made.payload["files"] = [{"sha256": file.sha256}]
        return made

    first, again, other = (
        await known(store, data=b"one"), await known(store, data=b"one"),
        await known(store, data=b"two"),
    )  # fmt: skip
    one = await store.accept(
        inbound("see", external_id="idem:k", body_hash="1", files=(first,)), job(first), ""
    )
    same = inbound("see", external_id="idem:k", body_hash="2", files=(again,))
    assert (await store.accept(same, job(again), "")).job_id == one.job_id
    with pytest.raises(KeyReused, match="files"):
        changed = inbound("see", external_id="idem:k", body_hash="3", files=(other,))
        await store.accept(changed, job(other), "")
    assert (await store.view_file(again.id))["messages"] == []


async def test_files_go_with_the_words_of_old_messages(store: Store) -> None:
    """Where the owner has the words of old messages taken out, their files go with them."""
    file = await known(store)
    job = await said(store, file)
    for delivery in await store.take("cli", 10):
        await store.delivered(delivery.id)
    at = (await store.view_why(job.id))["message"]["at"]
    await store.prune_messages(at + 1, "", 100)
    assert await store.kept_files() == []


async def test_files_are_listed_page_by_page(store: Store) -> None:
    """The list is the newest first, in pages, and says how many there are and how large."""
    made = [await known(store, f"{n}.txt", b"x" * n) for n in range(1, 6)]
    page = await store.view_files("", 2)
    assert [file["name"] for file in page["files"]] == ["5.txt", "4.txt"]
    assert (page["more"], page["count"], page["bytes"]) == (True, 5, 15)
    rest = await store.view_files(page["files"][-1]["id"], 5)
    assert [file["name"] for file in rest["files"]] == ["3.txt", "2.txt", "1.txt"]
    assert rest["more"] is False
    assert len(made) == 5
