"""`stead prices`: what the models of the configuration cost."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Run

_TOML = """
[[backend]]
name = "cloud"
url = "https://api.openai.com/v1"
models = [{name = "gpt-4o-mini"}, {name = "mystery"}, {name = "own", usd_per_mtok_in = 1.5}]
[[backend]]
name = "box"
url = "http://127.0.0.1:11434/v1"
models = [{name = "qwen"}]
"""


def test_what_models_cost(run: Run, home: Path) -> None:
    """Listed, stated, free and unknown ones, each with where that is known from; no gateway has to
    run for it."""
    (home / "stead.toml").write_text(_TOML)
    result = run("prices")
    lines = {line.split()[0]: line for line in result.out.splitlines()[1:]}
    assert result.code == 0 and "genai-prices" in result.out.splitlines()[0]
    assert lines["gpt-4o-mini"].split()[2:5] == ["0.15", "0.075", "0.6"]
    assert "openai gpt-4o-mini" in lines["gpt-4o-mini"]
    assert "not known, so it is not asked" in lines["mystery"]
    assert lines["own"].split()[2:5] == ["1.5", "1.5", "1.5"] and "stead.toml" in lines["own"]
    assert "free" in lines["qwen"]
    data = json.loads(run("prices", "--json").out)
    assert [one["unpriced"] for one in data["models"]] == [False, True, False, False]


def test_without_backends(run: Run) -> None:
    """There is nothing to pay for."""
    assert "local models are free" in run("prices").out
