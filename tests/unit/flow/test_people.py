"""Messages of people besides the owner: their own conversations, and no word in the owner's."""

from __future__ import annotations

import pytest

from stead.core.errors import BadRequest
from stead.core.ids import uuid7
from stead.core.people import inside
from stead.core.permits import Approval
from stead.core.states import Failure, JobState
from stead.memory.recall.service import Recalls
from tests.unit.flow.house import House

ANNA = "01890000-0000-7000-8000-00000000aaaa"


def question(seq: int = 1) -> Approval:
    return Approval(seq, "shell", "runs rm -r x", "{}", "d" * 64, "a rule asks")


async def test_a_person_speaks_in_conversations_of_their_own(house: House) -> None:
    """Called as the owner calls his, it is another one; both are worked on at once."""
    await house.say("mine")
    hers = await house.say("hers", person=ANNA)
    assert {(await house.claim()).session, (await house.claim("n2")).session} == {
        "main", inside(ANNA, "main")
    }  # fmt: skip
    assert (await house.store.job(hers.job_id)).conc_key == f"session:{inside(ANNA, 'main')}"


@pytest.mark.parametrize("session", [inside(ANNA, "main"), inside(ANNA, "off-the-record:x")])
async def test_nobody_speaks_in_anothers_name(house: House, session: str) -> None:
    """Naming a conversation of somebody else does not lead into it: not for the owner, and another
    person gets one of their own that is called so."""
    with pytest.raises(BadRequest, match="somebody else's"):
        await house.say("I am Anna", session=session)
    bert = uuid7()
    said = await house.say("I am Anna", session=session, person=bert)
    assert (await house.store.job(said.job_id)).session == inside(bert, session)


async def test_only_the_owners_word_decides(house: House) -> None:
    """Who knows what a question is called, and says yes to it, has said nothing but these words;
    the same words of the owner's decide."""
    house.flow.called = {ANNA: "Anna"}.__getitem__
    asked = await house.say("delete all", person=ANNA)
    job = await house.claim()
    ident = uuid7()
    await house.settle(job, "waiting", approval=question(), ident=ident)
    hers = await house.say(f"approve {ident[-8:]}", person=ANNA)
    assert (await house.claim()).id == hers.job_id, "it is a message like any other"
    assert (await house.store.view_approval(ident))["state"] == "open"
    await house.say(f"approve {ident[-8:]}")
    assert (await house.store.view_approval(ident))["state"] == "answered"
    assert (await house.store.job(asked.job_id)).state is JobState.QUEUED


async def test_the_owner_is_asked_and_the_person_told(house: House) -> None:
    """A question about a call is put to the owner, with who wants it; who asked learns that it
    waits, and not how it is answered."""
    house.flow.called = {ANNA: "Anna"}.__getitem__
    await house.say("good morning", channel="mail", session="side")
    await house.say("delete all", person=ANNA)
    job = await house.claim()
    ident = uuid7()
    await house.settle(job, "waiting", approval=question(), ident=ident)
    ((_, told),) = await house.sent()
    assert "owner" in told and "approve" not in told and ident[-8:] not in told
    ((role, asked),) = await house.sent("mail")
    assert (
        role == "notice" and asked.startswith("Anna asked for") and f"approve {ident[-8:]}" in asked
    )


async def test_a_failure_is_told_in_words_for_them(house: House) -> None:
    """The commands of the owner are of no use to others."""
    await house.say("hard", person=ANNA)
    for _ in range(2):
        await house.settle(await house.claim(), "failed", failure=Failure.CODE)
    ((role, text),) = await house.sent()
    assert role == "notice" and "it broke" in text and "stead" not in text


async def test_the_owners_log_tells_that_and_not_what(house: House) -> None:
    """The daily log, out of which the owner's memory is made, has a line for what was asked and
    done, with its cost, and none of the words."""
    house.flow.called = {ANNA: "Anna Bé"}.__getitem__
    await house.say("my diary says", person=ANNA)
    job = await house.claim()
    await house.settle(job, text="dear diary")
    log = await house.log()
    assert f"job {job.id[-8:]} asked for by Anna Bé (cli, " in log
    assert f"job {job.id[-8:]} done for Anna Bé: waited" in log
    assert "diary" not in log


async def test_nothing_is_recalled_for_others(house: House) -> None:
    """What a message of theirs would bring to mind is not even looked for."""
    looked: list[str] = []

    class Noting(Recalls):
        def begin(self, text: str, session: str, role: str) -> None:
            looked.append(text)

    house.flow.recalls = Noting(house.store, None, lambda role: pytest.fail("not asked"))
    await house.say("what do you know of me?", person=ANNA)
    await house.say("what do you know of me, the owner?")
    assert looked == ["what do you know of me, the owner?"]
