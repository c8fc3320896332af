"""The copy that is taken along: files of memory, and a manifest of what they were.

``DIR/memory/`` and ``DIR/knowledge/`` are as at home. ``DIR/.stead-away/manifest.json`` holds the
hash of each file as it was copied, ``DIR/.stead-away/base/`` the files that are merged line by line
(cards, standing files, contacts), so that home can tell who changed what. Daily logs of home are
read-only there; what is said there goes into ``memory/YYYY-MM-DD.DEVICE.md``.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from stead.core.errors import BadRequest, SteadError
from stead.core.files import write_atomic

TOPS = ("memory", "knowledge")
FOLDER = ".stead-away"
MANIFEST = f"{FOLDER}/manifest.json"
BASE = f"{FOLDER}/base"
_DEVICE = re.compile(r"[A-Za-z0-9_-]{1,40}")
_DAY = re.compile(r"memory/\d{4}-\d\d-\d\d(?:\.([A-Za-z0-9_-]+))?\.md")
_CHUNK = 1 << 20


class NoCopy(SteadError):
    """{path} is no copy of memory: {why}"""

    code = "no_away_copy"
    status = 422


class Manifest(msgspec.Struct):
    """What was copied."""

    device: str
    at: int = 0
    """When, in ms. Told to people; nothing is decided by it."""
    files: dict[str, str] = {}
    """Path -> SHA-256 of the file as it was copied."""
    merged: dict[str, str] = {}
    """Path -> SHA-256 of the file there as it was brought home last."""


@dataclass(slots=True)
class Exported:
    """What an export did."""

    copied: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    """Changed there and not brought home yet: left as they are."""
    same: int = 0


def day_of(path: str) -> tuple[bool, str]:
    """Whether a file is a daily log, and of which device (empty: of home)."""
    found = _DAY.fullmatch(path)
    return found is not None, (found[1] or "") if found else ""


def is_text(path: str) -> bool:
    """Whether it is merged line by line."""
    return not day_of(path)[0] and path.endswith((".md", ".vcf"))


def files(top: Path) -> Iterator[str]:
    """The files of memory below a folder, relative to it; nothing hidden, no links."""
    for name in TOPS:
        for folder, names, found in os.walk(top / name):
            names[:] = sorted(one for one in names if not one.startswith("."))
            for one in sorted(found):
                path = Path(folder) / one
                if not one.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                    yield path.relative_to(top).as_posix()


def hash_of(path: Path) -> str:
    """SHA-256 of a file; empty if there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def read_manifest(folder: Path) -> Manifest | None:
    """None where nothing was ever copied. Raises ``NoCopy`` for one that cannot be read."""
    try:
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        why = f"its manifest cannot be read ({error}); export into an empty folder"
        raise NoCopy(path=folder, why=why) from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_atomic(folder / MANIFEST, msgspec.json.encode(manifest), 0o600)


def export(home: Path, folder: Path, device: str, now: int) -> Exported:
    """Bring a copy up to what home is: only what differs is copied.

    Raises ``NoCopy`` for a folder with other things in it, ``BadRequest`` for a bad name.
    """
    home, folder = home.resolve(), folder.resolve()
    manifest = read_manifest(folder)
    if manifest is None:
        if folder.is_dir() and any(folder.iterdir()):
            raise NoCopy(path=folder, why="there are other things in it; take an empty folder")
        manifest = Manifest(device or "away")
    manifest.device = device or manifest.device
    if not _DEVICE.fullmatch(manifest.device):
        raise BadRequest("The name of a device has letters, digits, - and _ only.", param="device")
    if home == folder or home in folder.parents or folder in home.parents:
        raise NoCopy(path=folder, why="it lies in the home directory, or that in it")
    (folder / BASE).mkdir(mode=0o700, parents=True, exist_ok=True)
    done = Exported()
    there = set()
    for path in files(home):
        there.add(path)
        _copy(home, folder, path, manifest, done)
    for path in sorted(set(manifest.files) - there):
        if _changed_there(folder, path, manifest):
            done.kept.append(path)
            continue
        for one in (folder / path, folder / BASE / path):
            one.unlink(missing_ok=True)
        manifest.files.pop(path)
        manifest.merged.pop(path, None)
        done.removed.append(path)
    manifest.at = now
    write_manifest(folder, manifest)
    return done


def _changed_there(folder: Path, path: str, manifest: Manifest) -> bool:
    """Whether it holds something there that home does not have."""
    is_now = hash_of(folder / path)
    return bool(is_now) and is_now not in (manifest.files.get(path), manifest.merged.get(path))


def _copy(home: Path, folder: Path, path: str, manifest: Manifest, done: Exported) -> None:
    wanted = hash_of(home / path)
    if not wanted:  # it went meanwhile
        return
    if _changed_there(folder, path, manifest) and hash_of(folder / path) != wanted:
        done.kept.append(path)
        return
    if manifest.files.get(path) == wanted == hash_of(folder / path):
        done.same += 1
        return
    data = (home / path).read_bytes()
    daily, device = day_of(path)
    mode = 0o444 if daily and not device else 0o600
    places = [(folder / path, mode)]
    if is_text(path):
        places.append((folder / BASE / path, 0o600))
    for place, how in places:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(place, data, how)
    manifest.files[path] = hashlib.sha256(data).hexdigest()
    manifest.merged.pop(path, None)
    done.copied.append(path)
