"""What of the machine every sandbox on Linux sees: programs, libraries, and what they need to
know to run. All of it read only, none of it a secret, nothing of the owner's.

Of ``/etc`` things are named one by one: the folder as a whole would show whatever the
machine's owner and its other programs keep there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import stead
from stead.sandbox.box import Box, Mount
from stead.sandbox.enter import INSIDE

HOME = Path("/home/sandbox")
"""The empty home inside."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

PROGRAMS = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/gnu/store",
)

KNOWLEDGE = (
    "alternatives",
    "bash.bashrc",
    "bash_completion.d",
    "ca-certificates",
    "ca-certificates.conf",
    "chromium",
    "chromium.d",
    "crypto-policies",
    "debian_version",
    "fedora-release",
    "fonts",
    "ghostscript",
    "gtk-3.0",
    "ImageMagick-6",
    "ImageMagick-7",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "os-release",
    "papersize",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "protocols",
    "python3",
    "rpc",
    "services",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "xml",
)
"""Below ``/etc``."""


_OLD_S = 30 * 24 * 3600.0

FILES = {
    "passwd": f"sandbox:x:{INSIDE}:{INSIDE}::{HOME}:/bin/sh\n"
    "nobody:x:65534:65534:owned by others:/nonexistent:/usr/sbin/nologin\n",
    "group": f"sandbox:x:{INSIDE}:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "hostname": "sandbox\n",
}
"""Made anew below the ``/etc`` of a sandbox."""


@cache
def system() -> tuple[tuple[Path, ...], tuple[tuple[str, Path], ...]]:
    """Folders that are shown as they are, and links (target, path) that are made anew."""
    shown: list[Path] = []
    links: list[tuple[str, Path]] = []
    for path in map(Path, PROGRAMS):
        if path.is_symlink() and path.parent == Path("/"):
            links.append((os.readlink(path), path))
        elif path.exists():
            shown.append(path)
    return tuple(shown), tuple(links)


def etc(folder: Path) -> Path:
    """The ``/etc`` of sandboxes below ``folder``: a copy of what :data:`KNOWLEDGE` names, another
    one when the machine's has changed. One folder, since each mount costs a start half a
    millisecond; never changed once it is there, since sandboxes may be running on it.

    Raises ``OSError``."""
    state = f"{stead.__version__} {sorted(FILES.items())} {KNOWLEDGE} {_newest()}"
    made = folder / f"sandbox-etc.{hashlib.sha256(state.encode()).hexdigest()[:16]}"
    if made.exists():
        return made
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix="sandbox-etc-", dir=folder))
    fresh.chmod(0o755)
    for name in KNOWLEDGE:
        _copy(Path("/etc", name), fresh / name)
    for name, text in FILES.items():
        (fresh / name).write_text(text)
    try:
        fresh.rename(made)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not made.exists():  # else another process was quicker
            raise
    _drop_old(folder, made)
    return made


def _drop_old(folder: Path, but: Path) -> None:
    """Copies that nothing can be running on any more."""
    for path in folder.glob("sandbox-etc*"):
        with contextlib.suppress(OSError):
            if path != but and time.time() - path.stat().st_mtime > _OLD_S:
                shutil.rmtree(path, ignore_errors=True)


def _newest() -> int:
    """When one of them was changed last, in nanoseconds."""
    times = [0]
    for name in KNOWLEDGE:
        with contextlib.suppress(OSError):
            times.append(Path("/etc", name).lstat().st_mtime_ns)
    return max(times)


def _copy(path: Path, to: Path) -> None:
    """Only what all may read; links stay links."""
    with contextlib.suppress(OSError, shutil.Error):
        info = path.lstat()
        to.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(info.st_mode):
            to.symlink_to(os.readlink(path))
        elif stat.S_ISDIR(info.st_mode) and info.st_mode & 0o005 == 0o005:
            to.mkdir(exist_ok=True)
            for entry in path.iterdir():
                _copy(entry, to / entry.name)
        elif stat.S_ISREG(info.st_mode) and info.st_mode & 0o004:
            shutil.copyfile(path, to)


def readable(box: Box) -> list[str]:
    """What a process in it has to read, for a second wall around files (Landlock)."""
    shown, links = system()
    granted = [str(mount.path) for mount in box.mounts if not mount.write]
    return [*map(str, shown), *(str(path) for _, path in links), "/etc", *granted]


def writable(box: Box) -> list[str]:
    """What it may change; ``/proc`` and ``/dev`` are the sandbox's own."""
    granted = [str(mount.path) for mount in box.mounts if mount.write]
    return ["/tmp", "/dev", "/proc", str(HOME), *granted]


@cache
def interpreter() -> tuple[Mount, ...]:
    """What this Python needs to start, and stead itself; for tools that run as functions."""
    wanted = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    wanted |= {Path(path) for path in sys.path if path.endswith("-packages")}
    wanted.add(Path(stead.__file__).parent)
    # A program that is a link to one elsewhere, as environments have it, needs both.
    wanted.add(Path(sys.executable).resolve().parent.parent)
    shown = system()[0]
    return tuple(
        Mount(path)
        for path in sorted(wanted)
        if path.is_dir() and not any(path.is_relative_to(one) for one in shown)
    )
