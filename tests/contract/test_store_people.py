"""The contract of a storage: the people who may talk with this stead."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import BadRequest, KeyReused, NotFound
from stead.core.ids import uuid7
from stead.core.nouns import Call, Cap, Post, Usage
from stead.core.people import OWNER, inside
from stead.core.recall import OFF_THE_RECORD
from stead.core.scope import KeyScope
from stead.core.states import JobState, StepState
from stead.core.storage import Ruling, Store
from tests.contract.storages import (
    House,
    background,
    chat,
    claimed,
    converse,
    inbound,
    report,
    step,
)

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


# --- what they say, and what it costs --------------------------------------------------


async def test_conversations_of_two_people_are_apart(store: Store) -> None:
    """Who calls a conversation as another does shares nothing with it: neither history nor turn."""
    anna = (await store.add_person("anna", "Anna", KeyScope())).id
    await converse(store, "my secret", "kept")
    await converse(store, "hers", "noted", session=inside(anna, "main"))
    await store.accept(
        inbound("and?", session=inside(anna, "main")), chat(inside(anna, "main")), ""
    )
    hers = await claimed(store)
    assert [turn.text for turn in await store.history(hers)] == ["hers", "noted"]
    his = (await store.view_messages("main", -1, 50))["messages"]
    assert [one["text"] for one in his] == ["my secret", "kept"]


async def test_an_identity_is_not_anothers(store: Store) -> None:
    """A message under an identity that somebody else's has is refused; nothing of the other's is
    told, and nothing is written."""
    anna = (await store.add_person("anna", "Anna", KeyScope())).id
    await store.accept(inbound("hello", external_id="1"), chat(), "")
    with pytest.raises(KeyReused) as refused:
        session = inside(anna, "main")
        await store.accept(inbound("hello", external_id="1", session=session), chat(session), "")
    assert "hello" not in refused.value.message
    assert len((await store.view_jobs())["jobs"]) == 1


async def test_jobs_of_a_person(store: Store) -> None:
    """Each sees the jobs of his or her own conversations, those off the record too, page by page;
    the owner's are all the others, those that came by no message among them."""
    anna, bert = [(await store.add_person(name, name, KeyScope())).id for name in ("anna", "bert")]
    names = {
        OWNER: ["main", f"{OFF_THE_RECORD}1", "personal"],
        anna: ["main", f"{OFF_THE_RECORD}1", "main"], bert: ["main"],
    }  # fmt: skip
    said: dict[str, list[str]] = {}
    for person, sessions in names.items():
        for name in sessions:
            session = inside(person, name)
            accepted = await store.accept(inbound(session=session), chat(session), "")
            said.setdefault(person, []).insert(0, accepted.job_id)
    said[OWNER].insert(0, (await store.enqueue(background()))[0])
    for person, expected in said.items():
        first = await store.view_jobs(person=person, limit=2)
        rest = await store.view_jobs(person=person, limit=9, before=first["jobs"][-1]["id"])
        found = [one["id"] for one in (*first["jobs"], *rest["jobs"])]
        assert found == expected and first["more"] is (len(expected) > 2)
    assert (await store.view_jobs(person=inside(anna, "x")))["jobs"] == []


async def test_the_owner_is_told_in_his_own_conversation(store: Store) -> None:
    """What the owner has to know reaches him where he spoke last, however much others have said
    since; a job's message to a channel goes into his conversation there, too."""
    anna = (await store.add_person("anna", "Anna", KeyScope())).id
    await store.accept(inbound(channel="mail", session="side"), chat("side"), "")
    his = await claimed(store)
    for session in (inside(anna, "main"), inside(anna, f"{OFF_THE_RECORD}1")):
        await store.accept(inbound(channel="mail", session=session), chat(session), "")
    await store.tell("news", "something happened")
    news = (await store.view_messages("side", -1, 9))["messages"][-1]
    assert (news["text"], news["channel"]) == ("something happened", "mail")
    assert his.node_id is not None
    done = step(1, StepState.DONE)
    await store.journal(his.id, his.epoch, his.node_id, [done], [""], [Post("mail", "hello")])
    assert (await store.view_messages("side", -1, 9))["messages"][-1]["text"] == "hello"


async def test_steps_for_others_are_not_in_the_owners_log(store: Store) -> None:
    """The daily log is the owner's memory: what was done for somebody else does not come in."""
    anna = (await store.add_person("anna", "Anna", KeyScope())).id
    for session in (inside(anna, "main"), "main"):
        await store.accept(inbound(session=session), chat(session), "")
        job = await claimed(store)
        assert job.node_id is not None
        line = [f"a step for {session}"]
        await store.journal(job.id, job.epoch, job.node_id, [step(1, StepState.DONE)], line)
    assert [text for _, _, text in await store.day_lines()] == ["a step for main"]


async def test_an_aside_is_said_to_the_owner(store: Store) -> None:
    """Who asked gets the reply, the owner the aside: each in his or her own conversation, with the
    end that it tells of."""
    anna = (await store.add_person("anna", "Anna", KeyScope())).id
    session = inside(anna, "main")
    await store.accept(inbound(session=session), chat(session), "")
    job = await claimed(store)
    ruling = Ruling(JobState.WAITING, reply="wait", role="notice", waiting_for="x", aside="ask")
    assert job.node_id is not None
    await store.finish(job.node_id, report(job, "waiting"), lambda job, report: ruling)
    for place, text in ((session, "wait"), ("main", "ask")):
        said = (await store.view_messages(place, -1, 9))["messages"]
        assert [one["text"] for one in said if one["role"] == "notice"] == [text]
    assert {one.text for one in await store.take("cli")} == {"wait", "ask"}


async def test_what_a_person_spends_is_counted(store: Store) -> None:
    """A person's calls count in a sum of their own, which a cap holds against, and in that of
    all; a program's key of the same id is another."""
    key = f"person:{(await store.add_person('anna', 'Anna', KeyScope())).id}"
    cap = Cap(key, 100)

    def call(micro: int) -> Call:
        return Call(
            uuid7(), 0, "m", "b", "anna", None, "chat", Usage(), micro, "reserved", 0, 0.0, 0.0, "",
            key_id=key,
        )  # fmt: skip

    assert await store.reserve(call(70), [Cap("", 1000), cap]) is None
    assert await store.reserve(call(31), [Cap("", 1000), cap]) == cap
    assert await store.reserve(call(30), [Cap("", 1000), cap]) is None
    spent = await store.view_spent()
    assert spent[key] == (100, 100) and spent["chat"] == (100, 100)
    assert f"key:{key}" not in spent
