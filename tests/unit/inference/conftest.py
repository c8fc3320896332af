"""The scripted model, for all tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stead.inference.scripted import Running, running


@pytest.fixture(scope="session")
def scripted() -> Iterator[Running]:
    with running() as model:
        yield model
