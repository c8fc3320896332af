"""Makes a list of prices from the package genai-prices (MIT), which must be installed.

It is not needed to run stead: it weighs a second and 50 MB to load, so its data is kept as a file.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from stead.core.errors import SteadError
from stead.ledger.pricelist import Document, Model, Provider

#: Its prices, ours, and how many units its dollars are for.
_UNITS = {
    "input_mtok": ("in", 10**6), "output_mtok": ("out", 10**6), "cache_read_mtok": ("read", 10**6),
    "cache_write_mtok": ("write", 10**6), "output_reasoning_mtok": ("think", 10**6),
    "requests_kcount": ("request", 10**3), "audio_hours": ("second", 3600),
    "input_audio_hours": ("second", 3600), "input_mchars": ("char", 10**6),
    "input_document_kpages": ("page", 10**3),
}  # fmt: skip
_PICO = 10**12


class NoPrices(SteadError):
    """New prices come with the package genai-prices, which is not installed here.
    Install or renew it with `pip install -U 'stead[prices]'`, and say that again."""

    status = 503
    code = "no_prices"


def document() -> Document:
    """The prices of the package as it is installed. Raises ``NoPrices``."""
    try:
        # Late: it brings pydantic, and only the making of a list needs it.
        snapshot = importlib.import_module("genai_prices.data_snapshot").get_snapshot()
        version = importlib.metadata.version("genai-prices")
    except ImportError:
        raise NoPrices from None
    now = datetime.now(UTC)
    providers = [
        Provider(
            id=one.id, address=one.api_pattern, models=[_model(m, now) for m in one.models],
            others=list(getattr(one, "fallback_model_providers", None) or ()),
        )
        for one in snapshot.providers
    ]  # fmt: skip
    return Document(f"genai-prices {version}", f"{now:%Y-%m-%d}", _licence(), providers)


def encoded(made: Document) -> bytes:
    """As a file: a line for each model, so that a change of one is a change of one line."""
    text = msgspec.json.encode(made)
    return text.replace(b']],["', b']],\n["').replace(b'}],["', b'}],\n["') + b"\n"


def _model(one: Any, now: datetime) -> Model:
    price: dict[str, int | list[tuple[int, int]]] = {}
    # Of prices that depend on the hour of the day the highest: never too little is set aside.
    for prices in _valid(one, now):
        for field, value in vars(prices).items():
            if value is None or field not in _UNITS:
                continue
            name, units = _UNITS[field]
            new = _steps(value, units)
            known = price.get(name)
            price[name] = new if known is None else max(known, new, key=_dearest)
    return Model(one.id, _names(one.match), price)


def _valid(one: Any, now: datetime) -> list[Any]:
    if not isinstance(one.prices, list):
        return [one.prices]
    hours = [p for p in one.prices if type(p.constraint).__name__ == "TimeOfDateConstraint"]
    rest = [p for p in one.prices if p not in hours]
    present = [p for p in rest if p.constraint is None or p.constraint.active(now)]
    return [p.prices for p in (*present[-1:], *hours)]


def _steps(value: Any, units: int) -> int | list[tuple[int, int]]:
    if isinstance(value, Decimal):
        return _pico(value, units)
    steps = [(0, _pico(value.base, units))]
    return steps + [(tier.start, _pico(tier.price, units)) for tier in value.tiers]


def _pico(usd: Decimal, units: int) -> int:
    return int((usd * _PICO / units).to_integral_value(rounding="ROUND_CEILING"))


def _dearest(value: int | list[tuple[int, int]]) -> int:
    return value if isinstance(value, int) else max(pico for _, pico in value)


def _names(match: Any) -> dict[str, Any]:
    fields = {f.name: getattr(match, f.name) for f in dataclasses.fields(match)}
    ((name, value),) = fields.items()
    if isinstance(value, list):
        return {name.strip("_"): [_names(one) for one in value]}
    return {name: value if name == "regex" else value.lower()}


def _licence() -> str:
    files = importlib.metadata.files("genai-prices") or ()
    found = next((file for file in files if file.name == "LICENSE"), None)
    return found.read_text() if found is not None else "MIT"
