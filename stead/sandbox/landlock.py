"""Landlock (landlock(7)): a second wall, which a process puts around itself and what it starts.

It holds where the first has a gap: a folder mounted by mistake, a kernel that lets a mount go. What
a kernel does not know of is left out (its version tells), and where there is no Landlock there is
this wall less.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterable
from functools import cache

from stead.sandbox import kernel

_VERSION = 1
_PATH_BENEATH = 1
_READ = 0b1101  # execute, read file, read folder
_FILE = 0b111 | 1 << 14 | 1 << 15  # execute, write, read, truncate, ioctl on devices
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Rights to files, by version; later ones have no more."""
_TCP = 0b11
"""Bind and connect, since version 4."""
_SCOPES = 0b11
"""Abstract sockets and signals of processes outside, since version 6."""


class _Rules(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


@cache
def version() -> int:
    """Of the kernel's Landlock; 0: none."""
    with contextlib.suppress(OSError):
        return kernel.call(kernel.LANDLOCK_CREATE, None, ctypes.c_size_t(0), _VERSION)
    return 0


def restrict(read: Iterable[str], write: Iterable[str], *, tcp: bool) -> int:
    """Only what lies below these may be read, and changed, from now on; without ``tcp`` no TCP.

    Returns the version that is at work, 0 where there is none. Raises ``OSError``. A path that is
    not there gives nothing.
    """
    known = version()
    if not known:
        return 0
    all_rights = _ALL[min(known, 5)]
    rules = _Rules(all_rights, 0 if tcp or known < 4 else _TCP, _SCOPES if known >= 6 else 0)
    size = 24 if known >= 6 else 16 if known >= 4 else 8
    fd = kernel.call(kernel.LANDLOCK_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    try:
        for paths, rights in ((read, _READ), (write, all_rights)):
            for path in paths:
                _allow(fd, path, rights, all_rights)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.call(kernel.LANDLOCK_RESTRICT, fd, 0)
    finally:
        os.close(fd)
    return known


def _allow(rules: int, path: str, rights: int, all_rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
            return
        raise
    try:
        if not os.path.isdir(path):
            rights &= _FILE
        beneath = _Beneath(rights & all_rights, fd)
        kernel.call(kernel.LANDLOCK_ADD, rules, _PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(fd)
