"""What the commands need of local models: list, fetch, remove, serve."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stead.config import Loaded, Settings, path_at
from stead.config.lanes import BUILT_IN
from stead.core import logs
from stead.core.errors import ModelBusy
from stead.inference import catalogue, choice, machine, modelstate, pull, runtime, weights
from stead.inference.catalogue import CatalogueModel
from stead.inference.pull import Progress

__all__ = [
    "ModelRow",
    "Progress",
    "Pulled",
    "doubts",
    "list_models",
    "pull_model",
    "remove_model",
    "serve_model",
]


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One model of the catalogue as it stands on this machine. Sizes in bytes."""

    name: str
    title: str
    licence: str
    bytes: int
    sha256: str
    memory_gb: float
    context: int
    tools: str
    here: str
    """``yes``, ``partly`` (a fetch was begun) or ``no``."""
    fetched: int
    auto: bool
    """Whether ``auto`` means this one here."""
    state: str
    """The phase of the model process if it runs this one, else empty."""
    path: str


@dataclass(frozen=True, slots=True)
class Pulled:
    """A model that is on this machine now."""

    name: str
    path: str
    bytes: int
    sha256: str


def list_models(home: Path) -> list[ModelRow]:
    """The catalogue, the most capable first."""
    models, known = weights.folder(home), catalogue.load()
    auto = choice.pick(models, known, machine.memory_bytes(), offline=False)
    state = modelstate.read(home)

    def row(model: CatalogueModel) -> ModelRow:
        here = weights.present(models, model)
        fetched = model.bytes if here else pull.kept_bytes(models, model)
        return ModelRow(
            name=model.name,
            title=model.title,
            licence=model.licence,
            bytes=model.bytes,
            sha256=model.sha256,
            memory_gb=model.memory_gb,
            context=model.context,
            tools=model.tools,
            here="yes" if here else "partly" if fetched else "no",
            fetched=fetched,
            auto=model is auto,
            state=state.phase if state.model == model.name and state.phase != "stopped" else "",
            path=str(weights.file_of(models, model)) if here else "",
        )

    return [row(model) for model in known.models]


def pull_model(
    home: Path,
    name: str,
    progress: Callable[[Progress], None],
    *,
    offline: bool = False,
    given: Path | None = None,
) -> Pulled:
    """Bring a model (``auto``: the one for this machine) onto the disk; checked if it is there.

    ``given`` is a file, or a folder with it, named by the owner. Raises
    ``UnknownModel``, ``PullFailed`` and its kinds.
    """
    models, known = weights.folder(home), catalogue.load()
    model = known.choose(machine.memory_bytes()) if name == "auto" else known.get(name)
    means = pull.Means(offline=offline, given=given)
    if given is not None:  # the owner said where from: nothing else is asked
        means = replace(means, stores=())
    file = pull.pull(models, model, progress, means)
    return Pulled(model.name, str(file), model.bytes, model.sha256)


def remove_model(home: Path, name: str) -> int:
    """Remove a model from the disk; return the bytes freed.

    Raises ``UnknownModel``, and ``ModelBusy`` while it is in use.
    """
    model = catalogue.load().get(name)
    state = modelstate.read(home)
    if state.model == name and state.phase in ("loading", "ready"):
        who = f"the model process (pid {state.pid}); stop stead first"
        raise ModelBusy(name=name, who=who)
    return pull.remove(weights.folder(home), model)


def _local(home: Path, wanted: str) -> str:
    """``model.local``, where a path is relative to the home directory like any other."""
    return str(path_at(home, wanted)) if wanted.endswith(".gguf") else wanted


def doubts(loaded: Loaded) -> Iterator[str]:
    """Models that are named in the settings and that are not there, in words."""
    model, known = loaded.settings.model, [entry.name for entry in catalogue.load().models]
    local = model.local
    if local.endswith(".gguf"):
        if not loaded.path(local).is_file():
            yield f"model.local, {loaded.path(local)}, is not there."
    elif local not in ("auto", "off", "scripted", *known) and not local.startswith("ollama:"):
        yield f"model.local, {local!r}, is not known; there are: {', '.join(known)}."
    here = {"auto", "local", local, Path(local).stem, *BUILT_IN}
    here |= {lane.name for lane in loaded.settings.lane}
    for backend in loaded.settings.backend:
        for entry in backend.models:
            here |= {entry.name, entry.alias or entry.name}
            here |= {f"{backend.name}/{entry.name}", f"{backend.name}/{entry.alias}"}
    for role, wanted in (("main", model.main), ("light", model.light)):
        # A name of the catalogue is right where `auto` picks it.
        if wanted not in here and not (local == "auto" and wanted in known):
            yield f"model.{role}, {wanted!r}, is no lane and no model, local or of a backend."


def serve_model(home: Path, settings: Settings, *, model: str = "", offline: bool = False) -> int:
    """Run the local model of the settings (or ``model``) in this process; return its exit code."""
    logs.setup(
        home / "logs", "model", settings.log.level, settings.log.max_mb, settings.log.keep,
        to_stderr=False,
    )  # fmt: skip
    return runtime.serve(
        home,
        model=model or _local(home, settings.model.local),
        context=settings.model.context,
        threads=settings.model.threads,
        offline=offline or settings.offline,
    )
