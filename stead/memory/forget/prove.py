"""A search over the raw bytes of a whole home: is a text anywhere, in whatever shape?

Every file is read to its end, databases, logs of writes and files of half-done writes too. Looked
at are the bytes as they are, as UTF-16, with the escapes of JSON undone, in base64, deflated (zlib,
gzip, zip, the objects of git, packed ones by git itself).

What lies under ``models/`` is weights that were fetched; it is not looked at, and said so. So it is
with pictures, sound and films that hang on messages, and with files there that are very large.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from stead.memory.forget.words import Phrase, plain, unescaped

_CHUNK = 4 << 20
_OVERLAP = 64 << 10
_MANY = 40
_MOST_UNPACKED = 1 << 30
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/_-]{40,}(?:\\n|\r?\n)?)+[A-Za-z0-9+/_-]*={0,2}")
_WORDS = re.compile(rb"[a-z0-9]+")
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_TOO_MUCH = "too much to be unpacked"
#: What :mod:`zipfile` raises for members with a password (RuntimeError), packed in ways it does not
#: know (NotImplementedError), or damaged (all of them).
_UNPACKED_BADLY = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OverflowError,
    zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip
SKIPPED = ("models",)
HANDED = ("files/", "workspace/attachments/")
_MOST_HANDED = 64_000_000
_MEDIA = (
    b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"OggS", b"fLaC", b"ID3", b"\xff\xfb",
    b"\x1aE\xdf\xa3",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text was found."""

    path: str
    """Relative to the home."""
    how: str
    """``plain``, ``packed``, ``base64``, ``git object ...``."""
    phrase: int
    """Which of those that were looked for."""


@dataclass(slots=True)
class Proof:
    """What a search over raw bytes said."""

    files: int = 0
    bytes: int = 0
    places: list[Place] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """What could not be looked into, with why."""

    @property
    def paths(self) -> list[str]:
        return list(dict.fromkeys(place.path for place in self.places))

    def words(self) -> str:
        """As the owner reads it."""
        told = f"searched {self.files} files, {self.bytes} bytes: "
        told += "not found" if not self.places else f"found in {', '.join(self.paths[:20])}"
        return told + (f"; not searched: {'; '.join(self.unread[:20])}" if self.unread else "")


class Seeker:
    """Finds phrases in bytes."""

    def __init__(self, phrases: Sequence[Phrase]) -> None:
        self.phrases = list(phrases)
        self._anchors: dict[str, list[int]] = {}
        self._always: list[int] = []
        self._single: list[tuple[bytes, int]] = []
        for number, one in enumerate(self.phrases):
            anchor = one.anchor
            if len(anchor) < 3 or one.bare:
                self._always.append(number)
            elif len(one.words.split(" ")) < 3 or len(self.phrases) <= _MANY:
                self._single.append((anchor.encode(), number))
            else:
                self._anchors.setdefault(anchor, []).append(number)

    def seen(self, data: bytes) -> set[int]:
        """The numbers of the phrases that are in these bytes."""
        if not self.phrases:
            return set()
        found = self._in(data, b"\0" in data)
        if b"\0" in data:
            found |= self._in(data.replace(b"\0", b""), loose=True)  # UTF-16 of Latin letters
            for shape in ("utf-16-le", "utf-16-be"):
                for begin in (0, 1) if self._wide else ():
                    found |= self._in(data[begin:].decode(shape, "replace").encode(), loose=True)
        return found

    @property
    def _wide(self) -> bool:
        return any(not one.words.isascii() for one in self.phrases)

    def _in(self, data: bytes, loose: bool) -> set[int]:
        maybe = set(self._always)
        low = data.lower()
        maybe |= {number for anchor, number in self._single if anchor in low}
        if self._anchors:
            there = {word.decode() for word in _WORDS.findall(low)}
            for anchor in there & self._anchors.keys():
                maybe.update(self._anchors[anchor])
        if not maybe:
            return set()
        text = unescaped(data.decode("utf-8", "replace"))
        padded = f" {plain(text)} "
        return {
            number
            for number in maybe
            if (
                self.phrases[number].words in text
                if self.phrases[number].bare
                else self.phrases[number].within(padded, loose=loose)
            )
        }


def search(home: Path, seeker: Seeker, *, under: str = "") -> Proof:
    """Look through every file of a home (or of what lies ``under`` it)."""
    proof, passed = Proof(), list[int]()
    if not seeker.phrases:
        return proof
    for path in _files(home / under if under else home, home, proof):
        name = path.relative_to(home).as_posix()
        if name.startswith(HANDED) and (size := _opaque(path)):
            passed.append(size)
            continue
        try:
            for how, data in layers(path, name, proof):
                proof.places += [Place(name, how, one) for one in sorted(seeker.seen(data))]
            proof.files += 1
        except FileNotFoundError:  # it went while we looked
            continue
        except OSError as error:
            proof.unread.append(f"{name}: {(error.strerror or str(error)).lower()}")
    if passed:
        proof.unread.append(
            f"{len(passed)} attached pictures, recordings and large files"
            f" ({sum(passed) // 1_000_000} MB)"
        )
    for repository in repositories(home):
        for how, data in _objects(repository, proof):
            name = repository.relative_to(home).as_posix()
            proof.places += [Place(name, how, one) for one in sorted(seeker.seen(data))]
    proof.places = list(dict.fromkeys(proof.places))
    return proof


def _opaque(path: Path) -> int:
    """The size of what somebody handed in and no words can be searched for in, or not in any
    reasonable time; 0: it is to be looked at."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head, size = file.read(12), os.fstat(file.fileno()).st_size
        if size > _MOST_HANDED or head.startswith(_MEDIA) or head[4:8] == b"ftyp":
            return max(1, size)
    return 0


def _files(top: Path, home: Path, proof: Proof) -> Iterator[Path]:
    def failed(error: OSError) -> None:
        proof.unread.append(f"{error.filename}: {(error.strerror or str(error)).lower()}")

    if top.is_file():
        yield top
        return
    for folder, names, files in os.walk(top, onerror=failed):
        if Path(folder) == home:
            for name in SKIPPED:
                if name in names and any((home / name).iterdir()):
                    proof.unread.append(f"{name}/: weights that were fetched")
            names[:] = [name for name in names if name not in SKIPPED]
        for name in sorted(files):
            path = Path(folder) / name
            with contextlib.suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield path


def layers(path: Path, name: str, proof: Proof) -> Iterator[tuple[str, bytes]]:
    """The bytes of a file, and what is wrapped in them, in pieces that overlap. What is packed and
    cannot be unpacked is said in ``proof``, under the file's ``name``."""
    with path.open("rb") as file:
        begin = file.read(4)
        file.seek(0)
        tail = b""
        while block := file.read(_CHUNK):
            proof.bytes += len(block)
            data = tail + block
            yield "plain", data
            for decoded in _from_base64(data):
                yield "base64", decoded
            tail = data[-_OVERLAP:]
        file.seek(0)
        if begin[:2] in _ZLIB or begin[:2] == b"\x1f\x8b":
            bits = 47 if begin[:2] == b"\x1f\x8b" else 15
            for data in _inflated(file, bits, name, proof):
                yield "packed", data
                for decoded in _from_base64(data):
                    yield "base64", decoded
    if begin == b"PK\x03\x04":
        yield from _zipped(path, name, proof)


def _inflated(file: IO[bytes], bits: int, name: str, proof: Proof) -> Iterator[bytes]:
    """What a deflated file holds; up to where it is damaged."""
    unpacker = zlib.decompressobj(bits)
    tail, total = b"", 0
    while block := file.read(1 << 18):
        try:
            made = unpacker.decompress(block, _CHUNK)
            while made:
                yield tail + made
                tail = (tail + made)[-_OVERLAP:]
                total += len(made)
                if total > _MOST_UNPACKED:
                    proof.unread.append(f"{name}: {_TOO_MUCH} beyond the first {total} bytes")
                    return
                rest = unpacker.unconsumed_tail
                made = unpacker.decompress(rest, _CHUNK) if rest else b""
        except zlib.error:
            if total or bits != zlib.MAX_WBITS:  # else two bytes that looked like the beginning
                proof.unread.append(f"{name}: what is packed in it is damaged")
            return
    if total and not unpacker.eof:
        proof.unread.append(f"{name}: what is packed in it ends too early")


def _zipped(path: Path, name: str, proof: Proof) -> Iterator[tuple[str, bytes]]:
    try:
        archive = zipfile.ZipFile(path)
    except _UNPACKED_BADLY as error:
        proof.unread.append(f"{name}: it cannot be unpacked ({error})")
        return
    with archive:
        for member in archive.infolist():
            try:
                yield from _member(archive, member)
            except _UNPACKED_BADLY as error:
                proof.unread.append(f"{name}, {member.filename[:100]!r} in it: {error}")


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[tuple[str, bytes]]:
    """Raises one of ``_UNPACKED_BADLY``."""
    if member.file_size > _MOST_UNPACKED:
        raise zipfile.BadZipFile(_TOO_MUCH)
    with archive.open(member) as file:
        tail = b""
        while block := file.read(_CHUNK):
            yield "packed", tail + block
            tail = (tail + block)[-_OVERLAP:]


def _from_base64(data: bytes) -> Iterator[bytes]:
    for found in _BASE64.finditer(data):
        run = re.sub(rb"\\n|\s", b"", found[0]).replace(b"-", b"+").replace(b"_", b"/")
        run = run.rstrip(b"=")
        for begin in range(4):  # what stands before it may be of the same letters
            piece = run[begin:]
            piece = piece[: len(piece) // 4 * 4]
            with contextlib.suppress(binascii.Error):
                yield base64.b64decode(piece)


# --- git -------------------------------------------------------------------------


def repositories(home: Path) -> list[Path]:
    """The folders of git repositories in a home, the owner's own files left out."""
    found = []
    for folder, names, files in os.walk(home):
        if Path(folder) == home:
            names[:] = [one for one in names if one not in (*SKIPPED, "workspace", "skills")]
        if "HEAD" in files and "objects" in names and "refs" in names:
            found.append(Path(folder))
            names.clear()
    return found


def clean_git(repository: Path) -> list[str]:
    """How git is called: with nothing of the user's, no hooks, no helpers."""
    return [
        "git", "--git-dir", str(repository), "-c", "core.hooksPath=/dev/null",
        "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "core.quotePath=false",
        "-c", "safe.directory=*",
    ]  # fmt: skip


def git_environment() -> dict[str, str]:
    return {
        "PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8",
    }  # fmt: skip


def _objects(repository: Path, proof: Proof) -> Iterator[tuple[str, bytes]]:
    """Every object of a repository, those that nothing refers to as well."""
    packs = list((repository / "objects" / "pack").glob("*.pack"))
    if not packs:
        return  # loose objects are deflated files, and were looked at
    if shutil.which("git", path=os.defpath) is None:
        proof.unread.append(f"{repository.name}: git is not there to unpack its history")
        return
    command = [*clean_git(repository), "cat-file", "--batch", "--batch-all-objects", "--unordered"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=git_environment()
    ) as git:
        assert git.stdout is not None
        while line := git.stdout.readline():
            name, kind, size = line.split()
            data = git.stdout.read(int(size))
            git.stdout.read(1)
            yield f"git {kind.decode()} {name.decode()[:12]}", data
    if git.returncode:
        proof.unread.append(f"{repository.name}: git could not read its history")
