"""The gateway's client of the index, with the real process behind it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stead.memory.client import Memory
from stead.memory.nouns import Question

_WAIT_S = 60.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "memory").mkdir()
    say(tmp_path, "the boiler leaks")
    return tmp_path


@pytest.fixture
async def memory(home: Path) -> AsyncIterator[Memory]:
    made = Memory(home, look_s=0.0)
    yield made
    await made.aclose()


def say(home: Path, text: str) -> None:
    with (home / "memory" / "2026-03-14.md").open("a") as file:
        file.write(f"- 10:00:00 **owner** (terminal, main) [job j, light]: {text}\n")


async def texts(memory: Memory, text: str) -> list[str]:
    found = await memory.search(Question(text), _WAIT_S)
    assert not found.stale
    return [hit.entry.text for hit in found.hits]


async def test_the_first_question_makes_the_index_and_is_answered(memory: Memory) -> None:
    """Nobody has to prepare anything."""
    assert memory.ready
    assert not memory.running
    assert await texts(memory, "boiler") == ["the boiler leaks"]
    assert memory.running
    stats = await memory.stats(_WAIT_S)
    assert stats["entries"] == 1
    assert memory.state()["entries"] == 1
    assert memory.remarks()
    assert not memory.troubles()


async def test_what_was_written_before_a_question_is_found_by_it(
    home: Path, memory: Memory
) -> None:
    """Without a word to anyone."""
    await texts(memory, "boiler")
    say(home, "the chimney smokes")
    memory.nudge()
    assert "the chimney smokes" in await texts(memory, "chimney")


async def test_a_fallen_process_is_started_anew_by_the_next_question(memory: Memory) -> None:
    """Who asks notices nothing; the status says that it fell."""
    await texts(memory, "boiler")
    pid = memory.state()["pid"]
    os.killpg(pid, signal.SIGKILL)
    assert await texts(memory, "boiler") == ["the boiler leaks"]
    assert memory.state()["pid"] != pid


async def test_a_question_that_takes_too_long_says_so(memory: Memory) -> None:
    """Never an empty list without a word; and the next one is answered."""
    found = await memory.search(Question("boiler"), 0.0)
    assert not found.hits
    assert "did not answer" in found.stale
    assert await texts(memory, "boiler") == ["the boiler leaks"]


async def test_a_stopped_process_holds_nobody_up(memory: Memory) -> None:
    """The deadline of a question holds whatever the process does."""
    await texts(memory, "boiler")
    pid = memory.state()["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert (await memory.search(Question("boiler"), 0.05)).stale
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await texts(memory, "boiler") == ["the boiler leaks"]


async def test_it_ends_when_nobody_asks(home: Path) -> None:
    """And is there again for the next question."""
    memory = Memory(home, idle_s=0.05, look_s=0.0)
    try:
        await texts(memory, "boiler")
        async with asyncio.timeout(_WAIT_S):
            while True:
                if not memory.running:
                    break
                await asyncio.sleep(0.01)
        assert await texts(memory, "boiler") == ["the boiler leaks"]
    finally:
        await memory.aclose()


async def test_a_deleted_index_is_made_anew(home: Path, memory: Memory) -> None:
    """While it runs; the answer meanwhile says what is the matter, or is whole already."""
    await texts(memory, "boiler")
    for file in (home / "index").glob("memory.db*"):
        file.unlink()
    async with asyncio.timeout(_WAIT_S):
        while not (home / "index" / "memory.db").exists():
            found = await memory.search(Question("boiler"), _WAIT_S)
            assert found.hits or found.stale
            await asyncio.sleep(0.01)
        while True:
            if not (await memory.search(Question("boiler"), _WAIT_S)).stale:
                break
            await asyncio.sleep(0.01)
    assert await texts(memory, "boiler") == ["the boiler leaks"]


async def test_a_new_index_tells_how_far_it_is(home: Path, memory: Memory) -> None:
    """And what it holds in the end."""
    for n in range(2500):
        say(home, f"line {n}")
    told: list[tuple[int, int]] = []
    report = await memory.reindex(lambda done, total: told.append((done, total)))
    assert report.rebuilt
    assert report.total == 2501
    assert told[-1] == (2501, 2501)
    assert len(told) > 1
