"""Which node gets what, who is silent, and what is said of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stead.core.nouns import Job, NewJob
from stead.gateway.placement import Placement
from stead.gateway.presence import Presence
from stead.store.sqlite import SqliteStore


class Quiet(Presence):
    """Nodes that were heard of so many seconds ago, as the test says; None: never."""

    def __init__(self) -> None:
        super().__init__(away_s=15.0)
        self.since: dict[str, float] = {}
        self.up_s = 0.0

    def idle_s(self, node_id: str) -> float | None:
        return self.since.get(node_id)

    def silent_s(self, node_id: str) -> float:
        return self.since.get(node_id, self.up_s)

    def alive(self, node_id: str) -> bool:
        return self.since.get(node_id, 1000.0) < 15.0


class House:
    """Home (main), a laptop with a gpu, and who is heard."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.presence = Quiet()
        self.ids: dict[str, str] = {}
        self.place = self.begin()

    def begin(self) -> Placement:
        return Placement(self.store, self.presence, main="home", failover_s=300)

    async def add(self, name: str, *labels: str) -> None:
        self.ids[name] = await self.store.add_node(name, f"hash of {name}")
        await self.store.saw_node(self.ids[name], labels=labels)
        await self.place.start()

    async def heard(self, **ago: float) -> None:
        for name, seconds in ago.items():
            self.presence.since[self.ids[name]] = seconds
        await self.place.look()

    async def log(self) -> str:
        return "\n".join(text for _, _, text in await self.store.day_lines())


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    store = SqliteStore(tmp_path / "state.db", tmp_path / "copies")
    house = House(store)
    await house.add("home", "home-lan")
    await house.add("laptop", "gpu")
    await house.heard(home=0, laptop=0)
    yield house
    store.close()


def job(**more: Any) -> Job:
    known: dict[str, Any] = {"id": "j", "needs": "", "prefer": "", "avoid": "", **more}
    fields: dict[str, Any] = {name: known.get(name) for name in Job.__dataclass_fields__}
    return Job(**fields)


async def test_the_main_node_is_preferred_where_it_can(house: House) -> None:
    """Unless others are asked for; never one that cannot do it, or the job would wait in vain."""
    preferred = house.place.preferred
    assert preferred((), (), ()) == ("home",)
    assert preferred(("home-lan",), (), ()) == ("home",)
    assert preferred(("gpu",), (), ()) == ()
    assert preferred((), (), ("home",)) == ()
    assert preferred((), ("laptop",), ()) == ("laptop",)
    assert preferred(("home-lan",), ("laptop",), ()) == ()
    assert preferred((), ("laptop", "later"), ("laptop",)) == ("later",)
    await house.store.revoke_node("home")
    await house.place.refresh()
    assert preferred((), (), ()) == ()


async def test_a_silent_node_leaves_its_jobs_to_others(house: House) -> None:
    """After the time that was set, not before; once heard of again they are its own again. Both
    are in the daily log, once."""
    assert house.place.there() == {"home", "laptop"}
    await house.heard(home=299)
    assert house.place.there() == {"home", "laptop"}
    assert house.place.why_given(job(prefer="home"), "laptop") == ""
    waits = house.place.waits(("", "home", ""))
    assert waits == "home is silent for 299 s; laptop gets it once that has lasted 300 s"
    await house.heard(home=312)
    await house.place.look()
    assert house.place.there() == {"laptop"}
    why = house.place.why_given(job(prefer="home"), "laptop")
    assert why == "given to laptop, because home was silent for 312 s"
    assert house.place.waits(("", "home", "")) == ""
    assert house.place.why_given(job(prefer="home,laptop"), "laptop") == ""
    assert house.place.why_given(job(), "laptop") == ""
    await house.heard(home=0)
    assert house.place.there() == {"home", "laptop"}
    log = await house.log()
    assert log.count("home is silent") == 1 and log.count("home is heard again") == 1


async def test_silence_outlasts_a_restart_of_the_gateway(house: House) -> None:
    """Who had left its jobs to others does not get another five minutes by the gateway's own
    restart; who had not does, for nobody could be heard meanwhile."""
    await house.heard(home=400, laptop=0)
    house.presence.since.clear()
    house.place = house.begin()
    await house.place.start()
    await house.place.look()
    assert house.place.there() == {"laptop"}
    house.presence.up_s = 301
    await house.place.look()
    assert house.place.there() == frozenset()
    await house.heard(home=0, laptop=0)
    assert house.place.there() == {"home", "laptop"}


async def test_what_waits_says_for_whom(house: House) -> None:
    """For a node that is away, for one that is drained, for one that there is not."""
    waits = house.place.waits
    assert waits(("gpu", "", "")) == ""
    await house.heard(laptop=42)
    assert waits(("gpu", "", "")) == "it needs a node with gpu: laptop is silent for 42 s"
    assert waits(("gpu,tpu", "", "")) == "it needs a node with gpu and tpu, and there is none"
    assert (
        waits(("gpu", "", "laptop"))
        == "it needs a node with gpu other than laptop, and there is none"
    )
    assert waits(("@gateway", "", "")) == ""
    await house.heard(laptop=0)
    await house.store.drain_node("laptop", draining=True)
    await house.place.refresh()
    assert waits(("gpu", "", "")) == "it needs a node with gpu: laptop is being drained"
    why = house.place.why_given(job(prefer="laptop"), "home")
    assert why == "given to home, because laptop was being drained"
    await house.store.enqueue(NewJob("noop", {}, needs="gpu"))
    await house.store.enqueue(NewJob("noop", {}))
    assert set(await house.place.stuck()) == {("gpu", "", "")}


async def test_what_cannot_move(house: House) -> None:
    """When a node is to be retired: what it alone could do, whether others are here or away."""
    demands = [(("gpu", "", ""), 3), (("", "laptop", ""), 2), (("", "", "home"), 1),
               (("tpu", "", ""), 9), (("@gateway", "", ""), 5)]  # fmt: skip
    stays = house.place.stays("laptop", demands)
    assert [(one["needs"], one["avoid"], one["jobs"]) for one in stays] == [
        ("gpu", "", 3), ("", "home", 1),
    ]  # fmt: skip
    await house.add("desk", "gpu")
    assert [one["jobs"] for one in house.place.stays("laptop", demands)] == []
    await house.store.drain_node("desk", draining=True)
    await house.place.refresh()
    assert [one["jobs"] for one in house.place.stays("laptop", demands)] == [3, 1]
