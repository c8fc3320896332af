"""What a running gateway takes over of a changed stead.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.config import Settings, changes, is_live, load, merged
from stead.config.differences import unknown_in_live

BEFORE = """
[model]
main = "auto"
[queue]
lease_s = 30
[[backend]]
name = "a"
url = "http://a/v1"
models = [{ name = "m" }]
"""
AFTER = """
[model]
main = "m"
context = 4096
[queue]
lease_s = 20
[[backend]]
name = "a"
url = "http://b/v1"
models = [{ name = "m" }, { name = "n" }]
[[lane]]
name = "x"
models = ["n"]
"""


def read(home: Path, text: str) -> Settings:
    (home / "stead.toml").write_text(text)
    return load(home).settings


def test_what_holds_now_and_what_later(tmp_path: Path) -> None:
    """Each change is named by its path, on the side where it belongs; what needs a restart is as
    it was until then."""
    old, new = read(tmp_path, BEFORE), read(tmp_path, AFTER)
    found = changes(old, new)
    assert set(found.restart) == {"queue.lease_s", "model.context"}
    assert {"model.main", "backend[0].url", "backend[0].models[1].name"} <= set(found.live)
    assert all(is_live(path) for path in found.live)
    holds = merged(old, new)
    assert holds.backend == new.backend and holds.lane == new.lane and holds.model.main == "m"
    assert holds.queue == old.queue and holds.model.context == old.model.context
    assert not changes(old, old).live and merged(old, old) == old


@pytest.mark.parametrize(
    ("path", "live"),
    [
        ("backend[0].models[2].name", True),
        ("lane[]", True),
        ("log.level", True),
        ("log.keep", False),
        ("listen", False),
        ("model.local", False),
        ("route[1].match", True),
    ],
)
def test_is_live(path: str, live: bool) -> None:
    """It can be told of any path."""
    assert is_live(path) is live


def test_the_list_names_settings() -> None:
    """What is said to be taken over is there to be set."""
    assert unknown_in_live() == []
