"""When a file was last recalled."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.memory import uses
from stead.memory.uses import Uses


def test_uses(tmp_path: Path) -> None:
    """The last use of each file is known, also after a restart, and writing it is rare."""
    now = 1000.0
    noted = Uses(tmp_path, lambda: now)
    noted.note(["memory/cards/a.md", "memory/cards/b.md"])
    assert uses.read(tmp_path / uses.PATH) == dict.fromkeys(
        ("memory/cards/a.md", "memory/cards/b.md"), 1_000_000
    )
    now = 1001.0
    noted.note(["memory/cards/a.md"])
    assert uses.read(tmp_path / uses.PATH)["memory/cards/a.md"] == 1_000_000
    now = 1100.0
    noted.note([])
    assert uses.read(tmp_path / uses.PATH)["memory/cards/a.md"] == 1_001_000
    Uses(tmp_path, lambda: 2000.0).note(["memory/cards/c.md"])
    assert len(uses.read(tmp_path / uses.PATH)) == 3


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"a": "x", "b": 1}', b"\xff"])
def test_spoilt(tmp_path: Path, raw: bytes) -> None:
    """A file that was spoilt tells nothing that it does not know."""
    (tmp_path / "used.json").write_bytes(raw)
    assert uses.read(tmp_path / "used.json") in ({}, {"b": 1})
