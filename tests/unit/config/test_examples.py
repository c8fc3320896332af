"""The examples of the documentation are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stead.app import routing
from stead.config import load
from stead.inference.routing.routes import Routes
from stead.inference.routing.table import left_out
from stead.inference.seam import Api, Asked, Verdict, Who

PAGE = Path(__file__).resolve().parents[3] / "docs" / "inference.md"
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_an_example_is_valid(tmp_path: Path, number: int) -> None:
    """Each piece of stead.toml that the page shows is one that stead takes."""
    (tmp_path / "stead.toml").write_text(BLOCKS[number])
    load(tmp_path)


@pytest.fixture
def household(tmp_path: Path) -> Routes:
    block = next(one for one in BLOCKS if "tower.lan" in one)
    (tmp_path / "stead.toml").write_text(block)
    return Routes(routing.setup(tmp_path, load(tmp_path).settings))


def test_the_household_is_as_it_is_told(household: Routes) -> None:
    """What the page says of its household holds: who is asked for what, and where it ends."""

    def ways(model: str, key: str = "editor", **more: object) -> tuple[list[str], str]:
        asked = Asked(Api.CHAT, b"{}", "application/json", model, session="talk")
        for name, value in more.items():
            setattr(asked, name, value)
        plan = household.plan(Who(key, "k"), asked, Verdict())
        names = [f"{way.backend.name}/{way.model.called}" for way in plan.ways if way.backend]
        return names, plan.reason

    assert left_out(household.table) == {}
    assert ways("gpt-4o", chars=500)[0] == ["home/qwen"] * 2
    found, reason = ways("gpt-4o", chars=70_000)
    assert sorted(found[:2]) == ["claude/sonnet", "openai/mini"] and found[2:] == ["home/qwen"] * 2
    page = " ".join(PAGE.read_text("utf-8").split())
    first = household.table.find("review").chains[0]  # type: ignore[union-attr]
    labels = ", then ".join(choice.label for choice in first.choices)
    assert f"{reason.rpartition(': ')[0]}: {labels}" in page
    assert ways("gpt-4o", images=True)[0] == ["ollama/eyes", "openai/mini"]
    assert ways("main", chars=500)[0] == ["home/qwen"] * 2
    assert ways("gpt-4o", "tablet", chars=70_000)[0] == ["home/qwen"] * 2


def test_what_is_hardly_meant_is_told(tmp_path: Path) -> None:
    """A model that its lane can never reach, and a setting that means nothing, are named."""
    text = """
[model]
main = "m"
[[backend]]
name = "home"
url = "http://nas:8080"
models = [{ name = "m" }]
[[backend]]
name = "away"
url = "https://away.example/v1"
models = [{ name = "n", usd_per_mtok_in = 1.0 }]
[[lane]]
name = "main"
models = ["m", "n"]
"""
    (tmp_path / "stead.toml").write_text(text)
    told = " ".join(routing.doubts(tmp_path, load(tmp_path).settings))
    assert "lane main never reaches away/n" in told and "paid = true and cloud = true" in told
    assert "model.main, 'm'" in told and "http://nas:8080 has no path" in told
