"""The power cut: what was never synced is taken away, or torn.

The shim (disk.c) keeps in the journal what the disk holds. Between that and what the files said
at the moment of the kill, a real disk may have kept anything: each name and each sector is the old
one or the new one. ``lose_unsynced`` makes one of these outcomes, drawn by a seed.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Mode = Literal["all", "some"]

_CHUNK = 1 << 20
_PREFIX = "prefix"
#: Memory-mapped by SQLite, never synced, and made anew by the first that opens the database.
_REBUILT = "-shm"


@dataclass(slots=True)
class Loss:
    """What a power cut took."""

    files: dict[str, int] = field(default_factory=dict)
    """Bytes that differ now from what the process had written, by path."""
    names: list[str] = field(default_factory=list)
    """Names that are gone, back, or stand for another file."""

    @property
    def bytes(self) -> int:
        return sum(self.files.values())

    def __bool__(self) -> bool:
        return bool(self.files or self.names)


def begin(prefix: Path, journal: Path) -> None:
    """Take what lies in ``prefix`` now for what the disk holds. No process may run in it."""
    prefix, journal = prefix.resolve(), journal.resolve()
    if journal.is_relative_to(prefix):
        raise ValueError("the journal must lie outside of the folder that it is about")
    prefix.mkdir(mode=0o700, parents=True, exist_ok=True)
    if journal.exists():
        shutil.rmtree(journal)
    (journal / "files").mkdir(parents=True)
    (journal / _PREFIX).write_text(str(prefix))
    _keep(prefix, journal / "tree", journal / "files")


def _keep(source: Path, held: Path, images: Path) -> None:
    held.mkdir()
    for entry in os.scandir(source):
        target = held / entry.name
        if entry.is_symlink():
            target.symlink_to(os.readlink(entry.path))
        elif entry.is_dir():
            _keep(Path(entry.path), target, images)
        elif entry.is_file():
            image = images / str(entry.inode())
            if not image.exists():
                shutil.copyfile(entry.path, image)
            os.link(image, target)


def lose_unsynced(journal: Path, seed: int = 0, mode: Mode = "some") -> Loss:
    """Leave in the folder what a power cut would, and begin the journal anew from there.

    ``all``: all that was not synced is gone. ``some``: of that, each sector (512 or 4096 bytes, or
    whole files) and each name is the old one or the new one, drawn by ``seed``. To be called when
    every process that had the folder is dead. What cannot be in a file (sockets) is gone.
    """
    prefix = Path((journal / _PREFIX).read_text())
    loss = Loss()
    after = prefix.with_name(f".{prefix.name}.after")
    if after.exists():
        shutil.rmtree(after)
    _Cut(prefix, journal, random.Random(seed), mode, loss).folder(after, "")
    before = prefix.with_name(f".{prefix.name}.before")
    if before.exists():
        shutil.rmtree(before)
    prefix.rename(before)
    after.rename(prefix)
    shutil.rmtree(before)
    begin(prefix, journal)
    return loss


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a name stands for: a folder, a link, or a file."""

    kind: Literal["folder", "link", "file"]
    file: int = 0
    """The inode of the file; negative: of an image whose file is gone for good."""
    leads: str = ""


class _Cut:
    def __init__(
        self, prefix: Path, journal: Path, rng: random.Random, mode: Mode, loss: Loss
    ) -> None:
        self.prefix, self.rng, self.mode, self.loss = prefix, rng, mode, loss
        self.tree = journal / "tree"
        self.images = {int(entry.name): Path(entry.path) for entry in os.scandir(journal / "files")}
        """What the disk holds of a file, by its inode."""
        self.numbers = {path.stat().st_ino: file for file, path in self.images.items()}
        self.current: dict[int, Path] = {}
        """What the process saw of it."""
        for folder, _, names in os.walk(prefix):
            for name in names:
                path = Path(folder) / name
                info = path.lstat()
                if stat.S_ISREG(info.st_mode):
                    self.current.setdefault(info.st_ino, path)

    def folder(self, target: Path, name: str) -> None:
        """Make what is left of one folder."""
        target.mkdir()
        source = self.prefix / name
        shutil.copymode(source if source.is_dir() else self.prefix, target)
        now, held = self._now(name), self._held(name)
        for group in _together(now, held):
            keep = self.mode == "some" and self.rng.random() < 0.5
            for one in group:
                inner = f"{name}/{one}" if name else one
                entry = (now if keep else held).get(one)
                if one.endswith(_REBUILT):
                    continue
                if entry != now.get(one):
                    self.loss.names.append(inner)
                if entry is None:
                    continue
                if entry.kind == "folder":
                    self.folder(target / one, inner)
                elif entry.kind == "link":
                    (target / one).symlink_to(entry.leads)
                else:
                    self._file(target / one, inner, entry.file)

    def _now(self, name: str) -> dict[str, _Entry]:
        return {entry.name: _entry(entry, entry.inode()) for entry in _listed(self.prefix / name)}

    def _held(self, name: str) -> dict[str, _Entry]:
        found = {}
        for entry in _listed(self.tree / name):
            file = self.numbers.get(entry.inode(), -entry.inode())
            if file < 0:
                self.images[file] = Path(entry.path)
            found[entry.name] = _entry(entry, file)
        return found

    def _file(self, target: Path, name: str, file: int) -> None:
        """Make what is left of one file."""
        current, image = self.current.get(file), self.images.get(file)
        if current is None and image is not None:
            shutil.copyfile(image, target)
            target.chmod(0o600)
            return
        assert current is not None
        rng = self.rng
        sector = rng.choice((512, 4096, _CHUNK))
        chance = rng.choice((0.0, 0.5, 0.9, 1.0)) if self.mode == "some" else 0.0
        is_long, was_long = current.stat().st_size, image.stat().st_size if image else 0
        size = is_long if rng.random() < chance else was_long
        lost = abs(is_long - size)
        held = image or Path(os.devnull)
        with current.open("rb") as new, held.open("rb") as old, target.open("wb") as made:
            for at in range(0, size, _CHUNK):
                end = min(size, at + _CHUNK) - at
                left, less = self._blend(new.read(end), old.read(end), end, sector, chance)
                lost += less
                made.write(left)
        if lost:
            shutil.copymode(current, target)
            self.loss.files[name] = lost
        else:  # the same file still
            target.unlink()
            os.link(current, target)

    def _blend(
        self, new: bytes, old: bytes, size: int, sector: int, chance: float
    ) -> tuple[bytes, int]:
        """The old one, with some sectors of the new one; and how many bytes were lost by it."""
        new, old = new.ljust(size, b"\0"), old.ljust(size, b"\0")
        if new == old:
            return new, 0
        left, lost = bytearray(old), 0
        for at in range(0, size, sector):
            piece = new[at : at + sector]
            if piece == old[at : at + sector]:
                continue
            if chance and self.rng.random() < chance:
                left[at : at + sector] = piece
            else:
                lost += len(piece)
        return bytes(left), lost


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    """Folders, links and files in it, by name; nothing where it is none."""
    if not folder.is_dir():
        return []
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    return [entry for entry in entries if entry.is_symlink() or entry.is_dir() or entry.is_file()]


def _entry(entry: os.DirEntry[str], file: int) -> _Entry:
    if entry.is_symlink():
        return _Entry("link", leads=os.readlink(entry.path))
    return _Entry("folder") if entry.is_dir() else _Entry("file", file)


def _together(now: dict[str, _Entry], held: dict[str, _Entry]) -> list[list[str]]:
    """Names that are kept or lost together, for they are of one rename: those that share a file."""
    lead = {name: name for name in sorted(now.keys() | held.keys())}
    first: dict[int, str] = {}

    def leader(name: str) -> str:
        while lead[name] != name:
            name = lead[name]
        return name

    for name in lead:
        entries = (now.get(name), held.get(name))
        if entries[0] == entries[1]:
            continue
        for entry in entries:
            if entry is not None and entry.kind == "file":
                lead[leader(name)] = leader(first.setdefault(entry.file, name))
    groups: dict[str, list[str]] = {}
    for name in lead:
        groups.setdefault(leader(name), []).append(name)
    return list(groups.values())
