"""Houses for stories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.house import House, house_in


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A home with nothing running in it yet."""
    yield from house_in(tmp_path)
