"""Recall for the jobs of a gateway, over a real store and real files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stead.core.errors import BackendFailed
from stead.core.nouns import ModelProfile
from stead.core.recall import Recall
from stead.memory.recall.service import NOTHING, Recalls, RecallTerms
from stead.store.sqlite import SqliteStore
from tests.contract.storages import chat, claimed, finish, inbound
from tests.unit.memory.recall.plain import Plain, card

ASKED = "Which boiler do we have?"


class Rig:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = SqliteStore(home / "state.db", home / "copies")
        self.plain = Plain(home)
        self.recalls = self.anew()

    def anew(self, prompt: str = "full", within_s: float = 30.0) -> Recalls:
        """As after a restart of the gateway."""
        profile = ModelProfile(name="m", prompt=prompt)
        terms = RecallTerms(within_s=within_s)
        self.recalls = Recalls(self.store, self.plain, lambda role: profile, terms=terms)
        return self.recalls

    async def say(self, text: str = ASKED, session: str = "s", role: str = "main") -> str:
        finding = self.recalls.begin(text, session, role)
        job = chat(session)
        job.payload.update(text=text, role=role)
        accepted = await self.store.accept(inbound(text, session=session), job, "")
        if finding is not None:
            self.recalls.bind(accepted.job_id, finding)
        return accepted.job_id

    async def shown(self, *, begun: bool = False) -> Recall:
        return await self.recalls.of(await claimed(self.store), begun=begun)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_it_is_found_and_kept(rig: Rig) -> None:
    """What a job is shown stands in the database before anybody is given it."""
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    job_id = await rig.say()
    shown = await rig.shown()
    assert [one.text for one in shown.items] == ["The boiler is a Vaillant of 2019"]
    assert await rig.store.recalled(job_id) == shown
    assert len(rig.plain.asked) == 1


async def test_every_attempt_sees_the_same(rig: Rig) -> None:
    """Whatever is remembered meanwhile, and whatever gateway gives it out."""
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    await rig.say()
    job = await claimed(rig.store)
    first = await rig.recalls.of(job, begun=False)
    card(rig.home, "boiler", "The boiler is a Junkers")
    await finish(rig.store, job, "failed")
    rig.anew()
    assert await rig.shown(begun=True) == first
    assert len(rig.plain.asked) == 1


async def test_nothing_found_stays_nothing(rig: Rig) -> None:
    """A job that has begun without is not given anything later, and `why` says why."""
    card(rig.home, "tea", "Ann likes tea")
    job_id = await rig.say()
    job = await claimed(rig.store)
    assert (await rig.recalls.of(job, begun=False)).items == ()
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    await finish(rig.store, job, "failed")
    rig.anew()
    assert (await rig.shown(begun=True)).items == ()
    assert len(rig.plain.asked) == 1
    assert job_id


async def test_a_restart_before_the_first_claim_loses_nothing(rig: Rig) -> None:
    """Then it is looked for when the job is claimed."""
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    job = chat("s")
    job.payload.update(text=ASKED, role="main")
    await rig.store.accept(inbound(ASKED, session="s"), job, "")
    assert len((await rig.shown()).items) == 1


async def test_a_job_does_not_wait_for_a_slow_memory(rig: Rig) -> None:
    """It goes on without, its story says so, and a later attempt is shown nothing either."""
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    rig.plain.slow_s = 600
    rig.anew(within_s=0.05)
    job_id = await rig.say()
    job = await claimed(rig.store)
    shown = await rig.recalls.of(job, begun=False)
    assert shown.items == () and "within 50 ms" in shown.why
    assert await rig.store.recalled(job_id) == shown
    rig.plain.slow_s = 0
    assert await rig.recalls.of(job, begun=False) == shown


async def test_small_talk_and_the_light_role_cost_nothing(rig: Rig) -> None:
    """Nothing is looked for, and nothing is written."""
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    for text, role in (("ping", "main"), ("hello", "main"), (ASKED, "light")):
        job_id = await rig.say(text, text, role)
        assert (await rig.shown()).items == ()
        assert await rig.store.recalled(job_id) is None
    assert rig.plain.asked == []


async def test_an_empty_memory_writes_nothing(rig: Rig) -> None:
    """There is nothing to tell of it."""
    job_id = await rig.say()
    assert await rig.shown() == NOTHING
    assert await rig.store.recalled(job_id) is None


async def test_a_small_model_gets_little(rig: Rig) -> None:
    """It reads slowly."""
    for n, name in enumerate(("oak", "elm", "ash", "fir", "yew", "box")):
        card(rig.home, name, f"The boiler of {name} " + f"{name}{n} is warm " * 60)
    rig.anew(prompt="small")
    await rig.say()
    shown = await rig.shown()
    assert 1 <= len(shown.items) <= 3
    assert sum(len(one.text) for one in shown.items) <= 500


async def test_what_is_seen_anyway_is_not_recalled(rig: Rig) -> None:
    """The conversation of a job is shown to it already."""
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    await rig.say("The boiler is a Vaillant of 2019")
    await finish(rig.store, await claimed(rig.store), "done", "good")
    job_id = await rig.say(ASKED)
    assert (await rig.shown()).items == ()
    kept = None
    for _ in range(6000):  # nobody waits for it to be written
        if (kept := await rig.store.recalled(job_id)) is not None:
            break
        await asyncio.sleep(0.01)
    assert kept is not None and kept.why == "what fits is in the conversation already"


async def test_what_was_said_over_and_over_hides_nothing(rig: Rig) -> None:
    """Somebody who asks the same again and again finds what answers it all the same."""
    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    lines = [
        f"- 10:00:{n:02d} **owner** (cli, s) [job {n:08d}, node: x]: {ASKED}" for n in range(59)
    ]
    (rig.home / "memory" / "2026-11-20.md").write_text("\n".join(lines) + "\n")
    await rig.say(ASKED)
    assert [one.layer for one in (await rig.shown()).items] == ["card"]


async def test_a_profile_that_is_not_there_does_not_matter(rig: Rig) -> None:
    """With no model set up a job is given out all the same."""

    def none(role: str) -> ModelProfile:
        raise BackendFailed(backend="x", why="none")

    card(rig.home, "boiler", "The boiler is a Vaillant of 2019")
    rig.recalls = Recalls(rig.store, rig.plain, none, terms=RecallTerms(within_s=30))
    await rig.say()
    assert len((await rig.shown()).items) == 1
