"""Live state counts for more than what is remembered."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from stead.memory.nouns import Entry, Hit, Layer
from stead.memory.recall.checks import Checks, Claim, claims_of
from stead.store.sqlite import SqliteStore


def entry(text: str, layer: Layer = Layer.CARD) -> Entry:
    return Entry(f"k#{text}", layer, "memory/cards/x.md", (3, 3), text)


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("The photos lie in /srv/photos/2024", [Claim(path="/srv/photos/2024")]),
        ("See ~/notes/todo.md and /etc/hosts.", [Claim("~/notes/todo.md"), Claim("/etc/hosts")]),
        ("Grafana answers at localhost:3000", [Claim(port=3000)]),
        ("the web server listens on port 8123", [Claim(port=8123)]),
        ("The backup is on the NAS under /volume1/backup", []),
        ("ssh ann@host.lan, then /opt/x", []),
        ("http://example.org/a/b is nice", []),
        ("he earns 20/30 and/or more", []),
        ("port 99999 on localhost:99999", []),
    ],
)
def test_what_can_be_looked_at(text: str, claims: list[Claim]) -> None:
    """Paths and ports of this machine; nothing of another one, and no address of the web."""
    assert claims_of(text) == claims


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return SqliteStore(tmp_path / "state.db", tmp_path / "copies")


async def test_a_path_that_is_gone_is_said(tmp_path: Path, store: SqliteStore) -> None:
    """One that is there is not; nor one whose folder is not there at all: that is elsewhere."""
    home = Path.cwd() / "tests"
    hits = [
        Hit(entry(f"the notes lie in {home}/unit"), 1),
        Hit(entry(f"the letters lie in {home}/letters-of-2019"), 1),
        Hit(entry("the music lies in /nowhere-at-all/music/x"), 1),
    ]
    against = await Checks(store)(hits, 20)
    assert list(against) == [hits[1].entry.key]
    assert "no longer true as of" in against[hits[1].entry.key]
    store.close()


async def test_a_port_that_does_not_answer_is_said(store: SqliteStore) -> None:
    """One that does is not."""
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    one = Hit(entry(f"the house page runs on port {port}"), 1)
    checks = Checks(store)
    assert await checks([one], 20) == {}
    server.close()
    await server.wait_closed()
    assert "nothing answers" in (await checks([one], 20))[one.entry.key]
    await checks.settled()
    store.close()


async def test_it_is_closed_when_it_is_caught_again_later(store: SqliteStore) -> None:
    """With the date and the reason; not at the first time, and never what was said on a day."""
    closed: list[tuple[str, str]] = []

    async def close(one: Entry, at: int, why: str) -> bool:
        closed.append((one.text, why))
        return True

    gone = f"the letters lie in {Path.cwd()}/tests/letters-of-2019"
    card, said = Hit(entry(gone), 1), Hit(replace(entry(gone, Layer.DAILY), key="d"), 1)
    checks = Checks(store, close)
    for _ in range(2):
        assert len(await checks([card, said], 20)) == 2
        await checks.settled()
    assert closed == []
    earlier = int(time.time() * 1000) - 2 * 3_600_000
    await store.set_fact(f"stale:{card.entry.key}", str(earlier))
    await checks([card, said], 20)
    await checks.settled()
    assert [text for text, _ in closed] == [gone] and "is not there" in closed[0][1]
    assert await store.fact(f"stale:{card.entry.key}") is None
    store.close()


async def test_without_time_nothing_is_looked_at(store: SqliteStore) -> None:
    """A job does not wait for it."""
    assert await Checks(store)([Hit(entry("in /etc/nothing-here"), 1)], 0) == {}
    store.close()
