"""Houses for stories."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.story.browser import Screen, chromium
from tests.story.house import House, house_in


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A home with nothing running in it yet."""
    yield from house_in(tmp_path)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house where all is up, for all the stories of a file that break nothing."""
    for house in house_in(tmp_path_factory.mktemp("lived-in")):
        house.all_up()
        yield house


@pytest.fixture(scope="module")
def looked_at(lived_in: House) -> Iterator[Screen]:
    """One Chromium for all the tests of a file."""
    with chromium(lived_in) as screen:
        yield screen


@pytest.fixture
def screen(looked_at: Screen) -> Iterator[Screen]:
    """A browser before a house where all is up; see ``tests/story/browser.py``."""
    yield looked_at
    looked_at.over()
