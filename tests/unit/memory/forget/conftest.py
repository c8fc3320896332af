"""Homes for the tests of forgetting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.memory.forget.homes import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An empty home with a database."""
    made = Home(tmp_path / "home")
    yield made
    made.store.close()
