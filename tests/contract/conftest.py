"""Every test of the contract runs over every storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stead.core.storage import Store
from tests.contract.storages import STORAGES, House


@pytest.fixture(params=sorted(STORAGES))
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    """A storage that can be closed and opened again."""
    house = House(STORAGES[request.param], tmp_path)
    yield house
    house.store.close()


@pytest.fixture
def store(house: House) -> Store:
    """An empty storage."""
    return house.store
