"""The house of a run: a home of its own, and none of the owner's."""

from __future__ import annotations

from pathlib import Path

import pytest

from stead.chaos.house import House
from stead.core.errors import HomeUnusable


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    """Whatever lies there is left alone."""
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(HomeUnusable, match="not empty"):
        House(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


@pytest.mark.parametrize("below", ["", "chaos", "a/b"])
def test_the_owners_home_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    """Neither the owner's home nor a folder in it can be given, also when it is empty."""
    home = tmp_path / "home"
    monkeypatch.setenv("STEAD_HOME", str(home))
    with pytest.raises(HomeUnusable, match="own home"):
        House(home / below if below else home, 1)
    assert not home.exists()


def test_the_owners_settings_do_not_reach_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway of a run listens where the run says, whatever the owner's environment says, and
    the owner's home stays as it was."""
    home = tmp_path / "home"
    monkeypatch.setenv("STEAD_HOME", str(home))
    monkeypatch.setenv("STEAD_LISTEN", "127.0.0.1:1")
    with House(tmp_path / "chaos", 1) as house:
        house.open()
        house.add_node("node1", "127.0.0.1", house.port)
        house.start("node1")
        assert house.door.call("GET", "/api/v1/status")[0] == 200
        processes = [part.process for part in house.parts.values()]
    assert all(process is not None and process.poll() is not None for process in processes)
    assert not home.exists()
