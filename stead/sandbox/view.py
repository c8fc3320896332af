"""What of the machine every sandbox on Linux sees: programs, libraries, and what they need to
know to run. All of it read only, none of it a secret, nothing of the owner's.

Named one by one: a folder such as ``/etc`` as a whole would show password hashes and keys to a
process that runs as root, and whatever the machine's owner keeps there.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

import stead
from stead.sandbox.box import Mount

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


@cache
def system() -> tuple[tuple[Path, ...], tuple[tuple[str, Path], ...]]:
    """Paths that are shown as they are, and links (target, path) that are made anew."""
    shown: list[Path] = []
    links: list[tuple[str, Path]] = []
    for path in [*map(Path, PROGRAMS), *(Path("/etc") / name for name in KNOWLEDGE)]:
        if path.is_symlink() and path.parent == Path("/"):
            links.append((os.readlink(path), path))
        elif path.exists():
            shown.append(path)
    return tuple(shown), tuple(links)


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
