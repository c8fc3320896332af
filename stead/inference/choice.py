"""Which local model a setting means."""

from __future__ import annotations

from pathlib import Path

from stead.core.errors import ModelUnusable
from stead.inference import sources, weights
from stead.inference.catalogue import Catalogue, CatalogueModel

_OLLAMA = "ollama:"


def pick(models: Path, known: Catalogue, memory: int, *, offline: bool) -> CatalogueModel:
    """What ``auto`` means here: the best for ``memory`` bytes.

    Offline, one that is on the disk goes before one that is not; if none of those
    that fit is there, one that is too large for comfort is better than none.
    """
    best = known.choose(memory)
    if not offline or weights.present(models, best):
        return best
    fitting = known.fitting(memory)
    others = [m for m in reversed(known.models) if m not in fitting]
    here = (m for m in (*fitting, *others) if weights.present(models, m))
    return next(here, best)


def own_file(wanted: str) -> Path | None:
    """The file of a model of the owner's own: a path that ends in .gguf, or ``ollama:NAME``.

    None when ``wanted`` names neither. Raises ``ModelUnusable`` when the file is not there.
    """
    if wanted.startswith(_OLLAMA):
        name = wanted.removeprefix(_OLLAMA)
        found = sources.ollama_file(name, sources.ollama_stores())
        if found is None:
            why = f"Ollama's store on this machine has no model {name}; `ollama list` shows its own"
            raise ModelUnusable(name=wanted, why=why)
        return found
    if not wanted.endswith(".gguf"):
        return None
    file = Path(wanted).expanduser()
    if not file.is_file():
        raise ModelUnusable(name=file.stem, why=f"there is no file {file}")
    return file


def own_name(wanted: str, file: Path) -> str:
    """What a model of the owner's own is called at the model door."""
    return wanted.removeprefix(_OLLAMA) if wanted.startswith(_OLLAMA) else file.stem
