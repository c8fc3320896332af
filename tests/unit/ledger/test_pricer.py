"""What the models of a configuration cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stead.app.prices import Priced, Pricer, listed, renew
from stead.config import BackendModel, BackendSection, BudgetSection
from stead.core.nouns import Usage
from stead.ledger.genai import NoPrices

CLOUD = "https://api.openai.com/v1"
_USAGE = Usage(10**6, 0, 10**6)


def priced(
    tmp_path: Path, *, url: str = CLOUD, budget: dict[str, Any] | None = None, **model: Any
) -> Priced:
    more = {name: model.pop(name) for name in ("where", "prices") if name in model}
    model.setdefault("name", "gpt-4o-mini")
    section = BackendSection(name="b", url=url, models=[BackendModel(**model)], **more)
    return Pricer(tmp_path, BudgetSection(**(budget or {}))).of(section, section.models[0])


def cost(found: Priced) -> float:
    return found.price.cost_micro(_USAGE) / 1e6 if found.price is not None else 0.0


def test_the_list_knows_the_price(tmp_path: Path) -> None:
    """A cloud model costs what the list says."""
    assert cost(priced(tmp_path)) == 0.75


def test_the_owner_knows_better(tmp_path: Path) -> None:
    """What stands in stead.toml goes before the list, also that it costs nothing."""
    assert cost(priced(tmp_path, usd_per_mtok_in=1.0, usd_per_mtok_out=2.0)) == 3.0
    assert cost(priced(tmp_path, usd_per_mtok_in=1.0)) == 1.6  # the rest is as listed
    assert cost(priced(tmp_path, usd_per_mtok_out=1.0)) == 1.15
    assert cost(priced(tmp_path, name="mystery", usd_per_mtok_in=1.0)) == 2.0
    assert priced(tmp_path, usd_per_mtok_in=0.0, usd_per_mtok_out=0.0) == Priced(None)
    assert priced(tmp_path, name="mystery", usd_per_mtok_in=0.0) == Priced(None)
    assert priced(tmp_path, free=True) == Priced(None)
    written = priced(tmp_path, usd_per_mtok_in=1.0, usd_per_mtok_cache_write=1.25)
    assert written.price is not None
    assert written.price.cost_micro(Usage(100, 0, 0, 0, 100)) == 125


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:11434/v1", "http://192.168.1.5/v1", "http://nas/v1", "http://nas.local"],
)
def test_in_the_house_all_is_free(tmp_path: Path, url: str) -> None:
    """A model of a server at home costs nothing, whatever it is called."""
    assert priced(tmp_path, url=url) == Priced(None)
    assert cost(priced(tmp_path, url=url, where="cloud", prices="openai")) == 0.75


def test_nobody_knows_the_price(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A cloud model without a price is not asked, and that is said; or it is counted at what the
    owner states."""
    assert priced(tmp_path, name="mystery") == Priced(None, unpriced=True)
    assert priced(tmp_path, url="https://gpt.example.com/v1").unpriced
    assert "mystery" in caplog.text and "not asked" in caplog.text
    count = {"unpriced": "count", "unpriced_usd": 30.0}
    found = priced(tmp_path, name="mystery", budget=count)
    assert cost(found) == 60.0 and found.price is not None and found.price.stated


def test_it_is_shown_from_where_a_price_is_known(tmp_path: Path) -> None:
    """`stead prices` tells of every model what it costs and who says so."""
    models = [BackendModel(name="gpt-4o-mini"), BackendModel(name="mystery", alias="m")]
    section = BackendSection(name="b", url=CLOUD, models=models)
    shown = listed(tmp_path, BudgetSection(), [section])
    first, second = shown["models"]
    assert first["usd_per_mtok"] == {"in": 0.15, "out": 0.6, "cached": 0.075, "cache_write": None}
    assert "openai gpt-4o-mini" in first["source"] and not first["unpriced"]
    assert (second["model"], second["unpriced"]) == ("m", True)
    assert shown["list"].startswith("genai-prices ") and len(shown["day"]) == 10


def test_a_new_list_needs_its_package(tmp_path: Path) -> None:
    """Without the package it is said how to get it; with it, the list lies in the home."""
    try:
        import genai_prices  # noqa: F401
    except ImportError:
        with pytest.raises(NoPrices, match=r"stead\[prices\]"):
            renew(tmp_path, BudgetSection())
        return
    made = renew(tmp_path, BudgetSection())
    assert made["models"] > 1000 and cost(priced(tmp_path)) == 0.75
