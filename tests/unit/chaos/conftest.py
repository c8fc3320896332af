"""A home under the shim."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.chaos.faults import shim
from tests.unit.chaos.shimmed import Shimmed, needed


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim, compiled once."""
    needed(shim.available())
    return shim.build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def shimmed(tmp_path: Path, library: Path) -> Iterator[Shimmed]:
    """An empty home, nothing running in it yet."""
    made = Shimmed(tmp_path, library, seed=1)
    yield made
    made.close()
