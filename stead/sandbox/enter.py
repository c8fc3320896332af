"""What a forked process does on its way into a sandbox: ids, mounts, limits, and then bubblewrap.

Runs between ``fork`` and ``exec`` in :mod:`stead.sandbox.keeper`; what goes wrong is an ``OSError``
that says at what.

As root nothing in a sandbox is root's: the process becomes :data:`UID`, an id that owns no file,
and each folder that was granted is mounted (only for this process and what comes of it) so that
the files of its owner seem to be that id's. What is made there belongs to the owner on the disk
(idmapped mounts, mount_setattr(2); Linux 5.12, and a file system that can).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from stead.sandbox import kernel

UID = 64_611
"""Owns nothing, and is nobody's: below 65,536, which is all that a container may have."""

INSIDE = 1000
"""The user and group id a process sees of itself."""

_STAGE = "/tmp"
"""Where this process's own mounts are put together; others never see them."""


@dataclass
class Ids:
    """How ids are mapped; made once in the process that forks, since each costs a process."""

    mapped: dict[tuple[int, int], int] = field(default_factory=dict)
    """A user namespace for each owner of a granted folder."""

    def of(self, uid: int, gid: int) -> int:
        if (uid, gid) not in self.mapped:
            self.mapped[uid, gid] = kernel.swapping_userns(uid, gid, UID, UID)
        return self.mapped[uid, gid]


def owners(mounts: Sequence[dict[str, Any]], ids: Ids) -> None:
    """Make the namespaces that :func:`enter` will need. As root only."""
    for mount in mounts:
        with contextlib.suppress(OSError):  # told when it is mounted
            info = os.stat(mount["real"])
            ids.of(info.st_uid, info.st_gid)


def enter(asked: dict[str, Any], fds: Sequence[int], info: int, block: int, ids: Ids) -> None:
    """Become the program that was asked for; returns only by ``OSError``.

    ``fds`` are placed at the numbers ``asked["fds"]``; ``info`` and ``block`` go to bubblewrap.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    fds, info, block = _place(fds, asked["fds"], info, block)
    words = [
        *asked["head"], "--info-fd", str(info), "--block-fd", str(block),
        *_mounts(asked, ids),
    ]  # fmt: skip
    if asked["seccomp"]:
        program = bytes.fromhex(asked["seccomp"])
        words += ["--seccomp", str(_memory("seccomp", program))]
    words += [*asked["tail"], "--", *asked["command"]]
    _limits(asked["limits"])
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
    kernel.die_with_parent(signal.SIGKILL)
    os.umask(0o022)
    os.execve(asked["program"], [asked["program"], *words], asked["env"])


def _place(
    fds: Sequence[int], numbers: Sequence[int], info: int, block: int
) -> tuple[list[int], int, int]:
    """First all out of the way, then each to its number."""
    base = max([*numbers, 63]) + 1
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, base) for fd in fds]
    for fd, number in zip(high, numbers, strict=True):
        os.dup2(fd, number)
    given = [fcntl.fcntl(fd, fcntl.F_DUPFD, base) for fd in (info, block)]
    return list(numbers), given[0], given[1]


def _memory(name: str, data: bytes) -> int:
    fd = os.memfd_create(name.replace("/", "_"), 0)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _mounts(asked: dict[str, Any], ids: Ids) -> list[str]:
    """The options that mount what was granted, from where it was before anything could move it."""
    root = os.geteuid() == 0
    if root:
        kernel.own_mounts()  # first: what is opened belongs to the mounts of that moment
    opened = []
    for mount in asked["mounts"]:
        try:
            opened.append(kernel.open_plain(mount["real"]))
        except OSError as problem:
            if problem.errno == errno.ELOOP:
                problem.strerror = "a symbolic link is on the way to it; name what it leads to"
            if problem.errno != errno.ENOSYS:
                problem.filename = mount["path"]
                raise
            opened.append(os.open(mount["real"], os.O_PATH | os.O_CLOEXEC))
    sources = _staged(asked["mounts"], opened, ids) if root else []
    words: list[str] = []
    for at, mount in enumerate(asked["mounts"]):
        option = "--bind" if mount["write"] else "--ro-bind"
        if root:
            words += [option, sources[at], mount["path"]]
        elif asked["by_fd"]:
            fd = fcntl.fcntl(opened[at], fcntl.F_DUPFD, 64)
            words += [option + "-fd", str(fd), mount["path"]]
        else:
            words += [option, mount["real"], mount["path"]]
    return words


def _staged(mounts: Sequence[dict[str, Any]], opened: Sequence[int], ids: Ids) -> list[str]:
    made = []
    for mount, fd in zip(mounts, opened, strict=True):
        info = os.fstat(fd)
        try:
            clone = kernel.clone_mount(fd)
            userns = ids.of(info.st_uid, info.st_gid)
            try:
                kernel.map_owners(clone, userns)
            except OSError:
                if mount["write"]:
                    raise
                # What may only be read is readable to all, or it is not.
        except OSError as problem:
            problem.filename = mount["path"]
            raise
        made.append((clone, os.path.isdir(f"/proc/self/fd/{fd}")))
    kernel.mount_memory(_STAGE)
    places = []
    for at, (clone, folder) in enumerate(made):
        place = f"{_STAGE}/{at}"
        if folder:
            os.mkdir(place)
        else:
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o600))
        kernel.place_mount(clone, place)
        places.append(place)
    return places


def _limits(limits: dict[str, float]) -> None:
    """What holds for each process. That of their number is set later: it counts by user namespace,
    and here it would count all that this user runs."""
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, int(limits["file_mb"] * 1024 * 1024)),
        (resource.RLIMIT_NOFILE, 4096),
        (resource.RLIMIT_MEMLOCK, 8 * 1024 * 1024),
        (resource.RLIMIT_MSGQUEUE, 819_200),
    ):
        _, hard = resource.getrlimit(kind)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("700")
    if limits["low"]:
        kernel.lowest_priority()
    else:
        with contextlib.suppress(OSError):
            os.nice(5)
