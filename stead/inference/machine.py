"""What this machine gives the model process: memory, cores, and an end with its parent."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path, PurePosixPath

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_SELF = Path("/proc/self/cgroup")
_PR_SET_PDEATHSIG = 1


def memory_bytes(cgroups: Path = _CGROUPS, own: Path = _SELF) -> int:
    """Memory this process may use: the machine's, or less where a control group limits it."""
    return min([psutil.virtual_memory().total, *_limits(cgroups, own)])


def cores() -> int:
    """Processors this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _limits(cgroups: Path, own: Path) -> list[int]:
    """The limits set on our control group and on those above it, version 2 or 1."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []  # not Linux
    limits = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        if controllers == "":
            root, file = cgroups, "memory.max"
        elif "memory" in controllers.split(","):
            root, file = cgroups / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(place)
        for level in (group, *group.parents):
            try:
                limits.append(int((root / str(level).lstrip("/") / file).read_text()))
            except (OSError, ValueError):
                continue  # "max", or seen from inside a container: only the mounted part exists
    return limits


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send us a signal when the thread that started us ends (Linux, prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def available_bytes() -> int:
    """Memory that could be had now without swapping."""
    return psutil.virtual_memory().available
