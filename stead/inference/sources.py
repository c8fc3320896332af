"""Where the file of a model can come from: a copy on this machine, or the hub over https.

A source brings a whole file and says nothing about its content: the caller
checks size and hash. What it could not finish stays for the next try.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from stead.inference.catalogue import CatalogueModel

CONNECT_S = 5.0
"""A hub that cannot be reached must not hold up the next source."""
SILENCE_S = 30.0
_TRIES = 3
_CHUNK = 1 << 20
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})\Z")
_OLLAMA = ("/usr/share/ollama/.ollama/models", "/var/lib/ollama/models")


class SourceFailed(Exception):
    """This source cannot bring the file; its text says why, without an address that may hold
    a password."""


class Stopped(Exception):
    """The owner, or the end of this process, stopped the fetching."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One file to bring: for which model, into which folder, and whom to tell."""

    model: CatalogueModel
    folder: Path
    report: Callable[[int], None]
    """Told the bytes of the file that are there."""
    stop: Callable[[], bool]
    retry_wait_s: float = 0.5


# --- a copy on this machine --------------------------------------------------


def ollama_stores() -> tuple[Path, ...]:
    """Where Ollama keeps its models, for this user and as a service."""
    return (Path.home() / ".ollama" / "models", *(Path(place) for place in _OLLAMA))


def from_local(errand: Errand, given: Path | None, stores: tuple[Path, ...]) -> Path:
    """A copy of the file: the one the owner named, or one in Ollama's store with the same hash.

    A hard link where the disk allows it, so that it costs no room.
    """
    model = errand.model
    if given is not None:
        found = _given(given, model)
    else:
        blob = f"sha256-{model.sha256}"
        places = (store / "blobs" / blob for store in stores)
        here = next((file for file in places if _readable(file)), None)
        if here is None:
            raise SourceFailed("no copy on this machine")
        found = here
    target = errand.folder / "local.part"
    target.unlink(missing_ok=True)
    found = found.resolve()
    try:
        # Ollama never changes a blob. A file the owner named may change: it is copied.
        if given is None:
            os.link(found, target)
            return target
    except OSError:
        pass  # another disk, or not ours to link
    _copy(found, target, errand)
    return target


def _given(given: Path, model: CatalogueModel) -> Path:
    for file in (given, given / f"{model.name}.gguf", given / "blobs" / f"sha256-{model.sha256}"):
        if file.is_file():
            return file
    raise SourceFailed(f"there is no file of it at {given}")


def _readable(file: Path) -> bool:
    try:
        return file.is_file() and os.access(file, os.R_OK)
    except OSError:
        return False


def _copy(found: Path, target: Path, errand: Errand) -> None:
    done = 0
    with found.open("rb") as source, target.open("wb") as copy:
        while chunk := source.read(_CHUNK):
            if errand.stop():
                raise Stopped
            copy.write(chunk)
            done += len(chunk)
            errand.report(done)


class _Layer(msgspec.Struct):
    digest: str
    media: str = msgspec.field(name="mediaType")


class _Manifest(msgspec.Struct):
    layers: list[_Layer] = []


def ollama_file(name: str, stores: tuple[Path, ...]) -> Path | None:
    """The weights of an Ollama model such as ``qwen3:4b``, by its manifest; None if not there."""
    path, _, tag = name.partition(":")
    if "/" not in path:
        path = f"library/{path}"
    # Below the manifests there is a folder for each host that models were pulled from.
    found = (
        (store, host / path / (tag or "latest"))
        for store in stores
        for host in sorted((store / "manifests").glob("*"))
    )
    for store, manifest in found:
        try:
            layers = msgspec.json.decode(manifest.read_bytes(), type=_Manifest).layers
        except (OSError, msgspec.DecodeError):
            continue
        for layer in layers:
            digest = _SHA256.match(layer.digest)
            if layer.media == "application/vnd.ollama.image.model" and digest:
                blob = store / "blobs" / f"sha256-{digest[1]}"
                if blob.is_file():
                    return blob
    return None


# --- the hub -----------------------------------------------------------------


class _Plain(http.client.HTTPConnection):
    """Connects within CONNECT_S, then allows silences of SILENCE_S."""

    def connect(self) -> None:
        self.timeout = CONNECT_S
        super().connect()
        self.sock.settimeout(SILENCE_S)


class _Secure(http.client.HTTPSConnection):
    """The same over TLS."""

    def connect(self) -> None:
        self.timeout = CONNECT_S
        super().connect()
        self.sock.settimeout(SILENCE_S)


class _PlainHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Plain, req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Secure, req)


def from_hub(errand: Errand, url: str) -> Path:
    """Fetch ``url``, going on where an earlier try ended (Range, RFC 9110 section 14)."""
    target, size = errand.folder / "hub.part", errand.model.bytes
    _reachable(url)
    failures, last = 0, ""
    while failures < _TRIES:
        before = _size(target)
        if before > size:
            target.unlink()
            before = 0
        if before == size:
            return target
        if failures:
            _wait(errand, errand.retry_wait_s * 2 ** (failures - 1))
        try:
            _more(errand, url, target, before)
        except (OSError, http.client.HTTPException) as error:
            last = _why(error)
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                break  # it will not become another one
        else:
            last = "the connection ended early"
        # A try that brought bytes starts the count anew: a poor line gets there in the end.
        failures = 0 if _size(target) > before else failures + 1
    raise SourceFailed(f"the hub broke off: {last}")


def _more(errand: Errand, url: str, target: Path, start: int) -> None:
    """One connection: append to ``target`` what comes from ``start`` on."""
    headers = {"User-Agent": "stead", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = urllib.request.build_opener(_PlainHandler, _SecureHandler)
    try:
        answer = opener.open(urllib.request.Request(url, headers=headers))
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416:  # what we hold is not a part of what they have
                target.unlink(missing_ok=True)
                return
            if error.code in (408, 425, 429) or error.code >= 500:
                raise ConnectionError(f"it answered {error.code}") from error
            raise SourceFailed(f"the hub answered {error.code} ({error.reason})") from error
    with answer:
        if answer.status != 206 or not _continues(answer, start):
            start = 0
        expected = answer.headers.get("Content-Length")
        if expected is not None and start + int(expected) != errand.model.bytes:
            raise SourceFailed("the hub's file has another size now; this stead is too old for it")
        with target.open("r+b" if start else "wb") as file:
            file.seek(start)
            done = start
            # read1: pieces as they come; a break-off keeps all that arrived.
            while done < errand.model.bytes and (chunk := answer.read1(_CHUNK)):
                if errand.stop():
                    raise Stopped
                file.write(chunk)
                done += len(chunk)
                errand.report(done)


def _continues(answer: http.client.HTTPResponse, start: int) -> bool:
    content_range: str = answer.headers.get("Content-Range", "")
    return content_range.startswith(f"bytes {start}-")


def _reachable(url: str) -> None:
    """Fail within CONNECT_S when the host cannot be reached.

    Looked up in a thread, because a resolver may hang for a minute and a host
    may have several addresses, each with its own wait.
    """
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    if parts.scheme in urllib.request.getproxies():
        return  # the proxy looks names up
    done = threading.Event()
    failed: list[OSError] = []

    def look() -> None:
        try:
            socket.create_connection((host, port), CONNECT_S).close()
        except OSError as error:
            failed.append(error)
        done.set()

    threading.Thread(target=look, name="reach-hub", daemon=True).start()
    if not done.wait(CONNECT_S):
        raise SourceFailed(f"the hub {host} did not answer within {CONNECT_S:.0f} s")
    if failed:
        raise SourceFailed(f"the hub {host} cannot be reached: {_why(failed[0])}")


_PORTS = {"http": 80, "https": 443}


def _wait(errand: Errand, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if errand.stop():
            raise Stopped
        time.sleep(min(left, 0.1))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _why(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, OSError):
        error = error.reason
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).lower() if isinstance(error, OSError) else str(text)


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written in ``folder``."""
    return shutil.disk_usage(folder).free
