"""A list of prices: which model of which provider costs what.

The list that came along is ``prices.json`` beside this file; a newer one may lie in the home
directory (``stead prices update``). Both are made from the package genai-prices by
:mod:`stead.ledger.genai`: providers with a pattern of their addresses, and models with the names
that they go by, as a tree of ``equals``, ``starts_with``, ``ends_with``, ``contains``, ``regex``,
``or`` and ``and``. Names are compared in small letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from stead.core.errors import ConfigError
from stead.ledger.price import Price, Steps

#: Parts of a price in the list, and of :class:`Price`. Numbers are pico-dollars a unit, or
#: ``[[more than so many prompt tokens, pico-dollars], ...]``.
PARTS = {
    "in": "prompt", "out": "completion", "read": "cache_read", "write": "cache_write",
    "think": "reasoning", "request": "request", "second": "second", "char": "char", "page": "page",
}  # fmt: skip
_FLAT = frozenset({"request", "second", "char", "page"})


class Model(msgspec.Struct, array_like=True):
    """One model of a list."""

    id: str
    names: dict[str, Any]
    price: dict[str, int | list[tuple[int, int]]]


class Provider(msgspec.Struct):
    """One provider of a list."""

    id: str
    address: str
    models: list[Model]
    others: list[str] = []
    """Providers whose models it has as well."""


class Document(msgspec.Struct):
    """A whole list."""

    source: str
    """The package and its version."""
    day: str
    """When it was made, ``YYYY-MM-DD``."""
    licence: str
    providers: list[Provider]


@dataclass(frozen=True, slots=True)
class Found:
    """A model in the list."""

    provider: str
    model: str
    price: Price


class PriceList:
    """Looks prices up. A look costs some milliseconds: it is for the start, not for each call."""

    def __init__(self, document: Document) -> None:
        self._providers = {provider.id: provider for provider in document.providers}
        self.source = document.source
        self.day = document.day

    @classmethod
    def load(cls, file: Path | None = None) -> PriceList:
        """The list in ``file`` if there is one and it is newer, else the one that came along.

        Raises ``ConfigError`` for a file that is no such list.
        """
        shipped = _decoded(_shipped())
        if file is None or not file.is_file():
            return cls(shipped)
        try:
            own = _decoded(file.read_bytes())
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(
                why=f"the list of prices {file} cannot be read ({error}); `stead prices update`"
                " makes it anew",
                param="budget.prices_file",
            ) from error
        return cls(own if own.day >= shipped.day else shipped)

    def find(self, model: str, *, url: str = "", provider: str = "") -> Found | None:
        """The price of a model at an address, or of a provider that was named."""
        name = model.lower()
        for one in self._at(url, provider):
            for there in (one, *(self._providers[o] for o in one.others if o in self._providers)):
                for entry in there.models:
                    if _goes_by(entry.names, name):
                        source = f"{self.source}: {there.id} {entry.id}"
                        return Found(there.id, entry.id, _price(entry.price, source))
        return None

    def knows(self, url: str) -> bool:
        """Whether it is the address of a provider in the list."""
        return any(self._at(url, ""))

    def _at(self, url: str, provider: str) -> Iterator[Provider]:
        if provider:
            if provider in self._providers:
                yield self._providers[provider]
            return
        for one in self._providers.values():
            if url and re.match(one.address, url):
                yield one


def _shipped() -> bytes:
    return (resources.files("stead.ledger") / "prices.json").read_bytes()


def _decoded(data: bytes) -> Document:
    return msgspec.json.decode(data, type=Document)


def _goes_by(names: Mapping[str, Any], name: str) -> bool:
    ((how, what),) = names.items()
    match how:
        case "equals":
            return bool(name == what)
        case "starts_with":
            return name.startswith(what)
        case "ends_with":
            return name.endswith(what)
        case "contains":
            return what in name
        case "regex":
            return re.search(what, name, re.IGNORECASE) is not None
        case "or":
            return any(_goes_by(one, name) for one in what)
        case "and":
            return all(_goes_by(one, name) for one in what)
    return False


def _price(parts: Mapping[str, int | list[tuple[int, int]]], source: str) -> Price:
    known: dict[str, Any] = {}
    for name, value in parts.items():
        if name in _FLAT and isinstance(value, int):
            known[PARTS[name]] = value
        elif name in PARTS:
            steps: Steps = ((0, value),) if isinstance(value, int) else tuple(value)
            known[PARTS[name]] = steps
    return Price(**known, source=source)
