"""A gateway for each test, and one scripted model for all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stead.inference.scripted import Running, running
from tests.unit.gateway.parts import Gate, gate_at


@pytest.fixture(scope="session")
def scripted() -> Iterator[Running]:
    with running() as model:
        yield model


@pytest.fixture
async def gate(tmp_path: Path, scripted: Running) -> AsyncIterator[Gate]:
    """A gateway with no node at work."""
    async with gate_at(tmp_path / "home", scripted) as gate:
        yield gate
