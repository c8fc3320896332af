"""What each model of the configuration costs, worked out once for all of its calls."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from stead.config import BackendModel, BackendSection, BudgetSection, path_at
from stead.core.files import write_atomic
from stead.core.storage import View
from stead.inference.backends import Backend
from stead.inference.houses import in_house
from stead.ledger.price import Price
from stead.ledger.pricelist import PriceList

log = logging.getLogger("stead.prices")


@dataclass(frozen=True, slots=True)
class Priced:
    """``price`` None: it is free."""

    price: Price | None
    unpriced: bool = False
    """It is in the cloud, its price is not known, and it may not be asked."""


class Pricer:
    """The prices of models: those of stead.toml, those of the list, or what was stated for all
    that is not known. In the house all is free."""

    def __init__(self, home: Path, budget: BudgetSection) -> None:
        self._file = path_at(home, budget.prices_file) if budget.prices_file else None
        self._budget = budget
        self._list: PriceList | None = None

    def of(self, backend: BackendSection, model: BackendModel) -> Priced:
        """Raises ``ConfigError`` for a list of prices that cannot be read."""
        asked = (model.usd_per_mtok_in, model.usd_per_mtok_out)
        caches = (model.usd_per_mtok_cached, model.usd_per_mtok_cache_write)
        if any(usd >= 0 for usd in (*asked, *caches)):
            return self._stated(backend, model)
        if model.free or _in_house(backend, model):
            return Priced(None)
        found = self._listed(backend, model)
        if found is not None:
            return Priced(found if found.paid else None)
        if self._budget.unpriced == "count":
            usd = self._budget.unpriced_usd
            log.warning(
                "what %s at %s costs is not known; it is counted at $%g a million tokens",
                model.name, backend.name, usd,
            )  # fmt: skip
            return Priced(Price.of_tokens(usd, usd, stated=True))
        log.warning(
            "what %s at %s costs is not known, so it is not asked (budget.unpriced)",
            model.name, backend.name,
        )  # fmt: skip
        return Priced(None, unpriced=True)

    def _stated(self, backend: BackendSection, model: BackendModel) -> Priced:
        """What stead.toml says; what it leaves out is as listed, and else costs as the rest."""
        into, out = model.usd_per_mtok_in, model.usd_per_mtok_out
        price = Price.of_tokens(
            into if into >= 0 else max(0.0, out), out if out >= 0 else max(0.0, into),
            model.usd_per_mtok_cached, model.usd_per_mtok_cache_write,
        )  # fmt: skip
        if into < 0 or out < 0:
            known = None if _in_house(backend, model) else self._listed(backend, model)
            if known is not None:
                price = replace(
                    price,
                    prompt=price.prompt if into >= 0 else known.prompt,
                    completion=price.completion if out >= 0 else known.completion,
                )
        return Priced(price if price.paid else None)

    def _listed(self, backend: BackendSection, model: BackendModel) -> Price | None:
        if self._list is None:
            self._list = PriceList.load(self._file)
        found = self._list.find(model.name, url=backend.url, provider=backend.prices)
        return found.price if found is not None else None


def _in_house(backend: BackendSection, model: BackendModel) -> bool:
    where = model.where if model.where != "auto" else backend.where
    return in_house(backend.url) if where == "auto" else where == "house"


def unknown(backends: Iterable[Backend]) -> list[str]:
    """Models that are not asked since nobody knows their price, for `status`."""
    found = {
        f"{model.called} at {backend.name} is not asked: what it costs is not known"
        " (`stead prices`, docs/inference.md)"
        for backend in backends
        for model in backend.models
        if model.unpriced
    }
    return sorted(found)


def listed(home: Path, budget: BudgetSection, backends: list[BackendSection]) -> View:
    """What each model costs and where that was learnt, for `stead prices`."""
    pricer = Pricer(home, budget)
    file = path_at(home, budget.prices_file) if budget.prices_file else None
    known = PriceList.load(file)
    models = []
    for backend in backends:
        for model in backend.models:
            found = pricer.of(backend, model)
            price = found.price or Price()
            models.append(
                {
                    "model": model.alias or model.name, "backend": backend.name,
                    "unpriced": found.unpriced, "paid": price.paid, "source": price.source,
                    "usd_per_mtok": {
                        "in": _usd(price.prompt), "out": _usd(price.completion),
                        "cached": _usd(price.cache_read), "cache_write": _usd(price.cache_write),
                    },
                }
            )  # fmt: skip
    return {"list": known.source, "day": known.day, "models": models}


def renew(home: Path, budget: BudgetSection) -> View:
    """Make a new list of prices from the package, in the home. Raises ``NoPrices``."""
    from stead.ledger import genai  # late: only the making of a list needs it

    made = genai.document()
    path = path_at(home, budget.prices_file or "prices.json")
    write_atomic(path, genai.encoded(made))
    count = sum(len(provider.models) for provider in made.providers)
    return {"path": str(path), "list": made.source, "day": made.day, "models": count}


def _usd(steps: tuple[tuple[int, int], ...] | None) -> float | None:
    return steps[0][1] / 1_000_000 if steps else None
