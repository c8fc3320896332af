"""Tools that run as functions inside a sandbox."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from stead.agent.pool import Pool
from stead.agent.tools.base import Context, Outcome, Toolbox
from stead.sandbox.walls import NoWalls
from tests.unit.agent.boxed import BOXED
from tests.unit.sandbox.kinds import walls_of

REGISTRY = "tests.unit.agent.boxed:BOXED"


@pytest.fixture
async def tools(tmp_path: Path) -> AsyncIterator[Toolbox]:
    (tmp_path / "workspace").mkdir()
    walls = walls_of("bubblewrap", tmp_path / "run")
    pool = Pool(registry=REGISTRY, walls=walls)
    made = Toolbox(BOXED, Context(tmp_path / "workspace", walls=walls), pool)
    yield made
    await made.aclose()


async def use(tools: Toolbox, name: str, word: str = "") -> Outcome:
    tool, args = tools.read(name, f'{{"word": "{word}"}}')
    return await tools.call(tool, args, 6000, job="j1", step=7)


def running(word: str) -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if word in (one.info["cmdline"] or ())]


async def test_it_writes_where_it_may_and_nowhere_else(tools: Toolbox, tmp_path: Path) -> None:
    """In the workspace it writes, as nobody's root, and what it made belongs to the owner; beside
    the workspace nothing of it arrives."""
    made = tmp_path / "workspace" / "a"
    assert await use(tools, "write", str(made)) == Outcome("1000 j1 7")
    assert made.stat().st_uid == os.getuid()
    await use(tools, "write", str(tmp_path / "b"))  # perhaps into a /tmp of its own
    assert not (tmp_path / "b").exists()


async def test_it_reaches_nothing(tools: Toolbox) -> None:
    """A server of the machine cannot be reached."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    async with server:
        outcome = await use(tools, "call", str(server.sockets[0].getsockname()[1]))
    assert not outcome.ok
    assert "refused" in outcome.text or "denied" in outcome.text  # which of the walls was first


async def test_what_a_call_leaves_ends_with_it(tools: Toolbox, tmp_path: Path) -> None:
    """A process that left the group and the session of its call is gone when the call is answered,
    and when it is killed at its time limit."""
    word = f"{2000 + os.getpid()}"
    assert (await use(tools, "leave", word)).ok
    assert not running(word)
    outcome = await use(tools, "hang", word)
    assert outcome.text == "gave up after 3 s; it may still have had its effect"
    assert (tmp_path / "workspace" / "hangs").exists()
    async with asyncio.timeout(60):
        while running(word):  # noqa: ASYNC110 - other processes set no event here
            await asyncio.sleep(0.01)
    assert (await use(tools, "write", str(tmp_path / "workspace" / "c"))).ok


async def test_too_much_memory_ends_the_call(tools: Toolbox, tmp_path: Path) -> None:
    """The call ends in words about memory; the next one works."""
    outcome = await use(tools, "gorge")
    assert not outcome.ok
    assert "memory" in outcome.text
    assert (await use(tools, "write", str(tmp_path / "workspace" / "d"))).ok


async def test_without_walls_it_is_refused(tmp_path: Path) -> None:
    """Where there is no sandbox the function does not run, neither in a process nor in a thread."""
    walls = NoWalls("bubblewrap is missing")
    for pool in (Pool(registry=REGISTRY, walls=walls), Pool(registry=REGISTRY), None):
        made = Toolbox(BOXED, Context(tmp_path), pool)
        outcome = await use(made, "write", str(tmp_path / "a"))
        assert not outcome.ok
        assert "sandbox" in outcome.text
        assert not (tmp_path / "a").exists()
        await made.aclose()
