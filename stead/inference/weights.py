"""Weights on disk: where they lie, and whether they are what the catalogue says.

Hashing a gigabyte takes seconds, so a file that was found right gets a stamp
beside it (``<file>.ok``) with its hash, size and time of change; while those are
the same the file is taken as right.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from stead.core.errors import ModelDamaged
from stead.core.files import write_atomic
from stead.inference.catalogue import CatalogueModel

_CHUNK = 1 << 20
_MAGIC = b"GGUF"

#: Told how many bytes are done; may raise to stop.
Report = Callable[[int], None]


class Stamp(msgspec.Struct, frozen=True):
    """What a file was when its hash was last computed."""

    sha256: str
    size: int
    mtime_ns: int


def folder(home: Path) -> Path:
    """Where weights lie."""
    return home / "models"


def partial(models: Path, name: str) -> Path:
    """Where the pieces of a model lie while it is being fetched."""
    return models / ".partial" / name


def file_of(models: Path, model: CatalogueModel) -> Path:
    """Where the file of a catalogue model lies when it is on this machine."""
    return models / f"{model.name}.gguf"


def present(models: Path, model: CatalogueModel) -> bool:
    """Whether its file is there with the right size; its content is not read."""
    try:
        return file_of(models, model).stat().st_size == model.bytes
    except OSError:
        return False


def sha256_of(file: Path, report: Report) -> str:
    """SHA-256 of a file, telling the bytes read so far about every megabyte."""
    digest, done = hashlib.sha256(), 0
    with file.open("rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            report(done)
    return digest.hexdigest()


def stamp(file: Path, sha256: str) -> None:
    """Note that ``file``, as it is now, has this hash."""
    info = file.stat()
    data = msgspec.json.encode(Stamp(sha256, info.st_size, info.st_mtime_ns))
    write_atomic(_stamp_of(file), data)


def stamped(file: Path, sha256: str) -> bool:
    """Whether ``file`` is unchanged since it was found to have this hash."""
    try:
        last = msgspec.json.decode(_stamp_of(file).read_bytes(), type=Stamp)
        info = file.stat()
    except (OSError, msgspec.DecodeError):
        return False
    return last == Stamp(sha256, info.st_size, info.st_mtime_ns)


def check(file: Path, model: CatalogueModel, report: Report, *, force: bool = False) -> None:
    """Make sure that ``file`` is that model, reading it only when its stamp does not say so.

    ``force`` reads it in any case. Raises ``ModelDamaged``.
    """
    size = file.stat().st_size
    if size != model.bytes:
        why = f"it has {size} bytes and should have {model.bytes}"
        raise ModelDamaged(path=file, why=why, name=model.name)
    if not force and stamped(file, model.sha256):
        return
    if sha256_of(file, report) != model.sha256:
        _stamp_of(file).unlink(missing_ok=True)
        why = "its SHA-256 is not the one in the catalogue"
        raise ModelDamaged(path=file, why=why, name=model.name)
    stamp(file, model.sha256)


def looks_like_gguf(file: Path) -> bool:
    """Whether a file begins as GGUF files do."""
    with file.open("rb") as stream:
        return stream.read(len(_MAGIC)) == _MAGIC


def discard(models: Path, model: CatalogueModel) -> None:
    """Remove the file of a model and its stamp."""
    file = file_of(models, model)
    file.unlink(missing_ok=True)
    _stamp_of(file).unlink(missing_ok=True)


def _stamp_of(file: Path) -> Path:
    return file.with_name(file.name + ".ok")
